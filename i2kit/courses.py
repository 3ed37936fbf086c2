"""A rollout under way: what it goes by, and what its steps mean for groups, balancers and names. Decides, and changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from attrs import define, evolve, field

from i2kit.plan import Action, Change
from i2kit.resources import Backend, Balancer, DnsRecord, InstanceGroup, Resource, key
from i2kit.rollouts import alike
from i2kit.steps import WHOLE, GroupSeen, Remove, Resize, Restore, Rollout, Seen, Shift
from i2kit.world import World


@define(kw_only=True)
class Course:
    """One rollout of a run, and what has become of it so far. Only the executor's loop touches it.

    `progressed` is when it last got further (seconds since the epoch), `best` how far its members were then. `failure` says why it is
    undone, `log` are the failed group's last lines. `news` tells that something happened since it was `asked` what comes next.
    `touched` are the keys of what it changed.
    """

    rollout: Rollout
    progressed: float
    best: tuple[int, int] = (0, 0)
    busy: bool = False
    news: bool = True
    asked: float = 0.0
    over: bool = False
    paused: bool = False
    started: float | None = None
    failure: str = ""
    log: tuple[str, ...] = ()
    touched: set[str] = field(factory=set)

    @property
    def groups(self) -> tuple[str, ...]:
        """The names of all its groups."""
        rollout = self.rollout
        stable = (rollout.stable.name,) if rollout.stable else ()
        return tuple(dict.fromkeys((rollout.new.name, *(old.name for old in rollout.olds), *stable)))

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of the changes that are its own: the new group, the old ones, the balancers that move."""
        return (key(self.rollout.new), *(key(old) for old in self.rollout.olds), *self.rollout.balancers)


@define(kw_only=True)
class Stage:
    """What courses share: the changes that were found, the last good release, and the world.

    `owners` tells by group name which workload it is of.
    """

    changes: Mapping[str, Change]
    released: Mapping[str, Resource]
    world: World
    owners: Mapping[str, str]

    @classmethod
    def of(cls, changes: Mapping[str, Change], released: Mapping[str, Resource], world: World, rollouts: Iterable[Rollout]) -> Stage:
        """Set the stage for rollouts."""
        owners = {}
        for rollout in rollouts:
            for group in (rollout.new, *rollout.olds, *((rollout.stable,) if rollout.stable else ())):
                owners[group.name] = rollout.workload
        return cls(changes=changes, released=released, world=world, owners=owners)

    def seen(self, course: Course, now: float) -> Seen:
        """Return what the rollout goes by."""
        rollout, world = course.rollout, self.world
        groups = {name: self._group(group, course, now) for name in course.groups if (group := world.group(name)) is not None}
        traffic, unsettled = self._traffic(course)
        return Seen(
            groups=groups,
            traffic=traffic,
            unsettled=unsettled,
            restored=not rollout.undoing or not self._restored(course, ""),
            progressed=course.progressed,
            shortfall=world.look(rollout.new.name).shortfall(rollout.size),
        )

    def _group(self, group: InstanceGroup, course: Course, now: float) -> GroupSeen:
        look = self.world.look(group.name)
        return GroupSeen(
            size=group.replicas,
            ready=look.ready if group.replicas else 0,
            available=look.available(course.rollout.new.min_ready_seconds, now) if group.replicas else 0,
            lately=min(look.peak[0], group.replicas),
            scaling=group.scaling is not None,
            broken=key(group) in self.world.broken,
        )

    def _traffic(self, course: Course) -> tuple[dict[str, int], bool]:
        """Return the workload's weights, the greatest where balancers differ, and whether anything is to be settled."""
        merged: dict[str, int] = {}
        each = []
        unsettled = False
        for name in course.rollout.balancers:
            balancer = self.world.resources.get(name)
            if not isinstance(balancer, Balancer):
                unsettled = True
                continue
            own = self._own(balancer, course.rollout.workload)
            each.append(own)
            for group, weight in own.items():
                merged[group] = max(merged.get(group, 0), weight)
            planned = self.changes[name].resource
            unsettled |= name in self.world.broken or not isinstance(planned, Balancer) or not alike(balancer, planned)
        return merged, unsettled or any(own != merged for own in each)

    def _own(self, balancer: Balancer, workload: str) -> dict[str, int]:
        """Return a workload's weights behind a balancer; a group that nobody knows counts as its own when there is no other workload."""
        alone = len({self.owners.get(one.group, workload) for one in balancer.backends}) <= 1
        return {one.group: one.weight for one in balancer.backends if self.owners.get(one.group, workload if alone else "") == workload}

    def changes_of(self, action: Resize | Shift | Restore | Remove, course: Course) -> list[Change]:
        """Return the changes that an action of a rollout means, in the order in which they are to be made."""
        match action:
            case Resize(group=group, reason=reason):
                return [*self._missing(group), self._change(group, reason)]
            case Remove(group=group, reason=reason):
                there = self.world.group(group.name) or group
                return [Change(action="delete", resource=there, reason=reason)]
            case Shift():
                return [self._change(balancer, action.reason) for balancer in self._shifted(action, course)]
            case Restore(reason=reason):
                return self._restored(course, reason)

    def _missing(self, group: InstanceGroup) -> list[Change]:
        """Return what a group of the last good release needs, and was removed since."""
        there = self.world.resources
        if key(group) in there:
            return []
        needed = [self.released[name] for name in group.needs if name not in there and name in self.released]
        return [Change(action="create", resource=one, reason=f"{group.name} needs it") for one in needed]

    def _change(self, resource: Resource, reason: str) -> Change:
        found = self.changes.get(key(resource))
        action: Action = "update" if key(resource) in self.world.resources else "create"
        return Change(action=action, resource=resource, reason=reason, observed=found.observed if found else None)

    def _shifted(self, action: Shift, course: Course) -> list[Balancer]:
        found = []
        for name in course.rollout.balancers:
            planned, there = self.changes[name].resource, self.world.resources.get(name)
            if not isinstance(planned, Balancer):
                continue
            current = there if isinstance(there, Balancer) else planned
            shape = planned if action.final or not course.rollout.at_once else current
            others = self._others(current, planned, course.rollout.workload, final=action.final)
            wanted = evolve(shape, backends=_ordered({**others, **action.weights}, planned))
            if wanted != there or name in self.world.broken:
                found.append(wanted)
        return found

    def _others(self, current: Balancer, planned: Balancer, workload: str, *, final: bool) -> dict[str, int]:
        """Return the weights of the balancer's other workloads: as they are, and those that a Service newly selects and nobody moves.

        A workload that it selects no more stays until the one that comes instead has all the traffic.
        """
        wanted = {self.owners.get(one.group): one for one in planned.backends}
        kept = {}
        for one in current.backends:
            owner = self.owners.get(one.group)
            if owner is not None and owner != workload and (owner in wanted or not final):
                kept[one.group] = one.weight
        present = {self.owners.get(name) for name in kept}
        for owner, one in wanted.items():
            change = self.changes.get(f"InstanceGroup/{one.group}")
            if owner not in (workload, *present) and change is not None and change.action == "no-op":
                kept[one.group] = one.weight
        return kept

    def _restored(self, course: Course, reason: str) -> list[Change]:
        """Return the changes that give balancers and names back to the last good release."""
        back = [self._change(one, reason) for one in self._restorations(course)]
        return [*back, *(Change(action="delete", resource=one, reason=reason) for one in self._new_names(course))]

    def _new_names(self, course: Course) -> list[DnsRecord]:
        """Return names that only the version which is undone has, of balancers that the last good release had."""
        stable = course.rollout.stable
        fronts = {one.name for one in self.released.values() if isinstance(one, Balancer) and stable and _is_behind(stable, one)}
        return [
            change.resource
            for name, change in self.changes.items()
            if isinstance(change.resource, DnsRecord)
            and change.resource.balancer in fronts
            and name in self.world.resources
            and name not in self.released
        ]

    def _restorations(self, course: Course) -> list[Resource]:
        """Return balancers and names of the last good release that are otherwise now; the workload's share of them."""
        stable, workload = course.rollout.stable, course.rollout.workload
        if stable is None:
            return []
        released = [one for one in self.released.values() if isinstance(one, Balancer) and _is_behind(stable, one)]
        names = {balancer.name for balancer in released}
        targets = {key(one): one for one in released}
        for name in course.rollout.balancers:
            there = self.world.resources.get(name)
            if name not in targets and isinstance(there, Balancer):
                targets[name] = evolve(there, backends=(Backend(group=stable.name, weight=WHOLE),))
        found: list[Resource] = []
        for name, target in targets.items():
            there = self.world.resources.get(name)
            own = {one.group: one.weight for one in target.backends if self.owners.get(one.group, workload) == workload}
            others = {}
            if isinstance(there, Balancer):
                others = {one.group: one.weight for one in there.backends if self.owners.get(one.group) not in (None, workload)}
            wanted = evolve(target, backends=_ordered({**others, **own}, target))
            if wanted != there or name in self.world.broken:
                found.append(wanted)
        for record in self.released.values():
            if isinstance(record, DnsRecord) and record.balancer in names and self.world.resources.get(key(record)) != record:
                found.append(record)
        return found


def _is_behind(group: InstanceGroup, balancer: Balancer) -> bool:
    return group.name in {backend.group for backend in balancer.backends}


def _ordered(weights: Mapping[str, int], planned: Balancer) -> tuple[Backend, ...]:
    """Return backends in the order in which the plan has them, what it does not have behind."""
    order = [backend.group for backend in planned.backends]
    names = sorted(weights, key=lambda name: (order.index(name) if name in order else len(order), name))
    return tuple(Backend(group=name, weight=weights[name]) for name in names)
