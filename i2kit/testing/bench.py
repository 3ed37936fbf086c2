"""The bench of the conformance suite: a driver on an empty environment, and what its tests do to it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
from attrs import frozen

from i2kit.capabilities import Capability
from i2kit.driver import Driver, Provider
from i2kit.plan import Action, Change, GroupHealth, ObservedResource
from i2kit.resources import InstanceGroup, Resource, key
from i2kit.testing.context import SampleContext
from i2kit.testing.samples import Samples

_NEEDED = {
    "InstanceGroup": (Capability.GROUPS,),
    "Balancer": (Capability.GROUPS, Capability.BALANCER_TCP, Capability.BALANCER_INTERNAL),
    "DnsRecord": (Capability.GROUPS, Capability.BALANCER_TCP, Capability.BALANCER_INTERNAL, Capability.PRIVATE_DNS),
    "Secret": (Capability.SECRETS,),
    "Network": (),
    "Image": (),
}
KINDS = tuple(_NEEDED)
"""The kinds of resources that the suite tries."""


@frozen(kw_only=True)
class Bench:
    """A driver on an empty environment, with what the tests do to it."""

    provider: Provider
    driver: Driver
    context: SampleContext
    samples: Samples
    patience_seconds: float

    def requires(self, *kinds: str, also: tuple[Capability, ...] = ()) -> None:
        """Skip the test, with the provider's reason, unless it can make these kinds of resources."""
        for capability in (*(one for kind in kinds for one in _NEEDED[kind]), *also):
            level = self.provider.level(capability)
            if not level.usable:
                pytest.skip(f"{self.provider.name} does not offer {capability.value}: {level.reason or level.support.value}")

    def change(self, action: Action, resource: Resource) -> Change:
        """Return the change that the executor would ask for."""
        seen = self.seen(resource) if action != "create" else None
        return Change(action=action, resource=resource, reason="conformance", observed=seen)

    def apply(self, action: Action, *resources: Resource) -> None:
        """Apply one action to each of `resources` in turn."""
        for resource in resources:
            self.context.offer(resource)
            self.driver.apply(self.change(action, resource), self.context)

    def make(self, *resources: Resource) -> None:
        """Create `resources` and look at them: each must be there just as it was asked for."""
        self.apply("create", *resources)
        for resource in resources:
            self.is_as_asked(resource)

    def seen(self, resource: Resource) -> ObservedResource | None:
        """Return what is observed under the resource's key."""
        return self.driver.observe().by_key().get(key(resource))

    def is_as_asked(self, resource: Resource) -> None:
        """Wait until what is observed is what was asked for, and nothing is wrong with it."""
        self.eventually(lambda: _differences(resource, self.seen(resource)) == [], lambda: str(_differences(resource, self.seen(resource))))

    def is_gone(self, resource: Resource) -> None:
        """Wait until nothing is observed under the resource's key."""
        self.eventually(lambda: self.seen(resource) is None, lambda: f"{key(resource)} is still there")

    def members(self, group: InstanceGroup, number: int) -> GroupHealth:
        """Wait until the group has `number` members, and return them."""
        self.eventually(
            lambda: len(self.driver.health(group.name).instances) == number,
            lambda: f"{number} members wanted, there are {self.driver.health(group.name).instances}",
        )
        return self.driver.health(group.name)

    def until(self, kind: str) -> tuple[Resource, ...]:
        """Return a sample of `kind` behind what it needs."""
        resources = self.samples.workload(secret="1" if kind == "Secret" else None)
        last = next(index for index, one in enumerate(resources) if one.kind == kind)
        return resources[: last + 1]

    def make_group(self, version: str = "1", *, replicas: int = 1, secret: str | None = None) -> InstanceGroup:
        """Create a group behind what it needs, and return it."""
        self.requires("InstanceGroup", *(["Secret"] if secret else []))
        group = self.samples.group(version, replicas=replicas, secret=secret)
        secrets = [self.samples.secret(secret)] if secret else []
        self.make(self.samples.network(), *secrets, self.samples.image(version), group)
        return group

    def make_balancer(self) -> tuple[InstanceGroup, InstanceGroup]:
        """Create a balancer in front of one of two groups, and return the two."""
        self.requires("Balancer")
        groups = self.make_group("1"), self.make_group("2")
        self.make(self.samples.balancer(groups[0]))
        return groups

    def identities(self) -> list[tuple[str, tuple[str, ...]]]:
        """Return what there is, twins included, with the groups' members."""
        seen = self.driver.observe().resources
        return sorted((key(one.resource), tuple(sorted(member.id for member in one.instances))) for one in seen)

    def eventually(self, true: Callable[[], bool], otherwise: Callable[[], str]) -> None:
        """Look again until it is true; fail with `otherwise` when patience is over. Clouds answer late, and there is nothing to wait on."""
        end = time.monotonic() + self.patience_seconds
        pause = 0.0
        while not true():
            assert time.monotonic() < end, otherwise()
            time.sleep(pause)
            pause = min(2.0, pause * 2 or 0.01)


def _differences(wanted: Resource, seen: ObservedResource | None) -> list[str]:
    """Say how what is there differs from what was asked for, as far as a provider has to know it."""
    if seen is None:
        return [f"{key(wanted)} is not there"]
    # An image's recipe is the builder's matter; no provider has to keep it.
    names = [one.name for one in attrs.fields(type(wanted)) if one.name not in ("yaml", "sources")]
    pairs = [(name, getattr(wanted, name), getattr(seen.resource, name, None)) for name in names]
    return [*(f"{name}: {asked!r} was asked for, {there!r} is there" for name, asked, there in pairs if asked != there), *seen.faults]


def sweep(driver: Driver) -> None:
    """Remove everything there is in the driver's environment, users before what they use, and all records."""
    context = SampleContext(Path())
    for application in driver.applications():
        for record in driver.records(application):
            driver.remove_record(application, record.number)
    left = {key(one.resource): one for one in driver.observe().resources}
    while left:
        used = {needed for one in left.values() for needed in one.resource.needs}
        free = [name for name in left if name not in used] or list(left)
        for name in free:
            one = left.pop(name)
            driver.apply(Change(action="delete", resource=one.resource, reason="the test is over", observed=one), context)
