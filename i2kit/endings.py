"""What is told of a rollout that was undone. Pure."""

from __future__ import annotations

from attrs import frozen

from i2kit.courses import Course
from i2kit.plan import Result
from i2kit.steps import Undone


@frozen(kw_only=True)
class Ending:
    """The outcome of a new group that has not come to stay; it is `rolled_back` when everything is as it was before."""

    result: Result
    message: str
    rolled_back: bool


def ending_of(course: Course, end: Undone, *, there: bool) -> Ending:
    """Return how a rollout that was undone has ended; `there` tells whether its group still is."""
    rollout, stable = course.rollout, course.rollout.stable
    changed = stable is not None and stable.name == rollout.new.name
    kept = there and not changed
    back = stable is not None and not end.problem and (not changed or stable.replicas != rollout.new.replicas)
    told = [
        course.failure or rollout.position.undo,
        f"{stable.name} serves again" if back and stable else "",
        "the group was removed" if stable is None and not kept else "",
        f"{rollout.new.name} is {'kept to be looked at' if rollout.keep_failed else 'left; the next deploy removes it'}" if kept else "",
        end.problem,
    ]
    aborted = rollout.position.aborted and not end.problem
    return Ending(
        result="aborted" if aborted else "failed",
        message="; ".join(one for one in told if one),
        rolled_back=back and not aborted,
    )
