"""Ctrl-C: once to stop after the current step, twice to stop now."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

GENTLY = "stopping: finishing the current step; Ctrl-C again to stop now"


def tell_now(text: str) -> None:
    """Write to standard error past its buffer."""
    # Not sys.stderr: the signal may have come in the middle of a write to it, and its buffer cannot be entered twice.
    with contextlib.suppress(OSError):
        os.write(2, f"{text}\n".encode())


class Interrupts:
    """While it is entered, Ctrl-C (and TERM, which CI systems send) sets `cancel` if the command ends gently, and otherwise raises at once.

    `tell` shows a text to the user; a live display puts its own way here. A second signal always raises `KeyboardInterrupt`.
    """

    def __init__(self, cancel: threading.Event, *, gently: bool) -> None:
        self._cancel = cancel
        self._gently = gently
        self._before: dict[int, Any] = {}
        self.tell: Callable[[str], None] = tell_now

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._heard)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _heard(self, _number: int, _frame: FrameType | None) -> None:
        if not self._gently or self._cancel.is_set():
            raise KeyboardInterrupt
        self._cancel.set()
        self.tell(GENTLY)
