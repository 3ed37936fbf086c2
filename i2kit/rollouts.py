"""Which workloads of a plan have a rollout before them, and from where to where it goes. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from attrs import evolve

from i2kit.plan import Change, ObservedResource, Plan
from i2kit.resources import Balancer, InstanceGroup, Resource, key
from i2kit.steps import Position, Rollout
from i2kit.strategy import Strategy

if TYPE_CHECKING:
    from i2kit.diff import Choices, Past


def workload_of(group: Resource) -> str:
    """Return what a rollout knows its workload by: ``namespace/name``."""
    return f"{group.mark.namespace}/{group.mark.workload}"


def rollouts(
    plan: Plan, seen: Mapping[str, ObservedResource], wanted: Sequence[Change], past: Past, choices: Choices
) -> tuple[Rollout, ...]:
    """Return a rollout for each planned group; one that is there, whole and alone has nothing left to do.

    `wanted` are the changes of the planned resources.
    """
    there: dict[str, list[InstanceGroup]] = defaultdict(list)
    for one in seen.values():
        if isinstance(one.resource, InstanceGroup) and one.resource.mark.application == plan.application:
            there[workload_of(one.resource)].append(one.resource)
    fronts = _fronts(wanted)
    released = _groups_of(past.released.resources if past.released else ())
    found = []
    for change in wanted:
        if isinstance(change.resource, InstanceGroup):
            group = change.resource
            olds = tuple(old for old in there[workload_of(group)] if old.name != group.name)
            moving = fronts[group.name] if olds or change.action != "no-op" else []
            found.append(_rollout(plan, group, olds, moving, released.get(workload_of(group)), seen, past, choices))
    return tuple(found)


def _fronts(wanted: Iterable[Change]) -> dict[str, list[Change]]:
    """Return by group the changes of the balancers that are there and stand, or are to stand, in front of it."""
    fronts: dict[str, list[Change]] = defaultdict(list)
    for change in wanted:
        if isinstance(change.resource, Balancer) and change.observed is not None:
            for backend in change.resource.backends:
                fronts[backend.group].append(change)
    return fronts


def _groups_of(resources: Iterable[Resource]) -> dict[str, InstanceGroup]:
    return {workload_of(one): one for one in resources if isinstance(one, InstanceGroup)}


def _rollout(
    plan: Plan,
    group: InstanceGroup,
    olds: tuple[InstanceGroup, ...],
    fronts: Sequence[Change],
    released: InstanceGroup | None,
    seen: Mapping[str, ObservedResource],
    past: Past,
    choices: Choices,
) -> Rollout:
    workload = workload_of(group)
    stable = released or _serving(olds, seen)
    live = seen.get(key(stable)) if stable else None
    before = live.resource.replicas if live and isinstance(live.resource, InstanceGroup) and stable and stable.scaling else None
    position = past.positions.get(workload)
    if position is None or position.to != group.name:
        position = Position(to=group.name, before=position.before if position else before)
    if position.undo and not position.aborted:
        # The run died while it put the old revision back: whoever runs again wants it tried again, from the first step.
        position = Position(to=group.name, before=position.before)
    # A run that died may have begun to take members from the old group: what counts is what it found.
    live_size = position.before if position.before is not None else before
    return Rollout(
        workload=workload,
        new=group,
        size=_size(group, live_size),
        olds=olds,
        stable=stable,
        strategy=plan.strategies.get(key(group), Strategy()),
        balancers=tuple(change.key for change in fronts),
        weights=choices.weights,
        at_once=bool(olds) and any(_changed(change) for change in fronts),
        keep_failed=choices.keep_failed,
        position=position,
    )


def _serving(olds: Sequence[InstanceGroup], seen: Mapping[str, ObservedResource]) -> InstanceGroup | None:
    """Return the old group to go back to where no release names one: that with the most members that are ready."""
    ready = {old.name: sum(one.ready for one in seen[key(old)].instances) for old in olds}
    best = max(olds, key=lambda old: ready[old.name], default=None)
    return best if best is not None and ready[best.name] else None


def _size(group: InstanceGroup, live: int | None) -> int:
    """Return the size to go for: with bounds, the live one."""
    if group.scaling is None:
        return group.replicas
    return max(group.scaling.minimum, min(group.scaling.maximum, live if live is not None else group.replicas))


def alike(there: Balancer, planned: Balancer) -> bool:
    """Whether a balancer is as planned but for the groups behind it."""
    return evolve(there, backends=(), mark=planned.mark) == evolve(planned, backends=())


def _changed(change: Change) -> bool:
    """Whether the balancer itself changes, and not only the groups behind it."""
    before, planned = change.observed.resource if change.observed else None, change.resource
    return isinstance(before, Balancer) and isinstance(planned, Balancer) and not alike(before, planned)
