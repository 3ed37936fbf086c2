"""What the rollouts of a plan will do, step by step, if every new member becomes ready. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from attrs import evolve

from i2kit.courses import Course, Stage
from i2kit.plan import Changes, GroupHealth, Observed
from i2kit.records import Entry, last_release
from i2kit.resources import InstanceGroup
from i2kit.rollout import next_step
from i2kit.steps import Advance, GroupSeen, Pause, Remove, Resize, Restore, Rollout, Seen, Shift, Step, Wait
from i2kit.world import Look, World

if TYPE_CHECKING:
    from i2kit.operations import Preview

_MOST_STEPS = 10_000


def steps_of(preview: Preview) -> Mapping[str, tuple[Step, ...]]:
    """Return by workload (``namespace/name``) the steps that its rollout takes; a workload with nothing to do has none.

    Members of old groups count as ready and available if they were observed so; those of the new group become it.
    """
    starts = _starts(preview.changes, preview.observed, preview.entries)
    return {one.workload: simulate(one, starts[one.workload]) for one in preview.changes.rollouts}


def growth(changes: Changes, observed: Observed, entries: Sequence[Entry]) -> Mapping[str, int]:
    """Return by workload how many members more than now it has at any time of its rollout; `entries` are the application's records."""
    starts = _starts(changes, observed, entries)
    return {one.workload: _growth(one, starts[one.workload]) for one in changes.rollouts}


def _growth(rollout: Rollout, seen: Seen) -> int:
    return max((_members(later) for _, later in _walk(rollout, seen, 0.0)), default=0) - _members(seen)


def _members(seen: Seen) -> int:
    return sum(group.size for group in seen.groups.values())


def _starts(changes: Changes, observed: Observed, entries: Sequence[Entry]) -> Mapping[str, Seen]:
    """Return by workload what its rollout begins with."""
    released = last_release(entries)
    before = released.plan.by_key() if released and released.plan else {}
    by_key = {change.key: change for change in changes.changes}
    stage = Stage.of(by_key, before, _world(observed, changes), changes.rollouts)
    return {one.workload: _start(stage, one) for one in changes.rollouts}


def simulate(rollout: Rollout, seen: Seen, now: float = 0.0) -> tuple[Step, ...]:
    """Return the steps that the rollout takes when every member becomes ready."""
    return tuple(step for step, _ in _walk(rollout, seen, now) if step is not None)


def _walk(rollout: Rollout, seen: Seen, now: float) -> Iterator[tuple[Step | None, Seen]]:
    """Yield what follows each action, with the step that a plan shows of it, if it shows one."""
    for _ in range(_MOST_STEPS):
        action = next_step(rollout, seen, now)
        step: Step | None = None
        match action:
            case Resize(group=group):
                there = group.name in seen.groups
                before = seen.groups[group.name].size if there else 0
                text = f"{group.name}: size {before} -> {group.replicas}" if there else f"{group.name}: new, size {group.replicas}"
                if not there or before != group.replicas:
                    step = Step(kind="resize", text=text)
                state = GroupSeen(size=group.replicas, ready=group.replicas, available=group.replicas, scaling=group.scaling is not None)
                seen = evolve(seen, groups={**seen.groups, group.name: state}, progressed=now)
            case Shift(weights=weights):
                shown = ", ".join(f"{name} {weight}%" for name, weight in weights.items())
                step = Step(kind="traffic", text=f"traffic: {shown}")
                seen = evolve(seen, traffic=weights, unsettled=False)
            case Remove(group=group):
                step = Step(kind="remove", text=f"{group.name}: drained and removed")
                left = {name: one for name, one in seen.groups.items() if name != group.name}
                seen = evolve(seen, groups=left, traffic={name: weight for name, weight in seen.traffic.items() if name != group.name})
            case Restore():
                seen = evolve(seen, restored=True)
            case Advance(position=position):
                rollout = evolve(rollout, position=position)
            case Wait(reason=reason, until=until):
                if until is None:
                    yield Step(kind="wait", text=f"wait: {reason}"), seen
                    return
                step, now = Step(kind="wait", text=reason), until
            case Pause(reason=reason):
                step = Step(kind="pause", text=reason)
                rollout = evolve(rollout, position=evolve(rollout.position, promoted=True))
            case _:
                return
        yield step, seen


def _world(observed: Observed, changes: Changes) -> World:
    world = World.of(observed, changes.changes)
    for one in observed.resources:
        if isinstance(one.resource, InstanceGroup):
            ready = [member.id for member in one.instances if member.ready]
            health = GroupHealth(ready=len(ready), instances=one.instances)
            # Since when a member is ready is not observed: for long enough.
            world.looks[one.resource.name] = Look(since=dict.fromkeys(ready, -math.inf), last=health, best=len(ready), fresh=True)
    return world


def _start(stage: Stage, rollout: Rollout) -> Seen:
    seen = stage.seen(Course(rollout=rollout, progressed=0.0), now=0.0)
    new = seen.groups.get(rollout.new.name)
    if new is None or rollout.undoing:
        return seen
    return evolve(seen, groups={**seen.groups, rollout.new.name: evolve(new, ready=new.size, available=new.size)})
