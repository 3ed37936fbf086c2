"""Rollouts that wait for somebody, or whose run ended half way: where they stand, and how they go on or back."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from attrs import evolve
from runs import dead_process
from shops import Shop, group_of, groups_in, is_as_planned, results, shop, weights_in

from i2kit.errors import InvalidInput
from i2kit.events import Event
from i2kit.plan import Plan
from i2kit.records import Holder, positions, this_process
from i2kit.strategy import CanaryStep, Strategy
from i2kit.testing.cloud import FakeCloud, never_ready

CANARY = Strategy(type="canary", steps=(CanaryStep(weight=25, pause_seconds=None), CanaryStep(weight=50, pause_seconds=None)))
OLD, NEW = shop("1", 4), shop("2", 4, strategy=CANARY)
WEB, WORKER = "default/web", "default/worker"


@pytest.fixture
def paused(tmp_path: Path) -> Shop:
    """Both workloads wait at the first step of their canaries."""
    there = Shop(cloud=FakeCloud(), folder=tmp_path)
    assert there.operator().deploy(OLD).ok
    assert there.operator().deploy(NEW).paused
    return there


def interrupted(at: Shop, plan: Plan, word: str) -> None:
    """Deploy, and press Ctrl-C when an event says `word`."""
    cancel = threading.Event()

    def report(event: Event) -> None:
        if word in event.message:
            cancel.set()

    assert evolve(at.operator(), cancel=cancel, report=report).deploy(plan).interrupted


def states(at: Shop) -> dict[str, str]:
    return {one.workload: one.state for one in at.operator().rollouts()}


def test_each_rollout_says_at_which_step_it_waits(paused: Shop) -> None:
    assert paused.operator().promote("web").paused
    told = {one.workload: (one.state, one.stage, one.message) for one in paused.operator().rollouts()}
    assert told == {
        WEB: ("paused", 2, "step 2 of 2 (50% of the traffic): waiting to be promoted or aborted"),
        WORKER: ("paused", 1, "step 1 of 2 (25% of the traffic): waiting to be promoted or aborted"),
    }


def test_one_that_is_promoted_to_its_end_leaves_the_other_waiting(paused: Shop) -> None:
    for _ in range(2):
        assert paused.operator().promote("web").paused
    assert weights_in(paused.cloud.truth()) == {group_of(NEW).name: 100}
    assert states(paused) == {WORKER: "paused"}
    for _ in range(2):
        assert paused.operator().promote().ok
    is_as_planned(paused, NEW)
    assert states(paused) == {}


def test_one_that_is_aborted_leaves_the_other_waiting_and_stays_aborted(paused: Shop) -> None:
    assert paused.operator().abort("web").ok
    assert groups_in(paused.cloud.truth(), "web") == {group_of(OLD).name: (4, 4)}
    assert states(paused) == {WORKER: "paused"}
    for _ in range(2):
        assert paused.operator().promote().ok
    assert groups_in(paused.cloud.truth(), "web") == {group_of(OLD).name: (4, 4)}
    assert groups_in(paused.cloud.truth(), "worker") == {group_of(NEW, "worker").name: (4, 4)}
    assert states(paused) == {}


def test_a_canary_goes_on_from_its_step_after_a_ctrl_c(paused: Shop) -> None:
    cancel = threading.Event()
    paused.cloud.watch(lambda truth: cancel.set() if weights_in(truth)[group_of(NEW).name] == 50 else None)
    assert evolve(paused.operator(), cancel=cancel).promote("web").interrupted
    assert weights_in(paused.cloud.truth())[group_of(NEW).name] == 50
    assert states(paused) == {WEB: "interrupted", WORKER: "interrupted"}
    with pytest.raises(InvalidInput, match="was interrupted, or failed in part; deploy again"):
        paused.operator().promote()
    assert paused.operator().deploy(NEW).paused
    assert {one.workload: one.stage for one in paused.operator().rollouts()} == {WEB: 2, WORKER: 1}


def test_a_promotion_that_is_stopped_before_it_did_anything_leaves_the_pause_where_it_was(paused: Shop) -> None:
    cancel = threading.Event()
    cancel.set()
    before = positions(paused.entries)
    assert not evolve(paused.operator(), cancel=cancel).promote().ok
    assert {name: one.stage for name, one in positions(paused.entries).items()} == {name: one.stage for name, one in before.items()}
    assert paused.operator().deploy(NEW).paused


def test_what_was_interrupted_can_be_taken_back(paused: Shop) -> None:
    interrupted(paused, shop("3", 4, strategy=CANARY), "25% of the traffic to the new revision")
    assert paused.operator().abort().ok
    assert groups_in(paused.cloud.truth()) == {group_of(OLD, one).name: (4, 4) for one in ("web", "worker")}
    assert weights_in(paused.cloud.truth()) == {group_of(OLD).name: 100}
    assert states(paused) == {}


def test_one_that_waits_beside_one_that_failed_goes_on_when_that_is_mended(paused: Shop) -> None:
    worse = shop("3", 4, strategy=CANARY)
    paused.cloud.behave(group_of(worse, "worker").name, never_ready())
    outcome = paused.operator().deploy(worse)
    assert not outcome.ok
    assert outcome.paused, results(outcome)
    assert states(paused) == {WEB: "interrupted"}
    paused.cloud.behave(group_of(worse, "worker").name, evolve(never_ready(), fate="serves"))
    assert paused.operator().deploy(worse).paused
    assert states(paused) == {WEB: "paused", WORKER: "paused"}


def test_a_run_that_died_right_behind_its_claim_changes_nothing_about_what_waits(paused: Shop) -> None:
    third = shop("3", 1)
    assert paused.killed(lambda run: run.deploy(third), 3, "after_effect")
    assert paused.entries[-1].kind == "claim"
    assert {one.revision for one in paused.operator().rollouts()} == {group_of(NEW, one).mark.revision for one in ("web", "worker")}
    assert paused.operator().abort().ok
    assert groups_in(paused.cloud.truth()) == {group_of(OLD, one).name: (4, 4) for one in ("web", "worker")}


@pytest.mark.parametrize(
    ("holder", "state", "told"),
    [
        (dead_process(), "interrupted", "died; deploy again to go on, or abort"),
        (evolve(this_process(), host="elsewhere"), "running", "on elsewhere"),
    ],
    ids=["one that died", "one that may live"],
)
def test_whether_somebody_is_at_work_is_told(holder: Holder, state: str, told: str, paused: Shop) -> None:
    assert paused.killed(lambda run: run.promote(), 14, "after_effect", holder=holder)
    assert set(states(paused).values()) == {state}
    assert all(told in one.message for one in paused.operator().rollouts())
    with pytest.raises(InvalidInput, match="deploy again: each" if state == "interrupted" else "is not over; wait for it"):
        paused.operator().promote()


def test_a_rolling_update_that_was_interrupted_has_no_steps_to_tell_of(tmp_path: Path) -> None:
    there = Shop(cloud=FakeCloud(boot_seconds=1.0), folder=tmp_path)
    assert there.operator().deploy(OLD).ok
    interrupted(there, shop("2", 4), "traffic follows the members")
    assert {one.message for one in there.operator().rollouts()} == {"deploy again to go on, or abort"}
    assert there.operator().deploy(shop("2", 4)).ok
    assert there.operator().rollouts() == ()
