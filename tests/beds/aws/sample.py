"""Small things to have in an account, made with boto3: what tests of the bed and of drivers begin with."""

from __future__ import annotations

import base64
import functools
import hashlib
from typing import Any

import pytest
from botocore.exceptions import ClientError

from aws.bed import Bed

BLOCK = 512 << 10


def code(error: pytest.ExceptionInfo[ClientError]) -> str:
    """AWS's own code of an error that was expected."""
    return str(error.value.response["Error"]["Code"])


class Sample:
    """An account's clients, and hands that make what most tests need first."""

    def __init__(self, bed: Bed) -> None:
        self.bed = bed
        self.ec2 = bed.client("ec2")

    @functools.cached_property
    def scaling(self) -> Any:
        return self.bed.client("autoscaling")

    @functools.cached_property
    def elb(self) -> Any:
        return self.bed.client("elbv2")

    @functools.cached_property
    def ebs(self) -> Any:
        return self.bed.client("ebs")

    @functools.cached_property
    def ssm(self) -> Any:
        return self.bed.client("ssm")

    @functools.cached_property
    def dns(self) -> Any:
        return self.bed.client("route53")

    @functools.cached_property
    def iam(self) -> Any:
        return self.bed.client("iam")

    def zone(self, number: int) -> str:
        return f"{self.bed.region}{'abc'[number]}"

    @functools.cached_property
    def vpc(self) -> str:
        return str(self.ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"])

    @functools.cached_property
    def gateway(self) -> str:
        made = str(self.ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"])
        self.ec2.attach_internet_gateway(InternetGatewayId=made, VpcId=self.vpc)
        return made

    @functools.cached_property
    def subnets(self) -> list[str]:
        made = [{"CidrBlock": f"10.0.{number}.0/24", "AvailabilityZone": self.zone(number)} for number in range(3)]
        return [self.ec2.create_subnet(VpcId=self.vpc, **one)["Subnet"]["SubnetId"] for one in made]

    def security_group(self, name: str = "inside") -> str:
        return str(self.ec2.create_security_group(GroupName=name, Description=name, VpcId=self.vpc)["GroupId"])

    def snapshot(self, *, complete: bool = True, **given: Any) -> str:
        made = str(self.ebs.start_snapshot(VolumeSize=1, **given)["SnapshotId"])
        if complete:
            self.put(made, 0, b"hello")
            self.ebs.complete_snapshot(SnapshotId=made, ChangedBlocksCount=1)
            for _ in range(5):
                if self.ec2.describe_snapshots(SnapshotIds=[made])["Snapshots"][0]["State"] == "completed":
                    break
        return made

    def put(self, snapshot: str, index: int, data: bytes, checksum: str | None = None) -> None:
        block = data.ljust(BLOCK, b"\0")
        checksum = checksum or base64.b64encode(hashlib.sha256(block).digest()).decode()
        given = {"DataLength": BLOCK, "BlockData": block, "Checksum": checksum, "ChecksumAlgorithm": "SHA256"}
        self.ebs.put_snapshot_block(SnapshotId=snapshot, BlockIndex=index, **given)

    def image(self, name: str = "hello", snapshot: str | None = None, **given: Any) -> str:
        disk = {"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot or self.snapshot(), "DeleteOnTermination": True}}
        whole = {"Architecture": "x86_64", "RootDeviceName": "/dev/xvda", "VirtualizationType": "hvm", "EnaSupport": True, **given}
        return str(self.ec2.register_image(Name=name, BlockDeviceMappings=[disk], **whole)["ImageId"])

    def template(self, name: str = "web", **data: Any) -> str:
        whole = {"InstanceType": "t3.micro", **data}
        whole.setdefault("ImageId", self.image(f"image of {name}"))
        return str(self.ec2.create_launch_template(LaunchTemplateName=name, LaunchTemplateData=whole)["LaunchTemplate"]["LaunchTemplateId"])

    def group(self, name: str = "web", size: int = 2, template: str | None = None, **given: Any) -> None:
        whole = {"MinSize": 0, "MaxSize": 10, "VPCZoneIdentifier": ",".join(self.subnets), **given}
        whole["LaunchTemplate"] = {"LaunchTemplateId": template or self.template(f"template of {name}"), "Version": "$Latest"}
        self.scaling.create_auto_scaling_group(AutoScalingGroupName=name, DesiredCapacity=size, **whole)

    def members(self, name: str = "web") -> list[dict[str, Any]]:
        groups = self.scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[name])["AutoScalingGroups"]
        return list(groups[0]["Instances"])

    def activities(self, name: str = "web") -> list[dict[str, Any]]:
        return list(self.scaling.describe_scaling_activities(AutoScalingGroupName=name)["Activities"])

    def target_group(self, name: str = "web", protocol: str = "TCP", **given: Any) -> str:
        made = self.elb.create_target_group(Name=name, Protocol=protocol, Port=80, VpcId=self.vpc, **given)
        return str(made["TargetGroups"][0]["TargetGroupArn"])

    def balancer(self, name: str = "web", **given: Any) -> str:
        whole = {"Type": "network", "Scheme": "internal", "Subnets": self.subnets, **given}
        return str(self.elb.create_load_balancer(Name=name, **whole)["LoadBalancers"][0]["LoadBalancerArn"])

    def listener(self, balancer: str, target_group: str, **given: Any) -> str:
        whole = {"Protocol": "TCP", "Port": 80, **given}
        action = {"Type": "forward", "TargetGroupArn": target_group}
        return str(self.elb.create_listener(LoadBalancerArn=balancer, DefaultActions=[action], **whole)["Listeners"][0]["ListenerArn"])

    def health(self, target_group: str) -> dict[str, str]:
        told = self.elb.describe_target_health(TargetGroupArn=target_group)["TargetHealthDescriptions"]
        return {one["Target"]["Id"]: one["TargetHealth"]["State"] for one in told}
