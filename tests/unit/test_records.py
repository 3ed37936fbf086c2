"""Release records: what they say, who holds an application, and how a run that was displaced finds out."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import zstandard
from attrs import evolve
from i2kit_memory.driver import MemoryDriver
from runs import SAMPLES, dead_process, memory

from i2kit.driver import Record
from i2kit.errors import ConflictingRecord, Held, I2kitError, ProviderError
from i2kit.journal import Journal
from i2kit.plan import Plan
from i2kit.records import RECENT_SECONDS, Entry, decode, encode, last_release, liveness, recent, this_process


@pytest.fixture
def driver() -> MemoryDriver:
    return memory()


def plan(version: str = "1", **changes: Any) -> Plan:
    return SAMPLES.plan(*SAMPLES.workload(version, **changes))


def entry(**changes: Any) -> Entry:
    values: dict[str, Any] = {"kind": "claim", "run": "r", "holder": this_process(), "time": 1.0, "lease_seconds": 120.0, "plan": plan()}
    return Entry(**(values | changes))


def kinds(driver: MemoryDriver) -> list[str]:
    return [decode(record).kind for record in driver.records("sample")]


def test_a_record_says_what_was_written() -> None:
    written = entry()
    assert decode(Record(number=1, body=encode(written))) == written


def test_equal_entries_have_equal_bytes() -> None:
    one = entry()
    assert encode(one) == encode(evolve(one))


@pytest.mark.parametrize("body", [b"", b"text", zstandard.compress(b"{"), zstandard.compress(b"\xff")], ids=repr)
def test_a_damaged_record_is_an_error_that_says_which(body: bytes) -> None:
    with pytest.raises(I2kitError, match=r"release record 7 is damaged.*damaged-record"):
        decode(Record(number=7, body=body))


@pytest.mark.parametrize("data", [b"[]", b"1", b'{"schema": 1}', b'{"schema": 1, "kind": "song"}'], ids=repr)
def test_a_record_of_another_shape_is_an_error_too(data: bytes) -> None:
    with pytest.raises(I2kitError):
        decode(Record(number=7, body=zstandard.compress(data)))


def test_a_newer_record_asks_for_a_newer_i2kit() -> None:
    with pytest.raises(I2kitError, match=r"written by a newer i2kit.*upgrade"):
        decode(Record(number=7, body=zstandard.compress(b'{"schema": 2}')))


def test_the_last_release_is_the_newest() -> None:
    first, last = entry(kind="release", run="1"), entry(kind="release", run="2")
    assert last_release([first, last, entry(kind="end")]) is last
    assert last_release([entry()]) is None


def test_this_process_lives() -> None:
    assert liveness(this_process(), this_process()) == "alive"


def test_a_process_that_has_ended_is_dead_even_before_its_parent_has_noticed() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    holder = evolve(this_process(), pid=child.pid)
    try:
        assert liveness(holder, this_process()) == "dead"
    finally:
        child.wait()
    assert liveness(holder, this_process()) == "dead"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"started": "1"}, "dead"),  # the number was given to another process
        ({"boot": "an earlier one"}, "dead"),
        ({"host": "elsewhere"}, "unknown"),
        ({"host": "elsewhere", "boot": "another"}, "unknown"),
        ({"pids": "pid:[1]"}, "unknown"),  # a container's processes cannot be seen from another
        ({"boot": ""}, "unknown"),
    ],
    ids=str,
)
def test_only_what_can_be_proven_is_called_dead(changes: dict[str, str], expected: str) -> None:
    assert liveness(evolve(this_process(), **changes), this_process()) == expected


def test_a_claim_that_was_ended_is_free(driver: MemoryDriver) -> None:
    for end in (Journal.release, Journal.end):
        journal = Journal(driver, "sample")
        assert journal.claim(plan()) == ""
        end(journal, [], *([] if end is Journal.release else ["failed"]))
    assert kinds(driver) == ["release", "end"]


def test_take_over_claims_from_whoever_it_is(driver: MemoryDriver) -> None:
    Journal(driver, "sample").claim(plan())
    assert Journal(driver, "sample").claim(plan(), take_over=True).startswith("taken over from process ")


def test_a_claim_holds_one_application_only(driver: MemoryDriver) -> None:
    Journal(driver, "sample").claim(plan())
    assert Journal(driver, "other").claim(plan()) == ""


def finishes(driver: MemoryDriver) -> None:
    other = Journal(driver, "sample")
    other.claim(plan("2"), take_over=True)
    other.release([])


def destroys(driver: MemoryDriver) -> None:
    other = Journal(driver, "sample")
    other.claim(plan("2"), take_over=True)
    other.remove_all()


def works(driver: MemoryDriver) -> None:
    Journal(driver, "sample").claim(plan("2"), take_over=True)


@pytest.mark.parametrize("other", [works, finishes, destroys])
def test_a_displaced_run_finds_out_at_its_next_append_and_leaves_no_record(
    driver: MemoryDriver, other: Callable[[MemoryDriver], None]
) -> None:
    """Also when the other run has long finished, and the number is free again."""
    displaced = Journal(driver, "sample")
    displaced.claim(plan("1"))
    displaced.step([], ["Network/x"])
    other(driver)
    before = [record.number for record in driver.records("sample")]
    with pytest.raises(Held) as caught:
        displaced.step([], ["Image/x"])
    assert caught.value.problems[0].code == "displaced"
    assert [record.number for record in driver.records("sample")] == before


def test_a_claim_on_what_was_read_before_another_run_came_and_went_is_held(driver: MemoryDriver) -> None:
    class Slow(MemoryDriver):
        reads = 0

        def records(self, application: str) -> Any:
            found = super().records(application)
            self.reads += 1
            if self.reads == 1:
                finishes(driver)
            return found

    with pytest.raises(Held):
        Journal(Slow(driver.region), "sample").claim(plan())
    assert kinds(driver) == ["release"]


def test_of_two_that_append_the_same_number_the_second_is_held(driver: MemoryDriver) -> None:
    class Late(MemoryDriver):
        def append_record(self, application: str, number: int, body: bytes) -> None:
            raise ConflictingRecord.of("record-exists", "somebody was faster")

    with pytest.raises(Held) as caught:
        Journal(Late(driver.region), "sample").claim(plan())
    assert caught.value.problems[0].code == "held"


def test_what_is_kept_are_releases_and_the_newest_record(driver: MemoryDriver) -> None:
    for _ in range(3):
        journal = Journal(driver, "sample", holder=dead_process())
        journal.claim(plan())
        journal.step([], [])
        journal.release([])
    journal = Journal(driver, "sample")
    journal.claim(plan())
    journal.step([], [])
    journal.end([], "failed")
    assert kinds(driver) == ["release", "release", "release", "end"]


def test_steps_that_newer_ones_stand_for_go_while_the_run_goes_on_and_nothing_is_lost(driver: MemoryDriver) -> None:
    journal = Journal(driver, "sample", clock=lambda: 1000.0)
    journal.claim(plan())
    steps = (([], ["Network/x"]), (["Network/x"], ["Image/x"]), (["Network/x"], ["InstanceGroup/x"]))
    for done, doing in steps:
        journal.step(done, doing)
    whole = [decode(record) for record in driver.records("sample")]
    journal.clear()
    left = [decode(record) for record in driver.records("sample")]
    assert [one.kind for one in left] == ["claim", "step"]
    for now in (1000.0, 1000.0 + RECENT_SECONDS):
        assert recent(left, now) == recent(whole, now)
        assert recent(left, now).unsure == {"Network/x", "Image/x", "InstanceGroup/x"}
    journal.step(["Network/x"], [])
    journal.release([])
    assert kinds(driver) == ["release"]


def test_a_step_that_cannot_be_removed_goes_when_the_run_ends(driver: MemoryDriver) -> None:
    class Stubborn(MemoryDriver):
        refuses = True

        def remove_record(self, application: str, number: int) -> None:
            if self.refuses:
                raise ProviderError.of("refused", "not now")
            super().remove_record(application, number)

    stubborn = Stubborn(driver.region)
    journal = Journal(stubborn, "sample")
    journal.claim(plan())
    journal.step([], [])
    journal.step([], [])
    journal.clear()
    assert kinds(driver) == ["claim", "step", "step"]
    stubborn.refuses = False
    journal.end([], "failed")
    assert kinds(driver) == ["end"]


def test_a_displaced_run_removes_no_step_any_more(driver: MemoryDriver) -> None:
    """Its numbers may be another run's by now."""
    displaced = Journal(driver, "sample")
    displaced.claim(plan("1"))
    displaced.step([], [])
    displaced.step([], [])
    destroys(driver)
    other = Journal(driver, "sample")
    other.claim(plan("2"))
    other.step([], [])
    with pytest.raises(Held):
        displaced.step([], [])
    displaced.clear()
    assert kinds(driver) == ["claim", "step"]


def test_a_record_that_falls_between_two_pages_while_steps_go_displaces_nobody(driver: MemoryDriver) -> None:
    class Paged(MemoryDriver):
        skips = True

        def records(self, application: str) -> Any:
            found = list(super().records(application))
            if len(found) > 3 and self.skips:
                self.skips = False
                journal.clear()
                return found[:1] + found[3:-2]
            return found

    journal = Journal(Paged(driver.region), "sample")
    journal.claim(plan())
    for number in range(4):
        journal.step([], [f"Image/{number}"])
    journal.release([])
    assert kinds(driver) == ["release"]


def test_records_hold_no_secret_values(driver: MemoryDriver) -> None:
    body = encode(entry(plan=plan(secret="1")))
    assert b"canary" not in zstandard.ZstdDecompressor().decompress(body)
    assert b"credentials" in zstandard.ZstdDecompressor().decompress(body)
