"""The environment's network: a VPC of its own or an existing one, its two security groups and its private zone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from attrs import frozen

from i2kit.driver import Context
from i2kit.errors import Problem, ProviderError
from i2kit.plan import ObservedResource
from i2kit.resources import Network
from i2kit_aws import existing, nats, removals, security_groups, tags, vpcs, waits, zones
from i2kit_aws import survey as surveys
from i2kit_aws.gaps import Gap
from i2kit_aws.gateway import AwsError
from i2kit_aws.site import Site
from i2kit_aws.survey import BALANCERS, MEMBERS, PRIVATE, PUBLIC, Subnet, Survey

_KEPT = "network"
_GONE = ("NotFound", "InvalidVPCId")
# A network is whole after six: VPC; subnets, gateway and groups; routes, rules and zone; address, NAT gateway, its route.
_ROUNDS = 20


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
    """Return the environment's network; its faults are what it lacks, or what stands in its way. Nothing when nothing of it is there."""
    seen = _look(site)
    if not seen.anything:
        return ()
    faults = [one.message for one in existing.problems(site, seen)] or [one.fault for one in gaps(seen)]
    return (ObservedResource(resource=_network(site, seen), faults=tuple(faults)),)


def _network(site: Site, seen: Survey) -> Network:
    """Return the network in the plan's own words, which are in the tags of what was made for it."""
    return Network(
        # Where only that is left which bears no name, the network has the one that every plan gives it.
        name=tags.fact(seen.facts, "network") or site.name(site.environment.name, "Network"),
        mark=tags.mark_of(seen.facts) or site.mark,
        dns_zone=tags.fact(seen.facts, "zone"),
    )


def gaps(seen: Survey) -> list[Gap]:
    """Return what the network lacks, in the order in which it is made good; of what stands on something missing, nothing yet. Pure."""
    own = [] if seen.wanted.vpc else [*vpcs.gaps(seen), *nats.gaps(seen)]
    return [*own, *security_groups.gaps(seen), *_gaps_of_zone(seen)]


def _gaps_of_zone(seen: Survey) -> Iterator[Gap]:
    vpc, members, zone = seen.vpc, seen.group(MEMBERS), seen.zone
    if vpc and not zone:
        make = (lambda site, network, _: zones.create(site, network, vpc.id, members.id)) if members else None
        yield Gap(fault=f"the private zone {zones.NAME} is missing", repair=make)
    elif vpc and zone and zone.id not in seen.answering:
        yield Gap(fault=f"the private zone {zone.id} is not the VPC's", repair=lambda site, *_: zones.associate(site, zone.id, vpc.id))
    for one in seen.zones:
        if one is not zone and one.vpc not in {own.id for own in seen.vpcs}:
            yield Gap(
                fault=f"the private zone {one.id} is of a VPC that is gone", repair=lambda site, *_, one=one: zones.remove(site, one.id)
            )


def ensure(site: Site, network: Network, context: Context) -> None:
    """Make the network, or make good what it lacks: look, repair, and look again, until nothing is missing.

    Raises `ProviderError` with all that stands in the way, before anything is changed (codes ``aws-network-unfit``,
    ``aws-network-moved``, ``aws-zone-taken``), or when it is not whole in the end (``aws-slow``).
    """
    before: list[str] = []
    for _ in range(_ROUNDS):
        seen = _look(site)
        if problems := existing.problems(site, seen):
            raise ProviderError(problems)
        lacking = [one for one in gaps(seen) if one.repair]
        if not lacking:
            _name(site, network, seen)
            return
        faults = [one.fault for one in lacking]
        if faults == before:
            # EC2 may show what was made a moment later.
            waits.rest(waits.FIRST_SECONDS, context)
        before = faults
        _repair(site, network, context, lacking)
    raise ProviderError.of(
        "aws-slow",
        f"the network is not whole: {'; '.join(before)}",
        hint="run the same command again: it goes on from where this one stopped",
    )


def _repair(site: Site, network: Network, context: Context, lacking: Sequence[Gap]) -> None:
    for gap in lacking:
        context.check()
        try:
            if gap.repair:
                gap.repair(site, network, context)
        except AwsError as error:
            if not error.code.endswith(_GONE):
                raise
            # Not all of AWS knows yet what was made, or another run has removed it: looking again tells.
            context.progress(f"{error.problems[0].message}; looking again")
            return


def _name(site: Site, network: Network, seen: Survey) -> None:
    """Keep what the plan says of the network and AWS does not, where that has changed."""
    if _network(site, seen) == network:
        return
    carriers = [one.id for one in seen.groups]
    facts = {f"{tags.PREFIX}network": network.name, f"{tags.PREFIX}zone": network.dns_zone}
    site.gateway.call("ec2", "CreateTags", Resources=carriers, Tags=tags.listed(facts))


def delete(site: Site, network: Network, context: Context) -> None:
    """Remove everything that is ours, wherever it is; nothing that environment.yml names. Nothing happens when nothing is there.

    Waits for the interfaces of balancers and instances that have gone, and raises `ProviderError` (code ``aws-slow``) when they do not.
    """
    for number in range(_ROUNDS):
        seen = _look(site)
        if not seen.anything:
            return
        if number:
            # What is gone may still show for a moment.
            waits.rest(waits.FIRST_SECONDS, context)
        removals.remove(site, context, seen)
    raise ProviderError.of("aws-slow", "the network still shows although all of it was removed", hint="run the same command again")


def problems(site: Site) -> list[Problem]:
    """List why the environment's network cannot be as environment.yml says, before anything is made."""
    return existing.problems(site, surveys.survey(site))


def _look(site: Site) -> Survey:
    """Look at what is there; where that is whole, the others need not ask for it again."""
    seen: list[Survey] = []

    def find() -> Located | None:
        seen.append(surveys.survey(site))
        try:
            return located(seen[0])
        except ProviderError:
            return None

    site.memory.renew(_KEPT, find)
    site.memory.forget(zones.KEPT)
    return seen[0]
