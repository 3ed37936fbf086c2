"""The environment's network: a VPC of its own or an existing one, its two security groups and its private zone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import frozen

from i2kit.driver import Context
from i2kit.errors import ProviderError
from i2kit.plan import ObservedResource
from i2kit.resources import Network
from i2kit_aws import survey as surveys
from i2kit_aws.site import Site
from i2kit_aws.survey import BALANCERS, MEMBERS, PRIVATE, PUBLIC, Subnet, Survey

_KEPT = "network"


@frozen(kw_only=True)
class Located:
    """Where the environment's network is.

    Members run in `subnets` (by zone), internet-facing balancers stand in `outer`, which is empty when an existing VPC is used without
    public subnets. `cidrs` are the VPC's addresses. Of the two security groups every member has `members`, every balancer `balancers`.
    `zone` is the private hosted zone.
    """

    vpc: str
    cidrs: tuple[str, ...]
    subnets: Mapping[str, str]
    outer: Mapping[str, str]
    members: str
    balancers: str
    zone: str

    @property
    def public(self) -> bool:
        """Whether members need public addresses to reach anything outside of the VPC: no NAT gateway is between."""
        return set(self.subnets.values()) <= set(self.outer.values())


def locate(site: Site) -> Located:
    """Return where the environment's network is; it is asked for once, until somebody observes, changes or deletes it.

    Raises `ProviderError` (code ``aws-no-network``) when it is not there, or not whole.
    """
    return site.memory.recall(_KEPT, lambda: located(surveys.survey(site)))


def located(seen: Survey) -> Located:
    """Return where the network is that was seen. Pure; raises as `locate` does."""
    members, balancers, zone = seen.group(MEMBERS), seen.group(BALANCERS), seen.zone
    inner, outer = _subnets(seen)
    lacking = [
        what
        for what, there in (("VPC", seen.vpc), ("subnets", inner), ("security groups", members and balancers), ("private zone", zone))
        if not there
    ]
    if not (seen.vpc and members and balancers and zone) or lacking:
        raise ProviderError.of(
            "aws-no-network",
            f"the environment's network is not there, or not whole; it lacks its {', '.join(lacking)}",
            hint="`i2kit deploy` makes and repairs it",
        )
    return Located(
        vpc=seen.vpc.id,
        cidrs=seen.vpc.cidrs,
        subnets={name: one.id for name, one in sorted(inner.items())},
        outer={name: one.id for name, one in sorted(outer.items())},
        members=members.id,
        balancers=balancers.id,
        zone=zone.id,
    )


def _subnets(seen: Survey) -> tuple[Mapping[str, Subnet], Mapping[str, Subnet]]:
    """Return by zone the subnets for members, and those for balancers that face the internet.

    Of the subnets that environment.yml names, members run in those without a way to an internet gateway, if there are any.
    """
    if seen.wanted.vpc:
        outer = {one.zone: one for one in seen.named if seen.is_public(one.id)}
        inner = {one.zone: one for one in seen.named if not seen.is_public(one.id)}
    else:
        outer, inner = seen.own(PUBLIC), seen.own(PRIVATE) if seen.wanted.private else {}
    return inner or outer, outer


def observe(site: Site) -> Sequence[ObservedResource]:
    """Return what is there of the environment."""
    raise NotImplementedError


def ensure(site: Site, network: Network, context: Context) -> None:
    """Make it as it is asked for."""
    raise NotImplementedError


def delete(site: Site, network: Network, context: Context) -> None:
    """Remove it; nothing happens when it is not there."""
    raise NotImplementedError
