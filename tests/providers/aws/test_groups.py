"""Groups: templates, roles and Auto Scaling groups, each as it was planned; AWS's troubles are told and outlived."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from attrs import evolve
from aws.bed import REGION, Bed
from aws.sample import Sample

from i2kit.environment import Environment
from i2kit.errors import ProviderError
from i2kit.plan import ObservedResource
from i2kit.resources import InstanceGroup
from i2kit.strategy import Scaling
from i2kit.testing.context import SampleContext
from i2kit.testing.samples import Samples
from i2kit_aws import groups, health, images, networks, roles, secrets
from i2kit_aws.site import Site

from .deaths import deaths

SAMPLES = Samples(environment="prod", provider="aws", format="aws", architecture="x86_64")
ZONES = [f"{REGION}{letter}" for letter in "abc"]


@pytest.fixture
def environment() -> Environment:
    """An environment whose owner has tags of their own."""
    return Environment(name="prod", provider="aws", settings={"region": REGION, "tags": {"team": "shop"}})


@pytest.fixture
def ground(bed: Bed, site: Site, context: SampleContext) -> dict[str, list[str]]:
    """What groups need: a network, an image and a Secret. Return the account with nothing else in it."""
    for one in (SAMPLES.network(), SAMPLES.image(), SAMPLES.secret()):
        context.offer(one)
    networks.ensure(site, SAMPLES.network(), context)
    images.ensure(site, SAMPLES.image(), context)
    secrets.ensure(site, SAMPLES.secret(), context)
    return bed.inventory()


def seen(site: Site) -> dict[str, ObservedResource]:
    return {one.resource.name: one for one in groups.observe(site)}


def whole(site: Site, group: InstanceGroup) -> bool:
    """Whether a group is as it is asked for, and nothing is wrong with it."""
    one = seen(site).get(group.name)
    return one is not None and (one.resource, one.faults) == (group, ())


def scaling_group(aws: Sample, group: InstanceGroup) -> dict[str, Any]:
    return dict(aws.scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[group.name])["AutoScalingGroups"][0])


def instances(aws: Sample) -> list[dict[str, Any]]:
    found = [one for some in aws.ec2.describe_instances()["Reservations"] for one in some["Instances"]]
    return [one for one in found if one["State"]["Name"] in ("pending", "running")]


def template(aws: Sample, group: InstanceGroup) -> dict[str, Any]:
    versions = aws.ec2.describe_launch_template_versions(LaunchTemplateName=group.name, Versions=["$Latest"])
    return dict(versions["LaunchTemplateVersions"][0]["LaunchTemplateData"])


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
    assert not [one["action"] for one in bed.journal(since) if one["effect"]]


def test_sizes_follow_down_to_nothing(ground: object, site: Site, context: SampleContext) -> None:
    for size in (1, 3, 2, 0, 2):
        group = SAMPLES.group(replicas=size)
        groups.ensure(site, group, context)
        assert whole(site, group)
        assert len(seen(site)[group.name].instances) == size


def test_who_is_not_ready_leaves_first(ground: object, aws: Sample, bed: Bed, site: Site, context: SampleContext) -> None:
    group = SAMPLES.group(replicas=4)
    groups.ensure(site, group, context)
    ids = sorted(one["InstanceId"] for one in instances(aws))
    for one in ids[:2]:
        bed.console(one, 'i2kit {"event": "readiness", "ready": true, "time": "2026-11-24T10:00:00Z", "reason": ""}\n')
    assert health.of_group(site, group.name).ready == 2
    groups.ensure(site, evolve(group, replicas=2), context)
    assert sorted(one["InstanceId"] for one in instances(aws)) == ids[:2]
    assert whole(site, evolve(group, replicas=2))
    started = [one for one in aws.activities(group.name) if one["Description"].startswith("Launching")]
    assert len(started) == 4, "nobody was started meanwhile"


def test_who_leaves_by_itself_meanwhile_is_no_trouble(ground: object, aws: Sample, bed: Bed, site: Site, context: SampleContext) -> None:
    group = SAMPLES.group(replicas=3)
    groups.ensure(site, group, context)
    gone = {"code": "ValidationError", "status": 400, "message": "Instance Id not found - No managed instance found for instance ID"}
    bed.faults.fail("autoscaling:TerminateInstanceInAutoScalingGroup", **gone)
    groups.ensure(site, evolve(group, replicas=1), context)
    assert whole(site, evolve(group, replicas=1))
    assert len(instances(aws)) == 1


def test_what_powers_itself_off_is_replaced(ground: object, aws: Sample, bed: Bed, site: Site, context: SampleContext) -> None:
    group = SAMPLES.group(replicas=2)
    groups.ensure(site, group, context)
    before = {one["InstanceId"] for one in instances(aws)}
    bed.power_off(min(before))
    after = {one["InstanceId"] for one in instances(aws)}
    assert len(after) == 2
    assert len(before & after) == 1
    assert {one.id for one in health.of_group(site, group.name).instances} == after


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


def test_a_zone_without_capacity_is_made_up_for_by_the_others(ground: object, bed: Bed, site: Site, context: SampleContext) -> None:
    bed.scarce(zone=ZONES[0])
    group = SAMPLES.group(replicas=3)
    groups.ensure(site, group, context)
    assert [one.state for one in health.of_group(site, group.name).instances] != []
    assert "capacity" not in str(health.of_group(site, group.name))
    assert whole(site, group)


def test_what_aws_cannot_launch_is_told_in_its_own_words(ground: object, bed: Bed, site: Site, context: SampleContext) -> None:
    bed.scarce()
    group = SAMPLES.group(replicas=3)
    groups.ensure(site, group, context)
    (failed,) = health.of_group(site, group.name).instances
    assert (failed.state, failed.ready) == ("failed", False)
    assert "InsufficientInstanceCapacity - We currently do not have sufficient t3.nano capacity" in failed.reason
    assert seen(site)[group.name].instances == (failed,)
    bed.plenty()
    assert [one.state for one in health.of_group(site, group.name).instances] == ["starting"] * 3


def test_a_group_that_shrinks_does_not_start_what_it_lacked(
    ground: object, aws: Sample, bed: Bed, site: Site, context: SampleContext
) -> None:
    group = SAMPLES.group(replicas=2)
    groups.ensure(site, group, context)
    bed.scarce()
    groups.ensure(site, evolve(group, replicas=4), context)
    groups.ensure(site, evolve(group, replicas=1), context)
    bed.plenty()
    assert len(instances(aws)) == 1
    assert whole(site, evolve(group, replicas=1))


def test_a_rollout_pauses_scaling_and_gives_it_back(ground: object, aws: Sample, site: Site, context: SampleContext) -> None:
    bounds = Scaling(minimum=2, maximum=5, cpu_percent=70)
    group = evolve(SAMPLES.group(replicas=2), scaling=bounds)
    groups.ensure(site, group, context)
    (policy,) = aws.scaling.describe_policies(AutoScalingGroupName=group.name)["ScalingPolicies"]
    assert policy["TargetTrackingConfiguration"]["TargetValue"] == 70.0
    paused = evolve(group, scaling=None, replicas=1)
    groups.ensure(site, paused, context)
    assert whole(site, paused)
    assert aws.scaling.describe_policies(AutoScalingGroupName=group.name)["ScalingPolicies"] == []
    again = evolve(group, replicas=4)
    groups.ensure(site, again, context)
    assert whole(site, again)


def test_within_its_bounds_the_size_is_awss(ground: object, aws: Sample, site: Site, context: SampleContext) -> None:
    group = evolve(SAMPLES.group(replicas=2), scaling=Scaling(minimum=2, maximum=5))
    groups.ensure(site, group, context)
    aws.scaling.set_desired_capacity(AutoScalingGroupName=group.name, DesiredCapacity=5)
    groups.ensure(site, evolve(group, restarts=1), context)
    assert whole(site, evolve(group, restarts=1, replicas=5))
    smaller = evolve(group, scaling=Scaling(minimum=1, maximum=3))
    groups.ensure(site, smaller, context)
    assert whole(site, evolve(smaller, replicas=3))


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


def test_more_groups_than_a_page_are_all_seen(ground: object, aws: Sample, site: Site, context: SampleContext) -> None:
    group = SAMPLES.group(replicas=0)
    groups.ensure(site, group, context)
    data = template(aws, group)
    for number in range(205):
        aws.ec2.create_launch_template(LaunchTemplateName=f"theirs-{number}", LaunchTemplateData=data)
    assert whole(site, group)


def ensuring(group: InstanceGroup, context: SampleContext) -> Callable[[Site], object]:
    return lambda site: groups.ensure(site, group, context)


FOLLOWING = evolve(SAMPLES.group(replicas=2, secret="1"), scaling=Scaling(minimum=1, maximum=3))
PAUSED = evolve(FOLLOWING, replicas=1, scaling=None, min_ready_seconds=3, options={"instance-type": "t3.large"})


@pytest.mark.parametrize(
    ("before", "after"), [(None, FOLLOWING), (FOLLOWING, PAUSED), (PAUSED, FOLLOWING)], ids=["create", "pause", "resume"]
)
def test_who_died_on_the_way_is_completed(
    ground: dict[str, list[str]], bed: Bed, site: Site, context: SampleContext, before: InstanceGroup | None, after: InstanceGroup
) -> None:
    first = ensuring(before, context) if before else lambda site: None
    for death in deaths(bed, site, ensuring(after, context), first=first):
        (left,) = groups.observe(site)
        assert (left.resource, left.faults) != (after, ()) or death.made >= death.effects - 1, death
        ensuring(after, context)(site)
        assert whole(site, after), death
        assert len(bed.inventory()["ec2:instance"]) == after.replicas, death
        groups.delete(site, after, context)
        assert bed.inventory() == ground, death


def test_who_died_while_making_it_can_be_deleted(ground: dict[str, list[str]], bed: Bed, site: Site, context: SampleContext) -> None:
    for death in deaths(bed, site, ensuring(FOLLOWING, context)):
        (left,) = groups.observe(site)
        assert isinstance(left.resource, InstanceGroup)
        groups.delete(site, left.resource, context)
        assert bed.inventory() == ground, death


def test_who_died_while_deleting_it_is_completed(ground: dict[str, list[str]], bed: Bed, site: Site, context: SampleContext) -> None:
    for death in deaths(bed, site, lambda site: groups.delete(site, FOLLOWING, context), first=ensuring(FOLLOWING, context)):
        assert len(seen(site)) == 1 or bed.inventory() == ground, death
        groups.delete(site, FOLLOWING, context)
        assert bed.inventory() == ground, death


def test_answers_that_get_lost_do_no_harm(ground: dict[str, list[str]], bed: Bed, site: Site, context: SampleContext) -> None:
    groups.ensure(site, FOLLOWING, context)
    groups.ensure(site, PAUSED, context)
    groups.delete(site, PAUSED, context)
    for action in {entry["action"] for entry in bed.journal() if entry["effect"]}:
        bed.faults.cut(action, moment="after")
    groups.ensure(site, FOLLOWING, context)
    assert whole(site, FOLLOWING)
    groups.ensure(site, PAUSED, context)
    assert whole(site, PAUSED)
    groups.delete(site, PAUSED, context)
    assert bed.inventory() == ground


def test_troubles_on_every_call_pass(ground: object, bed: Bed, site: Site, context: SampleContext) -> None:
    group = SAMPLES.group(replicas=2, secret="1")
    bed.faults.throttle("*", times=-1, share=0.3)
    bed.faults.cut("*", moment="after", times=-1, share=0.2, seed=2)
    groups.ensure(site, group, context)
    groups.ensure(site, evolve(group, replicas=3), context)
    bed.faults.clear()
    assert whole(site, evolve(group, replicas=3))
