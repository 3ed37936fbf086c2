"""The two security groups of an environment: that of its members, and the one by which members know balancers."""

from __future__ import annotations

import functools
from collections.abc import Iterator

from i2kit.driver import Context
from i2kit.resources import Network
from i2kit_aws import tags
from i2kit_aws.gaps import Gap
from i2kit_aws.gateway import absent
from i2kit_aws.site import Site
from i2kit_aws.survey import BALANCERS, EVERYWHERE, MEMBERS, SecurityGroup, Survey, Vpc

_SAYS = {
    MEMBERS: "VMs of i2kit: everything from each other and from balancers, everything out",
    BALANCERS: "Balancers of i2kit: by this group VMs know them",
}


def gaps(seen: Survey) -> Iterator[Gap]:
    """Yield which of the two groups, and of their rules, the network lacks. Rules that others added are left alone. Pure."""
    if seen.vpc is None:
        return
    there = {part: seen.group(part) for part in (MEMBERS, BALANCERS)}
    for part, group in there.items():
        if group is None:
            yield Gap(fault=f"the security group of {part} is missing", repair=functools.partial(_create, seen.vpc, part))
        elif not group.open_out:
            yield Gap(fault=f"security group {group.id} lets nothing out", repair=functools.partial(_let_out, group))
    members = there[MEMBERS]
    for part, group in there.items():
        if members and group and group.id not in members.sources:
            fault = f"security group {members.id} does not let {part} in"
            yield Gap(fault=fault, repair=functools.partial(_let_in, members, group))


def _create(vpc: Vpc, part: str, site: Site, network: Network, context: Context) -> None:
    # Names are taken once in a VPC: this is its token. AWS refuses those that begin with "sg-", as environments may.
    name = site.name(f"i2kit-{site.label}-{part}", "SecurityGroup", part, limit=100)
    made = site.tags(network.mark, name, part=part, network=network.name, zone=network.dns_zone)
    given = {"GroupName": name, "Description": _SAYS[part], "VpcId": vpc.id}
    absent("InvalidGroup.Duplicate")(
        lambda: site.gateway.call("ec2", "CreateSecurityGroup", **given, TagSpecifications=tags.specification(made, "security-group"))
    )


def _let_in(group: SecurityGroup, source: SecurityGroup, site: Site, network: Network, context: Context) -> None:
    rule = {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": source.id}]}
    absent("InvalidPermission.Duplicate")(
        lambda: site.gateway.call("ec2", "AuthorizeSecurityGroupIngress", GroupId=group.id, IpPermissions=[rule])
    )


def _let_out(group: SecurityGroup, site: Site, network: Network, context: Context) -> None:
    rule = {"IpProtocol": "-1", "IpRanges": [{"CidrIp": EVERYWHERE}]}
    absent("InvalidPermission.Duplicate")(
        lambda: site.gateway.call("ec2", "AuthorizeSecurityGroupEgress", GroupId=group.id, IpPermissions=[rule])
    )
