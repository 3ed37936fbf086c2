"""Standard error: what goes wrong and what goes on, for a person on a terminal or for a log file, where one message is one line."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from i2kit.errors import Problem

_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")


class Messages:
    """Writes messages to a stream; a stream that nobody reads any more is no reason to stop working."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.terminal = stream.isatty()
        self._colours = self.terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

    def say(self, text: str) -> None:
        """Write a message; off a terminal as one line, whatever is in it."""
        self._write(_harmless(text) if self.terminal else _one_line(text))

    def line(self, text: str) -> None:
        """Write a line of its own, with its indentation."""
        self._write(_harmless(text).replace("\n", " "))

    def warn(self, text: str) -> None:
        """Write what the user should know although the work goes on."""
        self._marked("warning:", "33", text)

    def error(self, text: str) -> None:
        """Write what went wrong."""
        self._marked("error:", "31;1", text)

    def problems(self, problems: Iterable[Problem]) -> None:
        """Write each problem: off a terminal as one line, on one with place, expectation and hint on lines of their own."""
        for problem in problems:
            if not self.terminal:
                self.error(str(problem))
                continue
            more = [
                f"  at {problem.where}" if problem.where else "",
                f"  expected {problem.expected}" if problem.expected else "",
                f"  {problem.hint}" if problem.hint else "",
            ]
            self.error("\n".join([f"{problem.message} [{problem.code}]", *(line for line in more if line)]))

    def bug(self, error: BaseException) -> None:
        """Write that i2kit itself is wrong, and where to report it."""
        self.error(
            f"{type(error).__name__}: {error}{_place(error)}; this is a bug in i2kit or a plug-in: "
            f"please report it {_where_to_report()}, with what the same command says with --debug"
        )

    def _marked(self, mark: str, colour: str, text: str) -> None:
        if self._colours:
            return self._write(f"\x1b[{colour}m{mark}\x1b[0m {_harmless(text)}")
        return self.say(f"{mark} {text}")

    def _write(self, line: str) -> None:
        # Nobody may be reading any more (`2>&1 | head`); the work goes on all the same.
        try:
            self.stream.write(f"{line}\n")
            self.stream.flush()
        except BrokenPipeError:
            drain(self.stream)


def drain(stream: TextIO) -> None:
    """Let a stream whose reader has gone away lead nowhere: what is left in its buffer would fail again and again."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _harmless(text: str) -> str:
    """Keep line breaks; what else controls a terminal becomes a space."""
    return _CONTROL.sub(" ", text)


def _one_line(text: str) -> str:
    return " ".join(_harmless(text).split())


def _place(error: BaseException) -> str:
    """Return the innermost place the error came through, for a report that has nothing but this line."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    if last is None:
        return ""
    return f" ({last.tb_frame.f_globals.get('__name__', '?')}:{last.tb_lineno})"


def _where_to_report() -> str:
    """Return the issue tracker that the installed distribution names."""
    from importlib import metadata

    try:
        urls = metadata.metadata("i2kit").get_all("Project-URL") or []
    except metadata.PackageNotFoundError:
        urls = []
    named = dict(url.split(", ", 1) for url in urls if ", " in url)
    tracker = next((url for name, url in named.items() if "issue" in name.lower() or "bug" in name.lower()), "")
    return f"at {tracker}" if tracker else "where you got i2kit from"
