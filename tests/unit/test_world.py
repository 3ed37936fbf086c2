"""What a run knows of groups, and of how late answers change it."""

from __future__ import annotations

import pytest
from attrs import evolve
from runs import SAMPLES

from i2kit.plan import Change, GroupHealth, Instance, Observed, ObservedResource
from i2kit.world import Look, World

GROUP = SAMPLES.group(replicas=2)


def health(*ready: str) -> GroupHealth:
    return GroupHealth(ready=len(ready), instances=tuple(Instance(id=one, group="web", state="running", ready=True) for one in ready))


def test_fewer_ready_members_count_once_the_answer_cannot_be_the_older_one() -> None:
    look = Look().seen(health("a", "b"), now=10.0, version=0, lag=2.0)
    assert look.seen(health("a"), now=12.0, version=0, lag=2.0).peak == (2, 10.0)
    assert look.seen(health("a"), now=12.1, version=0, lag=2.0).peak == (1, 12.1)


def test_where_answers_are_never_late_each_counts_at_once() -> None:
    look = Look().seen(health("a", "b"), now=10.0, version=0)
    assert look.seen(health(), now=10.5, version=0).peak == (0, 10.5)


def test_a_member_is_available_once_it_has_been_ready_for_long_enough_without_a_break() -> None:
    look = Look().seen(health("a"), now=10.0, version=0)
    assert (look.available(5, 14.9), look.available(5, 15.0)) == (0, 1)
    broken = look.seen(health(), now=12.0, version=0).seen(health("a"), now=13.0, version=0)
    assert (broken.available(5, 15.0), broken.available(5, 18.0)) == (0, 1)


def test_what_was_seen_before_a_change_does_not_count_after_it() -> None:
    look = Look().seen(health("a"), now=10.0, version=0).outdated()
    assert (look.ready, look.available(0, 20.0)) == (None, 0)
    assert look.seen(health("a"), now=20.0, version=0).ready is None
    assert look.seen(health("a"), now=20.0, version=1).ready == 1


def world(*sizes: int, lag: float = 2.0) -> World:
    """The world of a run that began at 100 and has given a group these sizes since, one a second; it is made with the first."""
    found = World.of(Observed(), (), lag, 100.0)
    for second, size in enumerate(sizes, start=1):
        change = Change(action="update" if size else "delete", resource=evolve(GROUP, replicas=size), reason="")
        found.applied(change, 100.0 + second)
    return found


@pytest.mark.parametrize(
    ("sizes", "since"),
    [
        ((2,), 102.0),  # it may have been removed just before the run began
        ((2, 3), 102.0),
        ((2, 0, 2), 104.0),
        ((2, 1, 2), 104.0),
        ((3, 2, 1), 102.0),  # who is left is seen as before, however late the answer is
    ],
)
def test_members_that_left_are_not_taken_for_those_that_came_in_their_place(sizes: tuple[int, ...], since: float) -> None:
    found = world(*sizes)
    assert [found.believes(GROUP.name, began) for began in (since - 0.1, since)] == [False, True]
    assert world(*sizes, lag=0.0).believes(GROUP.name, since - 2.0)


def test_a_group_that_was_there_and_only_grows_is_believed_at_once() -> None:
    found = World.of(Observed(resources=(ObservedResource(resource=GROUP),)), (), 2.0, 100.0)
    found.applied(Change(action="update", resource=evolve(GROUP, replicas=3), reason=""), 101.0)
    assert found.believes(GROUP.name, 101.0)


def test_one_that_comes_under_the_name_of_one_that_left_has_not_been_ready_before() -> None:
    found = world(2, lag=0.0)
    found.saw(GROUP.name, health("a", "b"), 102.0, 0)
    for second, size in ((103.0, 1), (104.0, 2)):
        found.outdate([GROUP.name])
        found.applied(Change(action="update", resource=evolve(GROUP, replicas=size), reason=""), second)
    assert found.saw(GROUP.name, health("a", "b"), 110.0, 2).available(5, 110.0) == 0
