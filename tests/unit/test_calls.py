"""Drivers are called within their provider's limits, again after what passes, and not for ever; whole runs bear a cloud like that."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from attrs import evolve
from clouds import SAMPLES, Operator
from scripted import HEALTH, Scripted, busy, failing

from i2kit import executor, stages
from i2kit.calls import LONGEST_WAIT_SECONDS, Calls
from i2kit.driver import CallLimits, Driver, LogLine, Provider, Record
from i2kit.errors import ConflictingRecord, Interrupted, ProviderError, TransientError
from i2kit.plan import Change, Observed
from i2kit.resources import key
from i2kit.testing.bench import Bench
from i2kit.testing.cloud import FakeClock, FakeCloud, Faults
from i2kit.testing.conformance import DriverConformance
from i2kit.testing.context import SampleContext
from i2kit.tools import Tools

V1 = SAMPLES.plan(*SAMPLES.workload(replicas=3, secret="1"))
V2 = SAMPLES.plan(*SAMPLES.workload(replicas=3, secret="2"))
CHANGE = Change(action="create", resource=SAMPLES.network(), reason="a test")
# Only a test that fails waits for so long.
PATIENCE_SECONDS = 10.0


def calls(script: Callable[..., Any], clock: FakeClock | None = None, **limits: Any) -> tuple[Calls, Scripted]:
    driver = Scripted(script)
    return Calls(driver, CallLimits(**limits), clock=clock or FakeClock()), driver


def answers(driver: Driver) -> bool:
    """Return whether a short call finds a slot."""
    call = threading.Thread(target=driver.applications, daemon=True)
    call.start()
    call.join(PATIENCE_SECONDS)
    return not call.is_alive()


@pytest.mark.parametrize("seed", range(30))
def test_runs_bear_throttling_and_lost_answers(tmp_path: Path, seed: int) -> None:
    cloud = FakeCloud(seed=seed, boot_seconds=5.0, faults=Faults(throttled=0.05, lost_answers=0.05))
    operator = Operator(cloud=cloud, folder=tmp_path)
    for outcome in (operator.deploy(V1), operator.deploy(V2)):
        assert [change for change in outcome.changes if change.result not in ("done", "unchanged")] == []
    # A version of a Secret stays for the way back; everything else of the first version is gone.
    assert set(cloud.truth().by_key()) == {
        key(one) for one in (*V2.resources, *V1.resources) if one in V2.resources or one.kind == "Secret"
    }
    assert operator.destroy().ok
    assert cloud.truth() == Observed()
    assert {"throttled", "lost"} <= {call.result for call in cloud.calls}, "this seed tests nothing"
    cloud.faults = Faults()
    assert list(cloud.driver().applications()) == []


class TestTheContractHoldsUnderAllFaults(DriverConformance):
    boots = True

    @pytest.fixture
    def cloud(self) -> FakeCloud:
        return FakeCloud(faults=Faults(throttled=0.2, lost_answers=0.2))

    @pytest.fixture
    def provider(self, cloud: FakeCloud) -> Provider:
        return cloud.provider()

    @pytest.fixture
    def connect(self, cloud: FakeCloud) -> Callable[[], Driver]:
        return lambda: Calls(cloud.driver(), CallLimits(attempts=50), clock=cloud.clock)

    def test_a_record_is_never_overwritten(self, bench: Bench) -> None:
        # Not with the same body, as the suite does: after a lost answer it would be taken for one's own, and no two runs write the same.
        bench.driver.append_record("sample", 1, b"first")
        with pytest.raises(ConflictingRecord):
            bench.driver.append_record("sample", 1, b"second")
        assert [record.body for record in bench.driver.records("sample")] == [b"first"]


def test_every_command_is_connected_within_its_providers_limits(tmp_path: Path) -> None:
    class Narrow(FakeCloud):
        def provider(self, *_args: Any, **_options: Any) -> Provider:
            return evolve(super().provider(), calls=CallLimits(concurrency=3))

    operator = Operator(cloud=Narrow(), folder=tmp_path)
    with operator.in_place():
        assert isinstance(stages.connect(operator.environment), Calls)
    with patch.object(executor, "apply", wraps=executor.apply) as applied:
        assert operator.deploy(V1).ok
    tools = next(argument for argument in applied.call_args.args if isinstance(argument, Tools))
    assert tools.concurrency == 3


def test_what_passes_is_tried_again() -> None:
    driver, inner = calls(failing(5))
    assert driver.health("web") == HEALTH
    assert len(inner.calls) == 6


def test_what_lasts_says_how_often_it_was_tried() -> None:
    driver, inner = calls(failing(100), attempts=4)
    with pytest.raises(TransientError, match=r"too many calls \(tried 4 times\).*\[throttled\]"):
        driver.records("web")
    assert len(inner.calls) == 4


def test_what_does_not_pass_is_not_tried_again() -> None:
    driver, inner = calls(failing(1, lambda: ProviderError.of("refused", "no")))
    with pytest.raises(ProviderError, match=r"^no \[refused\]$"):
        driver.applications()
    assert inner.calls == ["applications"]


def test_the_provider_is_left_alone_for_as_long_as_it_asks() -> None:
    clock = FakeClock(0.0)
    driver, _ = calls(failing(3, lambda: busy(7.0)), clock, first_delay_seconds=0.0, greatest_delay_seconds=0.0)
    driver.observe()
    assert clock.now() == 21.0


def test_a_provider_that_asks_for_ages_is_not_called_again() -> None:
    driver, inner = calls(failing(1, lambda: busy(LONGEST_WAIT_SECONDS + 1)))
    with pytest.raises(TransientError, match=r"\(tried once; the provider asks to wait for 301 s\)"):
        driver.observe()
    assert inner.calls == ["observe"]


def test_a_run_that_is_stopped_does_not_wait_to_try_again(tmp_path: Path) -> None:
    context = SampleContext(tmp_path)

    def script(*_args: Any) -> None:
        context.cancelled = True
        raise busy(100.0)

    clock = FakeClock(0.0)
    driver, inner = calls(script, clock)
    with pytest.raises(Interrupted):
        driver.apply(CHANGE, context)
    assert (inner.calls, clock.now()) == (["apply"], 0.0)
    assert [message.split(";")[0] for message in context.messages] == ["too many calls"]


def test_a_driver_that_is_closed_does_not_wait_to_try_again() -> None:
    clock = FakeClock(0.0)

    def script(method: str, *_args: Any) -> None:
        if method == "health":
            driver.close()
            raise busy(100.0)

    driver, inner = calls(script, clock)
    with pytest.raises(TransientError):
        driver.health("web")
    assert (inner.calls, clock.now()) == (["health", "close"], 0.0)


@pytest.mark.parametrize(
    ("method", "about"), [("health", "health web"), ("observe", "observe"), ("records", "records web"), ("applications", "applications")]
)
def test_what_reads_and_hangs_is_given_up_and_takes_no_slot(method: str, about: str) -> None:
    released = threading.Event()
    driver, _ = calls(
        lambda called, *_args: released.wait(PATIENCE_SECONDS) if called == method else None, concurrency=1, call_seconds=0.01
    )
    read = {"health": lambda: driver.health("web"), "observe": driver.observe, "records": lambda: driver.records("web")}
    try:
        with pytest.raises(ProviderError, match=rf"did not answer {about} within 0\.01 s.*\[call-timeout\]"):
            read.get(method, driver.applications)()
        driver.remove_record("web", 1)
    finally:
        released.set()


def test_a_record_is_appended_before_all_looks_that_wait() -> None:
    """The provider answers no look: had the record to wait for all that came before, the run would lose its lease."""
    began, appended = threading.Event(), threading.Event()

    def script(method: str, *_args: Any) -> None:
        if method == "append_record":
            appended.set()
        else:
            began.set()
            appended.wait(PATIENCE_SECONDS)

    driver, inner = calls(script, concurrency=1, call_seconds=0.2)
    with ThreadPoolExecutor(20) as pool:
        looks = [pool.submit(driver.health, "web") for _ in range(20)]
        assert began.wait(PATIENCE_SECONDS)
        driver.append_record("web", 1, b"body")
        ended = [look.exception(PATIENCE_SECONDS) for look in looks]
    assert inner.calls.index("append_record") < 10
    assert any(isinstance(error, ProviderError) for error in ended), "no look hung, and nothing is shown"


def test_a_look_passes_on_whatever_ends_it() -> None:
    class Killed(BaseException):
        pass

    def script(*_args: Any) -> None:
        raise Killed

    with pytest.raises(Killed):
        calls(script)[0].observe()


@pytest.mark.parametrize(
    ("there", "answers", "expected"),
    [
        (b"mine", [busy, ConflictingRecord], None),
        (b"mine", [busy, busy, ConflictingRecord], None),
        (b"theirs", [busy, ConflictingRecord], ConflictingRecord),
        (b"mine", [ConflictingRecord], ConflictingRecord),
    ],
    ids=["own", "own, lost twice", "another run's", "never lost"],
)
def test_a_record_whose_answer_was_lost_is_read(
    there: bytes, answers: list[Callable[[], Exception]], expected: type[Exception] | None
) -> None:
    script = iter(answers)

    def play(method: str, *_args: Any) -> Any:
        if method == "records":
            return [Record(number=1, body=b"mine"), Record(number=2, body=there)]
        answer = next(script)
        raise busy() if answer is busy else ConflictingRecord.of("record-exists", "record 2 exists")

    driver, _ = calls(play)
    if expected:
        with pytest.raises(expected):
            driver.append_record("web", 2, b"mine")
    else:
        driver.append_record("web", 2, b"mine")


def test_building_an_image_takes_no_slot(tmp_path: Path) -> None:
    image = SAMPLES.image()
    free: list[bool] = []

    def build(*_args: Any) -> Any:
        free.append(answers(driver))
        return "files"

    context = SampleContext(tmp_path, make_artefact=build)
    context.offer(image)

    def script(method: str, *args: Any) -> None:
        if method == "apply":
            assert args[1].artefact(image.name) == "files"

    driver, inner = calls(script, concurrency=1)
    driver.apply(Change(action="create", resource=image, reason="a test"), context)
    assert (free, inner.calls) == ([True], ["apply", "applications"])


@pytest.mark.parametrize("short", ["records", "append_record", "health"])
def test_changes_leave_a_slot_to_short_calls(tmp_path: Path, short: str) -> None:
    began, released = threading.Semaphore(0), threading.Event()

    def script(method: str, *_args: Any) -> None:
        if method == "apply":
            began.release()
            assert released.wait(PATIENCE_SECONDS)

    driver, inner = calls(script, concurrency=3)
    with ThreadPoolExecutor(6) as pool:
        try:
            changes = [pool.submit(driver.apply, CHANGE, SampleContext(tmp_path)) for _ in range(5)]
            assert began.acquire(timeout=PATIENCE_SECONDS)
            assert began.acquire(timeout=PATIENCE_SECONDS)
            arguments: tuple[Any, ...] = ("web", 1, b"body") if short == "append_record" else ("web",)
            pool.submit(getattr(driver, short), *arguments).result(PATIENCE_SECONDS)
            assert inner.calls == ["apply", "apply", short]
        finally:
            released.set()
        for change in changes:
            change.result(PATIENCE_SECONDS)


def line(text: str) -> LogLine:
    return LogLine(instance="web-1", container="", text=text)


def test_logs_are_tried_again_until_their_first_line() -> None:
    driver, inner = calls(failing(2, then=[line("one"), line("two")]))
    assert [one.text for one in driver.logs("web")] == ["one", "two"]
    assert inner.calls == ["logs"] * 3

    def breaks() -> Iterator[LogLine]:
        yield line("one")
        raise busy()

    driver, inner = calls(lambda *_args: breaks())
    with pytest.raises(TransientError, match=r"^too many calls"):
        list(driver.logs("web"))
    assert inner.calls == ["logs"]


def test_logs_that_are_followed_take_no_slot_and_are_closed() -> None:
    closed: list[bool] = []

    def endless() -> Iterator[LogLine]:
        try:
            assert answers(driver), "whoever waits for the first line holds up others"
            while True:
                yield line("again")
        finally:
            closed.append(True)

    # What nobody refers to any more would be closed in any case.
    kept = endless()
    driver, _ = calls(lambda method, *_args: kept if method == "logs" else None, concurrency=1)
    lines = driver.logs("web", follow=True)
    assert next(lines).text == "again"
    assert answers(driver)
    assert isinstance(lines, Iterator)
    lines.close()  # type: ignore[attr-defined]
    assert closed == [True]


@pytest.mark.parametrize(
    "limits",
    [
        {"concurrency": 0},
        {"calls_per_second": 0.0},
        {"burst": 0},
        {"attempts": 0},
        {"first_delay_seconds": -1.0},
        {"call_seconds": 0.0},
        {"first_delay_seconds": 2.0, "greatest_delay_seconds": 1.0},
    ],
    ids=str,
)
def test_limits_that_make_no_sense_are_refused(limits: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must be|is below"):
        CallLimits(**limits)
