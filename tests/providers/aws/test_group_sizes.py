"""Sizes of groups: who leaves first, what AWS does not launch, and sizes that follow the load."""

from __future__ import annotations

import doctest
from concurrent.futures import ThreadPoolExecutor

import pytest
from attrs import evolve
from aws.bed import Bed
from aws.sample import Sample

from i2kit.errors import ProviderError
from i2kit.strategy import Scaling
from i2kit.testing.context import SampleContext
from i2kit_aws import groups, health, members, scaling
from i2kit_aws.site import Site

from .group_tools import SAMPLES, ZONES, instances, seen, whole


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


def test_what_auto_scaling_does_not_take_while_it_is_busy_is_said_again(
    ground: dict[str, list[str]], bed: Bed, site: Site, context: SampleContext
) -> None:
    group = SAMPLES.group(replicas=3)
    groups.ensure(site, group, context)
    for action in ("UpdateAutoScalingGroup", "TerminateInstanceInAutoScalingGroup", "DeleteAutoScalingGroup"):
        bed.faults.fail(f"autoscaling:{action}", times=2, code="ScalingActivityInProgress", status=400)
    groups.ensure(site, evolve(group, replicas=1), context)
    assert whole(site, evolve(group, replicas=1))
    groups.delete(site, group, context)
    assert bed.inventory() == ground


def test_a_size_is_said_although_what_is_read_is_old(ground: object, bed: Bed, site: Site, context: SampleContext) -> None:
    group = SAMPLES.group(replicas=1)
    groups.ensure(site, group, context)
    groups.ensure(site, group, context)
    groups.ensure(site, evolve(group, replicas=2), context)
    bed.faults.stale("autoscaling:DescribeAutoScalingGroups")
    groups.ensure(site, evolve(group, replicas=1), context)
    assert whole(site, evolve(group, replicas=1))


def test_a_size_within_which_a_member_is_being_moved_shrinks_all_the_same(
    ground: object, bed: Bed, site: Site, context: SampleContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = SAMPLES.group(replicas=3)
    groups.ensure(site, group, context)
    moving, there = [members.Member(id="i-0", lifecycle="Pending")], members.of_group
    monkeypatch.setattr(members, "of_group", lambda *given: (*[moving.pop() for _ in moving[:]], *there(*given)))
    groups.ensure(site, evolve(group, replicas=2), context)
    assert whole(site, evolve(group, replicas=2))


def test_a_member_that_auto_scaling_keeps_is_told(ground: object, bed: Bed, site: Site, context: SampleContext) -> None:
    group = SAMPLES.group(replicas=2)
    groups.ensure(site, group, context)
    refused = {"code": "ValidationError", "status": 400, "message": "Instance is protected"}
    bed.faults.fail("autoscaling:TerminateInstanceInAutoScalingGroup", **refused)
    with pytest.raises(ProviderError, match="Instance is protected"):
        groups.ensure(site, evolve(group, replicas=1), context)


def test_what_powers_itself_off_is_replaced(ground: object, aws: Sample, bed: Bed, site: Site, context: SampleContext) -> None:
    group = SAMPLES.group(replicas=2)
    groups.ensure(site, group, context)
    before = {one["InstanceId"] for one in instances(aws)}
    bed.power_off(min(before))
    after = {one["InstanceId"] for one in instances(aws)}
    assert len(after) == 2
    assert len(before & after) == 1
    assert {one.id for one in health.of_group(site, group.name).instances} == after


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


def activity(code: str, message: str = "", description: str = "Launching a new EC2 instance") -> dict[str, str]:
    return {"Description": description, "StatusCode": code, "StatusMessage": message}


@pytest.mark.parametrize(
    ("activities", "told"),
    [
        ([], ""),
        ([activity("Successful"), activity("Failed", "no room")], ""),
        (
            [activity("InProgress"), activity("Failed", "no room"), activity("Failed", "no key"), activity("Failed", "no room")],
            "no room; no key",
        ),
        ([activity("Failed", "no end", "Terminating EC2 instance: i-1"), activity("Failed", "no room"), activity("Successful")], "no room"),
        ([activity("Failed"), activity("Cancelled", "it ended at once"), activity("Cancelled")], "AWS does not say why; it ended at once"),
    ],
)
def test_launches_that_failed_since_one_succeeded_are_told_once_each(activities: list[dict[str, str]], told: str) -> None:
    assert members.failure_in(activities) == told


def test_examples_are_true() -> None:
    assert doctest.testmod(members).failed == 0


def test_a_member_that_ec2_does_not_know_yet_is_pending() -> None:
    listed = {"InstanceId": "i-1", "LifecycleState": "Pending", "AvailabilityZone": ZONES[0]}
    assert members.joined({"Instances": [listed]}, {}) == (members.Member(id="i-1", lifecycle="Pending", state="pending", zone=ZONES[0]),)


def test_a_group_that_shrinks_does_not_start_what_it_lacked(
    ground: object, aws: Sample, bed: Bed, site: Site, context: SampleContext
) -> None:
    group = SAMPLES.group(replicas=2)
    groups.ensure(site, group, context)
    bed.scarce()
    groups.ensure(site, evolve(group, replicas=4), context)
    leaving = bed.faults.hold("autoscaling:TerminateInstanceInAutoScalingGroup")
    with ThreadPoolExecutor(1) as pool:
        shrinking = pool.submit(groups.ensure, site, evolve(group, replicas=1), context)
        assert leaving.reached()
        bed.plenty()
        leaving.release()
        shrinking.result()
    assert whole(site, evolve(group, replicas=1))
    started = [
        one for one in aws.activities(group.name) if one["Description"].startswith("Launching") and one["StatusCode"] == "Successful"
    ]
    assert len(started) == 2


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


def test_a_policy_that_is_gone_is_known_without_aws_s_words(ground: object, bed: Bed, site: Site, context: SampleContext) -> None:
    group = evolve(SAMPLES.group(replicas=2), scaling=Scaling(minimum=2, maximum=5))
    groups.ensure(site, group, context)
    refused = {"code": "ValidationError", "status": 400, "message": "whatever"}
    bed.faults.fail("autoscaling:DeletePolicy", **refused)
    with pytest.raises(ProviderError, match="whatever"):
        scaling.keep_size(site, group.name)
    scaling.keep_size(site, group.name)
    bed.faults.fail("autoscaling:DeletePolicy", **refused)
    scaling.keep_size(site, group.name)


def test_within_its_bounds_the_size_is_awss(ground: object, aws: Sample, site: Site, context: SampleContext) -> None:
    group = evolve(SAMPLES.group(replicas=2), scaling=Scaling(minimum=2, maximum=5))
    groups.ensure(site, group, context)
    aws.scaling.set_desired_capacity(AutoScalingGroupName=group.name, DesiredCapacity=5)
    groups.ensure(site, evolve(group, restarts=1), context)
    assert whole(site, evolve(group, restarts=1, replicas=5))
    smaller = evolve(group, scaling=Scaling(minimum=1, maximum=3))
    groups.ensure(site, smaller, context)
    assert whole(site, evolve(smaller, replicas=3))
