"""What the rollouts of a plan will do, step by step, if every new member becomes ready. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from attrs import evolve

from i2kit.courses import Course, Stage
from i2kit.plan import Changes, GroupHealth, Observed
from i2kit.records import last_release
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
    released = last_release(preview.entries)
    before = released.plan.by_key() if released and released.plan else {}
    by_key = {change.key: change for change in preview.changes.changes}
    stage = Stage.of(by_key, before, _world(preview.observed, preview.changes), preview.changes.rollouts)
    return {one.workload: simulate(one, _start(stage, one)) for one in preview.changes.rollouts}


def simulate(rollout: Rollout, seen: Seen, now: float = 0.0) -> tuple[Step, ...]:
    """Return the steps that the rollout takes when every member becomes ready."""
    steps: list[Step] = []
    for _ in range(_MOST_STEPS):
        action = next_step(rollout, seen, now)
        match action:
            case Resize(group=group):
                there = group.name in seen.groups
                before = seen.groups[group.name].size if there else 0
                text = f"{group.name}: size {before} -> {group.replicas}" if there else f"{group.name}: new, size {group.replicas}"
                if not there or before != group.replicas:
                    steps.append(Step(kind="resize", text=text))
                state = GroupSeen(size=group.replicas, ready=group.replicas, available=group.replicas, scaling=group.scaling is not None)
                seen = evolve(seen, groups={**seen.groups, group.name: state}, progressed=now)
            case Shift(weights=weights):
                shown = ", ".join(f"{name} {weight}%" for name, weight in weights.items())
                steps.append(Step(kind="traffic", text=f"traffic: {shown}"))
                seen = evolve(seen, traffic=weights, unsettled=False)
            case Remove(group=group):
                steps.append(Step(kind="remove", text=f"{group.name}: drained and removed"))
                left = {name: one for name, one in seen.groups.items() if name != group.name}
                seen = evolve(seen, groups=left, traffic={name: weight for name, weight in seen.traffic.items() if name != group.name})
            case Restore():
                seen = evolve(seen, restored=True)
            case Advance(position=position):
                rollout = evolve(rollout, position=position)
            case Wait(reason=reason, until=until):
                if until is None:
                    return (*steps, Step(kind="wait", text=f"wait: {reason}"))
                steps.append(Step(kind="wait", text=reason))
                now = until
            case Pause(reason=reason):
                steps.append(Step(kind="pause", text=reason))
                rollout = evolve(rollout, position=evolve(rollout.position, promoted=True))
            case _:
                return tuple(steps)
    return tuple(steps)


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
