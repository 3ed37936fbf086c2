"""Fifty services on AWS by i2kit, beside a script as one would write it with boto3: one request after the other, with the same latency.

The peer makes the same network, image, groups, balancers and names, tagged alike; what there is in the end is compared. Also the requests
of a deploy that finds nothing to do. The account is the bed's (tests/beds/aws), whose server takes one request at a time.

python bench/aws_deploy.py [services [services of the peer, whose time is then scaled]]
"""

from __future__ import annotations

import base64
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from attrs import frozen
from aws_upload import one_by_one

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "beds"))
sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))
sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "downstream"))

from aws.bed import REGION, Bed, running
from awsshops import SAMPLES, AwsCloud
from clouds import Operator

from i2kit.clock import SystemClock
from i2kit.environment import Environment
from i2kit.testing.context import sample_artefact
from i2kit_aws.blocks import Disk
from i2kit_aws.site import Site

LATENCY_SECONDS = 0.1
REPLICAS = 2
HEALTH_PORT = 10256
ZONE = "svc.cluster.local"
TAGS = {"environment": "bench", "application": "shop", "namespace": "default"}
USER_DATA = {"schema": 1, "healthFrom": ["10.0.0.0/16"], "fields": {}, "search": [f"default.{ZONE}", ZONE]}
VCPUS = "L-1216C47A"
_POLL_SECONDS = 0.5


@frozen(kw_only=True)
class Network:
    """What services are made in."""

    vpc: str
    subnets: list[str]
    members: str
    balancers: str
    zone: str
    image: str


class Script:
    """Makes one thing after the other, and waits where the next one needs it."""

    def __init__(self, bed: Bed) -> None:
        self._bed = bed
        self._ec2, self._elb, self._scaling, self._dns = (bed.client(name) for name in ("ec2", "elbv2", "autoscaling", "route53"))

    def run(self, services: int, disk: Disk) -> None:
        network = self.network(disk)
        for number in range(services):
            self.service(f"web-{number}", network)

    def network(self, disk: Disk) -> Network:
        ec2 = self._ec2
        vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16", TagSpecifications=_tags("vpc"))["Vpc"]["VpcId"]
        for attribute in ("EnableDnsSupport", "EnableDnsHostnames"):
            ec2.modify_vpc_attribute(VpcId=vpc, **{attribute: {"Value": True}})
        gateway = ec2.create_internet_gateway(TagSpecifications=_tags("internet-gateway"))["InternetGateway"]["InternetGatewayId"]
        ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
        table = ec2.create_route_table(VpcId=vpc, TagSpecifications=_tags("route-table"))["RouteTable"]["RouteTableId"]
        ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
        subnets = []
        for number, letter in enumerate("abc"):
            given = {"CidrBlock": f"10.0.{number * 16}.0/20", "AvailabilityZone": f"{REGION}{letter}"}
            made = ec2.create_subnet(VpcId=vpc, TagSpecifications=_tags("subnet"), **given)["Subnet"]["SubnetId"]
            ec2.associate_route_table(RouteTableId=table, SubnetId=made)
            subnets.append(made)
        members, balancers = (self._security_group(name, vpc) for name in ("members", "balancers"))
        everything = [{"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": one} for one in (members, balancers)]}]
        ec2.authorize_security_group_ingress(GroupId=members, IpPermissions=everything)
        place = {"VPCRegion": REGION, "VPCId": vpc}
        zone = self._dns.create_hosted_zone(Name=ZONE, CallerReference="bench", VPC=place)["HostedZone"]["Id"]
        self._dns.change_tags_for_resource(ResourceType="hostedzone", ResourceId=zone.rpartition("/")[2], AddTags=_listed())
        one_by_one(self._bed, disk)
        image = ec2.describe_images(Owners=["self"])["Images"][0]["ImageId"]
        return Network(vpc=vpc, subnets=subnets, members=members, balancers=balancers, zone=zone, image=image)

    def service(self, name: str, network: Network) -> None:
        balancer, target = self._balancer(name, network)
        self._group(name, network, target)
        alias = {"HostedZoneId": balancer["CanonicalHostedZoneId"], "DNSName": balancer["DNSName"], "EvaluateTargetHealth": False}
        called = f"{name}.default.{ZONE}"
        owner = [{"Value": json.dumps(f"i2kit {TAGS['environment']} {name}")}]
        records: list[dict[str, Any]] = [
            {"Name": called, "Type": "A", "AliasTarget": alias},
            {"Name": f"i2kit-owner.{called}", "Type": "TXT", "TTL": 60, "ResourceRecords": owner},
        ]
        changes = [{"Action": "UPSERT", "ResourceRecordSet": one} for one in records]
        self._dns.change_resource_record_sets(HostedZoneId=network.zone, ChangeBatch={"Changes": changes})
        while not self._serves(target):
            time.sleep(_POLL_SECONDS)

    def _balancer(self, name: str, network: Network) -> tuple[dict[str, Any], str]:
        group = self._security_group(name, network.vpc)
        door = [{"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "IpRanges": [{"CidrIp": "10.0.0.0/16"}]}]
        self._ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=door)
        balancer = self._elb.create_load_balancer(
            Name=name,
            Type="network",
            Scheme="internal",
            Subnets=network.subnets,
            SecurityGroups=[group, network.balancers],
            Tags=_listed(),
        )["LoadBalancers"][0]
        check = {"HealthCheckProtocol": "HTTP", "HealthCheckPath": "/readyz", "HealthCheckPort": str(HEALTH_PORT)}
        made = self._elb.create_target_group(Name=name, Protocol="TCP", Port=8080, VpcId=network.vpc, Tags=_listed(), **check)
        target = made["TargetGroups"][0]["TargetGroupArn"]
        attributes = {"preserve_client_ip.enabled": "false", "deregistration_delay.timeout_seconds": "2"}
        self._elb.modify_target_group_attributes(
            TargetGroupArn=target, Attributes=[{"Key": one, "Value": value} for one, value in attributes.items()]
        )
        forward = [{"Type": "forward", "TargetGroupArn": target}]
        self._elb.create_listener(
            LoadBalancerArn=balancer["LoadBalancerArn"], Protocol="TCP", Port=80, DefaultActions=forward, Tags=_listed()
        )
        return balancer, target

    def _group(self, name: str, network: Network, target: str) -> None:
        data = {
            "ImageId": network.image,
            "InstanceType": "t3.nano",
            "UserData": base64.b64encode(json.dumps(USER_DATA).encode()).decode(),
            "InstanceInitiatedShutdownBehavior": "terminate",
            "MetadataOptions": {"HttpTokens": "required", "HttpPutResponseHopLimit": 1},
            "NetworkInterfaces": [{"DeviceIndex": 0, "Groups": [network.members], "AssociatePublicIpAddress": True}],
            "TagSpecifications": _tags("instance") + _tags("volume"),
        }
        made = self._ec2.create_launch_template(
            LaunchTemplateName=name, LaunchTemplateData=data, TagSpecifications=_tags("launch-template")
        )
        self._scaling.create_auto_scaling_group(
            AutoScalingGroupName=name,
            MinSize=0,
            MaxSize=REPLICAS,
            DesiredCapacity=REPLICAS,
            LaunchTemplate={"LaunchTemplateId": made["LaunchTemplate"]["LaunchTemplateId"], "Version": "$Latest"},
            VPCZoneIdentifier=",".join(network.subnets),
            TargetGroupARNs=[target],
            HealthCheckType="EC2",
            Tags=[{**one, "PropagateAtLaunch": True} for one in _listed()],
        )

    def _serves(self, target: str) -> bool:
        told = self._elb.describe_target_health(TargetGroupArn=target)["TargetHealthDescriptions"]
        return sum(one["TargetHealth"]["State"] == "healthy" for one in told) == REPLICAS

    def _security_group(self, name: str, vpc: str) -> str:
        given = {"GroupName": name, "Description": name, "VpcId": vpc, "TagSpecifications": _tags("security-group")}
        return str(self._ec2.create_security_group(**given)["GroupId"])


def _listed() -> list[dict[str, str]]:
    return [{"Key": f"i2kit:{name}", "Value": value} for name, value in TAGS.items()]


def _tags(kind: str) -> list[dict[str, Any]]:
    return [{"ResourceType": kind, "Tags": _listed()}]


def ready(bed: Bed) -> None:
    """Empty the account; from now on each request takes its time."""
    bed.reset()
    bed.quota("ec2", VCPUS, 10_000)
    bed.faults.slow("*", LATENCY_SECONDS)


def by_script(bed: Bed, services: int, disk: Disk) -> float:
    """Return the seconds that boto3 takes."""
    start = time.perf_counter()
    Script(bed).run(services, disk)
    seconds = time.perf_counter() - start
    print(f"boto3, one by one: {services} services in {seconds:.1f} s, {sum(bed.calls().values())} requests of {LATENCY_SECONDS:g} s")
    return seconds


def by_i2kit(bed: Bed, services: int, folder: Path) -> float:
    """Return the seconds that i2kit takes; then the same once more."""
    environment = Environment(name=SAMPLES.environment, provider="aws", settings={"region": REGION})
    operator = Operator(cloud=AwsCloud(bed=bed, site=Site.of(environment), clock=SystemClock()), folder=folder)
    plan = SAMPLES.plan(*(one for name in range(services) for one in SAMPLES.workload(replicas=REPLICAS, workload=f"web-{name}")))
    took = []
    for what in ("i2kit", "i2kit, nothing to do"):
        since, start = len(bed.journal()), time.perf_counter()
        outcome = operator.deploy(plan)
        took.append(time.perf_counter() - start)
        assert outcome.ok, outcome
        calls = bed.calls(since)
        print(f"{what}: {services} services in {took[-1]:.1f} s, {sum(calls.values())} requests")
    print(f"when there is nothing to do: {', '.join(f'{number} {action}' for action, number in calls.most_common())}")
    return took[0]


def counted(bed: Bed) -> dict[str, int]:
    """Return how much there is of what, but for parameters: the script keeps no records."""
    return {kind: len(ones) for kind, ones in bed.inventory().items() if kind != "ssm:parameter"}


def main() -> None:
    services = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    peers = int(sys.argv[2]) if len(sys.argv) > 2 else services
    with tempfile.TemporaryDirectory() as folder, running() as bed:
        os.environ.update(bed.environment)
        disk = Disk.of(sample_artefact(SAMPLES.image(), Path(folder)).files["disk"])
        ready(bed)
        peer = by_script(bed, peers, disk)
        theirs = counted(bed)
        ready(bed)
        seconds = by_i2kit(bed, services, Path(folder))
        print(f"ratio {seconds / (peer * services / peers):.2f}, by time for one service")
        if services == peers:
            ours = counted(bed)
            different = {kind: (theirs.get(kind, 0), ours.get(kind, 0)) for kind in theirs | ours if theirs.get(kind) != ours.get(kind)}
            print(f"there is the same, but for (boto3, i2kit): {different}" if different else "there is the same")


if __name__ == "__main__":
    main()
