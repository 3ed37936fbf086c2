"""Members of groups: what Auto Scaling says of them, and what EC2 does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attrs import frozen

from i2kit_aws import tags
from i2kit_aws.site import Site

GROUP_TAG = "aws:autoscaling:groupName"
"""The tag by which Auto Scaling marks its instances."""
FAILED = "failed"
"""The `state` of what AWS does not manage to launch."""

_ENDING = ("shutting-down", "terminated", "stopping", "stopped")
_LEAVING = ("Terminating", "Terminated", "Detaching", "Detached")


@frozen(kw_only=True)
class Member:
    """One member of a group.

    `lifecycle` is Auto Scaling's word for where it is in the group (``Pending``, ``InService``, ``Terminating``), `state` EC2's for the
    instance (``pending``, ``running``, ``shutting-down``), `zone` the availability zone. `reason` says in AWS's words what is wrong, where
    it does. With `state` ``failed`` there is no instance (`exists` is false): AWS does not manage to launch what the group lacks.
    """

    id: str
    address: str = ""
    lifecycle: str = ""
    state: str = "pending"
    zone: str = ""
    reason: str = ""

    @property
    def exists(self) -> bool:
        """Whether there is an instance of that id."""
        return self.state != FAILED

    @property
    def leaving(self) -> bool:
        """Whether it is on its way out of the group, or its instance has ended."""
        return self.state in _ENDING or self.lifecycle.startswith(_LEAVING)


def of_group(site: Site, group: str) -> tuple[Member, ...]:
    """Return the members of a group, in the order of their ids; none when there is no such group in the environment."""
    described = scaling_group(site, group)
    if described is None:
        return ()
    wanted = [{"Name": f"tag:{GROUP_TAG}", "Values": [group]}]
    return of_groups(site, [described], _instances(site, wanted))[group]


def of_groups(site: Site, groups: Sequence[Mapping[str, Any]], instances: Iterable[Mapping[str, Any]]) -> dict[str, tuple[Member, ...]]:
    """Return the members of Auto Scaling groups as they were described, by group; those that lack some are asked what went wrong."""
    by_id = {str(one["InstanceId"]): one for one in instances}
    found = {}
    for group in groups:
        name, there = str(group["AutoScalingGroupName"]), joined(group, by_id)
        failure = launch_failure(site, name) if lacks(group) else ""
        found[name] = (*there, *([Member(id=f"{name}-unlaunched", state=FAILED, reason=failure)] if failure else []))
    return found


def scaling_group(site: Site, name: str) -> Mapping[str, Any] | None:
    """Return what Auto Scaling says of a group of the environment; None when there is none of that name, or it is another's."""
    for group in site.gateway.pages("autoscaling", "DescribeAutoScalingGroups", "AutoScalingGroups", AutoScalingGroupNames=[name]):
        if tags.unlisted(group.get("Tags")).get(tags.ENVIRONMENT) == site.label:
            return dict(group)
    return None


def instances_of(site: Site) -> list[Mapping[str, Any]]:
    """Return EC2's word on all instances of the environment's groups."""
    return _instances(site, tags.having(site.own()))


def _instances(site: Site, filters: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    reservations = site.gateway.pages("ec2", "DescribeInstances", "Reservations", Filters=list(filters))
    return [instance for reservation in reservations for instance in reservation.get("Instances") or ()]


def joined(group: Mapping[str, Any], instances: Mapping[str, Mapping[str, Any]]) -> tuple[Member, ...]:
    """Return the members that Auto Scaling lists, with what EC2 says of their instances by id. Pure.

    EC2 may not know yet an instance that Auto Scaling has just started: it is pending.
    """
    return tuple(
        sorted((_member(one, instances.get(str(one["InstanceId"]), {})) for one in group.get("Instances") or ()), key=lambda one: one.id)
    )


def _member(listed: Mapping[str, Any], instance: Mapping[str, Any]) -> Member:
    return Member(
        id=str(listed["InstanceId"]),
        address=str(instance.get("PrivateIpAddress") or ""),
        lifecycle=str(listed.get("LifecycleState") or ""),
        state=str(instance.get("State", {}).get("Name") or "pending"),
        zone=str(listed.get("AvailabilityZone") or ""),
        reason=str(instance.get("StateReason", {}).get("Message") or ""),
    )


def lacks(group: Mapping[str, Any]) -> bool:
    """Whether a group has fewer members than it should, those on their way out not counted. Pure."""
    staying = [one for one in group.get("Instances") or () if not str(one.get("LifecycleState")).startswith(_LEAVING)]
    return len(staying) < int(group.get("DesiredCapacity") or 0)


def launch_failure(site: Site, group: str) -> str:
    """Return in AWS's words why it does not launch what a group lacks; empty when none failed since one succeeded."""
    answer = site.gateway.call("autoscaling", "DescribeScalingActivities", AutoScalingGroupName=group, MaxRecords=20)
    return failure_in(answer.get("Activities") or ())


def failure_in(activities: Iterable[Mapping[str, Any]]) -> str:
    """Return the words of the launches that failed since one succeeded, each reason once; activities come newest first. Pure.

    >>> failure_in([{"Description": "Launching a new EC2 instance", "StatusCode": "Failed", "StatusMessage": "No capacity."}])
    'No capacity.'
    """
    reasons: list[str] = []
    for one in activities:
        if not str(one.get("Description")).startswith("Launching"):
            continue
        if one.get("StatusCode") == "Successful":
            break
        words = str(one.get("StatusMessage") or "")
        # What was given up because it is not wanted any more says nothing.
        if one.get("StatusCode") == "Failed" or (one.get("StatusCode") == "Cancelled" and words):
            reasons.append(words or "AWS does not say why")
    return "; ".join(dict.fromkeys(reasons))
