"""What there is of the environment's network, as AWS has it: asked in few requests, and told in records that can be reasoned about."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from attrs import field, frozen

from i2kit_aws import tags, zones
from i2kit_aws.gateway import absent
from i2kit_aws.settings import NetworkSettings
from i2kit_aws.site import Site
from i2kit_aws.zones import Zone

T = TypeVar("T")

EVERYWHERE = "0.0.0.0/0"
PUBLIC, PRIVATE = "public", "private"
MEMBERS, BALANCERS = "members", "balancers"
NAT = "nat"

_ASKED_AT_ONCE = 8
_unknown = absent("InvalidVpcID.NotFound")


@frozen(kw_only=True)
class Vpc:
    """A virtual private cloud; the first of its `cidrs` is the one that it was made with. `zones` are those that it was made for."""

    id: str
    cidrs: tuple[str, ...]
    zones: tuple[str, ...] = ()

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Vpc:
        """Read what EC2 tells of one."""
        more = (
            str(one["CidrBlock"])
            for one in told.get("CidrBlockAssociationSet") or ()
            if one.get("CidrBlockState", {}).get("State") == "associated"
        )
        zones = tags.fact(tags.unlisted(told.get("Tags")), "zones")
        return cls(id=str(told["VpcId"]), cidrs=tuple(dict.fromkeys([str(told["CidrBlock"]), *more])), zones=tuple(zones.split()))


@frozen(kw_only=True)
class Subnet:
    """A subnet in an availability zone; `part` is what we made it for. `gives_addresses`: whether what starts in it has a public one."""

    id: str
    vpc: str
    zone: str
    cidr: str
    part: str = ""
    gives_addresses: bool = False

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Subnet:
        """Read what EC2 tells of one."""
        return cls(
            id=str(told["SubnetId"]),
            vpc=str(told["VpcId"]),
            zone=str(told["AvailabilityZone"]),
            cidr=str(told["CidrBlock"]),
            part=_part(told),
            gives_addresses=bool(told.get("MapPublicIpOnLaunch")),
        )


@frozen(kw_only=True)
class InternetGateway:
    """An internet gateway, and the VPC that it is attached to; empty when it is attached to none."""

    id: str
    vpc: str = ""

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> InternetGateway:
        """Read what EC2 tells of one."""
        attached = [
            str(one["VpcId"]) for one in told.get("Attachments") or () if one.get("State") in ("available", "attached", "attaching")
        ]
        return cls(id=str(told["InternetGatewayId"]), vpc=attached[0] if attached else "")


@frozen(kw_only=True)
class RouteTable:
    """A route table of a VPC: the subnets that are associated with it (with their associations), and where everything else goes.

    `default` is the id of the gateway to which it sends what is for nowhere near; empty when there is no such route, or (`broken`) it leads
    to what is gone.
    """

    id: str
    vpc: str
    main: bool = False
    ours: bool = False
    associations: Mapping[str, str] = field(factory=dict)
    default: str = ""
    broken: bool = False

    @classmethod
    def of(cls, told: Mapping[str, Any], label: str) -> RouteTable:
        """Read what EC2 tells of one; `label` is the environment's."""
        route = next((one for one in told.get("Routes") or () if one.get("DestinationCidrBlock") == EVERYWHERE), None)
        broken = route is not None and route.get("State") == "blackhole"
        ways = ("GatewayId", "NatGatewayId", "TransitGatewayId", "NetworkInterfaceId", "VpcPeeringConnectionId")
        leads = next((str(route[way]) for way in ways if route.get(way)), "") if route else ""
        associations = told.get("Associations") or ()
        return cls(
            id=str(told["RouteTableId"]),
            vpc=str(told["VpcId"]),
            main=any(one.get("Main") for one in associations),
            ours=_label(told) == label,
            associations={str(one["SubnetId"]): str(one["RouteTableAssociationId"]) for one in associations if one.get("SubnetId")},
            default="" if broken else leads,
            broken=broken or (route is not None and not leads),
        )


@frozen(kw_only=True)
class Nat:
    """A NAT gateway: `state` is EC2's word, `message` why it failed."""

    id: str
    vpc: str
    subnet: str
    state: str
    allocation: str = ""
    message: str = ""

    @property
    def lives(self) -> bool:
        """Whether it works, or is about to."""
        return self.state in ("available", "pending")

    @property
    def gone(self) -> bool:
        """Whether nothing is left of it but what is told."""
        return self.state in ("deleted", "failed")

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Nat:
        """Read what EC2 tells of one."""
        addresses = [str(one["AllocationId"]) for one in told.get("NatGatewayAddresses") or () if one.get("AllocationId")]
        return cls(
            id=str(told["NatGatewayId"]),
            vpc=str(told["VpcId"]),
            subnet=str(told["SubnetId"]),
            state=str(told["State"]),
            allocation=addresses[0] if addresses else "",
            message=str(told.get("FailureMessage") or ""),
        )


@frozen(kw_only=True)
class SecurityGroup:
    """One of the environment's two security groups: the groups whose members may reach it with everything, and whether all may go out."""

    id: str
    vpc: str
    part: str
    name: str = ""
    sources: frozenset[str] = frozenset()
    open_out: bool = False
    tags: Mapping[str, str] = field(factory=dict)

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> SecurityGroup:
        """Read what EC2 tells of one."""
        inward = [one for one in told.get("IpPermissions") or () if str(one.get("IpProtocol")) == "-1"]
        outward = [one for one in told.get("IpPermissionsEgress") or () if str(one.get("IpProtocol")) == "-1"]
        marked = tags.unlisted(told.get("Tags"))
        return cls(
            id=str(told["GroupId"]),
            vpc=str(told["VpcId"]),
            part=_part(told),
            name=str(told.get("GroupName") or ""),
            sources=frozenset(str(pair["GroupId"]) for one in inward for pair in one.get("UserIdGroupPairs") or ()),
            open_out=any(where.get("CidrIp") == EVERYWHERE for one in outward for where in one.get("IpRanges") or ()),
            tags=marked,
        )


@frozen(kw_only=True)
class Survey:
    """Everything of the environment's network, and of the VPC that it is in; `wanted` is what environment.yml says of it.

    `vpcs` are those that we made, the one that counts first: there are more when runs that did not know of each other made one each.
    `vpc` is the one that the network is to be in, or is: ours, or the one that environment.yml names; None when it is not there.
    `named` are the subnets that environment.yml names, `tables` all route tables of `vpc`; everything else is ours, wherever it is.
    `answering` are the ids of the zones that answer for our zone's name in `vpc`. `busy` are those of several VPCs, and of private subnets
    that are not wanted any more, in which something runs.
    """

    wanted: NetworkSettings = field(factory=NetworkSettings)
    vpcs: tuple[Vpc, ...] = ()
    vpc: Vpc | None = None
    subnets: tuple[Subnet, ...] = ()
    named: tuple[Subnet, ...] = ()
    gateways: tuple[InternetGateway, ...] = ()
    tables: tuple[RouteTable, ...] = ()
    nats: tuple[Nat, ...] = ()
    addresses: tuple[str, ...] = ()
    groups: tuple[SecurityGroup, ...] = ()
    zones: tuple[Zone, ...] = ()
    answering: tuple[str, ...] = ()
    busy: frozenset[str] = frozenset()
    dns_support: bool = True
    dns_hostnames: bool = True
    facts: Mapping[str, str] = field(factory=dict)

    @property
    def anything(self) -> bool:
        """Whether anything is ours."""
        ours = (self.vpcs, self.subnets, self.gateways, self.addresses, self.groups, self.zones)
        return any(ours) or any(not one.gone for one in self.nats) or any(one.ours for one in self.tables)

    def group(self, part: str) -> SecurityGroup | None:
        """Return one of our security groups in the VPC."""
        return next((one for one in self.groups if self.vpc and one.vpc == self.vpc.id and one.part == part), None)

    @property
    def zone(self) -> Zone | None:
        """Our private zone that was made for the VPC."""
        return next((one for one in self.zones if self.vpc and one.vpc == self.vpc.id), None)

    @property
    def taken(self) -> str:
        """The id of the zone of the VPC that stands where ours should, and is another's; empty when there is none."""
        own = {one.id for one in self.zones}
        return next((one for one in self.answering if one not in own), "")

    def of_vpc(self, vpc: Vpc) -> Survey:
        """Return what of all this is ours and in one of our VPCs."""
        return Survey(
            vpcs=(vpc,),
            vpc=vpc,
            subnets=tuple(one for one in self.subnets if one.vpc == vpc.id),
            gateways=tuple(one for one in self.gateways if one.vpc == vpc.id),
            nats=tuple(one for one in self.nats if one.vpc == vpc.id),
            groups=tuple(one for one in self.groups if one.vpc == vpc.id),
            zones=tuple(one for one in self.zones if one.vpc == vpc.id),
        )

    def own(self, part: str) -> dict[str, Subnet]:
        """Return our subnets of a kind in the VPC, by zone."""
        return {one.zone: one for one in reversed(self.subnets) if self.vpc and one.vpc == self.vpc.id and one.part == part}

    def table(self, subnet: str) -> RouteTable | None:
        """Return the route table by which a subnet of the VPC goes: its own, or the VPC's main one."""
        own = next((one for one in self.tables if subnet in one.associations), None)
        return own or next((one for one in self.tables if one.main), None)

    def is_public(self, subnet: str) -> bool:
        """Whether a subnet of the VPC has a way to an internet gateway, so that what has a public address in it can be reached."""
        table = self.table(subnet)
        return table is not None and table.default.startswith("igw-")


def survey(site: Site) -> Survey:
    """Ask AWS what there is: a number of requests that does not grow with what is in the environment, but for pages."""
    vpcs, subnets, gateways, nats, addresses, groups, own_zones, named_vpc, named = _at_once(*_first_questions(site))
    wanted, made = site.settings.network, [Vpc.of(one) for one in vpcs]
    busy = _busy(site, made, [Subnet.of(one) for one in subnets])
    made.sort(key=lambda one: (one.id not in busy, one.id))
    vpc = (Vpc.of(named_vpc[0]) if named_vpc else None) if wanted.vpc else (made[0] if made else None)
    routes, support, hostnames, answering = _at_once(*_questions_of_vpc(site, vpc.id)) if vpc else ([], True, True, [])
    facts = [tags.unlisted(one.get("Tags")) for one in (*groups, *vpcs)]
    return Survey(
        wanted=wanted,
        vpcs=tuple(made),
        vpc=vpc,
        subnets=tuple(sorted(map(Subnet.of, subnets), key=lambda one: one.id)),
        named=tuple(map(Subnet.of, named)),
        gateways=tuple(sorted(map(InternetGateway.of, gateways), key=lambda one: (not one.vpc, one.id))),
        tables=tuple(sorted((RouteTable.of(one, site.label) for one in routes), key=lambda one: one.id)),
        nats=tuple(sorted(map(Nat.of, nats), key=lambda one: (not one.lives, one.id))),
        addresses=tuple(sorted(str(one["AllocationId"]) for one in addresses if _part(one) == NAT)),
        groups=tuple(one for one in map(SecurityGroup.of, groups) if one.part in (MEMBERS, BALANCERS)),
        zones=tuple(own_zones),
        answering=tuple(answering),
        busy=busy,
        dns_support=support,
        dns_hostnames=hostnames,
        facts=facts[0] if facts else {},
    )


def _first_questions(site: Site) -> list[Callable[[], Any]]:
    """Ask for what is ours, by its tags, and for what environment.yml names."""
    wanted = site.settings.network

    def named(operation: str, key: str, by: str, *ids: str) -> Callable[[], Any]:
        return lambda: list(site.gateway.pages("ec2", operation, key, Filters=[{"Name": by, "Values": list(ids)}])) if ids else []

    return [
        functools.partial(ours, site, "DescribeVpcs", "Vpcs"),
        functools.partial(ours, site, "DescribeSubnets", "Subnets"),
        functools.partial(ours, site, "DescribeInternetGateways", "InternetGateways"),
        functools.partial(ours, site, "DescribeNatGateways", "NatGateways"),
        functools.partial(ours, site, "DescribeAddresses", "Addresses"),
        functools.partial(ours, site, "DescribeSecurityGroups", "SecurityGroups"),
        lambda: zones.ours(site),
        named("DescribeVpcs", "Vpcs", "vpc-id", *([wanted.vpc] if wanted.vpc else [])),
        named("DescribeSubnets", "Subnets", "subnet-id", *wanted.subnets),
    ]


def _questions_of_vpc(site: Site, vpc: str) -> list[Callable[[], Any]]:
    def attribute(name: str) -> bool:
        # What was made or removed a moment ago shows in lists before, and after, it can be asked for.
        asked = {"VpcId": vpc, "Attribute": name[0].lower() + name[1:]}
        answer = _unknown(lambda: site.gateway.call("ec2", "DescribeVpcAttribute", **asked)) or {}
        return bool(answer.get(name, {}).get("Value"))

    return [
        functools.partial(tables, site, vpc),
        lambda: attribute("EnableDnsSupport"),
        lambda: attribute("EnableDnsHostnames"),
        lambda: zones.answering(site, vpc),
    ]


def ours(site: Site, operation: str, key: str) -> list[Mapping[str, Any]]:
    """Return what EC2 tells of the environment's resources of a kind, such as ``ours(site, "DescribeVpcs", "Vpcs")``."""
    filters = {"Filter" if operation == "DescribeNatGateways" else "Filters": tags.having(site.own())}
    # Not every server that speaks EC2's language filters by everything.
    return [one for one in site.gateway.pages("ec2", operation, key, **filters) if _label(one) == site.label]


def tables(site: Site, vpc: str) -> list[Mapping[str, Any]]:
    """Return what EC2 tells of the route tables of a VPC, whoever made them."""
    return list(site.gateway.pages("ec2", "DescribeRouteTables", "RouteTables", Filters=[{"Name": "vpc-id", "Values": [vpc]}]))


def interfaces(site: Site, **by: Iterable[str]) -> list[Mapping[str, Any]]:
    """Return the network interfaces in VPCs, subnets or security groups (``vpc_id=[...]``), but for those of NAT gateways."""
    filters = [{"Name": name.replace("_", "-"), "Values": list(values)} for name, values in by.items()]
    told = site.gateway.pages("ec2", "DescribeNetworkInterfaces", "NetworkInterfaces", Filters=filters)
    return [one for one in told if one.get("InterfaceType") != "nat_gateway"]


def _busy(site: Site, vpcs: Sequence[Vpc], subnets: Sequence[Subnet]) -> frozenset[str]:
    """Ask where something runs, in the rare cases in which it matters."""
    found: set[str] = set()
    if len(vpcs) > 1:
        found |= {str(one["VpcId"]) for one in interfaces(site, vpc_id=[one.id for one in vpcs])}
    inner = [one.id for one in subnets if one.part == PRIVATE]
    if inner and not site.settings.network.private:
        found |= {str(one["SubnetId"]) for one in interfaces(site, subnet_id=inner)}
    return frozenset(found)


def _part(told: Mapping[str, Any]) -> str:
    return tags.fact(tags.unlisted(told.get("Tags")), "part")


def _label(told: Mapping[str, Any]) -> str:
    return tags.unlisted(told.get("Tags")).get(tags.ENVIRONMENT, "")


def _at_once(*questions: Callable[[], Any]) -> list[Any]:
    with ThreadPoolExecutor(_ASKED_AT_ONCE) as pool:
        return [one.result() for one in [pool.submit(question) for question in questions]]
