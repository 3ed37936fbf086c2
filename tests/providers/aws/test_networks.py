"""The environment's own network: made, found again, repaired, and gone without a trace, whatever happens on the way."""

from __future__ import annotations

import doctest
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import pytest
from aws.bed import Bed
from aws.sample import Sample

from i2kit.environment import Environment
from i2kit.errors import ProviderError, TransientError
from i2kit_aws import networks, removals, subnets, zones
from i2kit_aws.networks import Located

from .networking import REMOVALS, WRITES, Ground, run_until_done

PUBLIC_PARTS = {
    "ec2:vpc": 1,
    "ec2:subnet": 3,
    "ec2:internet-gateway": 1,
    "ec2:route-table": 1,
    "ec2:network-acl": 1,
    "ec2:security-group": 3,
    "route53:record": 2,
    "route53:zone": 1,
}
MADE_ONCE = ("ec2:CreateVpc", "ec2:CreateInternetGateway", "ec2:AllocateAddress", "ec2:CreateRouteTable", "ec2:CreateNatGateway")
PRIVATE_PARTS = PUBLIC_PARTS | {
    "ec2:subnet": 6,
    "ec2:route-table": 2,
    "ec2:address": 1,
    "ec2:nat-gateway": 1,
    "ec2:network-interface": 1,
}


@pytest.fixture
def ground(as_user: Bed, tmp_path: Path, environment: Environment) -> Ground:
    return Ground.of(as_user, tmp_path, environment)


@pytest.fixture
def few_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be made good is given up sooner."""
    monkeypatch.setattr(networks, "_ROUNDS", 8)


def parts(bed: Bed) -> dict[str, int]:
    return {kind: len(names) for kind, names in bed.inventory().items()}


@pytest.mark.parametrize("module", [subnets, zones, removals])
def test_the_examples_are_true(module: ModuleType) -> None:
    assert doctest.testmod(module).failed == 0


# What is made.


def test_there_is_nothing_before_it_is_made(ground: Ground) -> None:
    assert networks.observe(ground.site) == ()
    with pytest.raises(ProviderError, match=r"it lacks its VPC, subnets, security groups, private zone; `i2kit deploy`.*aws-no-network"):
        networks.locate(ground.site)
    ground.delete()


def test_what_is_made_is_what_is_observed(ground: Ground) -> None:
    ground.ensure()
    assert ground.observed() == ground.network
    assert ground.faults() == ()
    assert parts(ground.bed) == PUBLIC_PARTS


def test_making_it_again_changes_nothing(ground: Ground) -> None:
    ground.ensure()
    since = len(ground.bed.journal())
    ground.ensure()
    assert not [one["action"] for one in ground.bed.journal(since) if one["effect"]]


def test_a_public_network_has_a_subnet_in_three_zones_with_a_way_out(ground: Ground, aws: Sample) -> None:
    where = ground.ensure()
    assert where.subnets == where.outer
    assert where.public
    assert list(where.subnets) == ["eu-west-1a", "eu-west-1b", "eu-west-1c"]
    assert where.cidrs == ("10.83.0.0/16",)
    told = aws.ec2.describe_subnets(SubnetIds=list(where.subnets.values()))["Subnets"]
    assert {one["CidrBlock"] for one in told} == {"10.83.0.0/19", "10.83.32.0/19", "10.83.64.0/19"}
    assert all(one["MapPublicIpOnLaunch"] for one in told)
    [table] = aws.ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [where.vpc]}])["RouteTables"]
    assert [one["GatewayId"][:4] for one in table["Routes"] if one["DestinationCidrBlock"] == "0.0.0.0/0"] == ["igw-"]


def test_a_private_network_goes_out_by_one_nat_gateway(ground: Ground, aws: Sample) -> None:
    where = ground.told(private=True, cidr="10.7.0.0/20").ensure()
    assert parts(ground.bed) == PRIVATE_PARTS
    assert not where.public
    assert not {*where.subnets.values()} & {*where.outer.values()}
    assert list(where.subnets) == list(where.outer)
    told = aws.ec2.describe_subnets(SubnetIds=[*where.subnets.values(), *where.outer.values()])["Subnets"]
    assert {one["CidrBlock"] for one in told} == {f"10.7.{2 * number}.0/23" for number in range(6)}
    assert not any(one["MapPublicIpOnLaunch"] for one in told)
    [nat] = aws.ec2.describe_nat_gateways()["NatGateways"]
    assert (nat["State"], nat["SubnetId"]) == ("available", where.outer["eu-west-1a"])
    tables = aws.ec2.describe_route_tables(Filters=[{"Name": "association.subnet-id", "Values": list(where.subnets.values())}])
    ways = [one for one in tables["RouteTables"][0]["Routes"] if one["DestinationCidrBlock"] == "0.0.0.0/0"]
    assert [one["NatGatewayId"] for one in ways] == [nat["NatGatewayId"]]


def test_members_let_in_each_other_and_balancers_alone(ground: Ground, aws: Sample) -> None:
    where = ground.ensure()
    groups = {one["GroupId"]: one for one in aws.ec2.describe_security_groups(GroupIds=[where.members, where.balancers])["SecurityGroups"]}
    sources = {pair["GroupId"] for rule in groups[where.members]["IpPermissions"] for pair in rule["UserIdGroupPairs"]}
    assert sources == {where.members, where.balancers}
    assert not [rule["IpRanges"] for rule in groups[where.members]["IpPermissions"] if rule["IpRanges"]]
    assert groups[where.balancers]["IpPermissions"] == []


def test_the_private_zone_is_of_the_vpc_alone(ground: Ground, aws: Sample) -> None:
    where = ground.ensure()
    told = aws.dns.get_hosted_zone(Id=where.zone)
    assert told["HostedZone"]["Name"] == "svc.cluster.local."
    assert told["HostedZone"]["Config"]["PrivateZone"]
    assert [one["VPCId"] for one in told["VPCs"]] == [where.vpc]


def test_everything_bears_the_mark_and_the_user_s_own_tags(ground: Ground, aws: Sample) -> None:
    settings = ground.environment.settings | {"tags": {"team": "shop"}}
    ground.other(settings=settings, network={"private": True}).ensure()
    filters = [{"Name": "key", "Values": ["team"]}, {"Name": "value", "Values": ["shop"]}]
    tagged = {one["ResourceType"] for one in aws.ec2.describe_tags(Filters=filters)["Tags"]}
    marked = {one["ResourceType"] for one in aws.ec2.describe_tags(Filters=[{"Name": "key", "Values": ["i2kit:environment"]}])["Tags"]}
    assert tagged == marked
    assert {"vpc", "subnet", "internet-gateway", "route-table", "security-group"} <= marked
    for told in (*aws.ec2.describe_nat_gateways()["NatGateways"], *aws.ec2.describe_addresses()["Addresses"]):
        tags = {one["Key"]: one["Value"] for one in told["Tags"]}
        assert (tags["i2kit:environment"], tags["team"]) == ("prod", "shop")


@pytest.mark.parametrize(("architecture", "smallest"), [("x86_64", "t3.micro"), ("aarch64", "t4g.micro")])
def test_zones_are_those_that_offer_the_smallest_type(ground: Ground, architecture: str, smallest: str) -> None:
    ground.other(architecture=architecture).ensure()
    [asked] = [one["parameters"] for one in ground.bed.journal() if one["action"] == "ec2:DescribeInstanceTypeOfferings"]
    assert {"Name": "instance-type", "Values": [smallest]} in asked["Filters"]


def test_a_region_that_does_not_offer_it_is_refused(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(subnets.SMALLEST, "x86_64", "t1.nowhere")
    with pytest.raises(ProviderError, match=r"no availability zone of eu-west-1 offers t1\.nowhere.*\[aws-no-zone\]"):
        ground.ensure()
    assert ground.bed.inventory() == {}


def test_two_environments_stand_side_by_side(ground: Ground) -> None:
    other = ground.other(name="staging")
    mine, theirs = ground.ensure(), other.ensure()
    assert {mine.vpc, mine.members, mine.zone, *mine.subnets.values()}.isdisjoint(
        {theirs.vpc, theirs.members, theirs.zone, *theirs.subnets.values()}
    )
    ground.delete()
    assert ground.observed() is None
    assert other.faults() == ()
    assert networks.locate(other.site) == theirs
    other.delete()
    assert ground.bed.inventory() == {}


def test_an_environment_is_found_among_very_many(ground: Ground, aws: Sample) -> None:
    for number in range(120):
        given = {"VPC": {"VPCRegion": aws.bed.region, "VPCId": f"vpc-{number}"}, "HostedZoneConfig": {"PrivateZone": True}}
        aws.dns.create_hosted_zone(Name="svc.cluster.local", CallerReference=f"i2kit/prod-{number}/vpc-{number}/sg-1", **given)
    aws.dns.create_hosted_zone(Name="behind.svc.cluster.local", CallerReference="i2kit/prod/vpc-1/sg-1")
    ground.ensure()
    assert ground.faults() == ()
    ground.delete()
    assert parts(ground.bed)["route53:zone"] == 121


# Where it is, for the others.


def test_it_is_looked_for_once(ground: Ground) -> None:
    ground.ensure()
    site = ground.site
    first = networks.locate(site)
    since = len(ground.bed.journal())
    assert networks.locate(site.during(ground.context)) is first
    assert len(ground.bed.journal()) == since


def test_whoever_observes_has_looked_for_it_too(ground: Ground) -> None:
    ground.ensure()
    site = ground.site
    networks.observe(site)
    since = len(ground.bed.journal())
    assert isinstance(networks.locate(site), Located)
    assert len(ground.bed.journal()) == since


def test_a_network_that_is_gone_is_not_remembered(ground: Ground) -> None:
    site = ground.site
    networks.ensure(site, ground.network, ground.context)
    networks.locate(site)
    networks.delete(site, ground.network, ground.context)
    with pytest.raises(ProviderError, match="aws-no-network"):
        networks.locate(site)


def test_observing_asks_the_same_whatever_is_there(ground: Ground) -> None:
    ground.told(private=True).ensure()
    for number in range(3):
        ground.other(name=f"other-{number}").ensure()
    since = len(ground.bed.journal())
    ground.told(private=True).observed()
    assert len(ground.bed.journal(since)) == 11


# Drift.


def a_subnet_is_gone(aws: Sample, where: Located) -> str:
    aws.ec2.delete_subnet(SubnetId=where.subnets["eu-west-1b"])
    return "there is no public subnet in eu-west-1b"


def a_subnet_gives_no_addresses(aws: Sample, where: Located) -> str:
    aws.ec2.modify_subnet_attribute(SubnetId=where.subnets["eu-west-1b"], MapPublicIpOnLaunch={"Value": False})
    return f"subnet {where.subnets['eu-west-1b']} gives no public addresses"


def names_are_not_answered(aws: Sample, where: Located) -> str:
    aws.ec2.modify_vpc_attribute(VpcId=where.vpc, EnableDnsSupport={"Value": False})
    return f"enableDnsSupport is off in {where.vpc}"


def names_are_not_given(aws: Sample, where: Located) -> str:
    aws.ec2.modify_vpc_attribute(VpcId=where.vpc, EnableDnsHostnames={"Value": False})
    return f"enableDnsHostnames is off in {where.vpc}"


def table_of(aws: Sample, where: Located) -> str:
    return str(aws.ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [where.vpc]}])["RouteTables"][0]["RouteTableId"])


def the_route_is_gone(aws: Sample, where: Located) -> str:
    aws.ec2.delete_route(RouteTableId=table_of(aws, where), DestinationCidrBlock="0.0.0.0/0")
    return f"route table {table_of(aws, where)} has no route to the internet gateway"


def a_subnet_goes_elsewhere(aws: Sample, where: Located) -> str:
    other = aws.ec2.create_route_table(VpcId=where.vpc)["RouteTable"]["RouteTableId"]
    aws.ec2.associate_route_table(RouteTableId=other, SubnetId=where.subnets["eu-west-1a"])
    return f"public subnet {where.subnets['eu-west-1a']} does not go by the VPC's main route table"


def the_gateway_is_gone(aws: Sample, where: Located) -> str:
    gateway = aws.ec2.describe_internet_gateways()["InternetGateways"][0]["InternetGatewayId"]
    aws.ec2.detach_internet_gateway(InternetGatewayId=gateway, VpcId=where.vpc)
    aws.ec2.delete_internet_gateway(InternetGatewayId=gateway)
    return "it has no internet gateway"


def the_gateway_is_detached(aws: Sample, where: Located) -> str:
    gateway = aws.ec2.describe_internet_gateways()["InternetGateways"][0]["InternetGatewayId"]
    aws.ec2.detach_internet_gateway(InternetGatewayId=gateway, VpcId=where.vpc)
    return "it has no internet gateway"


def members_do_not_let_balancers_in(aws: Sample, where: Located) -> str:
    rule = {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": where.balancers}]}
    aws.ec2.revoke_security_group_ingress(GroupId=where.members, IpPermissions=[rule])
    return f"security group {where.members} does not let balancers in"


def members_cannot_go_out(aws: Sample, where: Located) -> str:
    rule = {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    aws.ec2.revoke_security_group_egress(GroupId=where.members, IpPermissions=[rule])
    return f"security group {where.members} lets nothing out"


def a_security_group_is_gone(aws: Sample, where: Located) -> str:
    aws.ec2.delete_security_group(GroupId=where.members)
    return "the security group of members is missing"


def the_zone_is_gone(aws: Sample, where: Located) -> str:
    aws.dns.delete_hosted_zone(Id=where.zone)
    return "the private zone svc.cluster.local is missing"


def the_zones_are_forgotten(aws: Sample, where: Located) -> str:
    aws.ec2.delete_tags(Resources=[where.vpc], Tags=[{"Key": "i2kit:zones"}])
    for subnet in where.subnets.values():
        aws.ec2.delete_subnet(SubnetId=subnet)
    return "it has no subnets"


PUBLIC_DRIFT = [
    a_subnet_is_gone,
    a_subnet_gives_no_addresses,
    names_are_not_answered,
    names_are_not_given,
    the_route_is_gone,
    a_subnet_goes_elsewhere,
    the_gateway_is_gone,
    the_gateway_is_detached,
    members_do_not_let_balancers_in,
    members_cannot_go_out,
    a_security_group_is_gone,
    the_zone_is_gone,
    the_zones_are_forgotten,
]


def test_what_is_broken_is_said_and_repaired(ground: Ground, aws: Sample) -> None:
    where = ground.ensure()
    for drift in PUBLIC_DRIFT:
        fault = drift(aws, where)
        assert fault in ground.faults(), drift.__name__
        where = ground.ensure()
    assert ground.faults() == ()
    assert ground.observed() == ground.network


def nat_of(aws: Sample) -> str:
    [living] = [one for one in aws.ec2.describe_nat_gateways()["NatGateways"] if one["State"] == "available"]
    return str(living["NatGatewayId"])


def the_nat_gateway_is_gone(aws: Sample, where: Located) -> str:
    aws.bed.set(nat_calls=1)
    aws.ec2.delete_nat_gateway(NatGatewayId=nat_of(aws))
    aws.ec2.describe_nat_gateways()
    return "it has no NAT gateway"


def the_nat_gateway_is_going(aws: Sample, where: Located) -> str:
    aws.bed.set(nat_calls=2)
    nat = nat_of(aws)
    aws.ec2.delete_nat_gateway(NatGatewayId=nat)
    return f"NAT gateway {nat} is deleting"


def the_nat_gateway_and_its_address_are_gone(aws: Sample, where: Located) -> str:
    the_nat_gateway_is_gone(aws, where)
    aws.ec2.release_address(AllocationId=aws.ec2.describe_addresses()["Addresses"][0]["AllocationId"])
    return "it has no NAT gateway"


def a_private_subnet_is_gone(aws: Sample, where: Located) -> str:
    aws.ec2.delete_subnet(SubnetId=where.subnets["eu-west-1c"])
    return "there is no private subnet in eu-west-1c"


def private_table(aws: Sample, where: Located) -> dict[str, object]:
    filters = [{"Name": "association.subnet-id", "Values": [where.subnets["eu-west-1a"]]}]
    return dict(aws.ec2.describe_route_tables(Filters=filters)["RouteTables"][0])


def a_private_subnet_goes_elsewhere(aws: Sample, where: Located) -> str:
    table = private_table(aws, where)
    [association] = [one for one in table["Associations"] if one["SubnetId"] == where.subnets["eu-west-1a"]]  # type: ignore[attr-defined]
    aws.ec2.disassociate_route_table(AssociationId=association["RouteTableAssociationId"])
    other = aws.ec2.create_route_table(VpcId=where.vpc)["RouteTable"]["RouteTableId"]
    aws.ec2.associate_route_table(RouteTableId=other, SubnetId=where.subnets["eu-west-1a"])
    return f"private subnet {where.subnets['eu-west-1a']} does not go by route table {table['RouteTableId']}"


def the_private_route_is_gone(aws: Sample, where: Located) -> str:
    table = private_table(aws, where)["RouteTableId"]
    aws.ec2.delete_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0")
    return f"route table {table} has no route to the NAT gateway"


def another_address_is_there(aws: Sample, where: Located) -> str:
    tags = [{"Key": "i2kit:environment", "Value": "prod"}, {"Key": "i2kit:part", "Value": "nat"}]
    given = [{"ResourceType": "elastic-ip", "Tags": tags}]
    return f"elastic IP {aws.ec2.allocate_address(Domain='vpc', TagSpecifications=given)['AllocationId']} is of no use"


PRIVATE_DRIFT = [
    the_nat_gateway_is_gone,
    the_nat_gateway_is_going,
    the_nat_gateway_and_its_address_are_gone,
    a_private_subnet_is_gone,
    a_private_subnet_goes_elsewhere,
    the_private_route_is_gone,
    another_address_is_there,
]


def test_what_is_broken_behind_the_nat_gateway_is_said_and_repaired(ground: Ground, aws: Sample) -> None:
    ground = ground.told(private=True)
    where = ground.ensure()
    for drift in PRIVATE_DRIFT:
        fault = drift(aws, where)
        assert fault in ground.faults(), drift.__name__
        where = ground.ensure()
    assert ground.faults() == ()
    assert parts(ground.bed) == PRIVATE_PARTS | {"ec2:route-table": 3}


def test_a_nat_gateway_that_fails_is_made_again(ground: Ground, aws: Sample, few_rounds: None) -> None:
    ground = ground.told(private=True)
    where = ground.ensure()
    the_nat_gateway_is_gone(aws, where)
    # Somebody else has taken the address, so that the next one fails.
    taken = aws.ec2.describe_addresses()["Addresses"][0]["AllocationId"]
    other = aws.ec2.create_nat_gateway(SubnetId=where.outer["eu-west-1b"], AllocationId=taken)["NatGateway"]["NatGatewayId"]
    with pytest.raises(ProviderError, match=r"the last one failed: Elastic IP address .* is already associated"):
        ground.ensure()
    aws.ec2.delete_nat_gateway(NatGatewayId=other)
    aws.ec2.describe_nat_gateways()
    ground.ensure()
    assert ground.faults() == ()


def test_a_zone_of_environment_yml_that_changes_is_kept(ground: Ground) -> None:
    ground.ensure()
    changed = ground.other(dns_zone="shop.internal")
    changed.ensure()
    assert changed.observed() == changed.network


def test_rules_that_others_added_are_left_alone(ground: Ground, aws: Sample) -> None:
    where = ground.ensure()
    rule = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "192.0.2.0/24"}]}
    aws.ec2.authorize_security_group_ingress(GroupId=where.members, IpPermissions=[rule])
    assert ground.faults() == ()
    ground.ensure()
    [told] = aws.ec2.describe_security_groups(GroupIds=[where.members])["SecurityGroups"]
    assert any(one.get("FromPort") == 22 for one in told["IpPermissions"])


# Public to private, and back.


def test_a_public_network_becomes_private_and_public_again(ground: Ground) -> None:
    first = ground.ensure()
    private = ground.told(private=True)
    assert "there is no private subnet in eu-west-1a" in private.faults()
    second = private.ensure()
    assert (second.vpc, second.outer) == (first.vpc, first.subnets)
    assert "it has private subnets or a NAT gateway, which environment.yml does not want any more" in ground.faults()
    assert ground.ensure() == first
    assert parts(ground.bed) == PUBLIC_PARTS


def test_private_subnets_stay_as_long_as_something_runs_in_them(ground: Ground, aws: Sample) -> None:
    where = ground.told(private=True).ensure()
    used = aws.ec2.create_network_interface(SubnetId=where.subnets["eu-west-1a"])["NetworkInterface"]["NetworkInterfaceId"]
    assert [one for one in ground.faults() if "any more" in one] == []
    moved = ground.ensure()
    assert moved.subnets == where.outer
    assert parts(ground.bed)["ec2:nat-gateway"] == 1
    aws.ec2.delete_network_interface(NetworkInterfaceId=used)
    ground.ensure()
    assert parts(ground.bed) == PUBLIC_PARTS


def test_a_vpc_keeps_its_addresses(ground: Ground) -> None:
    where = ground.ensure()
    other = ground.told(cidr="10.9.0.0/16")
    with pytest.raises(ProviderError, match=r"has the addresses 10\.83\.0\.0/16, and network\.cidr is 10\.9\.0\.0/16; .*aws-network-moved"):
        other.ensure()
    assert other.faults() == (f"{where.vpc} has the addresses 10.83.0.0/16, and network.cidr is 10.9.0.0/16",)
    other.delete()
    assert ground.bed.inventory() == {}


# Deleted.


def test_deleting_leaves_nothing(ground: Ground) -> None:
    ground.told(private=True).ensure()
    ground.told(private=True).delete()
    assert ground.bed.inventory() == {}
    assert ground.observed() is None


def test_deleting_again_is_nothing(ground: Ground) -> None:
    ground.ensure()
    ground.delete()
    since = len(ground.bed.journal())
    ground.delete()
    assert not [one["action"] for one in ground.bed.journal(since) if one["effect"]]


def test_records_that_are_left_in_the_zone_go_with_it(ground: Ground, aws: Sample) -> None:
    where = ground.ensure()
    record = {"Name": "old.svc.cluster.local", "Type": "A", "TTL": 60, "ResourceRecords": [{"Value": "10.0.0.1"}]}
    aws.dns.change_resource_record_sets(
        HostedZoneId=where.zone, ChangeBatch={"Changes": [{"Action": "CREATE", "ResourceRecordSet": record}]}
    )
    ground.delete()
    assert ground.bed.inventory() == {}


def test_deleting_waits_for_the_interfaces_of_balancers(ground: Ground, aws: Sample) -> None:
    where = ground.ensure()
    given = {"Type": "network", "Subnets": list(where.outer.values()), "SecurityGroups": [where.balancers]}
    balancer = aws.elb.create_load_balancer(Name="web", **given)["LoadBalancers"][0]
    aws.bed.set(interface_calls=4)
    aws.elb.delete_load_balancer(LoadBalancerArn=balancer["LoadBalancerArn"])
    ground.delete()
    assert ground.bed.inventory() == {}
    assert any("ELB net/web/" in said for said in ground.context.messages)


def test_deleting_waits_for_terminated_instances(ground: Ground, aws: Sample) -> None:
    where = ground.ensure()
    given = {"ImageId": aws.image(), "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1, "SubnetId": where.subnets["eu-west-1a"]}
    [instance] = aws.ec2.run_instances(SecurityGroupIds=[where.members], **given)["Instances"]
    aws.bed.set(terminate_calls=3)
    aws.ec2.terminate_instances(InstanceIds=[instance["InstanceId"]])
    ground.delete()
    assert not {kind for kind in ground.bed.inventory() if kind.startswith("ec2:") and kind not in ("ec2:image", "ec2:snapshot")}


def test_what_is_in_the_way_for_good_is_named(ground: Ground, aws: Sample) -> None:
    where = ground.ensure()
    aws.ec2.create_network_interface(SubnetId=where.subnets["eu-west-1a"], Description="the database of somebody")
    with pytest.raises(ProviderError, match=r"interfaces eni-\w+ \(the database of somebody\) of the network are still there.*aws-slow"):
        ground.delete()


def test_a_group_that_others_let_in_is_waited_for_and_named(ground: Ground, aws: Sample) -> None:
    where = ground.ensure()
    other = aws.ec2.create_security_group(GroupName="database", Description="x", VpcId=where.vpc)["GroupId"]
    rule = {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": where.members}]}
    aws.ec2.authorize_security_group_ingress(GroupId=other, IpPermissions=[rule])
    with pytest.raises(ProviderError, match=rf"DependencyViolation: resource {where.members} has a dependent object: so it still is"):
        ground.delete()
    aws.ec2.delete_security_group(GroupId=other)
    ground.delete()
    assert ground.bed.inventory() == {}


# Troubles.


@pytest.mark.parametrize("private", [False, True])
def test_runs_that_die_after_each_change_make_one_network(ground: Ground, private: bool) -> None:
    ground = ground.told(private=private)
    deaths = run_until_done(ground, ground.ensure, WRITES, 60)
    assert deaths >= (20 if private else 15)
    assert parts(ground.bed) == (PRIVATE_PARTS if private else PUBLIC_PARTS)
    assert ground.faults() == ()


def test_runs_that_die_after_each_removal_leave_nothing(ground: Ground) -> None:
    ground = ground.told(private=True)
    ground.ensure()
    assert run_until_done(ground, ground.delete, REMOVALS, 40) >= 15
    assert ground.bed.inventory() == {}


def test_a_network_that_was_half_made_is_deleted(ground: Ground) -> None:
    ground = ground.told(private=True)
    for number in range(2, 23, 8):
        ground.bed.faults.die(WRITES, moment="after", skip=number)
        with pytest.raises(TransientError):
            ground.ensure()
        ground.bed.faults.clear()
        assert ground.observed() is not None
        ground.delete()
        assert ground.bed.inventory() == {}


def test_what_is_made_twice_because_the_answer_was_lost_is_settled(ground: Ground) -> None:
    ground = ground.told(private=True)
    for made in MADE_ONCE:
        ground.bed.faults.cut(made, moment="after")
    ground.ensure()
    assert all(ground.bed.calls()[made] == 2 for made in MADE_ONCE)
    assert parts(ground.bed) == PRIVATE_PARTS
    assert ground.faults() == ()


def test_what_does_not_show_yet_is_not_made_twice(ground: Ground) -> None:
    ground = ground.told(private=True)
    reads = ("Vpcs", "InternetGateways", "Addresses", "NatGateways", "RouteTables", "Subnets", "SecurityGroups")
    rules = [ground.bed.faults.stale(f"ec2:Describe{read}", times=3, skip=1) for read in reads]
    ground.ensure()
    assert all(ground.bed.faults.met(rule) >= 4 for rule in rules)
    effects = Counter(one["action"] for one in ground.bed.journal() if one["effect"])
    assert {name: effects[name] for name in MADE_ONCE} == dict.fromkeys(MADE_ONCE, 1)
    assert parts(ground.bed) == PRIVATE_PARTS
    assert ground.faults() == ()


def test_what_not_all_of_aws_knows_yet_is_tried_again(ground: Ground) -> None:
    unknown = {
        "ec2:CreateSubnet": "InvalidVpcID.NotFound",
        "ec2:AttachInternetGateway": "InvalidInternetGatewayID.NotFound",
        "ec2:AuthorizeSecurityGroupIngress": "InvalidGroup.NotFound",
        "route53:CreateHostedZone": "InvalidVPCId",
    }
    for made, code in unknown.items():
        ground.bed.faults.fail(made, code=code, status=400)
    ground.ensure()
    assert parts(ground.bed) == PUBLIC_PARTS
    for made, code in unknown.items():
        assert any(f"{made}: {code}" in said for said in ground.context.messages), made


def test_a_vpc_that_still_or_already_shows_can_be_asked_for_in_vain(ground: Ground) -> None:
    def unknown() -> None:
        ground.bed.faults.fail("ec2:DescribeVpcAttribute", code="InvalidVpcID.NotFound", status=400, times=2)
        ground.bed.faults.fail("route53:ListHostedZonesByVPC", code="InvalidInput", status=400)

    unknown()
    ground.ensure()
    assert parts(ground.bed) == PUBLIC_PARTS
    unknown()
    ground.delete()
    assert ground.bed.inventory() == {}


def test_what_aws_never_knows_ends_with_what_is_missing(ground: Ground, few_rounds: None) -> None:
    ground.bed.faults.fail("ec2:CreateSubnet", code="InvalidVpcID.NotFound", status=400, times=-1)
    with pytest.raises(ProviderError, match=r"the network is not whole: there is no public subnet in eu-west-1a; .*\[aws-slow\]"):
        ground.ensure()


def test_a_zone_that_does_not_show_yet_is_not_made_twice(ground: Ground) -> None:
    ground.bed.faults.stale("route53:List*", times=6, skip=2)
    ground.ensure()
    assert parts(ground.bed) == PUBLIC_PARTS


def test_of_two_vpcs_the_one_that_is_in_use_stays(ground: Ground, aws: Sample) -> None:
    for number in range(2):
        # A run dies as soon as it has made one, and the next one does not see it.
        ground.bed.faults.die("ec2:CreateVpc", moment="after")
        ground.bed.faults.stale("ec2:DescribeVpcs", times=number)
        with pytest.raises(TransientError):
            ground.ensure()
        ground.bed.faults.clear()
    vpcs = sorted(one["VpcId"] for one in aws.ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["false"]}])["Vpcs"])
    assert len(vpcs) == 2
    assert f"{vpcs[1]} is a second VPC of the environment" in ground.faults()
    subnet = aws.ec2.create_subnet(VpcId=vpcs[1], CidrBlock="10.83.192.0/19")["Subnet"]["SubnetId"]
    aws.ec2.create_network_interface(SubnetId=subnet)
    assert ground.ensure().vpc == vpcs[1]
    assert [one["VpcId"] for one in aws.ec2.describe_vpcs(VpcIds=[vpcs[1]])["Vpcs"]] == [vpcs[1]]
    assert parts(ground.bed)["ec2:vpc"] == 1


def test_of_two_empty_vpcs_the_lowest_id_stays(ground: Ground, aws: Sample) -> None:
    ground.bed.faults.cut("ec2:CreateVpc", moment="after", times=2)
    where = ground.ensure()
    [left] = [one["VpcId"] for one in aws.ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["false"]}])["Vpcs"]]
    made = [one for one in ground.bed.journal() if one["action"] == "ec2:DeleteVpc"]
    assert left == where.vpc == min([left, *(one["parameters"]["VpcId"] for one in made)])
    assert len(made) == 2


def test_two_runs_at_once_make_one_network(ground: Ground) -> None:
    ground = ground.told(private=True)
    # Both want to make a VPC before either has made one.
    held = [ground.bed.faults.hold("ec2:CreateVpc", skip=number) for number in range(2)]
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(ground.ensure) for _ in range(2)]
        assert all(one.reached() for one in held)
        for one in held:
            one.release()
        first, second = (one.result(timeout=120) for one in runs)
    assert first == second
    assert parts(ground.bed) == PRIVATE_PARTS
    assert ground.faults() == ()


def test_throttled_and_failing_requests_are_made_again(ground: Ground) -> None:
    ground = ground.told(private=True)
    ground.bed.faults.add("*", "error", code="RequestLimitExceeded", status=503, times=-1, share=0.2)
    ground.ensure()
    ground.delete()
    ground.bed.faults.clear()
    assert ground.bed.inventory() == {}


def test_a_run_that_is_to_stop_does(ground: Ground) -> None:
    ground.context.cancelled = True
    with pytest.raises(Exception, match="the test asked to stop"):
        ground.ensure()
    assert ground.bed.inventory() == {}


def test_stock_moto_serves_too(
    stock: Sample, tmp_path: Path, environment: Environment, monkeypatch: pytest.MonkeyPatch, as_user: Bed
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", stock.bed.url)
    ground = Ground.of(stock.bed, tmp_path, environment)
    where = ground.ensure()
    assert ground.faults() == ()
    ground.delete()
    assert where.vpc not in [one["VpcId"] for one in stock.ec2.describe_vpcs()["Vpcs"]]
    assert ground.observed() is None
