"""Plans made of other plans, for what is wanted again: with workloads restarted, or as another release has them. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from attrs import evolve

from i2kit.plan import Plan
from i2kit.planner import fingerprint_of, groups_of, of_revision
from i2kit.resources import Balancer, Image, InstanceGroup, Resource, key
from i2kit.target import Target


def restarted(plan: Plan, workloads: Collection[tuple[str, str]], target: Target) -> Plan:
    """Return a plan in which workloads (namespace and name, as marks have them) are of another revision, and nothing else is new."""
    images = {one.name: one for one in plan.resources if isinstance(one, Image)}
    renamed: dict[str, InstanceGroup] = {}
    for group in groups_of(plan):
        if (group.mark.namespace, group.mark.workload) in workloads:
            again = evolve(group, restarts=group.restarts + 1)
            renamed[group.name] = of_revision(again, images[group.image], target)
    resources = tuple(_renamed(one, renamed) for one in plan.resources)
    strategies = {
        key(renamed[name.partition("/")[2]]) if name.partition("/")[2] in renamed else name: one for name, one in plan.strategies.items()
    }
    return evolve(plan, resources=resources, strategies=strategies, fingerprint=fingerprint_of(resources, strategies))


def _renamed(resource: Resource, renamed: Mapping[str, InstanceGroup]) -> Resource:
    if isinstance(resource, InstanceGroup):
        return renamed.get(resource.name, resource)
    if isinstance(resource, Balancer):
        backends = (evolve(one, group=renamed[one.group].name) if one.group in renamed else one for one in resource.backends)
        return evolve(resource, backends=tuple(backends))
    return resource


def merged(current: Plan, other: Plan, workloads: Collection[tuple[str, str]]) -> Plan:
    """Return `current` with workloads (namespace and name, as marks have them) as `other` has them."""
    theirs = {(one.mark.namespace, one.mark.workload): one for one in groups_of(other)}
    ours = {(one.mark.namespace, one.mark.workload): one for one in groups_of(current)}
    swapped = {ours[which].name: theirs[which] for which in workloads if which in ours and which in theirs}
    resources = {key(one): one for one in (_renamed(one, swapped) for one in current.resources)}
    available = other.by_key()
    needed = {name: available[name] for group in swapped.values() for name in group.needs if name in available}
    ordered = tuple({**needed, **resources}.values())
    chosen = {key(one): key(old) for which in workloads if (one := theirs.get(which)) and (old := ours.get(which))}
    strategies = {name: one for name, one in current.strategies.items() if name not in chosen.values()}
    strategies |= {name: other.strategies[name] for name in chosen if name in other.strategies}
    return evolve(current, resources=ordered, strategies=strategies, fingerprint=fingerprint_of(ordered, strategies))
