"""What a driver has found out about its environment and need not ask again until it looks anew. Thread-safe."""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic
from typing import Any, TypeVar

from attrs import define, field, frozen

T = TypeVar("T")


@define(kw_only=True)
class _Place:
    """Where one thing is kept. The lock is held while it is found out, so that of many who ask at once only one does."""

    lock: threading.Lock = field(factory=threading.Lock)
    kept: list[Any] = field(factory=list)


@frozen(kw_only=True)
class Memory:
    """Things by their keys. What cannot be found out is not kept: whoever asks next tries again."""

    places: dict[str, _Place] = field(factory=dict, repr=False)

    def recall(self, key: str, find: Callable[[], T]) -> T:
        """Return what is kept under `key`; find it out first where nothing is."""
        with (place := self._place(key)).lock:
            if not place.kept:
                place.kept.append(find())
            found: T = place.kept[0]
            return found

    def recent(self, key: str, seconds: float, find: Callable[[], T]) -> T:
        """Return what was found out for `key` at most so many seconds ago; find it out where that is longer ago.

        A key that is kept like this is not recalled or renewed.
        """
        with (place := self._place(key)).lock:
            if place.kept and monotonic() - place.kept[0][0] > seconds:
                place.kept.clear()
            if not place.kept:
                asked = monotonic()
                place.kept.append((asked, find()))
            found: T = place.kept[0][1]
            return found

    def renew(self, key: str, find: Callable[[], T | None]) -> T | None:
        """Find out anew what is kept under `key`, and return it; None is nothing to keep."""
        with (place := self._place(key)).lock:
            place.kept.clear()
            found = find()
            place.kept.extend([] if found is None else [found])
            return found

    def forget(self, key: str) -> None:
        """Let `key` be found out again by whoever asks next."""
        with (place := self._place(key)).lock:
            place.kept.clear()

    def _place(self, key: str) -> _Place:
        # One step of the interpreter, so that two who come first do not get two places.
        return self.places.setdefault(key, _Place())
