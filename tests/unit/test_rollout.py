"""The way of one workload from revision to revision: every strategy, every order in which members get ready, and back from everywhere."""

from __future__ import annotations

import pytest
from attrs import evolve
from rolling import (
    DEADLINE,
    START,
    WEB,
    Check,
    Members,
    State,
    after,
    explore,
    group,
    has_arrived,
    healthy,
    is_back,
    serves_only_with_members,
    start,
    stays_within,
    update,
)

from i2kit import rollout as rollouts
from i2kit.rollout import next_step
from i2kit.simulation import simulate
from i2kit.steps import Advance, Done, GroupSeen, Pause, Position, Remove, Resize, Rollout, Seen, Shift, Step, Undone, Wait
from i2kit.strategy import Amount, CanaryStep, Scaling, Strategy

AMOUNTS = (*(Amount(value=number) for number in range(4)), *(Amount(value=share, percent=True) for share in (0, 25, 50, 100)))
CANARY = Strategy(type="canary", steps=(CanaryStep(weight=20), CanaryStep(weight=60)))
TO_THE_END = Strategy(type="canary", steps=(CanaryStep(weight=50), CanaryStep(weight=100, pause_seconds=None)))
CAREFUL = Strategy(type="canary", steps=(CanaryStep(weight=25, pause_seconds=30), CanaryStep(weight=50, pause_seconds=None)))
BLUE_GREEN, MANUAL = Strategy(type="blue-green"), Strategy(type="blue-green", promotion="manual")
RECREATE = Strategy(type="recreate")


def rolling(surge: Amount, unavailable: Amount) -> Strategy:
    return Strategy(max_surge=surge, max_unavailable=unavailable)


def bounds(strategy: Strategy, size: int) -> tuple[int, int]:
    """What Kubernetes documents: surge is rounded up, unavailable down, and where both come to nothing one may be unavailable."""
    surge = strategy.max_surge.of(size, up=True)
    unavailable = min(size, strategy.max_unavailable.of(size, up=False))
    return (surge, unavailable) if surge or unavailable else (0, 1)


@pytest.mark.parametrize("size", range(7))
def test_a_rolling_update_keeps_its_bounds_and_arrives_whatever_gets_ready_first(size: int) -> None:
    for surge in AMOUNTS:
        for unavailable in AMOUNTS:
            strategy = rolling(surge, unavailable)
            for balanced in (True, False):
                found = explore(healthy(update(strategy, size, balanced=balanced)), stays_within(*bounds(strategy, size)))
                assert found.ends
                for end in found.ends:
                    has_arrived(*end)


@pytest.mark.parametrize("weights", [True, False])
def test_a_rolling_update_to_another_size_keeps_its_bounds(weights: bool) -> None:
    for size in range(1, 6):
        for old_size in range(1, 6):
            for surge, unavailable in [(1, 0), (0, 1), (2, 1)]:
                strategy = rolling(Amount(value=surge), Amount(value=unavailable))
                found = explore(healthy(update(strategy, size, old_size, weights=weights)), stays_within(surge, unavailable))
                for end in found.ends:
                    has_arrived(*end)


@pytest.mark.parametrize("ready", range(4))
def test_old_members_that_are_not_ready_hold_nothing_up(ready: int) -> None:
    rollout = update(rolling(Amount(value=1), Amount(value=0)), 3)
    begin = start(rollout, {"old": Members(size=3, ready=ready, failing=True)}, {"old": 100})
    found = explore(begin, stays_within(1, 0))
    for end in found.ends:
        has_arrived(*end)


def nothing_beside(state: State, action: rollouts.Action, later: State | None) -> None:
    """Two revisions never run at once."""
    if later is not None:
        assert len([name for name, one in later.groups if one.size]) <= 1, f"both revisions run after {action}"


@pytest.mark.parametrize("balanced", [True, False])
@pytest.mark.parametrize("size", range(1, 5))
def test_recreate_never_runs_both_revisions(size: int, balanced: bool) -> None:
    found = explore(healthy(update(RECREATE, size, balanced=balanced)), nothing_beside)
    for end in found.ends:
        has_arrived(*end)


def one_switch(state: State, action: rollouts.Action, later: State | None) -> None:
    """The new revision has none of the traffic, or all of it, and then it is whole; the old one stays whole until then."""
    serves_only_with_members(state, action, later)
    if later is None:
        return
    assert later.weights.get("new", 0) in (0, 100)
    if later.weights.get("new") == 100 and state.weights.get("new") != 100:
        assert later.there["new"].ready == state.plan.size
    if later.weights.get("old"):
        assert later.there["old"].size == state.plan.olds[0].replicas


@pytest.mark.parametrize("weights", [True, False])
@pytest.mark.parametrize("strategy", [BLUE_GREEN, MANUAL])
@pytest.mark.parametrize("size", range(1, 5))
def test_blue_green_switches_once(size: int, strategy: Strategy, weights: bool) -> None:
    found = explore(healthy(update(strategy, size, weights=weights)), one_switch)
    for end in found.ends:
        has_arrived(*end)


@pytest.mark.parametrize("strategy", [Strategy(), CANARY, BLUE_GREEN])
def test_where_the_balancer_itself_changes_all_of_the_traffic_moves_at_once(strategy: Strategy) -> None:
    found = explore(healthy(update(strategy, 3, at_once=True)), one_switch)
    for end in found.ends:
        has_arrived(*end)


def test_a_manual_promotion_pauses_with_the_new_revision_whole_and_without_traffic() -> None:
    found = explore(healthy(update(MANUAL, 3)), one_switch, promote=False)
    for state, action in found.ends:
        assert isinstance(action, Pause)
        assert state.there["new"] == Members(size=3, ready=3)
        assert state.weights == {"old": 100, "new": 0}


def in_steps(strategy: Strategy, *, weights: bool) -> Check:
    """Traffic comes in the strategy's shares and not before there are members for it; with weights the old one stays whole."""
    shares = {0, *(step.weight for step in strategy.steps), 100}

    def check(state: State, action: rollouts.Action, later: State | None) -> None:
        serves_only_with_members(state, action, later)
        if later is None:
            return
        share = later.weights.get("new", 0)
        assert share in shares, f"{share}% after {action}"
        size = later.there["new"].ready if "new" in later.there else 0
        assert size * 100 >= share * state.plan.size, f"{share}% of the traffic for {size} members"
        if weights and share < 100:
            assert later.there["old"].size == state.plan.olds[0].replicas
        # Nobody serves less than before, but for the rounding of the shares.
        assert later.ready >= min(state.ready, state.plan.size)

    return check


@pytest.mark.parametrize("weights", [True, False])
@pytest.mark.parametrize("strategy", [CANARY, CAREFUL, TO_THE_END])
@pytest.mark.parametrize("size", range(1, 6))
def test_a_canary_goes_in_steps(size: int, strategy: Strategy, weights: bool) -> None:
    found = explore(healthy(update(strategy, size, weights=weights)), in_steps(strategy, weights=weights))
    for end in found.ends:
        has_arrived(*end)


def test_a_canary_pauses_by_the_clock_and_then_for_somebody() -> None:
    found = explore(healthy(update(CAREFUL, 4)), serves_only_with_members, promote=False)
    assert found.ends
    for state, action in found.ends:
        assert isinstance(action, Pause)
        assert "step 2 of 2 (50% of the traffic)" in action.reason
        assert state.now == START + 30
        assert state.weights == {"old": 50, "new": 50}
        assert state.there["new"] == Members(size=2, ready=2)


def test_without_weights_a_canary_has_its_share_of_the_members() -> None:
    found = explore(healthy(update(CAREFUL, 4, weights=False)), serves_only_with_members, promote=False)
    for state, _ in found.ends:
        assert (state.there["new"].size, state.there["old"].size) == (2, 2)


STRATEGIES = {
    "rolling": Strategy(),
    "rolling without surge": rolling(Amount(value=0), Amount(value=1)),
    "rolling with both": rolling(Amount(value=2), Amount(value=1)),
    "recreate": RECREATE,
    "blue-green": BLUE_GREEN,
    "blue-green, manual": MANUAL,
    "canary": CANARY,
    "careful canary": CAREFUL,
    "canary to the end": TO_THE_END,
}


@pytest.mark.parametrize("balanced", [True, False])
@pytest.mark.parametrize("weights", [True, False])
@pytest.mark.parametrize("name", STRATEGIES)
def test_from_everywhere_there_is_a_way_back(name: str, weights: bool, balanced: bool) -> None:
    """Whenever it fails, or is aborted, the last good revision is put back whole, and nothing of the new one is left."""
    for size, old_size in [(1, 1), (3, 3), (4, 2), (2, 4)]:
        rollout = update(STRATEGIES[name], size, old_size, weights=weights, balanced=balanced)
        ways = explore(healthy(rollout), lambda *_: None)
        for state in ways.states:
            begin = state.give_up()
            found = explore(begin, back_serves)
            assert found.ends
            for end in found.ends:
                is_back(*end)


def back_serves(state: State, action: rollouts.Action, later: State | None) -> None:
    """On the way back nobody is taken from where he serves before somebody else can."""
    serves_only_with_members(state, action, later)
    if later is not None and state.serving:
        assert later.serving, f"nobody serves after {action}"


@pytest.mark.parametrize("name", STRATEGIES)
def test_what_never_gets_ready_is_given_up_when_its_deadline_has_passed(name: str) -> None:
    for size in (1, 3):
        found = explore(healthy(update(STRATEGIES[name], size)), serves_only_with_members, failing=True)
        assert found.ends
        for state, action in found.ends:
            is_back(state, action)
            assert f"not ready after {DEADLINE} s without progress" in state.position.undo
            assert state.now >= START + DEADLINE


def test_before_its_deadline_nothing_is_given_up() -> None:
    rollout = update(Strategy(), 2)
    seen = Seen(
        groups={"old": GroupSeen(size=2, ready=2), "new": GroupSeen(size=1, ready=0)}, traffic={"old": 100, "new": 0}, progressed=START
    )
    assert isinstance(next_step(rollout, seen, START + DEADLINE - 0.1), Wait)
    late = next_step(rollout, seen, START + DEADLINE)
    assert isinstance(late, Advance)
    assert late.position.undo


def test_a_group_that_nobody_could_look_at_gets_longer() -> None:
    rollout = update(Strategy(), 2)
    seen = Seen(groups={"old": GroupSeen(size=2), "new": GroupSeen(size=1)}, traffic={"old": 100, "new": 0}, progressed=START)
    assert isinstance(next_step(rollout, seen, START + DEADLINE), Wait)
    assert isinstance(next_step(rollout, seen, START + DEADLINE + 60), Advance)


def test_a_failed_group_stays_when_it_is_to_be_looked_at() -> None:
    rollout = evolve(update(Strategy(), 2), keep_failed=True)
    found = explore(healthy(rollout), serves_only_with_members, failing=True)
    for state, action in found.ends:
        assert action == Undone()
        assert set(state.there) == {"old", "new"}
        assert state.there["old"] == Members(size=2, ready=2)
        assert state.weights == {"old": 100}


def test_the_old_revision_that_does_not_come_back_is_told() -> None:
    begin = healthy(update(RECREATE, 2)).give_up()
    dead = evolve(begin.with_groups({"old": Members(size=2, ready=0, failing=True)}), position=begin.position)
    found = explore(dead, lambda *_: None)
    assert [action for _, action in found.ends] == [Undone(problem="of the old revision, 0 of 2 members are ready")]


def with_stray(strategy: Strategy, *, balanced: bool = True) -> Rollout:
    """An update while a third revision is there, which nobody goes back to."""
    rollout = update(strategy, 2, balanced=balanced)
    return evolve(rollout, olds=(*rollout.olds, group("stray", 2)))


@pytest.mark.parametrize("balanced", [True, False])
@pytest.mark.parametrize(("weight", "ready"), [(0, 2), (0, 0), (50, 2), (50, 0), (100, 2)])
@pytest.mark.parametrize("name", STRATEGIES)
def test_what_an_earlier_run_left_goes(name: str, weight: int, ready: int, balanced: bool) -> None:
    there = {"old": Members(size=2, ready=2), "stray": Members(size=2, ready=ready, failing=not ready)}
    traffic = {one: share for one, share in {"old": 100 - weight, "stray": weight}.items() if share}
    begin = start(with_stray(STRATEGIES[name], balanced=balanced), there, traffic)
    check = (lambda *_: None) if name == "recreate" else serves_only_with_members
    for end in explore(begin, check).ends:
        has_arrived(*end)
    for state in explore(begin, check).states:
        for end in explore(state.give_up(), check).ends:
            is_back(*end)


@pytest.mark.parametrize("stray", [Members(size=2, ready=2), Members(size=2, ready=0), Members(size=1, ready=1)], ids=repr)
@pytest.mark.parametrize("weight", [0, 25, 100])
@pytest.mark.parametrize(("before", "size"), [(4, 2), (2, 2), (1, 3)])
@pytest.mark.parametrize("name", STRATEGIES)
def test_to_the_last_good_release_itself_there_are_no_steps(name: str, before: int, size: int, weight: int, stray: Members) -> None:
    """A run to another version died, and the last good one is wanted again: it loses nobody who is needed."""
    rollout = evolve(
        update(STRATEGIES[name], size),
        new=group("old", size),
        stable=group("old", before),
        olds=(group("new", 2),),
        position=Position(to="old"),
    )
    least = min(size, before) - (STRATEGIES[name].limits(size)[1] if "rolling" in name else 0)

    def check(state: State, action: rollouts.Action, later: State | None) -> None:
        serves_only_with_members(state, action, later)
        assert later is None or later.there["old"].ready >= min(least, state.there["old"].ready), f"too few members after {action}"
        assert not isinstance(action, Pause), "there is nothing to promote"

    begin = start(rollout, {"old": Members(size=before, ready=before), "new": stray}, {"old": 100 - weight, "new": weight})
    found = explore(begin, (lambda *_: None) if name == "recreate" else check)
    assert found.ends
    for end in found.ends:
        has_arrived(*end)


def test_a_first_deploy_has_nothing_to_wait_for_and_is_removed_when_it_fails() -> None:
    first = evolve(update(Strategy(), 3), olds=(), stable=None)
    for end in explore(start(first, {}, {}), lambda *_: None).ends:
        has_arrived(*end)
    found = explore(start(first, {}, {}), lambda *_: None, failing=True)
    for state, action in found.ends:
        assert action == Undone()
        assert state.there == {}


@pytest.mark.parametrize(("before", "size"), [(1, 3), (3, 1), (2, 2)])
def test_a_change_of_size_alone_fails_back_to_the_former_size(before: int, size: int) -> None:
    was = group("new", before)
    rollout = evolve(update(Strategy(), size), olds=(), stable=was)
    begin = start(rollout, {"new": Members(size=before, ready=before)}, {"new": 100})
    for end in explore(begin, serves_only_with_members).ends:
        has_arrived(*end)
    for state in explore(begin, serves_only_with_members).states:
        for end in explore(state.give_up(), serves_only_with_members).ends:
            is_back(*end)


BETWEEN = Scaling(minimum=1, maximum=5)


def test_scaling_pauses_during_the_rollout_and_goes_on_after_it() -> None:
    rollout = update(Strategy(), 3)
    rollout = evolve(rollout, new=group("new", 3, BETWEEN), olds=(group("old", 3, BETWEEN),), stable=group("old", 3, BETWEEN))
    begin = start(rollout, {"old": Members(size=3, ready=3, scaling=True)}, {"old": 100})
    assert begin.next() == Resize(group=evolve(group("old", 3, BETWEEN), scaling=None), reason="scaling pauses during the rollout")

    def paused(state: State, action: rollouts.Action, later: State | None) -> None:
        stays_within(1, 0)(state, action, later)
        if later is not None and len(later.groups) == 2 and later != begin:
            assert not any(one.scaling for name, one in later.groups), f"a group scales beside another after {action}"

    for state, action in explore(begin, paused).ends:
        has_arrived(state, action)
        assert state.there["new"].scaling
    for state in explore(begin, paused).states:
        for end, action in explore(state.give_up(), lambda *_: None).ends:
            is_back(end, action)
            assert end.there["old"].scaling


def test_the_size_that_the_load_gave_is_put_back() -> None:
    old = group("old", 2, BETWEEN)
    rollout = evolve(update(Strategy(), 4), olds=(old,), stable=old, position=Position(to="new", before=4))
    begin = start(rollout, {"old": Members(size=4, ready=4, scaling=True)}, {"old": 100})
    for state in explore(begin, lambda *_: None).states:
        for end, action in explore(state.give_up(), lambda *_: None).ends:
            assert action == Undone()
            assert end.there == {"old": Members(size=4, ready=4, scaling=True)}


def test_a_repaired_group_is_applied_at_its_size() -> None:
    rollout = evolve(update(Strategy(), 2), olds=(), stable=group("new", 2))
    seen = Seen(groups={"new": GroupSeen(size=2, ready=2, available=2, broken=True)}, traffic={"new": 100})
    action = next_step(rollout, seen, START)
    assert isinstance(action, Resize)
    assert action.group.replicas == 2


def test_members_count_when_they_were_ready_for_long_enough() -> None:
    rollout = update(rolling(Amount(value=1), Amount(value=0)), 1)
    seen = Seen(groups={"old": GroupSeen(size=1, ready=1), "new": GroupSeen(size=1, ready=1, available=0)}, traffic={"old": 100, "new": 0})
    assert isinstance(next_step(rollout, seen, 0.0), Wait)
    ready = evolve(seen, groups={**seen.groups, "new": GroupSeen(size=1, ready=1, available=1)})
    assert isinstance(next_step(rollout, ready, 0.0), Shift)


def test_the_last_steps_come_in_order() -> None:
    """All traffic first, then the old group goes."""
    found = explore(healthy(update(BLUE_GREEN, 2)), serves_only_with_members)
    for state in found.states:
        action = state.next()
        if isinstance(action, Remove):
            assert state.weights == {"new": 100}
        later = after(state, action)
        if isinstance(action, Done):
            assert later is None


SIMULATED = {
    "rolling": (
        rolling(Amount(value=1), Amount(value=0)),
        [
            ("resize", "new: new, size 1"),
            ("traffic", "traffic: old 100%, new 0%"),
            ("traffic", "traffic: old 50%, new 50%"),
            ("resize", "old: size 2 -> 1"),
            ("resize", "new: size 1 -> 2"),
            ("traffic", "traffic: new 100%"),
            ("remove", "old: drained and removed"),
        ],
    ),
    "recreate": (
        RECREATE,
        [
            ("resize", "old: size 2 -> 0"),
            ("resize", "new: new, size 2"),
            ("traffic", "traffic: new 100%"),
            ("remove", "old: drained and removed"),
        ],
    ),
    "blue-green, manual": (
        MANUAL,
        [
            ("resize", "new: new, size 2"),
            ("traffic", "traffic: old 100%, new 0%"),
            ("pause", "step 1 of 1 (0% of the traffic): waiting to be promoted or aborted"),
            ("traffic", "traffic: new 100%"),
            ("remove", "old: drained and removed"),
        ],
    ),
    "careful canary": (
        CAREFUL,
        [
            ("resize", "new: new, size 1"),
            ("traffic", "traffic: old 100%, new 0%"),
            ("traffic", "traffic: old 75%, new 25%"),
            ("wait", "step 1 of 2 (25% of the traffic): 30 s pause"),
            ("traffic", "traffic: old 50%, new 50%"),
            ("pause", "step 2 of 2 (50% of the traffic): waiting to be promoted or aborted"),
            ("resize", "new: size 1 -> 2"),
            ("traffic", "traffic: new 100%"),
            ("remove", "old: drained and removed"),
        ],
    ),
}


@pytest.mark.parametrize("name", SIMULATED)
def test_a_plan_shows_the_steps(name: str) -> None:
    strategy, expected = SIMULATED[name]
    seen = Seen(groups={"old": GroupSeen(size=2, ready=2, available=2)}, traffic={"old": 100})
    assert simulate(update(strategy, 2), seen) == tuple(Step(kind=kind, text=text) for kind, text in expected)  # type: ignore[arg-type]


def test_balancers_are_only_named_where_there_are_any() -> None:
    steps = simulate(update(Strategy(), 2, balanced=False), Seen(groups={"old": GroupSeen(size=2, ready=2, available=2)}))
    assert {step.kind for step in steps} == {"resize", "remove"}
    assert WEB in update(Strategy(), 2).balancers


def test_an_abort_clears_up_beside_the_group_it_goes_back_to() -> None:
    """Also where the rollout that is given up was one back to that very group."""
    stable = group("old", 2)
    rollout = evolve(update(Strategy(), 2), new=stable, stable=stable, olds=(group("stray", 2),), position=Position(to="old"))
    rollout = rollout.give_up("aborted", aborted=True)
    there = {"old": GroupSeen(size=2, ready=2, available=2), "stray": GroupSeen(size=2, ready=2)}
    assert isinstance(next_step(rollout, Seen(groups=there, traffic={"old": 100}), 0.0), Remove)


def test_the_way_back_waits_for_the_old_members_while_a_stray_serves() -> None:
    rollout = update(Strategy(), 2)
    rollout = evolve(rollout, olds=(*rollout.olds, group("stray", 2))).give_up("aborted", aborted=True)
    groups = {"old": GroupSeen(size=2, ready=0), "new": GroupSeen(size=1, ready=1, available=1), "stray": GroupSeen(size=2, ready=2)}
    seen = Seen(groups=groups, traffic={"stray": 100, "new": 0}, restored=False)
    assert isinstance(next_step(rollout, seen, 0.0), Wait)


def test_a_run_that_goes_on_leaves_the_new_members_the_traffic_they_have() -> None:
    rollout = update(Strategy(max_surge=Amount(value=1), max_unavailable=Amount(value=0)), 2)
    groups = {"old": GroupSeen(size=2, ready=2), "new": GroupSeen(size=1, ready=1, lately=1, available=0)}
    step = next_step(rollout, Seen(groups=groups, traffic={"old": 67, "new": 33}), 0.0)
    assert isinstance(step, Wait)
