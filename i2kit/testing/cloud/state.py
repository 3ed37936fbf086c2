"""All that there is in a cloud, as one value: what was true at any time can be asked for later."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from itertools import count
from typing import TypeVar

from attrs import evolve, field, frozen

from i2kit.driver import LogLine
from i2kit.plan import GroupHealth, Instance, Observed, ObservedResource
from i2kit.resources import InstanceGroup, Resource, key
from i2kit.testing.cloud.members import Behaviour, Member, console, instance

T = TypeVar("T")


@frozen(kw_only=True)
class State:
    """Resources by their keys and members by their group, in the order in which they were made.

    `broken` are faults by key, `shown_from` when `observe` begins to show a resource, `behaviours` are by pattern of group names (the
    last that matches counts), `refusals` by pattern of keys. `boot_seconds` is how long a member takes unless its behaviour says.
    """

    boot_seconds: float = 0.0
    resources: Mapping[str, Resource] = field(factory=dict)
    members: Mapping[str, tuple[Member, ...]] = field(factory=dict)
    broken: Mapping[str, tuple[str, ...]] = field(factory=dict)
    shown_from: Mapping[str, float] = field(factory=dict)
    behaviours: Mapping[str, Behaviour] = field(factory=dict)
    refusals: Mapping[str, str] = field(factory=dict)

    @property
    def instances(self) -> int:
        """How many VMs there are."""
        return sum(len(members) for members in self.members.values())

    def group(self, name: str) -> InstanceGroup:
        """Return a group at its live size; raise `KeyError` when it is not there."""
        found = self.resources[f"InstanceGroup/{name}"]
        assert isinstance(found, InstanceGroup)
        return evolve(found, replicas=len(self.members.get(name, ())))

    def doings(self, group: str, at: float) -> tuple[Instance, ...]:
        """Return what a group's members are doing at a time."""
        behaviour, boot = self._behaviour(group)
        return tuple(instance(member, behaviour, boot, at) for member in self.members.get(group, ()))

    def health(self, group: str, at: float) -> GroupHealth:
        """Return how a group is at a time."""
        doings = self.doings(group, at)
        return GroupHealth(ready=sum(one.ready for one in doings), instances=doings)

    def consoles(self, group: str, at: float) -> dict[str, list[tuple[float, LogLine]]]:
        """Return what stands on the consoles of a group's members, by their ids, each line with when it was written."""
        behaviour, boot = self._behaviour(group)
        return {member.id: console(member, behaviour, boot, at) for member in self.members.get(group, ())}

    def observed(self, at: float, *, shown: float | None = None) -> Observed:
        """Return everything there is, members as they are at a time; with `shown`, what `observe` shows by then."""
        return Observed(
            resources=tuple(self._seen(name, at) for name in self.resources if shown is None or self.shown_from.get(name, shown) <= shown)
        )

    def _seen(self, name: str, at: float) -> ObservedResource:
        resource, broken = self.resources[name], self.broken.get(name, ())
        if not isinstance(resource, InstanceGroup):
            return ObservedResource(resource=resource, faults=broken)
        # The members that there are: what could not be started is missing from the size, so that the next deploy sees it.
        return ObservedResource(resource=self.group(resource.name), faults=broken, instances=self.doings(resource.name, at))

    def _behaviour(self, group: str) -> tuple[Behaviour, float]:
        found = Behaviour()
        for pattern, behaviour in self.behaviours.items():
            if fnmatchcase(group, pattern):
                found = behaviour
        return found, self.boot_seconds if found.boot_seconds is None else found.boot_seconds

    def refusal(self, name: str) -> str:
        """Say why changes of a resource are refused; empty if they are not."""
        return "; ".join(reason for pattern, reason in self.refusals.items() if fnmatchcase(name, pattern))

    def users(self, name: str) -> list[str]:
        """Return the keys of what needs a resource."""
        return [user for user, resource in self.resources.items() if name in resource.needs]

    def of_kind(self, kind: str) -> int:
        """How many resources of a kind there are."""
        return sum(resource.kind == kind for resource in self.resources.values())

    def put(self, resource: Resource, *, shown_from: float) -> State:
        """Return the state with a resource as it should be; a new one shows from then on. Its members are put by `sized`."""
        name = key(resource)
        return evolve(
            self,
            resources={**self.resources, name: resource},
            broken=_without(self.broken, name),
            shown_from=self.shown_from if name in self.resources else {**self.shown_from, name: shown_from},
        )

    def without(self, name: str) -> State:
        """Return the state without a resource and all that is about it."""
        group = name.removeprefix("InstanceGroup/")
        return evolve(
            self,
            resources=_without(self.resources, name),
            members=_without(self.members, group) if group != name else self.members,
            broken=_without(self.broken, name),
            shown_from=_without(self.shown_from, name),
        )

    def sized(self, name: str, size: int, at: float) -> State:
        """Return the state with a group of another size: who is not ready leaves first, then the highest slot; free slots fill up."""
        members = self.members.get(name, ())
        ready = {member.id: doing.ready for member, doing in zip(members, self.doings(name, at), strict=True)}
        staying = sorted(sorted(members, key=lambda one: (not ready[one.id], one.slot))[:size], key=lambda one: one.slot)
        taken = {member.slot for member in staying}
        free = (slot for slot in count() if slot not in taken)
        new = [Member(group=name, slot=next(free), born=at) for _ in range(size - len(staying))]
        return self.peopled(name, (*staying, *new))

    def peopled(self, name: str, members: tuple[Member, ...]) -> State:
        """Return the state with these members in a group, and no others."""
        return evolve(self, members={**self.members, name: tuple(sorted(members, key=lambda one: one.slot))})


def _without(mapping: Mapping[str, T], name: str) -> Mapping[str, T]:
    return {one: value for one, value in mapping.items() if one != name} if name in mapping else mapping
