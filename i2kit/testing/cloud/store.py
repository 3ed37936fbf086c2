"""Where a cloud's state lies: changed by one at a time, watched by tests, and remembered for as long as reads may be stale."""

from __future__ import annotations

import threading
from collections.abc import Callable

from i2kit.clock import Clock
from i2kit.plan import Observed
from i2kit.testing.cloud.state import State

Watcher = Callable[[Observed], None]


class Store:
    """The present state and those before it, with the release records; whoever reads or changes them holds `lock`."""

    def __init__(self, state: State, clock: Clock) -> None:
        self.lock = threading.RLock()
        self.records: dict[str, dict[int, bytes]] = {}
        self.watchers: list[Watcher] = []
        self.complaints: list[BaseException] = []
        self.clock = clock
        self._past: list[tuple[float, State]] = [(float("-inf"), state)]

    @property
    def state(self) -> State:
        """What is true now."""
        with self.lock:
            return self._past[-1][1]

    def at(self, time: float) -> State:
        """Return what was true at a time, as far back as `commit` was told to remember."""
        with self.lock:
            return next((state for since, state in reversed(self._past) if since <= time), self._past[0][1])

    def commit(self, state: State, *, remember: float) -> None:
        """Make a state the present one; what was true in the last `remember` seconds stays known. Tells the watchers."""
        now = self.clock.now()
        with self.lock:
            self._past.append((now, state))
            while len(self._past) > 1 and self._past[1][0] <= now - remember:
                del self._past[0]
            truth = state.observed(now) if self.watchers else Observed()
            for watcher in self.watchers:
                try:
                    watcher(truth)
                except Exception as complaint:  # a run would take it for the cloud's own failure
                    self.complaints.append(complaint)
