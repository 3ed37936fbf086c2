"""Private subnets, where environment.yml wants them: their route table, and the NAT gateway with its address."""

from __future__ import annotations

import functools
from collections.abc import Iterator

from attrs import evolve

from i2kit.driver import Context
from i2kit.names import digest
from i2kit.resources import Network
from i2kit_aws import removals, tags, vpcs, waits
from i2kit_aws.gaps import Gap
from i2kit_aws.gateway import absent
from i2kit_aws.site import Site
from i2kit_aws.survey import NAT, PRIVATE, PUBLIC, Nat, RouteTable, Subnet, Survey, Vpc, ours, tables

PENDING_SECONDS = 600.0
"""How long a NAT gateway may take until it works, or is gone."""


def gaps(seen: Survey) -> Iterator[Gap]:
    """Yield what our VPC lacks for private subnets, and what it has too much. Pure."""
    if seen.vpc is None:
        return
    if not seen.wanted.private:
        yield from _surplus(seen)
        return
    nats = [one for one in seen.nats if one.vpc == seen.vpc.id and one.lives]
    tables = [one for one in seen.tables if one.ours and not one.main]
    yield from _gateway(seen, seen.vpc, nats)
    yield from _routes(seen, seen.vpc, nats, tables)


def _surplus(seen: Survey) -> Iterator[Gap]:
    inner = [one for one in seen.subnets if one.part == PRIVATE]
    tables = [one for one in seen.tables if one.ours and not one.main]
    nats = [one for one in seen.nats if not one.gone]
    if not (inner or tables or nats or seen.addresses) or any(one.id in seen.busy for one in inner):
        # What still runs there keeps its way out; a later run finds it empty.
        return
    rest = evolve(seen, vpcs=(), groups=(), zones=(), gateways=(), subnets=tuple(inner), nats=tuple(nats))
    fault = "it has private subnets or a NAT gateway, which environment.yml does not want any more"
    yield Gap(fault=fault, repair=lambda site, _, context: removals.remove(site, context, rest))


def _gateway(seen: Survey, vpc: Vpc, nats: list[Nat]) -> Iterator[Gap]:
    outer = seen.own(PUBLIC)
    attached = any(one.vpc == vpc.id for one in seen.gateways)
    for one in seen.nats:
        if one.state in ("pending", "deleting"):
            # What goes has its address until then.
            yield Gap(fault=f"NAT gateway {one.id} is {one.state}", repair=functools.partial(_await, one))
    if any(one.state == "deleting" for one in seen.nats):
        return
    if not nats:
        failed = next((f" (the last one failed: {one.message})" for one in seen.nats if one.state == "failed"), "")
        fault = f"it has no NAT gateway{failed}"
        if not outer or not attached:
            yield Gap(fault=fault)
        elif not seen.addresses:
            yield Gap(fault=fault, repair=_allocate)
        else:
            yield Gap(fault=fault, repair=functools.partial(_create, seen, outer[min(outer)], seen.addresses[0]))
        return
    for twin in nats[1:]:
        yield Gap(fault=f"NAT gateway {twin.id} is one too many", repair=functools.partial(_drop, twin))
    for address in [one for one in seen.addresses if one not in {nat.allocation for nat in nats}]:
        yield Gap(fault=f"elastic IP {address} is of no use", repair=functools.partial(_give_back, address))


def _routes(seen: Survey, vpc: Vpc, nats: list[Nat], tables: list[RouteTable]) -> Iterator[Gap]:
    if not tables:
        yield Gap(fault="it has no route table for private subnets", repair=functools.partial(_create_table, vpc))
        return
    table = tables[0]
    if nats and table.default != nats[0].id:
        fault = f"route table {table.id} has no route to the NAT gateway"
        yield Gap(fault=fault, repair=functools.partial(vpcs.route, table, NatGatewayId=nats[0].id))
    for subnet in seen.own(PRIVATE).values():
        if subnet.id not in table.associations:
            fault = f"private subnet {subnet.id} does not go by route table {table.id}"
            yield Gap(fault=fault, repair=functools.partial(_associate, seen, table, subnet))
    for twin in tables[1:]:
        yield Gap(fault=f"route table {twin.id} is one too many", repair=functools.partial(_drop_table, twin))


def _allocate(site: Site, network: Network, context: Context) -> None:
    given = tags.specification(site.tags(network.mark, network.name, part=NAT), "elastic-ip")
    made = site.gateway.call("ec2", "AllocateAddress", Domain="vpc", TagSpecifications=given)
    vpcs.appears(context, "AllocationId", str(made["AllocationId"]), lambda: ours(site, "DescribeAddresses", "Addresses"))


def _create(seen: Survey, subnet: Subnet, address: str, site: Site, network: Network, context: Context) -> None:
    context.progress("making a NAT gateway, which takes some minutes")
    # An address is of one gateway only, so a twin would fail. Those that are gone make the token of the next another one.
    token = digest(subnet.vpc, address, sorted(one.id for one in seen.nats if not one.lives))
    given = tags.specification(site.tags(network.mark, network.name, part=NAT), "natgateway")
    made = site.gateway.call(
        "ec2", "CreateNatGateway", SubnetId=subnet.id, AllocationId=address, ClientToken=token, TagSpecifications=given
    )
    nat = Nat.of(made["NatGateway"])
    if nat.state in ("deleting", "deleted"):
        # The token was remembered for longer than the gateway: another address makes another token.
        _give_back(address, site, network, context)
        return
    vpcs.appears(context, "NatGatewayId", nat.id, lambda: ours(site, "DescribeNatGateways", "NatGateways"))


def _await(nat: Nat, site: Site, network: Network, context: Context) -> None:
    def settled() -> bool | None:
        told = [Nat.of(one) for one in ours(site, "DescribeNatGateways", "NatGateways")]
        return all(one.state not in ("pending", "deleting") for one in told if one.id == nat.id) or None

    context.progress(f"waiting for NAT gateway {nat.id}, which is {nat.state}")
    waits.until(settled, context, seconds=PENDING_SECONDS, otherwise=f"NAT gateway {nat.id} is {nat.state}")


def _drop(nat: Nat, site: Site, network: Network, context: Context) -> None:
    absent("NatGatewayNotFound")(lambda: site.gateway.call("ec2", "DeleteNatGateway", NatGatewayId=nat.id))


def _give_back(address: str, site: Site, network: Network, context: Context) -> None:
    absent("InvalidAllocationID.NotFound")(lambda: site.gateway.call("ec2", "ReleaseAddress", AllocationId=address))


def _create_table(vpc: Vpc, site: Site, network: Network, context: Context) -> None:
    given = tags.specification(site.tags(network.mark, f"{network.name} {PRIVATE}"), "route-table")
    made = site.gateway.call("ec2", "CreateRouteTable", VpcId=vpc.id, TagSpecifications=given)
    vpcs.appears(context, "RouteTableId", str(made["RouteTable"]["RouteTableId"]), lambda: tables(site, vpc.id))


def _associate(seen: Survey, table: RouteTable, subnet: Subnet, site: Site, network: Network, context: Context) -> None:
    other = seen.table(subnet.id)
    association = other.associations.get(subnet.id) if other else None
    if association:
        site.gateway.call("ec2", "ReplaceRouteTableAssociation", AssociationId=association, RouteTableId=table.id)
        return
    absent("Resource.AlreadyAssociated")(lambda: site.gateway.call("ec2", "AssociateRouteTable", RouteTableId=table.id, SubnetId=subnet.id))


def _drop_table(table: RouteTable, site: Site, network: Network, context: Context) -> None:
    # One that a subnet goes by is left until that goes by another.
    absent("InvalidRouteTableID.NotFound", "DependencyViolation")(
        lambda: site.gateway.call("ec2", "DeleteRouteTable", RouteTableId=table.id)
    )
