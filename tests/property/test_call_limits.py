"""The laws of calls: no more at once, no faster and no longer than the limits say; records are appended once, whatever gets lost."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any

import pytest
from clouds import SAMPLES
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import Scripted, busy, failing

from i2kit.calls import Calls, delay
from i2kit.driver import CallLimits
from i2kit.errors import ConflictingRecord, TransientError
from i2kit.plan import Change
from i2kit.testing.cloud import FakeClock, FakeCloud, Faults
from i2kit.testing.context import SampleContext

CHANGE = Change(action="create", resource=SAMPLES.network(), reason="a test")
SECONDS = st.floats(0.0, 30.0)
# Only a test that fails waits for so long.
PATIENCE_SECONDS = 30.0
LINGER_SECONDS = 0.005


@st.composite
def limits(draw: st.DrawFn) -> CallLimits:
    first = draw(st.floats(0.0, 5.0))
    return CallLimits(attempts=draw(st.integers(1, 12)), first_delay_seconds=first, greatest_delay_seconds=first + draw(SECONDS))


@given(limits(), st.integers(1, 2000), st.none() | SECONDS, st.integers())
def test_a_delay_is_at_least_what_is_asked_and_at_most_its_bound_more(
    limits: CallLimits, failures: int, asked: float | None, seed: int
) -> None:
    seconds = delay(limits, failures, asked, Random(seed))
    bound = min(limits.greatest_delay_seconds, limits.first_delay_seconds * 2.0 ** min(failures - 1, 100))
    assert (asked or 0.0) <= seconds <= (asked or 0.0) + bound


@given(limits(), st.integers(0, 15), st.none() | SECONDS, st.integers())
def test_a_call_is_tried_as_often_as_it_may_and_no_longer_than_its_delays_take(
    limits: CallLimits, failures: int, asked: float | None, seed: int
) -> None:
    clock, inner = FakeClock(0.0), Scripted(failing(failures, lambda: busy(asked)))
    driver = Calls(inner, limits, clock=clock, dice=Random(seed))
    if failures < limits.attempts:
        driver.applications()
    else:
        with pytest.raises(TransientError, match=f"tried {limits.attempts} times|tried once"):
            driver.applications()
    assert len(inner.calls) == min(failures + 1, limits.attempts)
    waits = len(inner.calls) - 1
    least = waits * (asked or 0.0)
    most = least + sum(min(limits.greatest_delay_seconds, limits.first_delay_seconds * 2.0**n) for n in range(waits))
    assert least - 1e-6 <= clock.now() <= most + 1e-6


class Sluggish(FakeClock):
    """Sleeps longer than it is asked to, as much as is drawn; by default not at all."""

    def __init__(self, more: list[float]) -> None:
        super().__init__()
        self._more = more

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds + (self._more.pop() if self._more else 0.0))


@given(st.floats(0.05, 50.0), st.integers(1, 5), st.lists(st.floats(0.0, 5.0), min_size=1, max_size=25), st.lists(st.floats(0.0, 20.0)))
def test_in_no_window_begin_more_calls_than_the_bucket_allows(rate: float, burst: int, pauses: list[float], more: list[float]) -> None:
    clock, began, late = Sluggish(more), list[float](), sum(more)
    driver = Calls(Scripted(lambda *_args: began.append(clock.now())), CallLimits(calls_per_second=rate, burst=burst), clock=clock)
    start = clock.now()
    for pause in pauses:
        clock.sleep(pause)
        driver.applications()
    for first, from_ in enumerate(began):
        for last, until in enumerate(began[first:], first):
            # Near the present a float is no finer than a quarter of a microsecond.
            assert last - first + 1 <= burst + rate * (until - from_) + rate * 1e-5 + 1e-5
    # And nobody waits for more than his turn.
    assert clock.now() - start <= sum(pauses) + late + len(pauses) * (1 / rate + 0.002)


class Crowd:
    """A script that counts who is inside; they stay until as many are there as may be, or as are left to come."""

    def __init__(self, expected: int, fit: int) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._left = expected
        self._fit = fit
        self.most = 0

    def __call__(self, *_args: Any) -> None:
        with self._changed:
            self._inside += 1
            self._left -= 1
            self.most = max(self.most, self._inside)
            self._changed.notify_all()
            full = self._changed.wait_for(lambda: self._inside >= self._fit or self._left == 0, PATIENCE_SECONDS)
            # Whoever is one too many would be through the door by now; where nobody is, this takes its time and proves nothing wrong.
            self._changed.wait_for(lambda: self._inside > self._fit, LINGER_SECONDS)
            self._inside -= 1
        assert full, "there was room, and nobody came in"


SHORT = ("observe", "health", "records", "applications", "append_record")
ENDLESS = ("apply", "remove_record", "logs")


def crowded(concurrency: int, methods: list[str], fit: int) -> int:
    """Make calls at once, each of which stays inside until `fit` are; return how many were at most."""
    crowd = Crowd(len(methods), fit)

    def script(*args: Any) -> tuple[()]:
        crowd(*args)
        return ()

    driver = Calls(Scripted(script), CallLimits(concurrency=concurrency))
    ways = {
        "observe": driver.observe,
        "health": lambda: driver.health("web"),
        "records": lambda: driver.records("web"),
        "applications": driver.applications,
        "append_record": lambda: driver.append_record("web", 1, b"body"),
        "apply": lambda: driver.apply(CHANGE, SampleContext(Path())),
        "remove_record": lambda: driver.remove_record("web", 1),
        "logs": lambda: list(driver.logs("web")),
    }
    with ThreadPoolExecutor(len(methods)) as pool:
        for future in [pool.submit(ways[method]) for method in methods]:
            future.result(PATIENCE_SECONDS)
    return crowd.most


@given(st.integers(1, 4), st.lists(st.sampled_from(SHORT), min_size=1, max_size=12))
@settings(max_examples=40)
def test_short_calls_fill_all_slots(concurrency: int, methods: list[str]) -> None:
    assert crowded(concurrency, methods, fit=concurrency) == min(concurrency, len(methods))


@given(st.integers(2, 5), st.lists(st.sampled_from(ENDLESS), min_size=1, max_size=8))
@settings(max_examples=30)
def test_what_may_take_for_ever_fills_all_slots_but_one(concurrency: int, methods: list[str]) -> None:
    assert crowded(concurrency, methods, fit=concurrency - 1) == min(concurrency - 1, len(methods))


@given(st.integers(1, 4), st.lists(st.sampled_from(SHORT + ENDLESS), min_size=1, max_size=12))
@settings(max_examples=30)
def test_never_are_more_calls_under_way_than_may_be(concurrency: int, methods: list[str]) -> None:
    # Who waits for whom depends on the order; nobody insists on company here.
    assert crowded(concurrency, methods, fit=1) <= concurrency


@given(st.integers(0, 1000), st.floats(0.0, 0.5), st.floats(0.0, 0.5), st.integers(1, 6), st.booleans())
def test_of_runs_that_append_one_record_one_succeeds_and_it_is_its_own(
    seed: int, throttled: float, lost: float, runs: int, at_once: bool
) -> None:
    cloud = FakeCloud(seed=seed, faults=Faults(throttled=throttled, lost_answers=lost))

    def append(run: int) -> bool:
        driver = Calls(cloud.driver(), CallLimits(attempts=60), clock=cloud.clock)
        try:
            driver.append_record("web", 1, b"run %d" % run)
        except ConflictingRecord:
            return False
        return True

    with ThreadPoolExecutor(runs if at_once else 1) as pool:
        succeeded = [run for run, done in enumerate(pool.map(append, range(runs))) if done]
    cloud.faults = Faults()
    assert [record.body for record in cloud.driver().records("web")] == [b"run %d" % run for run in succeeded]
    assert len(succeeded) == 1
