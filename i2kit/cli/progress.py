"""What a run tells while it works: a live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Protocol

from i2kit.cli.messages import Messages

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

    from i2kit.events import Event


_WARNINGS = ("notice", "rolled-back")


def _told(event: Event) -> str:
    """Return an event as text."""
    message = f"going back: {event.message}" if event.kind == "rolled-back" else event.message
    return f"{event.key}: {message}" if event.key else message


class Progress(Protocol):
    """Shows events while it is entered."""

    def __enter__(self) -> Progress:
        """Begin to show."""
        ...

    def __exit__(self, *_error: object) -> None:
        """Leave the screen as it should be."""
        ...

    def __call__(self, event: Event) -> None:
        """Show one event."""
        ...

    def note(self, text: str) -> None:
        """Show a text that is not about the work; may be called by a signal handler."""
        ...


def progress(messages: Messages, *, plain: bool = False) -> Progress:
    """Return the progress that fits where messages go; `plain` asks for lines anyway."""
    if plain or not messages.terminal or os.environ.get("TERM") == "dumb":
        return Lines(messages)
    return Live(messages)


class Lines:
    """One line for each event, with the seconds since the start."""

    def __init__(self, messages: Messages) -> None:
        self._messages = messages
        self._start = time.monotonic()

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_error: object) -> None:
        return None

    def __call__(self, event: Event) -> None:
        """Write the event's line; the last lines of what failed are shown with the outcome."""
        if event.kind == "log":
            return None
        text = _told(event)
        if event.kind in _WARNINGS:
            return self._messages.warn(" ".join(text.split()))
        return self._messages.line(f"{time.monotonic() - self._start:6.1f}s  {' '.join(text.split())}")

    def note(self, text: str) -> None:
        """Write at once, past any buffer."""
        from i2kit.cli.interrupts import tell_now

        tell_now(text)


class Live:
    """What is under way at the foot of the screen, with what is done scrolling by above."""

    def __init__(self, messages: Messages) -> None:
        self._messages = messages
        self._lock = threading.Lock()
        self._running: dict[str, tuple[float, str]] = {}
        self._stage = ""
        self._note = ""
        self._start = time.monotonic()

    def __enter__(self) -> Live:
        from rich.console import Console
        from rich.live import Live as Display

        self._console: Console = Console(file=self._messages.stream, highlight=False)
        self._display = Display(get_renderable=self._picture, console=self._console, transient=True, refresh_per_second=8)
        self._display.__enter__()
        return self

    def __exit__(self, *_error: object) -> None:
        self._display.__exit__(None, None, None)

    def note(self, text: str) -> None:
        """Show the text when the display is drawn the next time."""
        self._note = text

    def __call__(self, event: Event) -> None:
        """Keep what is under way for the next picture, and print what is done."""
        from rich.text import Text

        message = " ".join(event.message.split())
        with self._lock:
            if event.kind in ("change-started", "progress") and event.key:
                began = self._running.get(event.key, (time.monotonic(), ""))[0]
                self._running[event.key] = (began, message)
                return
            if event.kind in ("change-finished", "rolled-back"):
                self._running.pop(event.key, None)
            if event.kind in ("stage", "progress"):
                self._stage = message
                return
        if event.kind != "log":
            mark = Text("warning: ", style="yellow") if event.kind in _WARNINGS else Text()
            self._console.print(mark + Text(" ".join(_told(event).split())))

    def _picture(self) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        return Group(self._table(), Text(self._note, style="yellow")) if self._note else self._table()

    def _table(self) -> Table:
        from rich.spinner import Spinner
        from rich.table import Table
        from rich.text import Text

        now = time.monotonic()
        with self._lock:
            rows = [(key, message, now - began) for key, (began, message) in self._running.items()]
            stage = "" if rows else self._stage
        table = Table.grid(padding=(0, 1))
        for _ in range(4):
            table.add_column(no_wrap=True, overflow="ellipsis")
        if stage:
            rows = [(stage, "", now - self._start)]
        for key, message, seconds in rows:
            # The spinner goes by the clock: a new one in every picture turns all the same.
            spinner = Spinner("dots" if self._console.encoding == "utf-8" else "line")
            spinner.start_time = self._start
            table.add_row(spinner, f"{seconds:5.1f}s", Text(key, style="bold"), Text(message))
        return table
