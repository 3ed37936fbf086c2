"""What AWS refuses, the bed refuses: each seen with boto3, and against stock moto, so that we notice when that learns it."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest
from aws.sample import Sample, code
from botocore.exceptions import ClientError

Case = Callable[[Sample], object]

# What AWS refuses: a call that moto, as it is, lets pass. The last call of each is the one that is refused.


def a_wrong_checksum(aws: Sample) -> object:
    return aws.put(aws.snapshot(complete=False), 0, b"hello", checksum=base64.b64encode(b"0" * 32).decode())


def a_block_behind_the_end(aws: Sample) -> object:
    return aws.put(aws.snapshot(complete=False), 2048, b"hello")


def a_snapshot_completed_with_the_wrong_count(aws: Sample) -> object:
    made = aws.snapshot(complete=False)
    aws.put(made, 0, b"hello")
    return aws.ebs.complete_snapshot(SnapshotId=made, ChangedBlocksCount=2)


def a_snapshot_with_the_wrong_sum(aws: Sample) -> object:
    made = aws.snapshot(complete=False)
    aws.put(made, 0, b"hello")
    wrong = {"Checksum": "0" * 44, "ChecksumAlgorithm": "SHA256", "ChecksumAggregationMethod": "LINEAR"}
    return aws.ebs.complete_snapshot(SnapshotId=made, ChangedBlocksCount=1, **wrong)


def a_block_after_completion(aws: Sample) -> object:
    made = aws.snapshot()
    return aws.put(made, 1, b"more")


def a_token_for_something_else(aws: Sample) -> object:
    aws.ebs.start_snapshot(VolumeSize=1, ClientToken="same")
    return aws.ebs.start_snapshot(VolumeSize=2, ClientToken="same")


def an_image_of_a_pending_snapshot(aws: Sample) -> object:
    return aws.image(snapshot=aws.snapshot(complete=False))


def an_image_of_no_snapshot(aws: Sample) -> object:
    return aws.image(snapshot="snap-00000000000000000")


def an_image_without_a_root(aws: Sample) -> object:
    return aws.image(snapshot=aws.snapshot(), RootDeviceName="/dev/sda1")


def an_image_that_says_how_its_snapshot_is_encrypted(aws: Sample) -> object:
    disk = {"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": aws.snapshot(), "Encrypted": False}}
    return aws.ec2.register_image(Name="open", RootDeviceName="/dev/xvda", BlockDeviceMappings=[disk])


def two_images_of_a_name(aws: Sample) -> object:
    snapshot = aws.snapshot()
    aws.image("same", snapshot)
    return aws.image("same", snapshot)


def an_instance_of_no_image(aws: Sample) -> object:
    return aws.ec2.run_instances(ImageId="ami-00000000000000000", MinCount=1, MaxCount=1, InstanceType="t3.micro")


def an_instance_of_no_type(aws: Sample) -> object:
    return aws.ec2.run_instances(ImageId=aws.image(), MinCount=1, MaxCount=1, InstanceType="t3.gigantic")


def too_much_user_data(aws: Sample) -> object:
    return aws.template(ImageId=aws.image(), UserData=base64.b64encode(b"x" * 16_385).decode())


def a_security_group_in_use(aws: Sample) -> object:
    group = aws.security_group()
    aws.ec2.run_instances(
        ImageId=aws.image(), MinCount=1, MaxCount=1, InstanceType="t3.micro", SubnetId=aws.subnets[0], SecurityGroupIds=[group]
    )
    return aws.ec2.delete_security_group(GroupId=group)


def a_security_group_that_another_names(aws: Sample) -> object:
    group, other = aws.security_group(), aws.security_group("other")
    named = {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "UserIdGroupPairs": [{"GroupId": group}]}
    aws.ec2.authorize_security_group_ingress(GroupId=other, IpPermissions=[named])
    return aws.ec2.delete_security_group(GroupId=group)


def a_subnet_in_use(aws: Sample) -> object:
    aws.ec2.create_network_interface(SubnetId=aws.subnets[0])
    return aws.ec2.delete_subnet(SubnetId=aws.subnets[0])


def a_network_with_a_gateway(aws: Sample) -> object:
    assert aws.gateway
    return aws.ec2.delete_vpc(VpcId=aws.vpc)


def a_network_with_a_security_group(aws: Sample) -> object:
    aws.security_group()
    return aws.ec2.delete_vpc(VpcId=aws.vpc)


def a_gateway_with_addresses_behind_it(aws: Sample) -> object:
    assert aws.gateway
    aws.balancer(Scheme="internet-facing")
    return aws.ec2.detach_internet_gateway(InternetGatewayId=aws.gateway, VpcId=aws.vpc)


def a_balancer_without_a_gateway(aws: Sample) -> object:
    return aws.balancer(Scheme="internet-facing")


def two_balancers_of_a_name(aws: Sample) -> object:
    aws.balancer()
    return aws.balancer(Subnets=aws.subnets[:1])


def a_long_name_for_a_balancer(aws: Sample) -> object:
    return aws.balancer("b" * 33)


def two_subnets_of_a_zone(aws: Sample) -> object:
    made = aws.ec2.create_subnet(VpcId=aws.vpc, CidrBlock="10.0.9.0/24", AvailabilityZone=aws.zone(0))
    return aws.balancer(Subnets=[aws.subnets[0], made["Subnet"]["SubnetId"]])


def security_groups_as_an_afterthought(aws: Sample) -> object:
    return aws.elb.set_security_groups(LoadBalancerArn=aws.balancer(), SecurityGroups=[aws.security_group()])


def tcp_to_udp(aws: Sample) -> object:
    return aws.listener(aws.balancer(), aws.target_group(protocol="UDP"))


def tls_without_a_certificate(aws: Sample) -> object:
    return aws.listener(aws.balancer(), aws.target_group(), Protocol="TLS", Port=443)


def clients_hidden_from_udp(aws: Sample) -> object:
    attribute = {"Key": "preserve_client_ip.enabled", "Value": "false"}
    return aws.elb.modify_target_group_attributes(TargetGroupArn=aws.target_group(protocol="UDP"), Attributes=[attribute])


def two_groups_of_a_name(aws: Sample) -> object:
    template = aws.template()
    aws.group(template=template)
    return aws.group(template=template)


def a_group_with_members(aws: Sample) -> object:
    aws.group()
    return aws.scaling.delete_auto_scaling_group(AutoScalingGroupName="web")


def a_group_larger_than_it_may_be(aws: Sample) -> object:
    return aws.group(size=11)


def a_size_behind_the_bounds(aws: Sample) -> object:
    aws.group()
    return aws.scaling.set_desired_capacity(AutoScalingGroupName="web", DesiredCapacity=11)


def a_member_less_than_a_group_may_have(aws: Sample) -> object:
    aws.group(size=1, MinSize=1)
    given = {"InstanceId": aws.members()[0]["InstanceId"], "ShouldDecrementDesiredCapacity": True}
    return aws.scaling.terminate_instance_in_auto_scaling_group(**given)


def a_group_of_no_profile(aws: Sample) -> object:
    return aws.group(template=aws.template(IamInstanceProfile={"Name": "nobody"}))


def a_group_of_no_security_group(aws: Sample) -> object:
    card = {"DeviceIndex": 0, "Groups": ["sg-00000000000000000"]}
    return aws.group(template=aws.template(NetworkInterfaces=[card]))


def a_group_of_no_type(aws: Sample) -> object:
    return aws.group(template=aws.template(InstanceType="t3.gigantic"))


def a_large_parameter(aws: Sample) -> object:
    return aws.ssm.put_parameter(Name="/i2kit/large", Type="String", Value="x" * 4097)


def two_private_zones_of_a_name(aws: Sample) -> object:
    network = {"HostedZoneConfig": {"PrivateZone": True}, "VPC": {"VPCId": aws.vpc, "VPCRegion": aws.bed.region}}
    aws.dns.create_hosted_zone(Name="shop.internal", CallerReference="1", **network)
    return aws.dns.create_hosted_zone(Name="shop.internal", CallerReference="2", **network)


def two_listeners_of_a_port(aws: Sample) -> object:
    balancer = aws.balancer()
    aws.listener(balancer, aws.target_group())
    return aws.listener(balancer, aws.target_group("other"))


def an_attribute_of_no_target_group(aws: Sample) -> object:
    attribute = {"Key": "drain_time", "Value": "5"}
    return aws.elb.modify_target_group_attributes(TargetGroupArn=aws.target_group(), Attributes=[attribute])


def a_certificate_in_use(aws: Sample) -> object:
    certificates = aws.bed.client("acm")
    made = certificates.request_certificate(DomainName="shop.example")["CertificateArn"]
    aws.listener(aws.balancer(), aws.target_group(), Protocol="TLS", Port=443, Certificates=[{"CertificateArn": made}])
    return certificates.delete_certificate(CertificateArn=made)


def zone(aws: Sample) -> str:
    return str(aws.dns.create_hosted_zone(Name="shop.example", CallerReference="1")["HostedZone"]["Id"])


def change(aws: Sample, where: str, *changes: tuple[str, str, str]) -> object:
    whole = [
        {
            "Action": action,
            "ResourceRecordSet": {"Name": "www.shop.example", "Type": kind, "TTL": 60, "ResourceRecords": [{"Value": value}]},
        }
        for action, kind, value in changes
    ]
    return aws.dns.change_resource_record_sets(HostedZoneId=where, ChangeBatch={"Changes": whole})


def a_record_made_twice(aws: Sample) -> object:
    where = zone(aws)
    change(aws, where, ("CREATE", "A", "192.0.2.1"))
    return change(aws, where, ("CREATE", "A", "192.0.2.2"))


def a_record_deleted_twice(aws: Sample) -> object:
    where = zone(aws)
    change(aws, where, ("CREATE", "A", "192.0.2.1"))
    change(aws, where, ("DELETE", "A", "192.0.2.1"))
    return change(aws, where, ("DELETE", "A", "192.0.2.1"))


def a_record_deleted_as_it_was(aws: Sample) -> object:
    where = zone(aws)
    change(aws, where, ("CREATE", "A", "192.0.2.1"))
    change(aws, where, ("UPSERT", "A", "192.0.2.2"))
    return change(aws, where, ("DELETE", "A", "192.0.2.1"))


def a_name_that_is_an_alias_and_more(aws: Sample) -> object:
    return change(aws, zone(aws), ("CREATE", "A", "192.0.2.1"), ("CREATE", "CNAME", "other.example"))


def a_second_internet_gateway(aws: Sample) -> object:
    assert aws.gateway
    other = aws.ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    return aws.ec2.attach_internet_gateway(InternetGatewayId=other, VpcId=aws.vpc)


def an_address_that_a_nat_gateway_has(aws: Sample) -> object:
    address = aws.ec2.allocate_address(Domain="vpc")["AllocationId"]
    aws.ec2.create_nat_gateway(SubnetId=aws.subnets[0], AllocationId=address)
    return aws.ec2.release_address(AllocationId=address)


def a_target_group_of_two_balancers(aws: Sample) -> object:
    target_group = aws.target_group()
    aws.listener(aws.balancer("first"), target_group)
    return aws.listener(aws.balancer("second"), target_group)


def a_weight_of_a_thousand(aws: Sample) -> object:
    listener = aws.listener(aws.balancer(), target_group := aws.target_group())
    shares = {"TargetGroups": [{"TargetGroupArn": target_group, "Weight": 1000}]}
    return aws.elb.modify_listener(ListenerArn=listener, DefaultActions=[{"Type": "forward", "ForwardConfig": shares}])


REFUSED: dict[Case, str] = {
    a_wrong_checksum: "ValidationException",
    a_block_behind_the_end: "ValidationException",
    a_snapshot_completed_with_the_wrong_count: "ValidationException",
    a_snapshot_with_the_wrong_sum: "ValidationException",
    a_block_after_completion: "ValidationException",
    a_token_for_something_else: "ConflictException",
    an_image_of_a_pending_snapshot: "IncorrectState",
    an_image_of_no_snapshot: "InvalidSnapshot.NotFound",
    an_image_without_a_root: "InvalidBlockDeviceMapping",
    an_image_that_says_how_its_snapshot_is_encrypted: "InvalidBlockDeviceMapping",
    two_images_of_a_name: "InvalidAMIName.Duplicate",
    an_instance_of_no_image: "InvalidAMIID.NotFound",
    an_instance_of_no_type: "InvalidParameterValue",
    too_much_user_data: "InvalidParameterValue",
    a_security_group_in_use: "DependencyViolation",
    a_security_group_that_another_names: "DependencyViolation",
    a_subnet_in_use: "DependencyViolation",
    a_network_with_a_gateway: "DependencyViolation",
    a_network_with_a_security_group: "DependencyViolation",
    a_gateway_with_addresses_behind_it: "DependencyViolation",
    a_balancer_without_a_gateway: "InvalidSubnet",
    a_second_internet_gateway: "InvalidParameterValue",
    an_address_that_a_nat_gateway_has: "InvalidIPAddress.InUse",
    two_balancers_of_a_name: "DuplicateLoadBalancerName",
    a_long_name_for_a_balancer: "ValidationError",
    two_subnets_of_a_zone: "InvalidConfigurationRequest",
    security_groups_as_an_afterthought: "InvalidConfigurationRequest",
    tcp_to_udp: "IncompatibleProtocols",
    tls_without_a_certificate: "ValidationError",
    clients_hidden_from_udp: "InvalidConfigurationRequest",
    two_groups_of_a_name: "AlreadyExists",
    a_group_with_members: "ResourceInUse",
    a_group_larger_than_it_may_be: "ValidationError",
    a_size_behind_the_bounds: "ValidationError",
    a_member_less_than_a_group_may_have: "ValidationError",
    a_group_of_no_profile: "ValidationError",
    a_group_of_no_security_group: "ValidationError",
    a_group_of_no_type: "ValidationError",
    a_large_parameter: "ValidationException",
    two_listeners_of_a_port: "DuplicateListener",
    a_target_group_of_two_balancers: "TargetGroupAssociationLimit",
    a_weight_of_a_thousand: "ValidationError",
    an_attribute_of_no_target_group: "ValidationError",
    a_certificate_in_use: "ResourceInUseException",
    two_private_zones_of_a_name: "ConflictingDomainExists",
    a_record_made_twice: "InvalidChangeBatch",
    a_record_deleted_twice: "InvalidChangeBatch",
    a_record_deleted_as_it_was: "InvalidChangeBatch",
    a_name_that_is_an_alias_and_more: "InvalidChangeBatch",
}


def named(case: Case) -> str:
    return case.__name__.replace("_", " ")


@pytest.mark.parametrize("case", REFUSED, ids=named)
def test_what_aws_refuses_is_refused(aws: Sample, case: Case) -> None:
    with pytest.raises(ClientError) as error:
        case(aws)
    assert code(error) == REFUSED[case]
    last = aws.bed.journal()[-1]
    assert (last["code"], last["effect"]) == (REFUSED[case], False)
    # It was that call which was refused, and not one on the way to it.
    assert [one["code"] for one in aws.bed.journal()[:-1] if one["code"]] == []


@pytest.mark.parametrize("case", REFUSED, ids=named)
def test_stock_moto_has_not_learnt_it(stock: Sample, case: Case) -> None:
    """When this fails, moto refuses it itself, and the bed need not any more."""
    case(stock)


def test_records_that_are_as_they_should_be_go_through(aws: Sample) -> None:
    where = zone(aws)
    change(aws, where, ("CREATE", "A", "192.0.2.1"), ("CREATE", "TXT", '"i2kit"'))
    change(aws, where, ("UPSERT", "A", "192.0.2.2"))
    change(aws, where, ("DELETE", "A", "192.0.2.2"), ("CREATE", "A", "192.0.2.3"), ("DELETE", "TXT", '"i2kit"'))
    told = aws.dns.list_resource_record_sets(HostedZoneId=where)["ResourceRecordSets"]
    assert [one["ResourceRecords"] for one in told if one["Type"] == "A"] == [[{"Value": "192.0.2.3"}]]
    # What was deleted can be made again as it was.
    change(aws, where, ("CREATE", "TXT", '"i2kit"'))
    change(aws, where, ("DELETE", "A", "192.0.2.3"), ("DELETE", "TXT", '"i2kit"'))
    change(aws, where, ("CREATE", "A", "192.0.2.1"), ("CREATE", "TXT", '"i2kit"'))
    alias = {"DNSName": "web-1.elb.amazonaws.com.", "HostedZoneId": "Z2IFOLAFXWLO4F", "EvaluateTargetHealth": False}
    record = {"Name": "shop.example", "Type": "A", "AliasTarget": alias}
    for action in ("CREATE", "DELETE"):
        aws.dns.change_resource_record_sets(HostedZoneId=where, ChangeBatch={"Changes": [{"Action": action, "ResourceRecordSet": record}]})
