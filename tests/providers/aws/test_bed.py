"""The bed lives as AWS does: groups, targets, images and networks; and it tells everything that it saw."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from aws.bed import Bed, running
from aws.sample import BLOCK, Sample, code
from botocore.exceptions import ClientError
from libcloud.compute.drivers.ec2 import EC2NodeDriver

BEDS = Path(__file__).parents[2] / "beds"


def test_the_server_ends_with_the_block_whatever_happened() -> None:
    used: list[Bed] = []

    def failing_test() -> None:
        with running(stock=True) as bed:
            used.append(bed)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failing_test()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(used[0].url, timeout=5)


def test_the_server_ends_with_a_test_that_was_killed() -> None:
    script = "import sys; from aws.bed import running\nwith running(stock=True) as bed: print(bed.url, flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", script], cwd=BEDS, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout
        host, port = child.stdout.readline().strip().removeprefix("http://").split(":")
        line = socket.create_connection((host, int(port)), timeout=60)
        child.kill()
    with line, contextlib.suppress(ConnectionResetError):
        # The server says nothing by itself: what ends the line is that it ends.
        assert line.recv(1) == b""


# Images


def test_a_token_starts_one_snapshot(aws: Sample, stock: Sample) -> None:
    def started(where: Sample) -> set[str]:
        return {where.ebs.start_snapshot(VolumeSize=1, ClientToken="once", Description="hello")["SnapshotId"] for _ in range(2)}

    assert len(started(aws)) == 1
    assert len(started(stock)) == 2


def test_a_snapshot_is_read_as_it_was_written(aws: Sample) -> None:
    made = aws.snapshot(complete=False)
    aws.put(made, 3, b"three")
    with pytest.raises(ClientError):
        aws.ebs.list_snapshot_blocks(SnapshotId=made)
    assert aws.ebs.complete_snapshot(SnapshotId=made, ChangedBlocksCount=1)["Status"] == "pending"
    states = [aws.ec2.describe_snapshots(SnapshotIds=[made])["Snapshots"][0]["State"] for _ in range(2)]
    assert states == ["pending", "completed"]
    told = aws.ebs.list_snapshot_blocks(SnapshotId=made)
    (block,) = told["Blocks"]
    assert (told["BlockSize"], block["BlockIndex"]) == (BLOCK, 3)
    read = aws.ebs.get_snapshot_block(SnapshotId=made, BlockIndex=3, BlockToken=block["BlockToken"])
    assert read["BlockData"].read() == b"three".ljust(BLOCK, b"\0")
    with pytest.raises(ClientError) as error:
        aws.ebs.get_snapshot_block(SnapshotId=made, BlockIndex=3, BlockToken="another")
    assert code(error) == "ValidationException"


def image(where: Sample, snapshot: str) -> dict[str, Any]:
    tags = [{"ResourceType": "image", "Tags": [{"Key": "i2kit", "Value": "hello"}]}]
    where.image(snapshot=snapshot, BootMode="uefi-preferred", ImdsSupport="v2.0", TagSpecifications=tags)
    (told,) = where.ec2.describe_images(Owners=["self"])["Images"]
    return dict(told)


def test_an_image_is_what_was_registered(aws: Sample, stock: Sample) -> None:
    snapshot = aws.snapshot()
    told = image(aws, snapshot)
    (disk,) = told["BlockDeviceMappings"]
    assert (disk["DeviceName"], disk["Ebs"]["SnapshotId"], disk["Ebs"]["VolumeSize"]) == ("/dev/xvda", snapshot, 1)
    assert (told["EnaSupport"], told["BootMode"], told["ImdsSupport"], told["Architecture"]) == (True, "uefi-preferred", "v2.0", "x86_64")
    assert told["Tags"] == [{"Key": "i2kit", "Value": "hello"}]
    snapshot = stock.snapshot()
    told = image(stock, snapshot)
    assert snapshot not in str(told["BlockDeviceMappings"])
    assert not told.get("Tags")


def test_an_images_tags_can_be_dropped_as_by_moto(aws: Sample) -> None:
    aws.bed.set(image_tags=False)
    assert not image(aws, aws.snapshot()).get("Tags")


def test_a_snapshot_stays_while_an_image_is_made_of_it(aws: Sample) -> None:
    snapshot = aws.snapshot()
    made = aws.image(snapshot=snapshot)
    with pytest.raises(ClientError) as error:
        aws.ec2.delete_snapshot(SnapshotId=snapshot)
    assert code(error) == "InvalidSnapshot.InUse"
    aws.ec2.deregister_image(ImageId=made)
    aws.ec2.delete_snapshot(SnapshotId=snapshot)
    assert aws.bed.inventory() == {}


def test_nothing_is_put_into_a_snapshot_that_was_deleted_and_its_token_still_means_it(aws: Sample) -> None:
    made = aws.snapshot(complete=False, ClientToken="once")
    aws.ec2.delete_snapshot(SnapshotId=made)
    with pytest.raises(ClientError) as error:
        aws.put(made, 0, b"hello")
    assert code(error) == "ResourceNotFoundException"
    assert aws.snapshot(complete=False, ClientToken="once") == made


def test_snapshots_fail_and_images_take_their_time_when_they_are_told_to(aws: Sample) -> None:
    made = aws.snapshot(complete=False)
    aws.bed.snapshot(made, "error", "the key is not there", age=3600)
    (told,) = aws.ec2.describe_snapshots(SnapshotIds=[made])["Snapshots"]
    assert (told["State"], told["StateMessage"]) == ("error", "the key is not there")
    aws.bed.set(image_calls=1)
    aws.image()
    states = [aws.ec2.describe_images(Owners=["self"])["Images"][0]["State"] for _ in range(2)]
    assert states == ["pending", "available"]
    aws.bed.image("hello", "failed", "a disk is not there")
    (told,) = aws.ec2.describe_images(Owners=["self"])["Images"]
    assert (told["State"], told["StateReason"]["Message"]) == ("failed", "a disk is not there")


# Groups


def test_members_are_spread_over_the_zones(aws: Sample, stock: Sample) -> None:
    aws.group(size=6)
    assert sorted(one["AvailabilityZone"][-1] for one in aws.members()) == [*"aabbcc"]
    stock.group(size=6)
    assert len({one["AvailabilityZone"] for one in stock.members()}) == 1


def test_a_member_that_powers_itself_off_is_replaced(aws: Sample) -> None:
    aws.group()
    before = [one["InstanceId"] for one in aws.members()]
    aws.bed.power_off(before[0])
    after = [one["InstanceId"] for one in aws.members()]
    assert len(after) == 2
    assert before[0] not in after
    assert before[1] in after
    assert [one["Description"].partition(":")[0] for one in aws.activities()[:2]] == [
        "Launching a new EC2 instance",
        "Terminating EC2 instance",
    ]


def test_an_unhealthy_member_is_replaced(aws: Sample, stock: Sample) -> None:
    def unhealthy(where: Sample) -> bool:
        where.group()
        first = where.members()[0]["InstanceId"]
        where.scaling.set_instance_health(InstanceId=first, HealthStatus="Unhealthy")
        return first in [one["InstanceId"] for one in where.members()]

    assert not unhealthy(aws)
    assert unhealthy(stock)


def test_nothing_is_replaced_while_the_group_is_told_not_to(aws: Sample) -> None:
    aws.group()
    aws.scaling.suspend_processes(AutoScalingGroupName="web", ScalingProcesses=["ReplaceUnhealthy"])
    before = {one["InstanceId"] for one in aws.members()}
    aws.bed.power_off(min(before))
    assert {one["InstanceId"] for one in aws.members()} == before
    aws.scaling.resume_processes(AutoScalingGroupName="web")
    assert min(before) not in {one["InstanceId"] for one in aws.members()}


def test_scarcity_in_one_zone_sends_members_to_others(aws: Sample) -> None:
    aws.bed.scarce("web", zone=aws.zone(0))
    aws.group(size=4)
    assert sorted(one["AvailabilityZone"][-1] for one in aws.members()) == [*"bbcc"]
    failed = next(one for one in aws.activities() if one["StatusCode"] == "Failed")
    assert "InsufficientInstanceCapacity" in failed["StatusMessage"]
    assert f"t3.micro capacity in the Availability Zone you requested ({aws.zone(0)})" in failed["StatusMessage"]


def test_scarcity_everywhere_leaves_a_group_short_until_it_ends(aws: Sample) -> None:
    aws.bed.scarce()
    aws.group()
    assert aws.members() == []
    aws.bed.plenty()
    assert len(aws.members()) == 2


def test_scarcity_can_end_by_itself(aws: Sample) -> None:
    aws.bed.scarce(times=3, code="VcpuLimitExceeded", message="You have requested more vCPU capacity than your limit.")
    aws.group(size=1)
    assert len(aws.members()) == 1
    assert [one["StatusCode"] for one in aws.activities()] == ["Successful", "Failed", "Failed", "Failed"]
    assert aws.activities()[1]["StatusMessage"].startswith("You have requested more vCPU")


def test_members_are_made_of_the_version_that_was_the_groups_when_they_started(aws: Sample) -> None:
    template = aws.template()
    aws.group(size=1, template=template)
    data = {"InstanceType": "t3.small"}
    aws.ec2.create_launch_template_version(LaunchTemplateId=template, SourceVersion="1", LaunchTemplateData=data)
    aws.scaling.set_desired_capacity(AutoScalingGroupName="web", DesiredCapacity=2)
    seen = sorted((one["LaunchTemplate"]["Version"], one["InstanceType"]) for one in aws.members())
    assert seen == [("1", "t3.micro"), ("2", "t3.small")]


def test_a_member_is_as_its_template_says(aws: Sample) -> None:
    aws.iam.create_instance_profile(InstanceProfileName="web")
    group, image = aws.security_group(), aws.image(snapshot=(snapshot := aws.snapshot()))
    tags = [{"ResourceType": kind, "Tags": [{"Key": "of", "Value": "web"}]} for kind in ("instance", "volume")]
    template = aws.template(
        ImageId=image,
        IamInstanceProfile={"Name": "web"},
        MetadataOptions={"HttpTokens": "required", "HttpPutResponseHopLimit": 2},
        NetworkInterfaces=[{"DeviceIndex": 0, "Groups": [group], "AssociatePublicIpAddress": True}],
        TagSpecifications=tags,
    )
    aws.group(size=1, template=template)
    (told,) = aws.ec2.describe_instances()["Reservations"][0]["Instances"]
    assert told["IamInstanceProfile"]["Arn"].endswith("instance-profile/web")
    assert (told["MetadataOptions"]["HttpTokens"], told["MetadataOptions"]["HttpPutResponseHopLimit"]) == ("required", 2)
    assert [one["GroupId"] for one in told["SecurityGroups"]] == [group]
    assert told["PublicIpAddress"]
    assert {"Key": "of", "Value": "web"} in told["Tags"]
    (volume,) = aws.ec2.describe_volumes()["Volumes"]
    assert (volume["SnapshotId"], volume["Size"], volume["Tags"]) == (snapshot, 1, tags[1]["Tags"])


# Targets


def served(aws: Sample, **given: Any) -> tuple[str, list[str]]:
    """A group of two behind a balancer: the target group and the members."""
    target = aws.target_group()
    aws.listener(aws.balancer(), target)
    aws.group(TargetGroupARNs=[target], **given)
    return target, [one["InstanceId"] for one in aws.members()]


def test_targets_follow_the_lives_of_their_instances(aws: Sample) -> None:
    aws.bed.set(new_members="Pending")
    target, (one, other) = served(aws)
    assert aws.health(target) == {one: "initial", other: "initial"}
    aws.bed.lifecycle(one, "InService")
    assert aws.health(target) == {one: "healthy", other: "initial"}
    aws.bed.power_off(one)
    (new,) = {member["InstanceId"] for member in aws.members()} - {other}
    assert aws.health(target) == {one: "draining", other: "initial", new: "initial"}
    assert aws.health(target) == {other: "initial", new: "initial"}


def test_targets_of_stock_moto_are_healthy_at_once_and_after_death(stock: Sample) -> None:
    target, (one, other) = served(stock)
    assert stock.health(target) == {one: "healthy", other: "healthy"}
    stock.scaling.set_desired_capacity(AutoScalingGroupName="web", DesiredCapacity=0)
    assert stock.health(target) == {one: "healthy", other: "healthy"}


def test_health_can_be_set_for_one_a_group_and_all(aws: Sample) -> None:
    target, (one, other) = served(aws)
    aws.bed.health("initial")
    assert aws.health(target) == {one: "initial", other: "initial"}
    aws.bed.health("unhealthy", target_group=target)
    assert aws.health(target) == {one: "unhealthy", other: "unhealthy"}
    aws.bed.health("healthy", target_group=target, instance=one)
    assert aws.health(target) == {one: "healthy", other: "unhealthy"}
    told = aws.elb.describe_target_health(TargetGroupArn=target, Targets=[{"Id": other}])["TargetHealthDescriptions"]
    assert told[0]["TargetHealth"]["Reason"] == "Target.FailedHealthChecks"
    aws.bed.health(None, target_group=target)
    assert aws.health(target) == {one: "healthy", other: "initial"}


def test_unhealthy_targets_are_replaced_only_in_groups_that_ask_the_balancer(aws: Sample) -> None:
    _, before = served(aws)
    aws.bed.health("unhealthy", instance=before[0])
    assert [one["InstanceId"] for one in aws.members()] == before
    aws.scaling.update_auto_scaling_group(AutoScalingGroupName="web", HealthCheckType="ELB")
    assert before[0] not in [one["InstanceId"] for one in aws.members()]


def test_a_target_group_without_a_listener_is_not_checked(aws: Sample) -> None:
    target = aws.target_group()
    aws.group(size=1, TargetGroupARNs=[target])
    assert set(aws.health(target).values()) == {"unused"}


def test_a_deregistered_target_drains(aws: Sample) -> None:
    target, (one, other) = served(aws)
    aws.bed.set(drain_calls=2)
    aws.elb.deregister_targets(TargetGroupArn=target, Targets=[{"Id": one}])
    assert [aws.health(target).get(one) for _ in range(3)] == ["draining", "draining", None]
    assert aws.health(target) == {other: "healthy"}


# Networks and the account


def test_the_same_balancer_and_target_group_twice_are_one(aws: Sample, stock: Sample) -> None:
    assert aws.balancer() == aws.balancer()
    assert ":loadbalancer/net/" in aws.balancer()
    assert aws.target_group() == aws.target_group()
    assert aws.listener(aws.balancer(), aws.target_group()) == aws.listener(aws.balancer(), aws.target_group())
    with pytest.raises(ClientError) as error:
        aws.target_group(HealthCheckPath="/readyz", HealthCheckProtocol="HTTP")
    assert code(error) == "DuplicateTargetGroupName"
    stock.target_group()
    with pytest.raises(ClientError) as error:
        stock.target_group()
    assert code(error) == "DuplicateTargetGroupName"


def test_a_nat_gateway_takes_its_time_and_keeps_its_address(aws: Sample, stock: Sample) -> None:
    address = aws.ec2.allocate_address(Domain="vpc")["AllocationId"]
    tags = [{"ResourceType": "natgateway", "Tags": [{"Key": "whose", "Value": "ours"}]}]
    given = {"SubnetId": aws.subnets[0], "AllocationId": address, "TagSpecifications": tags}
    made = [aws.ec2.create_nat_gateway(ClientToken="same", **given)["NatGateway"] for _ in range(2)]
    assert {(one["NatGatewayId"], one["State"]) for one in made} == {(made[0]["NatGatewayId"], "pending")}

    def states(whose: str = "ours") -> list[str]:
        told = aws.ec2.describe_nat_gateways(Filter=[{"Name": "tag:whose", "Values": [whose]}])["NatGateways"]
        return [one["State"] for one in told]

    assert [states(), states()] == [["pending"], ["available"]]
    assert states("theirs") == []
    aws.ec2.delete_nat_gateway(NatGatewayId=made[0]["NatGatewayId"])
    with pytest.raises(ClientError) as error:
        aws.ec2.delete_subnet(SubnetId=aws.subnets[0])
    assert code(error) == "DependencyViolation"
    assert [states(), states()] == [["deleting"], ["deleted"]]
    aws.ec2.release_address(AllocationId=address)
    aws.ec2.delete_subnet(SubnetId=aws.subnets[0])
    taken = stock.ec2.allocate_address(Domain="vpc")["AllocationId"]
    assert stock.ec2.create_nat_gateway(SubnetId=stock.subnets[0], AllocationId=taken)["NatGateway"]["State"] == "available"


def test_a_second_nat_gateway_of_an_address_fails(aws: Sample) -> None:
    given = {"SubnetId": aws.subnets[0], "AllocationId": aws.ec2.allocate_address(Domain="vpc")["AllocationId"]}
    for _ in range(2):
        aws.ec2.create_nat_gateway(**given)
        aws.ec2.describe_nat_gateways()
    told = {one["State"]: one.get("FailureMessage", "") for one in aws.ec2.describe_nat_gateways()["NatGateways"]}
    assert told == {"available": "", "failed": f"Elastic IP address [{given['AllocationId']}] is already associated"}


def test_zones_come_in_the_order_of_their_names_and_in_pages(aws: Sample, stock: Sample) -> None:
    for name in ("b.example", "a.example", "a.b.example", "other"):
        for client in (aws.dns, stock.dns):
            client.create_hosted_zone(Name=name, CallerReference=name)
    first = aws.dns.list_hosted_zones_by_name(DNSName="b.example", MaxItems="2")
    assert [one["Name"] for one in first["HostedZones"]] == ["b.example.", "a.b.example."]
    rest = aws.dns.list_hosted_zones_by_name(DNSName=first["NextDNSName"], HostedZoneId=first["NextHostedZoneId"])
    assert [one["Name"] for one in rest["HostedZones"]] == ["other."]
    assert not rest["IsTruncated"]
    assert [one["Name"] for one in stock.dns.list_hosted_zones_by_name(DNSName="b.example")["HostedZones"]] == ["b.example."]


def test_an_instance_that_shuts_down_keeps_its_security_group(aws: Sample) -> None:
    group = aws.security_group()
    aws.group(size=1, template=aws.template(SecurityGroupIds=[group]))
    (member,) = [one["InstanceId"] for one in aws.members()]
    aws.bed.set(terminate_calls=2)
    aws.scaling.delete_auto_scaling_group(AutoScalingGroupName="web", ForceDelete=True)
    with pytest.raises(ClientError) as error:
        aws.ec2.delete_security_group(GroupId=group)
    assert code(error) == "DependencyViolation"

    def state() -> str:
        return str(aws.ec2.describe_instances(InstanceIds=[member])["Reservations"][0]["Instances"][0]["State"]["Name"])

    assert [state() for _ in range(3)] == ["shutting-down", "shutting-down", "terminated"]
    aws.ec2.delete_security_group(GroupId=group)


def test_an_instances_state_can_be_set(aws: Sample) -> None:
    aws.group(size=1)
    (member,) = [one["InstanceId"] for one in aws.members()]
    aws.bed.state(member, "pending")
    assert [one["InstanceId"] for one in aws.members()] == [member]
    aws.bed.state(member, "stopped")
    assert [one["InstanceId"] for one in aws.members()] != [member]


def test_a_balancers_interfaces_outlive_it_and_keep_what_they_use(aws: Sample) -> None:
    group = aws.security_group()
    balancer = aws.balancer(SecurityGroups=[group])
    aws.bed.set(interface_calls=2)
    mine = [{"Name": "vpc-id", "Values": [aws.vpc]}]
    (first, *_) = aws.ec2.describe_network_interfaces(Filters=mine)["NetworkInterfaces"]
    assert first["Description"].startswith("ELB net/web/")
    with pytest.raises(ClientError) as error:
        aws.ec2.delete_network_interface(NetworkInterfaceId=first["NetworkInterfaceId"])
    assert code(error) == "AuthFailure"
    aws.elb.delete_load_balancer(LoadBalancerArn=balancer)
    with pytest.raises(ClientError) as error:
        aws.ec2.delete_security_group(GroupId=group)
    assert code(error) == "DependencyViolation"
    assert [len(aws.ec2.describe_network_interfaces(Filters=mine)["NetworkInterfaces"]) for _ in range(3)] == [3, 3, 0]
    aws.ec2.delete_security_group(GroupId=group)


def everything(aws: Sample) -> tuple[str, str]:
    assert aws.gateway
    group = aws.security_group()
    target = aws.target_group()
    balancer = aws.balancer(SecurityGroups=[group], Scheme="internet-facing")
    aws.listener(balancer, target)
    aws.group(template=aws.template(SecurityGroupIds=[group]), TargetGroupARNs=[target])
    aws.ssm.put_parameter(Name="/i2kit/release", Type="String", Value="1")
    return group, balancer


def nothing_again(aws: Sample, group: str, balancer: str) -> None:
    aws.ssm.delete_parameter(Name="/i2kit/release")
    aws.scaling.delete_auto_scaling_group(AutoScalingGroupName="web", ForceDelete=True)
    aws.ec2.delete_launch_template(LaunchTemplateName="web")
    aws.elb.delete_load_balancer(LoadBalancerArn=balancer)
    aws.elb.delete_target_group(TargetGroupArn=aws.elb.describe_target_groups(Names=["web"])["TargetGroups"][0]["TargetGroupArn"])
    for _ in range(2):
        aws.ec2.describe_network_interfaces()
    for one in aws.ec2.describe_images(Owners=["self"])["Images"]:
        aws.ec2.deregister_image(ImageId=one["ImageId"])
        for disk in one["BlockDeviceMappings"]:
            aws.ec2.delete_snapshot(SnapshotId=disk["Ebs"]["SnapshotId"])
    aws.ec2.delete_security_group(GroupId=group)
    aws.ec2.detach_internet_gateway(InternetGatewayId=aws.gateway, VpcId=aws.vpc)
    aws.ec2.delete_internet_gateway(InternetGatewayId=aws.gateway)
    for subnet in aws.subnets:
        aws.ec2.delete_subnet(SubnetId=subnet)
    aws.ec2.delete_vpc(VpcId=aws.vpc)


def test_the_inventory_sees_everything_and_nothing_stays_behind(aws: Sample) -> None:
    assert aws.bed.inventory() == {}
    made = everything(aws)
    seen = {kind: len(names) for kind, names in aws.bed.inventory().items()}
    assert seen == {
        "autoscaling:group": 1,
        "ebs:snapshot": 1,
        "ec2:image": 1,
        "ec2:instance": 2,
        "ec2:internet-gateway": 1,
        "ec2:launch-template": 1,
        "ec2:network-acl": 1,
        "ec2:network-interface": 5,
        "ec2:route-table": 1,
        "ec2:security-group": 2,
        "ec2:snapshot": 1,
        "ec2:subnet": 3,
        "ec2:volume": 2,
        "ec2:vpc": 1,
        "elasticloadbalancing:balancer": 1,
        "elasticloadbalancing:listener": 1,
        "elasticloadbalancing:target-group": 1,
        "ssm:parameter": 1,
    }
    nothing_again(aws, *made)
    assert aws.bed.inventory() == {}


def test_stock_moto_leaves_things_behind(stock: Sample) -> None:
    aws = stock
    snapshot = aws.snapshot()
    aws.ec2.deregister_image(ImageId=aws.image(snapshot=snapshot))
    aws.ec2.delete_snapshot(SnapshotId=snapshot)
    aws.ec2.delete_vpc(VpcId=aws.vpc)
    assert aws.ec2.describe_volumes()["Volumes"]
    assert aws.ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]
    assert aws.ec2.describe_network_acls(Filters=[{"Name": "vpc-id", "Values": [aws.vpc]}])["NetworkAcls"]


def test_console_output_is_what_was_set(aws: Sample) -> None:
    aws.group(size=1)
    (member,) = [one["InstanceId"] for one in aws.members()]
    assert "Output" not in aws.ec2.get_console_output(InstanceId=member)
    aws.bed.console(member, "ready\n")
    assert aws.ec2.get_console_output(InstanceId=member)["Output"] == "ready\n"


def test_quotas_are_listed_and_can_be_set(aws: Sample) -> None:
    quotas = aws.bed.client("service-quotas")
    aws.bed.quota("ec2", "L-1216C47A", 2)
    assert quotas.get_service_quota(ServiceCode="ec2", QuotaCode="L-1216C47A")["Quota"]["Value"] == 2
    listed = {one["QuotaCode"]: one["Value"] for one in quotas.list_service_quotas(ServiceCode="vpc")["Quotas"]}
    assert listed["L-F678F1CE"] == 5
    with pytest.raises(ClientError) as error:
        quotas.get_service_quota(ServiceCode="ec2", QuotaCode="L-00000000")
    assert code(error) == "NoSuchResourceException"


def test_objects_are_created_once(aws: Sample) -> None:
    store = aws.bed.client("s3")
    store.create_bucket(Bucket="records", CreateBucketConfiguration={"LocationConstraint": aws.bed.region})
    store.put_object(Bucket="records", Key="1", Body=b"one", IfNoneMatch="*")
    with pytest.raises(ClientError) as error:
        store.put_object(Bucket="records", Key="1", Body=b"two", IfNoneMatch="*")
    assert code(error) == "PreconditionFailed"
    assert store.get_object(Bucket="records", Key="1")["Body"].read() == b"one"
    assert aws.bed.inventory() == {"s3:bucket": ["records"], "s3:object": ["records/1"]}
    assert aws.bed.permissions() == {"s3:CreateBucket", "s3:PutObject", "s3:GetObject"}


def test_a_reset_forgets_everything(aws: Sample) -> None:
    aws.bed.set(new_members="Pending")
    aws.bed.faults.throttle("ec2:*", times=-1)
    aws.bed.reset()
    aws.group(size=1)
    assert aws.members()[0]["LifecycleState"] == "InService"
    aws.bed.reset()
    assert (aws.bed.inventory(), aws.bed.journal()) == ({}, [])


def test_libcloud_reads_what_boto3_made(aws: Sample) -> None:
    aws.group(size=2)
    host, port = aws.bed.url.removeprefix("http://").split(":")
    driver = EC2NodeDriver("key", "secret", region=aws.bed.region, host=host, port=int(port), secure=False, signature_version="4")
    assert sorted(node.id for node in driver.list_nodes()) == sorted(one["InstanceId"] for one in aws.members())


def test_many_at_once_get_along(aws: Sample) -> None:
    def stored(number: int) -> object:
        return aws.ssm.put_parameter(Name=f"/i2kit/{number}", Type="String", Value="x")

    assert aws.ssm
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(stored, range(50)))
    assert len(aws.bed.inventory()["ssm:parameter"]) == 50
    assert aws.bed.calls() == {"ssm:PutParameter": 50}


# What requests say


def raw(bed: Bed, service: str, **form: str) -> tuple[int, str]:
    """Send what no client would, and return the status and the answer."""
    scope = f"AWS4-HMAC-SHA256 Credential=key/20260101/{bed.region}/{service}/aws4_request, SignedHeaders=host, Signature=0"
    headers = {"Authorization": scope, "Content-Type": "application/x-www-form-urlencoded"}
    data = urllib.parse.urlencode(form).encode()
    if "target" in form:
        headers |= {"X-Amz-Target": form["target"], "Content-Type": "application/x-amz-json-1.1"}
        data = form["body"].encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(bed.url + "/", data, headers)) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


QUERY = {"Version": "2016-11-15", "Action": "DescribeVpcs"}
SCALING = {"Version": "2011-01-01", "Action": "SetDesiredCapacity", "AutoScalingGroupName": "web"}
PUT = {"target": "AmazonSSM.PutParameter"}
TAGS = {"Version": "2015-12-01", "Action": "AddTags", "ResourceArns.member.1": "arn", "Tags.member.1.Key": "Name"}
ILL_FORMED = {
    "unknown to EC2": ("ec2", QUERY | {"VpcIdentity.1": "vpc-1"}, "UnknownParameter"),
    "not a number": ("ec2", QUERY | {"MaxResults": "many"}, "InvalidParameterValue"),
    "not a boolean": ("ec2", QUERY | {"DryRun": "perhaps"}, "InvalidParameterValue"),
    "not a list": ("ec2", QUERY | {"VpcId": "vpc-1"}, "InvalidParameterValue"),
    "numbered from 0": ("ec2", QUERY | {"VpcId.0": "vpc-1"}, "InvalidParameterValue"),
    "no such action": ("ec2", QUERY | {"Action": "DescribeVcps"}, "InvalidAction"),
    "not in the enumeration": ("ec2", QUERY | {"Action": "CreateVpc", "InstanceTenancy": "shared"}, "InvalidParameterValue"),
    "missing in EC2": ("ec2", QUERY | {"Action": "DeleteVpc"}, "MissingParameter"),
    "signed the old way": ("ec2", QUERY | {"SignatureVersion": "2"}, "AuthFailure"),
    "unknown to Auto Scaling": ("autoscaling", SCALING | {"DesiredCapacity": "1", "Hurry": "true"}, "MalformedInput"),
    "missing in Auto Scaling": ("autoscaling", SCALING, "ValidationError"),
    "a comma in a tag of a balancer": ("elasticloadbalancing", TAGS | {"Tags.member.1.Value": "one, two"}, "ValidationError"),
    "unknown to SSM": ("ssm", PUT | {"body": '{"Name": "/a", "Value": "b", "Typ": "String"}'}, "SerializationException"),
    "missing in SSM": ("ssm", PUT | {"body": '{"Name": "/a"}'}, "ValidationException"),
    "not JSON": ("ssm", PUT | {"body": "{"}, "SerializationException"),
    "too many": ("ssm", {"target": "AmazonSSM.GetParameters", "body": json.dumps({"Names": ["/a"] * 11})}, "ValidationException"),
}


@pytest.mark.parametrize("name", ILL_FORMED)
def test_requests_are_as_the_model_says_or_refused(bed: Bed, name: str) -> None:
    service, form, refusal = ILL_FORMED[name]
    status, said = raw(bed, service, **form)
    assert status == 400
    assert bed.journal()[-1]["code"] == refusal
    assert refusal in said


def test_the_journal_says_what_was_asked_and_which_permissions_it_took(aws: Sample) -> None:
    tags = [{"ResourceType": "vpc", "Tags": [{"Key": "of", "Value": "shop"}]}]
    aws.ec2.create_vpc(CidrBlock="10.1.0.0/16", TagSpecifications=tags)
    with pytest.raises(ClientError):
        aws.ssm.get_parameter(Name="/none")
    made, missed = aws.bed.journal()
    assert (made["action"], made["status"], made["effect"], made["region"]) == ("ec2:CreateVpc", 200, True, aws.bed.region)
    assert made["parameters"]["TagSpecifications"] == tags
    assert made["permissions"] == ["ec2:CreateVpc", "ec2:CreateTags"]
    assert (missed["action"], missed["status"], missed["code"], missed["effect"]) == ("ssm:GetParameter", 400, "ParameterNotFound", False)
    assert aws.bed.journal(since=1) == [missed]
