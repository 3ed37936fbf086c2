"""Undo, rollback, restart, canaries, take-overs and collections that are killed at any call: another run finishes; no orphan, no twin."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from attrs import evolve, frozen
from clouds import Operator
from shops import Shop, again_is_nothing, copy_of, group_of, groups_in, is_as_planned, results, shop, weights_in

from i2kit.errors import InvalidInput
from i2kit.plan import Outcome, Plan
from i2kit.records import Holder, last_release, this_process
from i2kit.strategy import CanaryStep, Strategy
from i2kit.testing.cloud import FakeCloud, never_ready
from i2kit.testing.kill_points import PHASES, Call, Phase

CANARY = Strategy(type="canary", steps=(CanaryStep(weight=50, pause_seconds=None),))
OLD, NEW, CANARY_NEW, THIRD = shop("1"), shop("2"), shop("2", strategy=CANARY), shop("3", 1)
FORGETFUL = evolve(THIRD, history_limit=0)


def whole(at: Shop, plan: Plan) -> None:
    """Everything is as a plan says, and stays so."""
    is_as_planned(at, plan)
    again_is_nothing(at, plan)
    is_as_planned(at, plan)


def corrected(at: Shop) -> None:
    """A version that works is deployed over whatever there is."""
    assert at.operator().deploy(THIRD).ok
    whole(at, THIRD)


def destroyed(at: Shop) -> None:
    assert at.operator().destroy().ok
    assert at.cloud.truth().resources == ()
    assert at.entries == ()


def fails_again(at: Shop) -> None:
    """The version that never gets ready is deployed again: the old one is put back whole, and nothing of the new one is left."""
    outcome = at.operator().deploy(NEW)
    assert not outcome.ok
    assert groups_in(at.cloud.truth(), "web") == {group_of(OLD).name: (2, 2)}, results(outcome)
    # The other workload is not concerned.
    assert groups_in(at.cloud.truth(), "worker") == {group_of(NEW, "worker").name: (2, 2)}
    assert weights_in(at.cloud.truth()) == {group_of(OLD).name: 100}


def rolled_back_again(at: Shop) -> None:
    """The same command again goes on to where the first one was going, unless that had arrived: then it goes one release further back."""
    released = last_release(at.entries)
    arrived = released is not None and released.plan == OLD
    assert at.operator().rollback(to=1 if arrived else None).ok
    whole(at, OLD)


def restarted_again(at: Shop) -> None:
    assert at.operator().restart().ok
    released = last_release(at.entries)
    assert released is not None
    assert released.plan is not None
    assert {group_of(released.plan, one).restarts for one in ("web", "worker")} <= {1, 2}
    whole(at, released.plan)


def canary_again(at: Shop) -> None:
    """The canary is deployed again: it gets to its pause, and from there to its end."""
    outcome = at.operator().deploy(CANARY_NEW)
    if outcome.paused:
        truth = at.cloud.truth()
        pair = {group_of(OLD).name: 50, group_of(CANARY_NEW).name: 50}
        assert weights_in(truth) == pair
        assert set(groups_in(truth, "web")) == set(pair)
        outcome = at.operator().promote()
    assert outcome.ok, results(outcome)
    whole(at, CANARY_NEW)


def aborted_again(at: Shop) -> None:
    """What is left to abort is aborted; then the old version is whole, and deploying it changes nothing."""
    with suppress(InvalidInput):  # it was done
        assert at.operator().abort().ok
    with pytest.raises(InvalidInput, match="is under way"):
        at.operator().abort()
    assert groups_in(at.cloud.truth()) == {group_of(OLD, one).name: (2, 2) for one in ("web", "worker")}
    assert weights_in(at.cloud.truth()) == {group_of(OLD).name: 100}
    assert at.operator().deploy(OLD).ok
    whole(at, OLD)


def collected_again(at: Shop) -> None:
    at.wait()
    at.operator().collect()
    assert at.operator().collect() == ()
    whole(at, FORGETFUL)


def given_up(at: Shop) -> None:
    """The old manifests are deployed over whatever there is."""
    assert at.operator().deploy(OLD).ok
    whole(at, OLD)


def old(at: Shop) -> None:
    assert at.operator().deploy(OLD).ok


def old_and_new_fails(at: Shop) -> None:
    old(at)
    at.cloud.behave(group_of(NEW).name, never_ready())


def new(at: Shop) -> None:
    old(at)
    assert at.operator().deploy(NEW).ok


def at_the_pause(at: Shop) -> None:
    old(at)
    assert at.operator().deploy(CANARY_NEW).paused


def displaced(at: Shop) -> None:
    """A run on another machine has died half way; its lease goes on."""
    old(at)
    assert at.killed(lambda run: run.deploy(NEW), 20, "after_effect", holder=elsewhere())


def much(at: Shop) -> None:
    """Three versions came and went, and the last one keeps no history."""
    new(at)
    assert at.operator().deploy(FORGETFUL).ok


def elsewhere() -> Holder:
    return evolve(this_process(), host="elsewhere")


@frozen(kw_only=True)
class Case:
    """What there is, the command that is killed, and what finishes it: the same again, or something else."""

    prepare: Callable[[Shop], None]
    command: Callable[[Operator], object]
    again: Callable[[Shop], None]
    otherwise: tuple[Callable[[Shop], None], ...] = ()


def taking_over(operator: Operator) -> Outcome:
    return evolve(operator, options=evolve(operator.options, take_over=True)).deploy(NEW)


def same(at: Shop) -> None:
    assert at.operator(take_over=True).deploy(NEW).ok
    whole(at, NEW)


def corrected_by_force(at: Shop) -> None:
    assert at.operator(take_over=True).deploy(THIRD).ok
    whole(at, THIRD)


def destroyed_by_force(at: Shop) -> None:
    assert at.operator(take_over=True).destroy().ok
    assert at.cloud.truth().resources == ()
    assert at.entries == ()


CASES = {
    "undo": Case(prepare=old_and_new_fails, command=lambda run: run.deploy(NEW), again=fails_again, otherwise=(corrected, given_up)),
    "rollback": Case(prepare=new, command=lambda run: run.rollback(), again=rolled_back_again, otherwise=(corrected, destroyed)),
    "restart": Case(prepare=old, command=lambda run: run.restart(), again=restarted_again, otherwise=(corrected, destroyed)),
    "canary": Case(prepare=old, command=lambda run: run.deploy(CANARY_NEW), again=canary_again, otherwise=(given_up, destroyed)),
    "promote": Case(prepare=at_the_pause, command=lambda run: run.promote(), again=canary_again, otherwise=(given_up, destroyed)),
    "abort": Case(prepare=at_the_pause, command=lambda run: run.abort(), again=aborted_again, otherwise=(canary_again, corrected)),
    "collection": Case(prepare=much, command=lambda run: run.collect(), again=collected_again, otherwise=(given_up,)),
    "take-over": Case(prepare=displaced, command=taking_over, again=same, otherwise=(corrected_by_force, destroyed_by_force)),
}


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("name", CASES)
def test_another_run_finishes_what_was_killed(name: str, phase: Phase, tmp_path: Path) -> None:
    case = CASES[name]
    start = Shop(cloud=FakeCloud(), folder=tmp_path)
    case.prepare(start)
    calls: list[Call] = []
    while True:
        there = evolve(start, cloud=copy_of(start.cloud))
        call = there.killed(case.command, len(calls) + 1, phase)
        if call is None:
            break
        # The same command again after each call; the others take turns, each phase beginning with another one.
        turns = case.otherwise[(len(calls) + PHASES.index(phase)) % len(case.otherwise) :][:1] if case.otherwise else ()
        calls.append(call)
        for ending in (case.again, *turns):
            finished = evolve(start, cloud=copy_of(there.cloud))
            try:
                ending(finished)
            except Exception as error:
                raise AssertionError(f"{name}, killed {phase} call {call}, then {ending.__name__}: {error}") from error
    assert [call.number for call in calls] == list(range(1, len(calls) + 1))
    assert "append_record" in {call.method for call in calls}, "the run was not killed at what it does"
