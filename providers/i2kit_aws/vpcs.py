"""The VPC that i2kit makes, with its way to the internet."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from i2kit.driver import Context
from i2kit.resources import Network
from i2kit_aws import removals, subnets, tags, waits
from i2kit_aws.gaps import Gap
from i2kit_aws.gateway import absent
from i2kit_aws.site import Site
from i2kit_aws.survey import EVERYWHERE, PUBLIC, InternetGateway, RouteTable, Survey, Vpc, ours

APPEAR_SECONDS = 120.0
"""How long what was made may take until it shows."""


def gaps(seen: Survey) -> Iterator[Gap]:
    """Yield what our VPC lacks; of what stands on something that is missing, nothing yet. Pure."""
    if seen.vpc is None:
        yield Gap(fault="there is no VPC", repair=functools.partial(_create, seen))
        return
    yield from (_twin(seen, one) for one in seen.vpcs[1:])
    for attribute, there in (("EnableDnsSupport", seen.dns_support), ("EnableDnsHostnames", seen.dns_hostnames)):
        if not there:
            fault = f"{attribute[:1].lower()}{attribute[1:]} is off in {seen.vpc.id}"
            yield Gap(fault=fault, repair=functools.partial(_switch_on, seen.vpc, attribute))
    yield from subnets.gaps(seen, seen.vpc)
    yield from _way_out(seen, seen.vpc)


def _twin(seen: Survey, twin: Vpc) -> Gap:
    fault = f"{twin.id} is a second VPC of the environment"
    if twin.id in seen.busy:
        return Gap(fault=f"{fault}, and something runs in it")
    return Gap(fault=fault, repair=lambda site, _, context: removals.remove(site, context, seen.of_vpc(twin)))


def _way_out(seen: Survey, vpc: Vpc) -> Iterator[Gap]:
    attached = next((one for one in seen.gateways if one.vpc == vpc.id), None)
    loose = [one for one in seen.gateways if not one.vpc]
    if attached is None:
        made = loose.pop(0) if loose else None
        yield Gap(fault="it has no internet gateway", repair=functools.partial(_attach, vpc, made))
    yield from (Gap(fault=f"internet gateway {one.id} is of no use", repair=functools.partial(_drop, one)) for one in loose)
    main = next((one for one in seen.tables if one.main), None)
    if attached and main and main.default != attached.id:
        fault = f"route table {main.id} has no route to the internet gateway"
        yield Gap(fault=fault, repair=functools.partial(route, main, GatewayId=attached.id))
    for one in seen.own(PUBLIC).values():
        table = seen.table(one.id)
        if table and not table.main:
            fault = f"public subnet {one.id} does not go by the VPC's main route table"
            yield Gap(fault=fault, repair=functools.partial(_release, table.associations[one.id]))


def _create(seen: Survey, site: Site, network: Network, context: Context) -> None:
    facts = {"network": network.name, "zone": network.dns_zone, "zones": " ".join(subnets.choose(site))}
    given = tags.specification(site.tags(network.mark, network.name, **facts), "vpc")
    made = site.gateway.call("ec2", "CreateVpc", CidrBlock=seen.wanted.cidr, TagSpecifications=given)
    appears(context, "VpcId", str(made["Vpc"]["VpcId"]), lambda: ours(site, "DescribeVpcs", "Vpcs"))


def appears(context: Context, name: str, made: str, look: Callable[[], Iterable[Mapping[str, Any]]]) -> None:
    """Wait until what was made is among what a survey sees, by looking as it does: whoever looked before that would make another."""
    waits.until(
        lambda: any(str(one[name]) == made for one in look()) or None,
        context,
        seconds=APPEAR_SECONDS,
        otherwise=f"EC2 does not show {made}",
    )


def _switch_on(vpc: Vpc, attribute: str, site: Site, network: Network, context: Context) -> None:
    site.gateway.call("ec2", "ModifyVpcAttribute", VpcId=vpc.id, **{attribute: {"Value": True}})


def _attach(vpc: Vpc, gateway: InternetGateway | None, site: Site, network: Network, context: Context) -> None:
    name = gateway.id if gateway else ""
    if not gateway:
        given = tags.specification(site.tags(network.mark, network.name), "internet-gateway")
        made = site.gateway.call("ec2", "CreateInternetGateway", TagSpecifications=given)
        name = str(made["InternetGateway"]["InternetGatewayId"])
        appears(context, "InternetGatewayId", name, lambda: ours(site, "DescribeInternetGateways", "InternetGateways"))
    # Another run may have attached this one meanwhile, or another one.
    absent("Resource.AlreadyAssociated", "InvalidParameterValue")(
        lambda: site.gateway.call("ec2", "AttachInternetGateway", InternetGatewayId=name, VpcId=vpc.id)
    )


def _drop(gateway: InternetGateway, site: Site, network: Network, context: Context) -> None:
    # One that another run attaches at this moment stays.
    absent("InvalidInternetGatewayID.NotFound", "DependencyViolation")(
        lambda: site.gateway.call("ec2", "DeleteInternetGateway", InternetGatewayId=gateway.id)
    )


def _release(association: str, site: Site, network: Network, context: Context) -> None:
    absent("InvalidAssociationID.NotFound")(lambda: site.gateway.call("ec2", "DisassociateRouteTable", AssociationId=association))


def route(table: RouteTable, site: Site, network: Network, context: Context, **gateway: str) -> None:
    """Send what is for nowhere near to a gateway (``GatewayId=...``)."""
    operation = "ReplaceRoute" if table.default or table.broken else "CreateRoute"
    given = {"RouteTableId": table.id, "DestinationCidrBlock": EVERYWHERE, **gateway}
    absent("RouteAlreadyExists")(lambda: site.gateway.call("ec2", operation, **given))
