"""What a run knows of groups, and of how late answers change it."""

from __future__ import annotations

from i2kit.plan import GroupHealth, Instance
from i2kit.world import Look


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
