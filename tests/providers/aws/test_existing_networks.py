"""An existing VPC: used as it is, refused when it does not fit, and left as it was."""

from __future__ import annotations

from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from attrs import define, field
from aws.bed import Bed
from aws.sample import Sample

from i2kit.environment import Environment
from i2kit.errors import ProviderError
from i2kit_aws import networks

from .networking import REMOVALS, WRITES, Ground, run_until_done

OURS = ("DeleteSecurityGroup", "AuthorizeSecurityGroupIngress", "CreateSecurityGroup", "CreateHostedZone", "DeleteHostedZone", "CreateTags")


@define(kw_only=True)
class Theirs:
    """A VPC that somebody made by hand: two public subnets, and two private ones."""

    aws: Sample
    vpc: str = ""
    public: list[str] = field(factory=list)
    private: list[str] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        ec2 = self.aws.ec2
        self.vpc = ec2.create_vpc(CidrBlock="10.20.0.0/16")["Vpc"]["VpcId"]
        ec2.modify_vpc_attribute(VpcId=self.vpc, EnableDnsHostnames={"Value": True})
        gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
        ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=self.vpc)
        table = ec2.create_route_table(VpcId=self.vpc)["RouteTable"]["RouteTableId"]
        ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
        self.public = [self.subnet(number, number) for number in range(2)]
        self.private = [self.subnet(10 + number, number) for number in range(2)]
        for one in self.public:
            ec2.associate_route_table(RouteTableId=table, SubnetId=one)

    def subnet(self, third: int, zone: int) -> str:
        given = {"CidrBlock": f"10.20.{third}.0/24", "AvailabilityZone": self.aws.zone(zone)}
        return str(self.aws.ec2.create_subnet(VpcId=self.vpc, **given)["Subnet"]["SubnetId"])


@pytest.fixture
def theirs(aws: Sample) -> Theirs:
    return Theirs(aws=aws)


@pytest.fixture
def ground(as_user: Bed, tmp_path: Path, environment: Environment, theirs: Theirs) -> Ground:
    return Ground.of(as_user, tmp_path, environment).told(vpc=theirs.vpc, subnets=theirs.public)


def refused(ground: Ground) -> list[str]:
    """Return why a network cannot be made; nothing is changed then."""
    before = ground.bed.inventory()
    with pytest.raises(ProviderError) as caught:
        ground.ensure()
    assert ground.bed.inventory() == before
    assert [str(one) for one in networks.problems(ground.site)] == [str(one) for one in caught.value.problems]
    return [f"{one.code}: {one.message}" for one in caught.value.problems]


def test_its_subnets_are_used_as_they_are(ground: Ground, theirs: Theirs) -> None:
    where = ground.ensure()
    assert where.vpc == theirs.vpc
    assert where.cidrs == ("10.20.0.0/16",)
    assert where.subnets == where.outer == dict(zip(("eu-west-1a", "eu-west-1b"), theirs.public, strict=True))
    assert where.public
    assert ground.observed() == ground.network
    assert ground.faults() == ()


def test_members_run_in_private_subnets_where_those_are_named(ground: Ground, theirs: Theirs) -> None:
    where = ground.told(vpc=theirs.vpc, subnets=[*theirs.public, *theirs.private]).ensure()
    assert list(where.subnets.values()) == theirs.private
    assert list(where.outer.values()) == theirs.public
    assert not where.public


def test_without_public_subnets_no_balancer_faces_the_internet(ground: Ground, theirs: Theirs) -> None:
    where = ground.told(vpc=theirs.vpc, subnets=theirs.private).ensure()
    assert list(where.subnets.values()) == theirs.private
    assert where.outer == {}
    assert not where.public


def test_nothing_of_it_is_changed_but_security_groups_and_zone(ground: Ground, theirs: Theirs) -> None:
    before, since = ground.bed.inventory(), len(ground.bed.journal())
    ground.ensure()
    ground.delete()
    assert ground.bed.inventory() == before
    changes = {one["action"].partition(":")[2] for one in ground.bed.journal(since) if one["effect"]}
    assert changes <= {*OURS}


def test_what_is_missing_is_said_and_repaired(ground: Ground, aws: Sample) -> None:
    where = ground.ensure()
    aws.dns.delete_hosted_zone(Id=where.zone)
    rule = {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": where.balancers}]}
    aws.ec2.revoke_security_group_ingress(GroupId=where.members, IpPermissions=[rule])
    assert set(ground.faults()) == {
        f"security group {where.members} does not let balancers in",
        "the private zone svc.cluster.local is missing",
    }
    ground.ensure()
    assert ground.faults() == ()


def test_runs_that_die_anywhere_leave_it_as_it_was(ground: Ground) -> None:
    before = ground.bed.inventory()
    assert run_until_done(ground, ground.ensure, WRITES, 20) >= 5
    assert ground.faults() == ()
    assert run_until_done(ground, ground.delete, REMOVALS, 20) >= 3
    assert ground.bed.inventory() == before


def test_deleting_waits_for_what_is_in_our_security_groups_alone(ground: Ground, theirs: Theirs, aws: Sample) -> None:
    where = ground.ensure()
    aws.ec2.create_network_interface(SubnetId=theirs.public[0], Description="theirs")
    given = {"Type": "network", "Subnets": theirs.public, "SecurityGroups": [where.balancers]}
    balancer = aws.elb.create_load_balancer(Name="web", **given)["LoadBalancers"][0]
    aws.bed.set(interface_calls=3)
    aws.elb.delete_load_balancer(LoadBalancerArn=balancer["LoadBalancerArn"])
    ground.delete()
    assert ground.observed() is None
    assert any("ELB net/web/" in said and "theirs" not in said for said in ground.context.messages)


# Refusals.


def test_a_vpc_that_is_not_there_is_refused(ground: Ground) -> None:
    other = ground.told(vpc="vpc-00000000000000000", subnets=["subnet-00000000000000000"])
    assert refused(other) == ["aws-network-unfit: there is no VPC vpc-00000000000000000"]
    assert other.observed() is None


def test_a_vpc_that_answers_no_names_is_refused(ground: Ground, theirs: Theirs, aws: Sample) -> None:
    aws.ec2.modify_vpc_attribute(VpcId=theirs.vpc, EnableDnsHostnames={"Value": False})
    aws.ec2.modify_vpc_attribute(VpcId=theirs.vpc, EnableDnsSupport={"Value": False})
    assert refused(ground) == [
        f"aws-network-unfit: DNS resolution is off in {theirs.vpc}",
        f"aws-network-unfit: DNS hostnames is off in {theirs.vpc}",
    ]


def test_subnets_that_do_not_fit_are_refused_all_at_once(ground: Ground, theirs: Theirs, aws: Sample) -> None:
    twice = [theirs.subnet(20, 0), theirs.private[0]]
    [foreign] = [aws.subnets[0]]
    missing = "subnet-00000000000000000"
    assert refused(ground.told(vpc=theirs.vpc, subnets=[*twice, foreign, missing])) == [
        f"aws-network-unfit: subnet {foreign} is in {aws.vpc}",
        f"aws-network-unfit: there is no subnet {missing}",
        "aws-network-unfit: 2 subnets without a route to an internet gateway are in eu-west-1a",
    ]


def test_what_stands_in_the_way_later_is_a_fault(ground: Ground, theirs: Theirs, aws: Sample) -> None:
    ground.ensure()
    aws.ec2.modify_vpc_attribute(VpcId=theirs.vpc, EnableDnsHostnames={"Value": False})
    assert ground.faults() == (f"DNS hostnames is off in {theirs.vpc}",)
    ground.delete()
    assert ground.observed() is None


def test_another_environment_s_vpc_is_refused(ground: Ground, theirs: Theirs) -> None:
    first = ground.ensure()
    other = ground.other(name="staging")
    assert refused(other) == [
        f"aws-zone-taken: {theirs.vpc} has a private zone svc.cluster.local already: {first.zone}, of environment 'prod'"
    ]
    assert other.observed() is None
    assert ground.faults() == ()


def test_an_environment_s_own_vpc_is_not_for_others(ground: Ground) -> None:
    first = ground.told().ensure()
    other = ground.other(name="staging").told(vpc=first.vpc, subnets=list(first.subnets.values()))
    assert [one.partition(":")[0] for one in refused(other)] == ["aws-zone-taken"]


def test_a_zone_that_somebody_made_is_not_taken_over(ground: Ground, theirs: Theirs, aws: Sample) -> None:
    given: dict[str, Any] = {"VPC": {"VPCRegion": aws.bed.region, "VPCId": theirs.vpc}, "HostedZoneConfig": {"PrivateZone": True}}
    made = aws.dns.create_hosted_zone(Name="svc.cluster.local", CallerReference="by hand", **given)["HostedZone"]["Id"]
    zone = made.rpartition("/")[2]
    assert refused(ground) == [
        f"aws-zone-taken: {theirs.vpc} has a private zone svc.cluster.local already: {zone}, which i2kit did not make"
    ]


def test_a_zone_that_another_environment_makes_at_the_same_time_is_refused(ground: Ground) -> None:
    other = ground.other(name="staging")
    held = ground.bed.faults.hold("route53:CreateHostedZone")
    failed: list[ProviderError] = []

    def late() -> None:
        try:
            ground.ensure()
        except ProviderError as error:
            failed.append(error)

    thread = Thread(target=late)
    thread.start()
    assert held.reached()
    other.ensure()
    held.release()
    thread.join(60)
    assert [one.code for one in failed[0].problems] == ["aws-zone-taken"]
    assert other.faults() == ()
    ground.delete()
    assert other.faults() == ()


def test_a_network_does_not_move(ground: Ground, theirs: Theirs) -> None:
    ground.ensure()
    own = ground.told()
    assert refused(own) == [f"aws-network-moved: the environment's network is in {theirs.vpc}, and environment.yml names no VPC"]
    own.delete()
    made = own.ensure()
    assert refused(ground) == [f"aws-network-moved: the environment's network is in {made.vpc}, and environment.yml names {theirs.vpc}"]
    ground.delete()
    assert ground.observed() is None
    assert own.observed() is None
