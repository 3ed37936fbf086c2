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
from i2kit.rollout import simulate
from i2kit.steps import Rollout, Seen, Step
from i2kit.world import Look, World

if TYPE_CHECKING:
    from i2kit.operations import Preview


def steps_of(preview: Preview) -> Mapping[str, tuple[Step, ...]]:
    """Return by workload (``namespace/name``) the steps that its rollout takes; a workload with nothing to do has none.

    Members of old groups count as ready and available if they were observed so; those of the new group become it.
    """
    released = last_release(preview.entries)
    before = released.plan.by_key() if released and released.plan else {}
    by_key = {change.key: change for change in preview.changes.changes}
    stage = Stage.of(by_key, before, _world(preview.observed, preview.changes), preview.changes.rollouts)
    return {one.workload: simulate(one, _start(stage, one)) for one in preview.changes.rollouts}


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
