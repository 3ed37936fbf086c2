"""What stands in the way of a network: an existing VPC that does not fit, another's zone, a change that no VPC can go through."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from i2kit.errors import Problem
from i2kit_aws import zones
from i2kit_aws.site import Site
from i2kit_aws.survey import Survey


def problems(site: Site, seen: Survey) -> list[Problem]:
    """List why the network cannot be as environment.yml says. Nothing that is not ours is ever changed to make it fit."""
    named = site.settings.network.vpc
    found = [*_moved(seen), *(_unfit(seen, named) if named else _changed(seen))]
    if seen.taken and seen.vpc:
        found += _taken(site, seen.vpc.id, seen.taken)
    return found


def _taken(site: Site, vpc: str, zone: str) -> Iterator[Problem]:
    owner = zones.owner(site, zone)
    if owner == site.label:
        # Our own, which does not show everywhere yet.
        return
    whose = f"of environment {owner!r}" if owner else "which i2kit did not make"
    yield Problem(
        code="aws-zone-taken",
        message=f"{vpc} has a private zone {zones.NAME} already: {zone}, {whose}",
        expected="a VPC without one: the Services of two environments would have the same names",
        hint="leave network.vpc away for a VPC of the environment's own, or name another one",
    )


def _moved(seen: Survey) -> Iterator[Problem]:
    """Yield where the environment's network is, when it is in another VPC than it should be."""
    own = {one.id for one in seen.vpcs}
    should = {seen.wanted.vpc} if seen.wanted.vpc else own
    wanted = f"environment.yml names {seen.wanted.vpc}" if seen.wanted.vpc else "environment.yml names no VPC"
    for elsewhere in sorted({*own, *(one.vpc for one in seen.groups)} - should):
        yield _lasting(f"the environment's network is in {elsewhere}, and {wanted}", "network.vpc")


def _changed(seen: Survey) -> Iterator[Problem]:
    if seen.vpc and seen.vpc.cidrs[0] != seen.wanted.cidr:
        yield _lasting(f"{seen.vpc.id} has the addresses {seen.vpc.cidrs[0]}, and network.cidr is {seen.wanted.cidr}", "network.cidr")


def _lasting(message: str, field: str) -> Problem:
    hint = f"what runs cannot move: put {field} back, or `i2kit destroy --all` first, or deploy another environment beside it"
    return Problem(code="aws-network-moved", message=message, hint=hint)


def _unfit(seen: Survey, named: str) -> Iterator[Problem]:
    """Yield what is wrong with an existing VPC and its subnets."""
    if seen.vpc is None:
        yield _problem(f"there is no VPC {named}", "a VPC of the environment's account and region")
        return
    for attribute, there in (("DNS resolution", seen.dns_support), ("DNS hostnames", seen.dns_hostnames)):
        if not there:
            yield _problem(f"{attribute} is off in {named}", "both DNS resolution and DNS hostnames on, as private zones need it")
    found = {one.id: one for one in seen.named}
    for name in seen.wanted.subnets:
        if name not in found:
            yield _problem(f"there is no subnet {name}", f"subnets of {named}")
        elif found[name].vpc != named:
            yield _problem(f"subnet {name} is in {found[name].vpc}", f"subnets of {named}")
    kinds = Counter((one.zone, seen.is_public(one.id)) for one in seen.named if one.vpc == named)
    for (zone, public), number in sorted(kinds.items()):
        if number > 1:
            kind = "with" if public else "without"
            yield _problem(f"{number} subnets {kind} a route to an internet gateway are in {zone}", "at most one of a kind in each zone")


def _problem(message: str, expected: str) -> Problem:
    return Problem(code="aws-network-unfit", message=message, expected=expected, hint="network.vpc and network.subnets say which to use")
