"""In which zones the environment's subnets are, and with which addresses."""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Iterable, Iterator

from i2kit.driver import Context
from i2kit.environment import Architecture
from i2kit.errors import ProviderError
from i2kit.resources import Network
from i2kit_aws import tags
from i2kit_aws.gaps import Gap
from i2kit_aws.gateway import absent
from i2kit_aws.site import Site
from i2kit_aws.survey import PRIVATE, PUBLIC, Subnet, Survey, Vpc

MOST_ZONES = 3
_PIECES_BITS = 3

# Where these are offered, so are the types of their generation that are larger.
SMALLEST: dict[Architecture, str] = {"x86_64": "t3.micro", "aarch64": "t4g.micro"}


def cut(cidr: str, part: str) -> tuple[str, ...]:
    """Return the addresses of the subnets of a kind, one for each zone: eighths of the network, of which two are left over. Pure.

    >>> cut("10.83.0.0/16", "public"), cut("10.83.0.0/16", "private")[0]
    (('10.83.0.0/19', '10.83.32.0/19', '10.83.64.0/19'), '10.83.96.0/19')
    """
    pieces = [str(one) for one in ipaddress.IPv4Network(cidr).subnets(prefixlen_diff=_PIECES_BITS)]
    first = 0 if part == PUBLIC else MOST_ZONES
    return tuple(pieces[first : first + MOST_ZONES])


def choose(site: Site) -> tuple[str, ...]:
    """Return the zones to make subnets in; raise `ProviderError` (code ``aws-no-zone``) when there are none."""
    smallest = SMALLEST[site.environment.architecture]
    usable = [{"Name": "zone-type", "Values": ["availability-zone"]}, {"Name": "state", "Values": ["available"]}]
    there = site.gateway.call("ec2", "DescribeAvailabilityZones", Filters=usable).get("AvailabilityZones") or ()
    wanted = {"LocationType": "availability-zone", "Filters": [{"Name": "instance-type", "Values": [smallest]}]}
    offers = site.gateway.pages("ec2", "DescribeInstanceTypeOfferings", "InstanceTypeOfferings", **wanted)
    zones = chosen([str(one["ZoneName"]) for one in there], [str(one["Location"]) for one in offers])
    if not zones:
        raise ProviderError.of(
            "aws-no-zone",
            f"no availability zone of {site.settings.region} offers {smallest}",
            hint="deploy to another region, or for another architecture",
        )
    return zones


def chosen(there: Iterable[str], offering: Iterable[str]) -> tuple[str, ...]:
    """Return the zones to use: at most three of those that offer what is needed, always the same ones. Pure.

    >>> chosen(["c", "a", "b", "d"], ["d", "c", "a", "a-local-1"])
    ('a', 'c', 'd')
    """
    return tuple(sorted({*there} & {*offering})[:MOST_ZONES])


def wanted_zones(seen: Survey, vpc: Vpc) -> tuple[str, ...]:
    """Return the zones that our VPC was made for; where somebody has removed that tag, those that it has subnets in. Pure."""
    return vpc.zones or tuple(sorted({*seen.own(PUBLIC), *seen.own(PRIVATE)}))


def gaps(seen: Survey, vpc: Vpc) -> Iterator[Gap]:
    """Yield what our VPC lacks in subnets. Pure."""
    zones = wanted_zones(seen, vpc)
    if not zones:
        yield Gap(fault="it has no subnets", repair=functools.partial(_choose_again, vpc))
    parts = (PUBLIC, PRIVATE) if seen.wanted.private else (PUBLIC,)
    for part in parts:
        there = seen.own(part)
        for index, zone in enumerate(zones):
            if zone not in there:
                yield Gap(fault=f"there is no {part} subnet in {zone}", repair=functools.partial(_create, vpc, part, zone, index))
    for one in seen.own(PUBLIC).values():
        if one.gives_addresses == seen.wanted.private:
            # Behind a NAT gateway nothing but it and balancers is in public subnets, and they have their addresses by themselves.
            fault = f"subnet {one.id} gives {'' if one.gives_addresses else 'no '}public addresses"
            yield Gap(fault=fault, repair=functools.partial(_give_addresses, one, not seen.wanted.private))


def _choose_again(vpc: Vpc, site: Site, network: Network, context: Context) -> None:
    site.gateway.call("ec2", "CreateTags", Resources=[vpc.id], Tags=tags.listed({f"{tags.PREFIX}zones": " ".join(choose(site))}))


def _create(vpc: Vpc, part: str, zone: str, index: int, site: Site, network: Network, context: Context) -> None:
    made = site.tags(network.mark, f"{network.name} {part} {zone}", part=part)
    given = {"VpcId": vpc.id, "AvailabilityZone": zone, "CidrBlock": cut(vpc.cidrs[0], part)[index]}
    # The same addresses twice are refused: somebody else has just made it, or whoever did died before he was told.
    absent("InvalidSubnet.Conflict")(
        lambda: site.gateway.call("ec2", "CreateSubnet", **given, TagSpecifications=tags.specification(made, "subnet"))
    )


def _give_addresses(subnet: Subnet, value: bool, site: Site, network: Network, context: Context) -> None:
    site.gateway.call("ec2", "ModifySubnetAttribute", SubnetId=subnet.id, MapPublicIpOnLaunch={"Value": value})
