"""Plan and Observed -> Changes: what has to happen, in order, and why. Pure; every no-op says why it is one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from attrs import evolve, frozen

from i2kit.differences import pod_differences
from i2kit.errors import InvalidInput, Problem
from i2kit.fields import field_differences
from i2kit.plan import Action, Change, Changes, Observed, ObservedResource, Plan
from i2kit.resources import Balancer, DnsRecord, Image, InstanceGroup, Mark, Network, Resource, Secret, key
from i2kit.rollouts import rollouts
from i2kit.steps import Position

# A plan is read by people: what else is different shows in the Pods themselves.
_MOST_REASONS = 8


@frozen(kw_only=True)
class Past:
    """What the records add to what is observed.

    `released` is the last good release, `positions` are those of rollouts that are under way, by workload. A cloud may answer with what
    was true a while ago: `recent` is what the newest runs wanted (the newest last), where that is so new that it may not show yet, and
    `unsure` are keys of resources that a run was changing when it died.
    """

    released: Plan | None = None
    positions: Mapping[str, Position] = MappingProxyType({})
    recent: tuple[Plan, ...] = ()
    unsure: frozenset[str] = frozenset()


@frozen(kw_only=True)
class Choices:
    """What whoever asks decides: `prune` removes what is not in the manifests any more, `keep_failed` leaves groups that failed.

    `weights` tells whether the provider can divide traffic. `kept` are keys of resources that must stay although nothing of the
    application uses them (images that other applications' release records name).
    """

    prune: bool = False
    keep_failed: bool = False
    weights: bool = True
    kept: frozenset[str] = frozenset()


@frozen(kw_only=True)
class _Sides:
    """Both sides with what is asked of them often, so that a large plan is compared in one pass."""

    plan: Plan
    past: Past
    desired: Mapping[str, Resource]
    seen: Mapping[str, ObservedResource]
    recent: Mapping[str, Resource]
    planned_groups: Mapping[tuple[str, str, str], list[InstanceGroup]]
    seen_groups: Mapping[tuple[str, str, str], list[InstanceGroup]]

    @classmethod
    def of(cls, plan: Plan, observed: Observed, past: Past) -> _Sides:
        return cls(
            plan=plan,
            past=past,
            desired=plan.by_key(),
            recent=past.recent[-1].by_key() if past.recent else {},
            seen=observed.by_key(),
            planned_groups=_by_workload(plan.resources),
            seen_groups=_by_workload(one.resource for one in observed.resources),
        )

    def others(self, group: InstanceGroup) -> list[InstanceGroup]:
        """Return the groups of the same workload that are there and are not this one."""
        return [one for one in self.seen_groups.get(_workload(group.mark), []) if one.name != group.name]


def _by_workload(resources: Iterable[Resource]) -> dict[tuple[str, str, str], list[InstanceGroup]]:
    groups: dict[tuple[str, str, str], list[InstanceGroup]] = defaultdict(list)
    for resource in resources:
        if isinstance(resource, InstanceGroup):
            groups[_workload(resource.mark)].append(resource)
    return groups


def _workload(mark: Mark) -> tuple[str, str, str]:
    return (mark.application, mark.namespace, mark.workload)


def diff(plan: Plan, observed: Observed, past: Past = Past(), choices: Choices = Choices()) -> Changes:
    """Return the changes that make `observed` what `plan` says.

    Raises `InvalidInput` when a name that the plan needs belongs to another application.
    """
    observed = _with_phantoms(plan, observed, past)
    sides = _Sides.of(plan, observed, past)
    _refuse_conflicts(sides)
    wanted = [_wanted(resource, sides) for resource in plan.resources]
    unwanted = [_unwanted(one, sides, choices) for one in _surplus(sides, observed, choices.kept)]
    pending = {change.key for change in (*wanted, *unwanted) if change.action != "no-op"}
    users = _users(wanted, unwanted)
    changes = [
        *(evolve(change, needs=tuple(needed for needed in change.resource.needs if needed in pending)) for change in wanted),
        *(evolve(change, needs=tuple(users[change.key])) if change.action == "delete" else change for change in unwanted),
    ]
    return Changes(
        environment=plan.environment,
        application=plan.application,
        changes=tuple(changes),
        rollouts=rollouts(plan, sides.seen, wanted, past, choices),
    )


def _with_phantoms(plan: Plan, observed: Observed, past: Past) -> Observed:
    """Add what the newest run may have made and does not show yet, where it is to go: removing what is not there does no harm."""
    there, wanted = observed.by_key(), plan.by_key()
    phantoms = {
        key(one): ObservedResource(
            resource=evolve(one, replicas=0) if isinstance(one, InstanceGroup) else one, faults=("it may not show yet",)
        )
        for recent in past.recent
        for one in recent.resources
        if (isinstance(one, InstanceGroup) or not plan.resources) and key(one) not in there and key(one) not in wanted
    }
    return evolve(observed, resources=(*observed.resources, *phantoms.values())) if phantoms else observed


def _refuse_conflicts(sides: _Sides) -> None:
    problems = []
    for name, resource in sides.desired.items():
        other = sides.seen.get(name)
        if other is not None and resource.mark.application and other.resource.mark.application != resource.mark.application:
            problems.append(
                Problem(
                    code="name-taken",
                    message=f"{resource.kind} {resource.name} belongs to application {other.resource.mark.application!r}",
                    hint=_other_name(resource),
                )
            )
    if problems:
        raise InvalidInput(problems)


def _other_name(resource: Resource) -> str:
    if isinstance(resource, DnsRecord) and resource.scope == "public":
        return "take another name (annotation i2kit.dev/hostname), or destroy the other application first"
    return "rename the Service or put it into another namespace, or destroy the other application first"


def _wanted(resource: Resource, sides: _Sides) -> Change:
    seen = sides.seen.get(key(resource))
    awaited, gates = isinstance(resource, InstanceGroup), _gates(resource, seen, sides)
    if seen is None:
        action: Action = "replace" if isinstance(resource, InstanceGroup) and sides.others(resource) else "create"
        return Change(action=action, resource=resource, reason=_why_new(resource, sides), gates=gates, awaited=awaited)
    differences = [*_differences(resource, seen.resource), *seen.faults] or _doubts(resource, sides)
    if differences:
        reason = "; ".join(differences)
        return Change(action="update", resource=resource, reason=reason, observed=seen, gates=gates, awaited=awaited)
    reason = _why_nothing(resource, seen)
    return Change(action="no-op", resource=resource, reason=reason, observed=seen, gates=gates, awaited=awaited)


def _why_new(resource: Resource, sides: _Sides) -> str:
    others = sides.others(resource) if isinstance(resource, InstanceGroup) else []
    if not isinstance(resource, InstanceGroup) or not others:
        return "it does not exist yet"
    reasons = _pod_differences(resource, others[-1], sides)
    return f"replaces {others[-1].name}: {'; '.join(reasons)}"


def _pod_differences(new: InstanceGroup, old: InstanceGroup, sides: _Sides) -> list[str]:
    """Say what of the Pod changed; of an old group that no release names, as far as it shows by itself."""
    released = sides.past.released
    images = released.by_key() if released else {}
    new_image, old_image = sides.desired.get(f"Image/{new.image}"), images.get(f"Image/{old.image}")
    found = pod_differences(
        new,
        new_image if isinstance(new_image, Image) else None,
        old,
        old_image if isinstance(old_image, Image) else None,
        new_lock=sides.plan.lock,
        old_lock=released.lock if released else None,
    )
    reasons = [str(one) for one in found]
    if new.restarts != old.restarts:
        reasons.append("restarted")
    more = [f"and {len(reasons) - _MOST_REASONS} more"] if len(reasons) > _MOST_REASONS else []
    return [*reasons[:_MOST_REASONS], *more] or ["the Pod changed"]


def _differences(desired: Resource, seen: Resource) -> list[str]:
    if isinstance(desired, InstanceGroup) and isinstance(seen, InstanceGroup) and _within_bounds(desired, seen):
        seen = evolve(seen, replicas=desired.replicas)
    return list(field_differences(desired, seen))


def _within_bounds(desired: InstanceGroup, seen: InstanceGroup) -> bool:
    """Whether the provider has moved the size as it may: that is no drift."""
    bounds = desired.scaling
    return bounds is not None and bounds == seen.scaling and bounds.minimum <= seen.replicas <= bounds.maximum


def _doubts(resource: Resource, sides: _Sides) -> list[str]:
    """Say why a resource that looks as planned may not be: what is seen may be older than what was done."""
    if not isinstance(resource, InstanceGroup | Balancer | DnsRecord):
        return []  # what never changes is either there or not
    if key(resource) in sides.past.unsure:
        return ["a run was changing it when it died"]
    last = sides.recent.get(key(resource))
    changed = _differences(resource, last) if last is not None else []
    return [f"as the last run left it: {'; '.join(changed)}"] if changed else []


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


def _gates(resource: Resource, seen: ObservedResource | None, sides: _Sides) -> tuple[str, ...]:
    """Return the groups that a balancer is to move to: they must serve before it does.

    One that has to be made anew waits only when older groups of its workloads are there, which may still serve. Where nothing served
    before, nothing is lost, and a Pod that becomes ready only once its own Service answers must not wait for ever.
    """
    if not isinstance(resource, Balancer):
        return ()
    backends = [f"InstanceGroup/{backend.group}" for backend in resource.backends]
    if seen is None:
        return tuple(name for name in backends if _has_elders(name, sides))
    known = {f"InstanceGroup/{backend.group}" for backend in seen.resource.backends} if isinstance(seen.resource, Balancer) else set()
    if not known & sides.seen.keys():
        # It is in front of nothing, as after a first deploy that failed.
        return tuple(name for name in backends if name not in known and _has_elders(name, sides))
    return tuple(name for name in backends if name not in known)


def _has_elders(name: str, sides: _Sides) -> bool:
    """Whether there are older groups of the workload that a planned group is of."""
    group = sides.desired.get(name)
    return isinstance(group, InstanceGroup) and bool(sides.others(group))


def _surplus(sides: _Sides, observed: Observed, kept: frozenset[str]) -> list[ObservedResource]:
    """Return what is there and not in the plan, and is the application's own, or the environment's and used by nobody."""
    application = sides.plan.application
    own = [one for name, one in sides.seen.items() if one.resource.mark.application == application and name not in sides.desired]
    if sides.plan.resources:
        return own
    others = [one.resource for one in observed.resources if one.resource.mark.application not in ("", application)]
    used = {needed for resource in others for needed in resource.needs} | kept
    return [*own, *(one for name, one in sides.seen.items() if not one.resource.mark.application and name not in used)]


def _unwanted(seen: ObservedResource, sides: _Sides, choices: Choices) -> Change:
    resource = seen.resource
    if not sides.plan.resources:
        return Change(action="delete", resource=resource, reason="the application is to be gone", observed=seen)
    successors = sides.planned_groups.get(_workload(resource.mark), []) if isinstance(resource, InstanceGroup) else []
    if successors:
        return Change(
            action="delete",
            resource=resource,
            reason=f"replaced by {successors[0].name}",
            observed=seen,
            gates=tuple(key(group) for group in successors),
        )
    if choices.prune and not isinstance(resource, Secret | Image):
        return Change(action="delete", resource=resource, reason="it is not in the manifests any more (--prune)", observed=seen)
    # An older version of a Secret stays as long as the group that uses it; what outlives it goes with the application.
    reason = (
        "an older version; `i2kit gc` removes it once nothing can go back to it"
        if isinstance(resource, Secret)
        else "it is not in the manifests any more and is left as it is (--prune removes it)"
    )
    return Change(action="no-op", resource=resource, reason=reason, observed=seen)


def _users(wanted: Iterable[Change], unwanted: Iterable[Change]) -> dict[str, list[str]]:
    """Return by key the changes that must come before that resource's deletion: those that stop using it."""
    users: dict[str, list[str]] = defaultdict(list)
    for change in unwanted:
        if change.action == "delete":
            for needed in change.resource.needs:
                users[needed].append(change.key)
    for change in wanted:
        if change.action != "no-op" and change.observed is not None:
            for needed in change.observed.resource.needs:
                users[needed].append(change.key)
    return users
