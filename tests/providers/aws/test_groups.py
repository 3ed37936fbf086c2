"""Groups: templates, roles and Auto Scaling groups, each as it was planned; what others change is seen and put right."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from attrs import evolve
from aws.bed import REGION, Bed
from aws.sample import Sample

from i2kit.environment import Environment
from i2kit.errors import ProviderError
from i2kit.resources import Boot
from i2kit.strategy import Scaling
from i2kit.testing.context import SampleContext
from i2kit_aws import groups, health, networks, roles, templates
from i2kit_aws.networks import Located
from i2kit_aws.site import Site

from .group_tools import SAMPLES, ZONES, instances, scaling_group, seen, template, whole


@pytest.fixture
def environment() -> Environment:
    """An environment whose owner has tags of their own."""
    return Environment(name="prod", provider="aws", settings={"region": REGION, "tags": {"team": "shop"}})


def test_a_group_is_observed_as_it_was_asked_for(ground: object, site: Site, context: SampleContext) -> None:
    group = evolve(
        SAMPLES.group(replicas=3, secret="1"),
        health_port=9000,
        drain_seconds=7,
        grace_seconds=11,
        min_ready_seconds=13,
        progress_deadline_seconds=17,
        restarts=19,
        options={"instance-type": "m6i.large"},
        scaling=Scaling(minimum=2, maximum=5, cpu_percent=70),
    )
    groups.ensure(site, group, context)
    assert whole(site, group)
    assert len(seen(site)[group.name].instances) == 3


def test_members_start_as_the_page_says(ground: object, aws: Sample, site: Site, context: SampleContext) -> None:
    group = SAMPLES.group(replicas=3, secret="1")
    groups.ensure(site, group, context)
    located, data = networks.locate(site), template(aws, group)
    assert json.loads(base64.b64decode(data["UserData"])) == {
        "schema": 1,
        "healthFrom": list(located.cidrs),
        "fields": {"metadata.namespace": "default"},
        "search": ["default.svc.cluster.local"],
        "parameterStore": {
            "region": REGION,
            "endpoint": aws.bed.url,
            "secrets": {"credentials": f"/i2kit/prod/secrets/{SAMPLES.secret().name}"},
        },
    }
    assert data["InstanceInitiatedShutdownBehavior"] == "terminate"
    assert data["MetadataOptions"]["HttpTokens"] == "required"
    assert data["Monitoring"] == {"Enabled": False}
    assert data["NetworkInterfaces"][0]["Groups"] == [located.members]
    assert data["NetworkInterfaces"][0]["AssociatePublicIpAddress"] is True
    assert "BlockDeviceMappings" not in data
    running = instances(aws)
    assert sorted(one["Placement"]["AvailabilityZone"] for one in running) == ZONES
    assert {one["InstanceType"] for one in running} == {"t3.nano"}
    assert {one["IamInstanceProfile"]["Arn"].rpartition("/")[2] for one in running} == {roles.name_of(site, group.name)}


@pytest.mark.parametrize(("authorities", "told"), [("-----BEGIN CERTIFICATE-----\n", True), ("everybody\n" * 1000, False)])
def test_whom_to_trust_at_an_endpoint_of_ones_own_is_told(
    as_user: Bed, environment: Environment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, authorities: str, told: bool
) -> None:
    (tmp_path / "authorities.pem").write_text(authorities)
    monkeypatch.setenv("AWS_ENDPOINT_URL_SSM", "https://parameters.internal:8443")
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "authorities.pem"))
    where = Located(vpc="vpc-1", cidrs=("10.0.0.0/16",), subnets={}, outer={}, members="sg-1", balancers="sg-2", zone="Z1")
    store = templates.boot_document(Site.of(environment), SAMPLES.group(secret="1"), where)["parameterStore"]
    assert store["endpoint"] == "https://parameters.internal:8443"
    assert store.get("ca") == (authorities if told else None)


def test_a_boot_configuration_that_is_too_long_is_refused(ground: object, site: Site, context: SampleContext) -> None:
    group = evolve(SAMPLES.group(), boot=Boot(fields={"metadata.annotations['x']": "y" * 16_384}))
    with pytest.raises(ProviderError, match=r"takes 16[0-9]{3} bytes"):
        groups.ensure(site, group, context)


def test_everything_that_is_made_is_tagged(ground: object, aws: Sample, site: Site, context: SampleContext) -> None:
    group = SAMPLES.group(replicas=1, secret="1")
    groups.ensure(site, group, context)
    (one,) = instances(aws)
    volume = aws.ec2.describe_volumes(VolumeIds=[one["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]])["Volumes"][0]
    name = roles.name_of(site, group.name)
    role, profile = aws.iam.list_role_tags(RoleName=name), aws.iam.get_instance_profile(InstanceProfileName=name)["InstanceProfile"]
    held = (one["Tags"], volume["Tags"], scaling_group(aws, group)["Tags"], role["Tags"], profile["Tags"])
    for tags in ({tag["Key"]: tag["Value"] for tag in some} for some in held):
        assert tags["i2kit:environment"] == "prod"
        assert tags["i2kit:workload"] == "web"
        assert tags["i2kit:revision"] == group.mark.revision
        assert tags["team"] == "shop"


def test_the_role_may_read_the_groups_secrets_and_nothing_else(ground: object, aws: Sample, site: Site, context: SampleContext) -> None:
    group = SAMPLES.group(secret="1")
    groups.ensure(site, group, context)
    name = roles.name_of(site, group.name)
    assert len(name) <= 64
    role = aws.iam.get_role(RoleName=name)["Role"]
    assert role["Path"] == "/i2kit/prod/"
    assert role["AssumeRolePolicyDocument"]["Statement"][0]["Principal"] == {"Service": "ec2.amazonaws.com"}
    (policy,) = aws.iam.list_role_policies(RoleName=name)["PolicyNames"]
    (statement,) = aws.iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]["Statement"]
    path = f"arn:aws:ssm:{REGION}:123456789012:parameter/i2kit/prod/secrets/{SAMPLES.secret().name}"
    assert statement == {"Effect": "Allow", "Action": "ssm:GetParametersByPath", "Resource": [path, f"{path}/*"]}


def test_a_group_without_secrets_has_no_role(ground: object, bed: Bed, site: Site, context: SampleContext) -> None:
    groups.ensure(site, SAMPLES.group(), context)
    assert not [kind for kind in bed.inventory() if kind.startswith("iam:")]
    assert not [action for action in bed.calls() if action.startswith("iam:")]


def test_a_profile_that_is_named_is_used_instead(
    ground: dict[str, list[str]], aws: Sample, bed: Bed, site: Site, context: SampleContext
) -> None:
    aws.iam.create_instance_profile(InstanceProfileName="theirs")
    group = evolve(SAMPLES.group(secret="1"), options={"instance-profile": "theirs"})
    groups.ensure(site, group, context)
    assert whole(site, group)
    assert template(aws, group)["IamInstanceProfile"] == {"Name": "theirs"}
    groups.delete(site, group, context)
    assert bed.inventory() == ground | {"iam:instance-profile": ["theirs"]}


def test_a_profile_that_iam_has_not_told_of_yet_is_waited_for(ground: object, bed: Bed, site: Site, context: SampleContext) -> None:
    group = SAMPLES.group(secret="1")
    message = "You must use a valid fully-formed launch template. Value (x) for parameter iamInstanceProfile.name is invalid. "
    message += "Invalid IAM Instance Profile name"
    bed.faults.fail("autoscaling:CreateAutoScalingGroup", times=3, code="ValidationError", status=400, message=message)
    bed.faults.fail("iam:PutRolePolicy", times=2, code="NoSuchEntity", status=404)
    bed.faults.fail("iam:AddRoleToInstanceProfile", times=2, code="NoSuchEntity", status=404)
    groups.ensure(site, group, context)
    assert whole(site, group)


def test_a_template_that_auto_scaling_has_not_heard_of_yet_is_waited_for(
    ground: object, bed: Bed, site: Site, context: SampleContext
) -> None:
    message = "You must use a valid fully-formed launch template. The specified launch template, with template name web, does not exist."
    bed.faults.fail("autoscaling:CreateAutoScalingGroup", times=3, code="ValidationError", status=400, message=message)
    group = SAMPLES.group(replicas=1)
    groups.ensure(site, group, context)
    assert whole(site, group)


def test_a_profile_that_is_nowhere_is_not_waited_for_for_ever(ground: object, bed: Bed, site: Site, context: SampleContext) -> None:
    group = evolve(SAMPLES.group(), options={"instance-profile": "nowhere"})
    with pytest.raises(ProviderError, match="Invalid IAM Instance Profile name"):
        groups.ensure(site, group, context)
    assert bed.calls()["autoscaling:CreateAutoScalingGroup"] < 40


def test_applying_twice_is_one_change(ground: object, bed: Bed, site: Site, context: SampleContext) -> None:
    group = SAMPLES.group(replicas=2, secret="1")
    groups.ensure(site, group, context)
    before, since = bed.inventory(), len(bed.journal())
    groups.ensure(site, group, context)
    assert bed.inventory() == before
    assert [one["action"] for one in bed.journal(since) if one["effect"]] == ["autoscaling:UpdateAutoScalingGroup"]


def test_a_name_that_somebody_else_has_is_told(ground: object, aws: Sample, site: Site, context: SampleContext) -> None:
    group = SAMPLES.group()
    aws.template(group.name)
    with pytest.raises(ProviderError, match=f"the name {group.name} is taken"):
        groups.ensure(site, group, context)
    aws.ec2.delete_launch_template(LaunchTemplateName=group.name)
    aws.group(group.name, size=0)
    with pytest.raises(ProviderError, match=f"the name {group.name} is taken"):
        groups.ensure(site, group, context)


def test_another_instance_type_is_for_new_members_only(ground: object, aws: Sample, site: Site, context: SampleContext) -> None:
    group = SAMPLES.group(replicas=1)
    groups.ensure(site, group, context)
    larger = evolve(group, replicas=2, options={"instance-type": "m7i.large"})
    groups.ensure(site, larger, context)
    assert whole(site, larger)
    assert sorted(one["InstanceType"] for one in instances(aws)) == ["m7i.large", "t3.nano"]
    assert "members that start from now on are m7i.large" in context.messages
    groups.ensure(site, evolve(group, replicas=2), context)
    assert whole(site, evolve(group, replicas=2))


def test_a_group_stands_in_the_zones_that_offer_its_type(ground: object, aws: Sample, site: Site, context: SampleContext) -> None:
    site.memory.recall("offers/x86_64", lambda: {"t3.nano": frozenset(ZONES[:2])})
    group = SAMPLES.group(replicas=4)
    groups.ensure(site, group, context)
    assert {one["Placement"]["AvailabilityZone"] for one in instances(aws)} == set(ZONES[:2])


def test_what_somebody_changed_by_hand_is_drift_and_put_right(ground: object, aws: Sample, site: Site, context: SampleContext) -> None:
    group = SAMPLES.group(replicas=2)
    groups.ensure(site, group, context)
    aws.scaling.suspend_processes(AutoScalingGroupName=group.name, ScalingProcesses=["Launch", "AZRebalance"])
    assert "Auto Scaling's Launch is suspended" in seen(site)[group.name].faults[0]
    aws.scaling.set_desired_capacity(AutoScalingGroupName=group.name, DesiredCapacity=1)
    assert seen(site)[group.name].resource == evolve(group, replicas=1)
    aws.ec2.create_launch_template_version(LaunchTemplateName=group.name, LaunchTemplateData={"InstanceType": "t3.large"})
    groups.ensure(site, group, context)
    assert whole(site, group)
    assert template(aws, group)["InstanceType"] == "t3.nano"
    left = [one["ProcessName"] for one in scaling_group(aws, group)["SuspendedProcesses"]]
    assert left == ["AZRebalance"], "what i2kit does not need is the user's own"


def test_a_scaling_group_that_is_gone_is_made_again(ground: object, aws: Sample, site: Site, context: SampleContext) -> None:
    group = SAMPLES.group(replicas=2)
    groups.ensure(site, group, context)
    aws.scaling.delete_auto_scaling_group(AutoScalingGroupName=group.name, ForceDelete=True)
    (left,) = groups.observe(site)
    assert left.resource == evolve(group, replicas=0)
    assert left.faults == ("its Auto Scaling group is not there",)
    groups.ensure(site, group, context)
    assert whole(site, group)


def test_deleting_leaves_nothing_and_may_be_done_twice(ground: dict[str, list[str]], bed: Bed, site: Site, context: SampleContext) -> None:
    group = evolve(SAMPLES.group(replicas=2, secret="1"), scaling=Scaling(minimum=2, maximum=5))
    groups.ensure(site, group, context)
    bed.set(terminate_calls=3)
    for _ in range(2):
        groups.delete(site, group, context)
        assert bed.inventory() == ground
        assert groups.observe(site) == []
    assert "2 VMs are shutting down" in context.messages


def test_members_that_do_not_end_are_not_waited_for_for_ever(ground: object, bed: Bed, site: Site, context: SampleContext) -> None:
    group = SAMPLES.group(replicas=1)
    groups.ensure(site, group, context)
    bed.set(terminate_calls=10_000)
    with pytest.raises(ProviderError, match=f"members of {group.name} are still there"):
        groups.delete(site, group, context)
    bed.set(terminate_calls=0)


def test_other_environments_and_other_peoples_groups_are_left_alone(
    ground: object, aws: Sample, site: Site, environment: Environment, context: SampleContext
) -> None:
    other = Site.of(evolve(environment, name="prod-2"))
    aws.group("theirs")
    group = SAMPLES.group()
    groups.ensure(site, group, context)
    assert list(seen(site)) == [group.name]
    assert groups.observe(other) == []
    assert health.of_group(other, group.name).instances == ()
    assert health.of_group(site, "theirs").instances == ()


def test_looking_takes_as_many_requests_for_ten_groups_as_for_one(ground: object, bed: Bed, site: Site, context: SampleContext) -> None:
    asked = []
    for number in range(10):
        groups.ensure(site, SAMPLES.group(replicas=0, workload=f"web-{number}"), context)
        if number in (0, 9):
            since = len(bed.journal())
            groups.observe(site)
            asked.append(bed.calls(since))
    assert asked[0] == asked[1]
    assert asked[0].total() <= 6


def test_more_groups_than_a_page_are_all_seen(ground: object, aws: Sample, site: Site, context: SampleContext) -> None:
    group = SAMPLES.group(replicas=0)
    groups.ensure(site, group, context)
    data = template(aws, group)
    for number in range(205):
        aws.ec2.create_launch_template(LaunchTemplateName=f"theirs-{number}", LaunchTemplateData=data)
    assert whole(site, group)
