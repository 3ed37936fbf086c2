"""How fast one kind of request may be made of a cloud that does not say, and tells by throttling only. The clock is the caller's."""

from __future__ import annotations

import math
import threading
from collections import deque

# One request that was turned away is no sign. Where so many tries in a row were, requests come faster than the cloud lets them through.
_SIGN = 3
_SLOWER = 0.8
# By how many requests a second it grows in a second in which it holds somebody back, or by which part of itself, whichever is more.
_FASTER = 0.2
_FASTER_PART = 0.05
_SLOWEST = 0.5
# How much is remembered to tell how fast requests were made.
_REMEMBERED = 256


class Pace:
    """A pace for all threads that make requests of one kind: none until it is needed, slower when turned away, and then faster again.

    Waiting longer after each failure, by itself, lets those fail for good who have bad luck: as many requests come as there are threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rate = math.inf
        self._next = -math.inf
        self._slowed = -math.inf
        self._holds = False
        self._begun: deque[float] = deque(maxlen=_REMEMBERED)

    @property
    def rate(self) -> float:
        """How many requests a second; infinite while there is no need for a pace."""
        return self._rate

    def begin(self, now: float) -> float:
        """Return when a request may be made that could be made `now`; it counts as made then."""
        with self._lock:
            moment = max(now, self._next)
            self._next = moment + 1 / self._rate
            self._holds = moment > now
            self._begun.append(moment)
            return moment

    def went_well(self) -> None:
        """Take note of a request that went through."""
        with self._lock:
            # A pace that nobody feels says nothing of how fast it may be.
            if self._holds:
                self._rate += max(_FASTER / self._rate, _FASTER_PART)

    def turned_away(self, begun: float, now: float, times: int) -> None:
        """Take note of a request, made at `begun`, that was throttled for so many times in a row."""
        with self._lock:
            # What was under way when the pace became slower says nothing of the slower one.
            if times < _SIGN or begun < self._slowed:
                return
            lately = max(1.0, sum(now - 1.0 < one <= now for one in self._begun))
            self._rate = max(_SLOWEST, min(self._rate, lately) * _SLOWER)
            self._slowed = now
