"""Several at once: one holds the application, the others are told who; what many Deployments cost when nothing is to be done."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from attrs import evolve
from clouds import SAMPLES, Operator
from shops import Shop, group_of, groups_in, is_as_planned, shop

from i2kit.errors import ExitCode, Held
from i2kit.events import Event
from i2kit.plan import Outcome, Plan
from i2kit.records import last_release, this_process
from i2kit.testing.cloud import FakeCloud, Faults

OLD, NEW, OTHER = shop("1"), shop("2", 3), shop("3", 1)


def outcome_of(operator: Operator, plan: Plan) -> Outcome | BaseException:
    """Run a deploy in a thread of its own."""
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(operator.deploy, plan)
        return future.exception() or future.result()


@pytest.mark.parametrize("theirs", [NEW, OTHER], ids=["the same", "another one"])
def test_who_comes_second_is_told_who_holds_the_application_and_the_first_finishes(theirs: Plan, tmp_path: Path) -> None:
    there = Shop(cloud=FakeCloud(boot_seconds=1.0), folder=tmp_path)
    assert there.operator().deploy(OLD).ok
    told, first = list[Outcome | BaseException](), threading.Lock()

    def second(event: Event) -> None:
        if event.kind == "change-started" and first.acquire(blocking=False):
            told.append(outcome_of(there.operator(), theirs))

    assert evolve(there.operator(), report=second).deploy(NEW).ok
    (held,) = told
    assert isinstance(held, Held)
    assert held.exit_code == ExitCode.HELD == 5
    assert str(this_process().pid) in str(held)
    is_as_planned(there, NEW)


@pytest.mark.parametrize("plans", [(NEW, NEW), (NEW, OTHER)], ids=["the same", "different ones"])
@pytest.mark.parametrize("seed", range(4))
def test_of_two_that_begin_together_at_least_one_finishes_and_nothing_is_left_of_the_other(
    seed: int, plans: tuple[Plan, Plan], tmp_path: Path
) -> None:
    there = Shop(cloud=FakeCloud(seed=seed, boot_seconds=1.0, faults=Faults(lost_answers=0.05, stale_seconds=1.0)), folder=tmp_path)
    assert there.operator().deploy(OLD).ok
    together = threading.Barrier(2)

    def work(plan: Plan) -> Outcome | BaseException:
        operator = there.operator()
        together.wait(10)
        try:
            return operator.deploy(plan)
        except Held as error:
            return error

    with ThreadPoolExecutor(2) as pool:
        ends = list(pool.map(work, plans))
    finished = [plan for plan, end in zip(plans, ends, strict=True) if isinstance(end, Outcome) and end.ok]
    assert finished, ends
    assert len(finished) + sum(isinstance(end, Held) for end in ends) == 2
    released = last_release(there.entries)
    assert released is not None
    assert released.plan in finished
    is_as_planned(there, released.plan)


@pytest.mark.parametrize("theirs", [OLD, NEW, OTHER], ids=["what was there", "the same", "another one"])
def test_who_is_displaced_stops_and_the_one_that_took_over_finishes(theirs: Plan, tmp_path: Path) -> None:
    there = Shop(cloud=FakeCloud(boot_seconds=1.0), folder=tmp_path)
    assert there.operator().deploy(OLD).ok
    told, first = list[Outcome | BaseException](), threading.Lock()

    def second(event: Event) -> None:
        if "checked before it gets traffic" in event.message and first.acquire(blocking=False):
            told.append(outcome_of(there.operator(take_over=True), theirs))

    with pytest.raises(Held, match="another run has claimed application 'sample'; this one stops and changes nothing more"):
        evolve(there.operator(), report=second).deploy(NEW)
    (outcome,) = told
    assert isinstance(outcome, Outcome)
    assert outcome.ok
    there.wait()
    # What the displaced run had asked for when it was displaced may still have come: the next deploy sees it.
    assert there.operator().deploy(theirs).ok
    is_as_planned(there, theirs)
    assert set(groups_in(there.cloud.truth())) == {group_of(theirs, one).name for one in ("web", "worker")}


def many(count: int) -> Plan:
    resources = (one for number in range(count) for one in SAMPLES.workload(workload=f"web-{number}", replicas=2))
    return SAMPLES.plan(*resources)


def test_a_deploy_of_what_is_there_makes_as_many_calls_whatever_there_is(tmp_path: Path) -> None:
    """Never one for each resource: three Deployments cost as much as thirty."""
    calls = []
    for count in (3, 30):
        cloud = FakeCloud()
        operator = Operator(cloud=cloud, folder=tmp_path)
        assert operator.deploy(many(count)).ok
        cloud.forget_calls()
        assert {one.result for one in operator.deploy(many(count)).changes} == {"unchanged"}
        calls.append(Counter(call.method for call in cloud.calls))
    assert calls[0] == calls[1]
    assert not {"apply", "health", "logs"} & set(calls[0])
    assert sum(calls[0].values()) <= 10
