"""What a driver remembers: found out once by many who ask together, and again when it is old."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from i2kit_aws import memory
from i2kit_aws.memory import Memory


def test_many_who_ask_together_ask_once() -> None:
    kept, asked, gate = Memory(), [0], threading.Event()

    def find() -> int:
        gate.wait(10)
        asked[0] += 1
        return asked[0]

    with ThreadPoolExecutor(4) as pool:
        found = [pool.submit(kept.recent, "key", 60, find) for _ in range(4)]
        gate.set()
        assert [one.result() for one in found] == [1, 1, 1, 1]


def test_what_is_old_is_found_out_again(monkeypatch: pytest.MonkeyPatch) -> None:
    kept, now, answers = Memory(), [100.0], iter("abc")
    monkeypatch.setattr(memory, "monotonic", lambda: now[0])
    assert kept.recent("key", 2, lambda: next(answers)) == "a"
    now[0] += 2
    assert kept.recent("key", 2, lambda: next(answers)) == "a"
    now[0] += 0.1
    assert kept.recent("key", 2, lambda: next(answers)) == "b"
    kept.forget("key")
    assert kept.recent("key", 2, lambda: next(answers)) == "c"


def test_what_cannot_be_found_out_is_not_kept() -> None:
    kept = Memory()
    with pytest.raises(ZeroDivisionError):
        kept.recent("key", 60, lambda: 1 // 0)
    assert kept.recent("key", 60, lambda: 1) == 1
