"""What a provider can do, and how well: asked at plan time, never found out by an exception at run time."""

from __future__ import annotations

from enum import Enum

from attrs import field, frozen


class Capability(Enum):
    """Things that a plan may ask of a provider."""

    GROUPS = "instance groups of interchangeable replicas"
    ORDINALS = "instance groups with stable members"
    SELF_HEALING = "members that are gone or dead are replaced with no command running"
    BALANCER_TCP = "balancing of TCP"
    BALANCER_UDP = "balancing of UDP"
    BALANCER_INTERNAL = "balancers that only the environment reaches"
    BALANCER_PUBLIC = "balancers that are published"
    WEIGHTS = "weights between the groups of a balancer"
    PRIVATE_DNS = "names inside the environment"
    PUBLIC_DNS = "public names"
    SECRETS = "secrets handed to the VM outside the image"
    VOLUMES = "disks that outlive their VM"
    AUTOSCALING = "sizes that follow the load"


class Support(Enum):
    """How well a provider supports a capability."""

    FULL = "full"
    EMULATED = "emulated"
    NOT_IMPLEMENTED = "not implemented"
    UNSUPPORTED = "unsupported"


@frozen(kw_only=True)
class Level:
    """A support level with its reason (required unless the support is full)."""

    support: Support
    reason: str = field(default="")

    @reason.validator
    def _needs_reason(self, _attribute: object, value: str) -> None:
        if self.support is not Support.FULL and not value:
            raise ValueError(f"support level {self.support.value!r} needs a reason")

    @property
    def usable(self) -> bool:
        """Whether a plan may ask for it."""
        return self.support in (Support.FULL, Support.EMULATED)
