"""The place that a plan is for: what the planner has to know of it, and how resources are named there."""

from __future__ import annotations

import functools
from collections.abc import Mapping

from attrs import frozen

from i2kit import names, sizing
from i2kit.driver import Limits, Provider
from i2kit.environment import Environment
from i2kit.images.formats import Root, holding
from i2kit.images.locked import LockedImage
from i2kit.manifest.workloads import Pod
from i2kit.resources import Mark, Network

MEMBER_SUFFIX = 5
"""What an instance's name has beyond its group's: a dash and up to four digits."""


@frozen(kw_only=True)
class Target:
    """What the planner has to know of the place the plan is for.

    `formats` are the provider's that the chosen builder makes, the best first.
    """

    environment: Environment
    provider: Provider
    limits: Limits
    formats: tuple[str, ...]
    application: str

    def mark(self, namespace: str = "", workload: str = "", revision: str = "") -> Mark:
        """Return the mark of one of the application's resources."""
        return Mark(
            environment=names.mark_value(self.environment.name),
            application=names.mark_value(self.application),
            namespace=names.mark_value(namespace),
            workload=names.mark_value(workload),
            revision=revision,
        )

    def name(self, kind: str, readable: str, *identity: str) -> str:
        """Name a resource of `kind`, within the provider's limit for it."""
        limit = self.limits.name_lengths.get(kind, 63) - (MEMBER_SUFFIX if kind == "InstanceGroup" else 0)
        return names.resource_name(readable, self.environment.name, self.application, kind, *identity, limit=limit)

    @property
    def options_prefix(self) -> str:
        """What the provider's own annotations begin with."""
        return f"{self.provider.name}.i2kit.dev/"

    def options(self, annotations: Mapping[str, str]) -> dict[str, str]:
        """Return an object's annotations that are the provider's own, without their prefix."""
        prefix = self.options_prefix
        return {name.removeprefix(prefix): value for name, value in annotations.items() if name.startswith(prefix)}

    @functools.cached_property
    def network(self) -> Network:
        """The environment's network, which all its applications share."""
        limit = self.limits.name_lengths.get("Network", 63)
        return Network(
            name=names.resource_name(self.environment.name, self.environment.name, "Network", limit=limit),
            mark=Mark(environment=names.mark_value(self.environment.name)),
            dns_zone=self.environment.dns_zone,
        )

    def shape(self, pod: Pod, images: Mapping[str, LockedImage]) -> tuple[str, Root]:
        """Return the image's format, and where it holds the root file systems: large ones on a disk where the provider takes one."""
        order: tuple[Root, Root] = ("memory", "disk")
        if sizing.root_mib(pod, images) > sizing.ROOT_IN_MEMORY_MIB:
            order = ("disk", "memory")
        for root in order:
            if (form := holding(root, self.formats, self.environment.architecture)) is not None:
                return form, root
        return self.formats[0], "memory"
