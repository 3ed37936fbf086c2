"""A clock that tests turn."""

from __future__ import annotations

import threading


class FakeClock:
    """Stands still until somebody sleeps: then the time has passed at once. Thread-safe; never goes back.

    Threads that sleep at the same time sleep one after the other, since nobody knows that they began together: what runs side by side
    is measured with `i2kit.clock.SystemClock`.

    >>> clock = FakeClock(100.0)
    >>> clock.sleep(3600)
    >>> clock.now()
    3700.0
    """

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self._lock = threading.Lock()
        self._now = start

    def now(self) -> float:
        """Return the time in seconds since the epoch."""
        with self._lock:
            return self._now

    def sleep(self, seconds: float) -> None:
        """Let so many seconds pass; raise `ValueError` for less than none."""
        if seconds < 0:
            raise ValueError("time does not go back")
        with self._lock:
            self._now += seconds
