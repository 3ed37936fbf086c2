"""Launch templates and roles in the bed: as AWS keeps them, where moto stumbles or tells half of it."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest
from aws.sample import Sample, code
from botocore.exceptions import ClientError


def test_templates_come_in_pages(aws: Sample, stock: Sample) -> None:
    for where, told in ((aws, 18), (stock, 15)):
        made = {"ImageId": "ami-1", "InstanceType": "t3.micro"}
        for number in range(18):
            where.ec2.create_launch_template(LaunchTemplateName=f"web-{number}", LaunchTemplateData=made)
        pages = where.ec2.get_paginator("describe_launch_templates").paginate()
        assert sum(len(page["LaunchTemplates"]) for page in pages) == told
    pages = aws.ec2.get_paginator("describe_launch_template_versions").paginate(Versions=["$Latest"], MaxResults=5)
    assert [len(page["LaunchTemplateVersions"]) for page in pages] == [5, 5, 5, 3]


def test_a_templates_tags_change(aws: Sample, stock: Sample) -> None:
    for where, told in ((aws, ["new"]), (stock, ["old"])):
        held = [{"ResourceType": "launch-template", "Tags": [{"Key": "state", "Value": "old"}]}]
        made = where.ec2.create_launch_template(LaunchTemplateName="web", LaunchTemplateData={"ImageId": "ami-1"}, TagSpecifications=held)
        where.ec2.create_tags(Resources=[made["LaunchTemplate"]["LaunchTemplateId"]], Tags=[{"Key": "state", "Value": "new"}])
        (seen,) = where.ec2.describe_launch_templates()["LaunchTemplates"]
        assert [one["Value"] for one in seen["Tags"]] == told


def test_members_are_told_what_a_later_version_says(aws: Sample) -> None:
    given = {"ImageId": aws.image(), "InstanceType": "t3.micro"}
    template = aws.template(**given, UserData=base64.b64encode(b"first").decode())
    aws.group(size=1, template=template)
    later = {**given, "UserData": base64.b64encode(b"second").decode()}
    aws.ec2.create_launch_template_version(LaunchTemplateId=template, LaunchTemplateData=later)
    aws.scaling.set_desired_capacity(AutoScalingGroupName="web", DesiredCapacity=2)
    told = [aws.ec2.describe_instance_attribute(InstanceId=one["InstanceId"], Attribute="userData")["UserData"] for one in aws.members()]
    assert [base64.b64decode(one["Value"]) for one in told] == [b"first", b"second"]


STUMBLES: dict[str, tuple[Callable[[Sample], object], str]] = {
    "a template that is gone is deleted": (
        lambda aws: aws.ec2.delete_launch_template(LaunchTemplateName="gone"),
        "InvalidLaunchTemplateName.NotFoundException",
    ),
    "an instance is dismissed that no group has": (
        lambda aws: aws.scaling.terminate_instance_in_auto_scaling_group(InstanceId="i-1", ShouldDecrementDesiredCapacity=True),
        "ValidationError",
    ),
    "a role is taken out of a profile that it is not in": (
        lambda aws: aws.iam.remove_role_from_instance_profile(InstanceProfileName="web", RoleName="web"),
        "NoSuchEntity",
    ),
}


@pytest.mark.parametrize("case", STUMBLES)
def test_what_moto_stumbles_over_is_answered(aws: Sample, case: str) -> None:
    aws.iam.create_instance_profile(InstanceProfileName="web")
    call, expected = STUMBLES[case]
    with pytest.raises(ClientError) as error:
        call(aws)
    assert code(error) == expected


def test_parameters_come_in_pages_as_long_as_they_are_asked_for(aws: Sample) -> None:
    for number in range(12):
        aws.ssm.put_parameter(Name=f"/web/{number}", Value="x", Type="String")
    for size, told in ((50, [12]), (5, [5, 5, 2])):
        pages = aws.ssm.get_paginator("describe_parameters").paginate(MaxResults=size)
        assert [len(page["Parameters"]) for page in pages] == told
