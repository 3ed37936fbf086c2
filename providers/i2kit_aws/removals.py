"""Taking a network down: in order, and not before everything has left it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from i2kit.driver import Context
from i2kit_aws import waits, zones
from i2kit_aws.gateway import AwsError, absent
from i2kit_aws.site import Site
from i2kit_aws.survey import MEMBERS, Nat, Survey, interfaces, ours

LEAVE_SECONDS = 900.0
"""How long balancers' and terminated instances' interfaces may take to go, after those have."""
SETTLE_SECONDS = 120.0
"""How long EC2 may take to notice that nothing uses a thing any more."""

_SHOWN = 3


def remove(site: Site, context: Context, seen: Survey) -> None:
    """Remove everything of ours that was seen. What environment.yml names is not among it.

    The VPC goes last, so that whatever is left of a removal that was cut short is found again.
    """
    for zone in seen.zones:
        zones.remove(site, zone.id)
    _end_nats(site, context, [one for one in seen.nats if not one.gone])
    for address in seen.addresses:
        _gone(site, "InvalidAllocationID.NotFound", "ReleaseAddress", AllocationId=address)
    _empty(site, context, seen)
    # The group of members lets that of balancers in, which has to be there for as long.
    for group in sorted(seen.groups, key=lambda one: (one.part != MEMBERS, one.id)):
        _patiently(site, context, "InvalidGroup.NotFound", "DeleteSecurityGroup", GroupId=group.id)
    for subnet in seen.subnets:
        _patiently(site, context, "InvalidSubnetID.NotFound", "DeleteSubnet", SubnetId=subnet.id)
    for table in _tables(site, [one.id for one in seen.vpcs]):
        _patiently(site, context, "InvalidRouteTableID.NotFound", "DeleteRouteTable", RouteTableId=table)
    for gateway in seen.gateways:
        if gateway.vpc:
            given = {"InternetGatewayId": gateway.id, "VpcId": gateway.vpc}
            _patiently(site, context, "Gateway.NotAttached InvalidInternetGatewayID.NotFound", "DetachInternetGateway", **given)
        _patiently(site, context, "InvalidInternetGatewayID.NotFound", "DeleteInternetGateway", InternetGatewayId=gateway.id)
    for vpc in seen.vpcs:
        _patiently(site, context, "InvalidVpcID.NotFound", "DeleteVpc", VpcId=vpc.id)


def _end_nats(site: Site, context: Context, nats: Sequence[Nat]) -> None:
    for one in nats:
        _gone(site, "NatGatewayNotFound", "DeleteNatGateway", NatGatewayId=one.id)
    names = {one.id for one in nats}

    def gone() -> bool | None:
        told = [Nat.of(one) for one in ours(site, "DescribeNatGateways", "NatGateways")]
        return all(one.gone for one in told if one.id in names) or None

    if nats:
        context.progress("waiting for the NAT gateway to go")
        waits.until(gone, context, seconds=LEAVE_SECONDS, otherwise=f"NAT gateway {', '.join(sorted(names))} is still there")


def _tables(site: Site, vpcs: Sequence[str]) -> list[str]:
    """Return our route tables; the main one of a VPC goes with it."""
    return [str(one["RouteTableId"]) for one in ours(site, "DescribeRouteTables", "RouteTables") if not vpcs or one["VpcId"] in vpcs]


def _empty(site: Site, context: Context, seen: Survey) -> None:
    """Wait until no interface is left in our VPCs and subnets, nor, in a VPC that is not ours, in our security groups."""
    own = {one.id for one in seen.vpcs}
    groups = [one.id for one in seen.groups if one.vpc not in own]
    subnets = [one.id for one in seen.subnets if one.vpc not in own]
    places = {name: ids for name, ids in (("vpc_id", sorted(own)), ("group_id", groups), ("subnet_id", subnets)) if ids}
    said: list[str] = [""]

    def empty() -> bool | None:
        left = {str(one["NetworkInterfaceId"]): one for name, ids in places.items() for one in interfaces(site, **{name: ids})}
        if not left:
            return True
        said.append(told(left.values()))
        if said[-1] != said[-2]:
            context.progress(f"waiting for {said[-1]} to go")
        return None

    waits.until(empty, context, seconds=LEAVE_SECONDS, otherwise=lambda: f"{said[-1]} of the network are still there")


def told(left: Iterable[Mapping[str, Any]]) -> str:
    """Say which interfaces are left, in EC2's own words for them. Pure.

    >>> told([{"NetworkInterfaceId": "eni-1", "Description": "ELB net/web/0123"}, {"NetworkInterfaceId": "eni-2", "Description": ""}])
    'interfaces eni-1 (ELB net/web/0123), eni-2'
    """
    names = sorted(f"{one['NetworkInterfaceId']}{_about(one)}" for one in left)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"interfaces {', '.join(names[:_SHOWN])}{more}"


def _about(interface: Mapping[str, Any]) -> str:
    about = interface.get("Description") or interface.get("Attachment", {}).get("InstanceId")
    return f" ({about})" if about else ""


def _gone(site: Site, codes: str, operation: str, **given: str) -> None:
    absent(*codes.split())(lambda: site.gateway.call("ec2", operation, **given))


def _patiently(site: Site, context: Context, codes: str, operation: str, **given: str) -> None:
    """Make a request that removes something; EC2 refuses it until it has noticed that nothing uses that any more."""
    refused: list[AwsError] = []

    def attempt() -> bool | None:
        try:
            _gone(site, codes, operation, **given)
        except AwsError as error:
            if error.code != "DependencyViolation":
                raise
            refused.append(error)
            return None
        return True

    waits.until(attempt, context, seconds=SETTLE_SECONDS, otherwise=lambda: f"{refused[-1].problems[0].message}: so it still is")
