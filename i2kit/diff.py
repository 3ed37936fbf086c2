"""Plan and Observed -> Changes: what has to happen, in order, and why. Pure; every no-op says why it is one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs
from attrs import evolve

from i2kit.errors import InvalidInput, Problem
from i2kit.plan import Change, Changes, Observed, ObservedResource, Plan, groups_of
from i2kit.resources import Balancer, DnsRecord, Image, InstanceGroup, Network, Resource, Secret, key

# The mark says who made a resource, not what it is: a difference there is a conflict or nothing, never an update.
_NOT_COMPARED = {"mark", "kind", "yaml", "sources"}


def diff(plan: Plan, observed: Observed, *, kept: frozenset[str] = frozenset()) -> Changes:
    """Return the changes that make `observed` what `plan` says.

    `kept` are keys of resources that must stay although nothing of the application uses them (images that other applications'
    release records name).
    Raises `InvalidInput` when a name that the plan needs belongs to another application.
    """
    _refuse_conflicts(plan, observed)
    desired, seen = plan.by_key(), observed.by_key()
    wanted = [
        evolve(_wanted(resource, seen.get(key(resource)), observed), gates=_gates(resource, seen.get(key(resource)), plan, observed))
        for resource in plan.resources
    ]
    unwanted = [_unwanted(one, plan) for one in _surplus(plan, observed, kept)]
    pending = {change.key for change in (*wanted, *unwanted) if change.action != "no-op"}
    changes = [
        *(evolve(change, needs=_needs(change.resource, pending)) for change in wanted),
        *(_ordered_delete(change, unwanted, wanted, desired) for change in unwanted),
    ]
    return Changes(environment=plan.environment, application=plan.application, changes=tuple(changes))


def _refuse_conflicts(plan: Plan, observed: Observed) -> None:
    seen = observed.by_key()
    problems = []
    for resource in plan.resources:
        other = seen.get(key(resource))
        if other is not None and resource.mark.application and other.resource.mark.application != resource.mark.application:
            problems.append(
                Problem(
                    code="name-taken",
                    message=f"{resource.kind} {resource.name} belongs to application {other.resource.mark.application!r}",
                    hint="rename the Service or put it into another namespace, or destroy the other application first",
                )
            )
    if problems:
        raise InvalidInput(problems)


def _wanted(resource: Resource, seen: ObservedResource | None, observed: Observed) -> Change:
    awaited = isinstance(resource, InstanceGroup)
    if seen is None:
        return Change(action="create", resource=resource, reason=_why_new(resource, observed), awaited=awaited)
    differences = [*_differences(resource, seen.resource), *seen.faults]
    if differences:
        return Change(
            action="update",
            resource=resource,
            reason="; ".join(differences),
            observed=seen,
            awaited=awaited,
        )
    return Change(action="no-op", resource=resource, reason=_why_nothing(resource, seen), observed=seen, awaited=awaited)


def _why_new(resource: Resource, observed: Observed) -> str:
    if not isinstance(resource, InstanceGroup):
        return "it does not exist yet"
    others = [one for one in _groups(observed) if _same_workload(one, resource)]
    if not others:
        return "it does not exist yet"
    reasons = _template_differences(resource, others[-1])
    return f"replaces {others[-1].name}: {'; '.join(reasons)}"


def _template_differences(new: InstanceGroup, old: InstanceGroup) -> list[str]:
    """Say what of the Pod changed, as far as a group shows it."""
    reasons = []
    if new.image != old.image:
        reasons.append(f"the image changed ({old.image} -> {new.image})")
    if new.boot.secrets != old.boot.secrets:
        changed = sorted(
            name for name in {*new.boot.secrets, *old.boot.secrets} if new.boot.secrets.get(name) != old.boot.secrets.get(name)
        )
        reasons.append(f"Secret {', '.join(changed)} changed")
    if new.boot.fields != old.boot.fields:
        reasons.append("the Pod's labels or annotations changed")
    reasons += [
        f"{name} {before} -> {after}"
        for name, before, after in (
            ("memory_mib", old.memory_mib, new.memory_mib),
            ("cpu_millis", old.cpu_millis, new.cpu_millis),
            ("architecture", old.architecture, new.architecture),
        )
        if before != after
    ]
    return reasons or ["the Pod changed"]


def _differences(desired: Resource, seen: Resource) -> list[str]:
    return [
        f"{attribute.name} {_shown(getattr(seen, attribute.name))} -> {_shown(getattr(desired, attribute.name))}"
        for attribute in attrs.fields(type(desired))
        if attribute.name not in _NOT_COMPARED and getattr(desired, attribute.name) != getattr(seen, attribute.name)
    ]


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(_shown(one) for one in value)})"
    if attrs.has(type(value)):
        return " ".join(str(part) for part in attrs.asdict(value, recurse=False).values() if part != "")
    return str(value)


def _why_nothing(resource: Resource, seen: ObservedResource) -> str:
    match resource:
        case Image():
            return "an image of this content is there"
        case Secret():
            return f"version {resource.version} is there"
        case InstanceGroup():
            ready = sum(instance.ready for instance in seen.instances)
            return f"revision {resource.mark.revision} has {resource.replicas} replicas, {ready} of them ready"
        case Balancer():
            return "its ports and groups are as planned"
        case DnsRecord():
            return f"it answers with the address of {resource.balancer}"
        case Network():
            return "it is there and works"
        case _:
            return "it is as planned"


def _gates(resource: Resource, seen: ObservedResource | None, plan: Plan, observed: Observed) -> tuple[str, ...]:
    """Return the groups that a balancer is to move to: they must serve before it does.

    One that has to be made anew waits only when older groups of its workloads are there, which may still serve. Where nothing served
    before, nothing is lost, and a Pod that becomes ready only once its own Service answers must not wait for ever.
    """
    if not isinstance(resource, Balancer):
        return ()
    desired = plan.by_key()
    backends = [f"InstanceGroup/{backend.group}" for backend in resource.backends]
    if seen is None:
        groups = [(name, desired[name]) for name in backends if name in desired]
        return tuple(name for name, group in groups if any(_same_workload(one, group) for one in _groups(observed)))
    known = {f"InstanceGroup/{backend.group}" for backend in seen.resource.backends} if isinstance(seen.resource, Balancer) else set()
    return tuple(name for name in backends if name not in known)


def _surplus(plan: Plan, observed: Observed, kept: frozenset[str]) -> list[ObservedResource]:
    """Return what is there and not in the plan, and is the application's own, or the environment's and used by nobody."""
    desired = plan.by_key()
    own = [one for one in observed.resources if one.resource.mark.application == plan.application and key(one.resource) not in desired]
    if plan.resources:
        return own
    others = [one.resource for one in observed.resources if one.resource.mark.application not in ("", plan.application)]
    used = {needed for resource in others for needed in resource.needs} | kept
    shared = [one for one in observed.resources if not one.resource.mark.application]
    return [*own, *(one for one in shared if key(one.resource) not in used)]


def _unwanted(seen: ObservedResource, plan: Plan) -> Change:
    resource = seen.resource
    if not plan.resources:
        return Change(action="delete", resource=resource, reason="the application is to be gone", observed=seen)
    if isinstance(resource, InstanceGroup):
        successors = groups_of(plan.resources, resource.mark)
        if successors:
            return Change(action="delete", resource=resource, reason=f"replaced by {successors[0].name}", observed=seen)
    if isinstance(resource, Secret):
        # An older version stays as long as the group that uses it; what outlives it goes with the application.
        return Change(action="no-op", resource=resource, reason="an older version; it goes with the application", observed=seen)
    return Change(
        action="no-op",
        resource=resource,
        reason="it is not in the manifests any more and is left as it is",
        observed=seen,
    )


def _needs(resource: Resource, pending: set[str]) -> tuple[str, ...]:
    return tuple(needed for needed in resource.needs if needed in pending)


def _ordered_delete(change: Change, unwanted: Iterable[Change], wanted: Iterable[Change], desired: Mapping[str, Resource]) -> Change:
    """Put a delete behind everything that still uses the resource, and a superseded group behind its successor."""
    if change.action != "delete":
        return change
    users = [other.key for other in unwanted if other.action == "delete" and change.key in other.resource.needs]
    movers = [
        other.key
        for other in wanted
        if other.action != "no-op" and other.observed is not None and change.key in other.observed.resource.needs
    ]
    gates: tuple[str, ...] = ()
    if isinstance(change.resource, InstanceGroup):
        gates = tuple(key(group) for group in groups_of(tuple(desired.values()), change.resource.mark))
    return evolve(change, needs=(*users, *movers), gates=gates)


def _groups(observed: Observed) -> list[InstanceGroup]:
    return [one.resource for one in observed.resources if isinstance(one.resource, InstanceGroup)]


def _same_workload(one: InstanceGroup, other: Resource) -> bool:
    return one.name != other.name and bool(groups_of((one,), other.mark))
