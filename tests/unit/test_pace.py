"""A pace against a cloud that lets so many requests through a second: simulated in its own time, with as many threads as callers."""

from __future__ import annotations

import heapq
import itertools
import math
import threading
from concurrent.futures import ThreadPoolExecutor
from random import Random

import pytest
from attrs import define, field

from i2kit.calls import Retries, delay
from i2kit.driver import CallLimits
from i2kit.errors import Interrupted, TransientError
from i2kit.pace import Pace
from i2kit.testing.cloud.clock import FakeClock

LIMITS = CallLimits(attempts=9, first_delay_seconds=0.25, greatest_delay_seconds=20.0)
LATENCY = 0.1


@define(kw_only=True)
class Cloud:
    """Lets `rate` requests a second through, `burst` of them at once after a rest; of the others a `share` is turned away all the same."""

    rate: float
    burst: float
    share: float = 0.0
    dice: Random = field(factory=lambda: Random(1))
    tokens: float = field(default=0.0)
    filled: float = 0.0
    asked: int = 0

    def __attrs_post_init__(self) -> None:
        self.tokens = self.burst

    def lets_through(self, now: float) -> bool:
        self.asked += 1
        self.tokens = min(self.burst, self.tokens + (now - self.filled) * self.rate)
        self.filled = now
        if self.tokens < 1 or self.dice.random() < self.share:
            return False
        self.tokens -= 1
        return True


def run(cloud: Cloud, pace: Pace | None, callers: int, each: int) -> tuple[int, float]:
    """Let callers make so many requests each, one after the other; return how many gave up, and after how many seconds all was done."""
    dice, order, given_up, end = Random(2), itertools.count(), 0, 0.0
    queue: list[tuple[float, int, bool, int, int]] = []

    def put(moment: float, ready: bool, left: int, failures: int) -> None:
        heapq.heappush(queue, (moment, next(order), ready, left, failures))

    for _ in range(callers):
        put(dice.random() * LATENCY, False, each, 0)
    while queue:
        now, _, ready, left, failures = heapq.heappop(queue)
        if not ready:
            put(pace.begin(now) if pace else now, True, left, failures)
        elif cloud.lets_through(now):
            end = now + LATENCY
            if pace:
                pace.went_well()
            if left > 1:
                put(end, False, left - 1, 0)
        else:
            failures += 1
            if pace:
                pace.turned_away(now, now + LATENCY, failures)
            if failures == LIMITS.attempts:
                given_up += 1
            else:
                put(now + LATENCY + delay(LIMITS, failures, None, dice), False, left, failures)
    return given_up, end


CLOUDS = [
    pytest.param(16, 22, 3.0, 3.0, id="records of 64 KiB, at Parameter Store's three a second"),
    pytest.param(16, 40, 10.0, 20.0, id="ten a second"),
    pytest.param(16, 100, 20.0, 50.0, id="twenty a second"),
    pytest.param(50, 10, 3.0, 3.0, id="many callers"),
]


@pytest.mark.parametrize(("callers", "each", "rate", "burst"), CLOUDS)
def test_nobody_gives_up_and_little_time_is_lost(callers: int, each: int, rate: float, burst: float) -> None:
    cloud = Cloud(rate=rate, burst=burst)
    given_up, seconds = run(cloud, Pace(), callers, each)
    assert given_up == 0
    assert seconds < 1.4 * (callers * each - burst) / rate
    assert cloud.asked < 2 * callers * each


@pytest.mark.parametrize(("callers", "each", "rate", "burst"), CLOUDS)
def test_without_a_pace_some_would(callers: int, each: int, rate: float, burst: float) -> None:
    """Longer and longer waits alone do not do it: this is what a pace is for."""
    given_up, _ = run(Cloud(rate=rate, burst=burst), None, callers, each)
    assert given_up > 0


def test_where_requests_are_turned_away_at_random_the_pace_costs_little() -> None:
    given_up, seconds = run(Cloud(rate=1000.0, burst=1000.0, share=0.2), Pace(), 16, 20)
    _, without = run(Cloud(rate=1000.0, burst=1000.0, share=0.2), None, 16, 20)
    assert given_up == 0
    assert seconds < 3 * without


def test_there_is_none_until_it_is_needed() -> None:
    pace = Pace()
    assert [pace.begin(one) for one in (1.0, 1.0, 1.0)] == [1.0] * 3
    pace.turned_away(1.0, 1.1, 1)
    pace.turned_away(1.0, 1.1, 2)
    pace.went_well()
    assert pace.rate == math.inf


def test_it_begins_below_what_was_too_fast() -> None:
    pace = Pace()
    for tenth in range(20):
        pace.begin(tenth / 10)
    pace.turned_away(1.9, 2.0, 3)
    assert pace.rate == pytest.approx(0.8 * 9)
    assert [round(pace.begin(2.0) - 2.0, 3) for _ in range(3)] == [0.0, 0.139, 0.278]


def test_what_was_under_way_slows_it_down_once() -> None:
    pace = Pace()
    for _ in range(10):
        pace.begin(1.0)
    for _ in range(5):
        pace.turned_away(1.0, 1.2, 3)
    assert pace.rate == pytest.approx(8.0)
    pace.turned_away(1.3, 1.4, 3)
    assert pace.rate == pytest.approx(6.4)


def slow() -> Pace:
    """A pace of one request in two seconds, and one that is under way."""
    pace = Pace()
    for second in range(-9, 0):
        pace.turned_away(float(second), second + 0.5, 9)
    assert pace.rate == 0.5
    pace.begin(0.0)
    return pace


def test_it_becomes_faster_as_long_as_it_holds_somebody_back() -> None:
    pace = slow()
    pace.went_well()
    assert pace.rate == 0.5
    pace.begin(0.1)
    for _ in range(100):
        pace.went_well()
    assert 5 < pace.rate < 10


def throttled() -> TransientError:
    error = TransientError.of("aws-unavailable", "too fast")
    error.throttled = True
    return error


def test_retries_keep_to_it() -> None:
    clock = FakeClock(0.0)
    retries = Retries(CallLimits(attempts=9, first_delay_seconds=0.0, greatest_delay_seconds=0.0), clock=clock, paced=True)
    failing = iter([throttled()] * 3)

    def work() -> float:
        clock.sleep(LATENCY)
        for error in failing:
            raise error
        return clock.now()

    retries.call("x", work)
    pace = retries.pace("x")
    assert pace
    assert pace.rate == pytest.approx(0.8 * 3)
    first, second = (retries.call("x", work) for _ in range(2))
    assert second - first == pytest.approx(1 / (0.8 * 3), abs=0.05)
    # Calls of another kind are not held back.
    assert retries.call("y", work) - second == pytest.approx(LATENCY)


def waiting(clock: FakeClock) -> Retries:
    """Retries whose next call of "x" has to wait for its turn."""
    retries = Retries(LIMITS, clock=clock, paced=True)
    pace = retries.pace("x")
    assert pace
    for second in range(-9, 0):
        pace.turned_away(float(second), second + 0.5, 9)
    pace.begin(0.0)
    return retries


def test_who_waits_for_its_turn_can_be_stopped() -> None:
    class Stopping:
        def check(self) -> None:
            raise Interrupted.of("interrupted", "stop")

    with pytest.raises(Interrupted):
        waiting(FakeClock(0.0)).call("x", lambda: None, context=Stopping())  # type: ignore[arg-type]


def test_who_waits_for_its_turn_goes_on_at_once_when_all_is_over() -> None:
    clock = FakeClock(0.0)
    retries = waiting(clock)
    retries.close()
    assert retries.call("x", clock.now) == 0.0


def test_threads_get_turns_of_their_own() -> None:
    pace, together = slow(), threading.Barrier(8, timeout=30)

    def begin(_: int) -> float:
        together.wait()
        return pace.begin(0.0)

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(begin, range(8))) == [2.0 * turn for turn in range(1, 9)]
