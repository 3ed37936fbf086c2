"""Auto Scaling groups: what one is asked to be, and how far it is that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from i2kit.resources import InstanceGroup
from i2kit.strategy import Scaling
from i2kit_aws import tags
from i2kit_aws.gateway import AwsError
from i2kit_aws.site import Site
from i2kit_aws.templates import LATEST

NEEDED_PROCESSES = ("Launch", "Terminate", "HealthCheck", "ReplaceUnhealthy", "AddToLoadBalancer", "AlarmNotification")
"""What Auto Scaling has to do by itself; it stops launching where nothing has come of it for a day."""

_CPU = "ASGAverageCPUUtilization"


@frozen(kw_only=True)
class Size:
    """A group's size and its bounds."""

    desired: int
    least: int
    most: int


def size_of(group: InstanceGroup, there: Mapping[str, Any] | None) -> Size:
    """Return the size and bounds that a group is to have, beside what is there. Pure.

    Within the bounds of its scaling the size is AWS's, unless it was paused: then the least size is 0.
    """
    if group.scaling is None:
        return Size(desired=group.replicas, least=0, most=group.replicas)
    least, most = group.scaling.minimum, group.scaling.maximum
    wanted = int(there["DesiredCapacity"]) if there is not None and follows_load(there) else group.replicas
    return Size(desired=min(max(wanted, least), most), least=least, most=most)


def follows_load(there: Mapping[str, Any]) -> bool:
    """Whether the group's size may follow its load: only then it has a least size. Pure."""
    return int(there.get("MinSize") or 0) > 0


def created(group: InstanceGroup, subnets: Sequence[str], size: Size, targets: Sequence[str], held: Mapping[str, str]) -> dict[str, Any]:
    """Return the parameters by which a group is made; `held` are its tags. Pure."""
    return {
        "AutoScalingGroupName": group.name,
        "LaunchTemplate": _launched(group.name),
        "MinSize": size.least,
        "MaxSize": size.most,
        "DesiredCapacity": size.desired,
        "VPCZoneIdentifier": ",".join(subnets),
        # Never the balancers' word: who is merely not ready stays.
        "HealthCheckType": "EC2",
        "TargetGroupARNs": list(targets),
        "Tags": listed(group.name, held),
    }


def _launched(group: str) -> dict[str, str]:
    return {"LaunchTemplateName": group, "Version": LATEST}


def launches(there: Mapping[str, Any], group: str) -> bool:
    """Whether a group starts its members by the newest version of its own template. Pure."""
    given = there.get("LaunchTemplate") or {}
    return {name: given.get(name) for name in _launched(group)} == _launched(group)


def listed(group: str, held: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return tags as Auto Scaling takes them. Instances have theirs from the template. Pure."""
    return tags.listed(held, ResourceId=group, ResourceType="auto-scaling-group", PropagateAtLaunch=False)


def changed(group: InstanceGroup, there: Mapping[str, Any], subnets: Sequence[str], size: Size) -> dict[str, Any]:
    """Return the parameters by which a group is updated. Pure.

    Its size is said even where it looks right, for what was read may be older than the last change; but never over what AWS decides.
    """
    found: dict[str, Any] = {"AutoScalingGroupName": group.name, "MinSize": size.least, "MaxSize": size.most}
    if group.scaling is None or not follows_load(there) or there.get("DesiredCapacity") != size.desired:
        found["DesiredCapacity"] = size.desired
    if not launches(there, group.name):
        found["LaunchTemplate"] = _launched(group.name)
    if set(str(there.get("VPCZoneIdentifier") or "").split(",")) != set(subnets):
        found["VPCZoneIdentifier"] = ",".join(subnets)
    if there.get("HealthCheckType") != "EC2":
        found["HealthCheckType"] = "EC2"
    return found


def suspended(there: Mapping[str, Any]) -> dict[str, str]:
    """Return what of the group's own work is suspended, each with the reason. Pure."""
    given = {str(one["ProcessName"]): str(one.get("SuspensionReason") or "") for one in there.get("SuspendedProcesses") or ()}
    return {name: reason for name, reason in given.items() if name in NEEDED_PROCESSES}


def policy_name(group: str) -> str:
    """Return the name of the policy by which a group's size follows its load."""
    return f"{group}-cpu"


def follow_load(site: Site, group: str, scaling: Scaling) -> None:
    """Let AWS keep the members' CPU near a share, with alarms that it makes and removes itself."""
    tracking = {"PredefinedMetricSpecification": {"PredefinedMetricType": _CPU}, "TargetValue": float(scaling.cpu_percent)}
    site.gateway.call(
        "autoscaling",
        "PutScalingPolicy",
        AutoScalingGroupName=group,
        PolicyName=policy_name(group),
        PolicyType="TargetTrackingScaling",
        TargetTrackingConfiguration=tracking,
    )


def keep_size(site: Site, group: str) -> None:
    """Let the size stay as it is until `follow_load`."""
    try:
        site.gateway.call("autoscaling", "DeletePolicy", AutoScalingGroupName=group, PolicyName=policy_name(group))
    except AwsError as error:
        # Auto Scaling has one code for everything that is wrong, and does not document its words for this.
        if error.code != "ValidationError" or _has_policy(site, group):
            raise


def _has_policy(site: Site, group: str) -> bool:
    asked = {"AutoScalingGroupName": group, "PolicyNames": [policy_name(group)]}
    return any(site.gateway.pages("autoscaling", "DescribePolicies", "ScalingPolicies", **asked))


def policies(site: Site) -> dict[str, int]:
    """Return by group the share of CPU, in percent, that its size follows."""
    found = {}
    for one in site.gateway.pages("autoscaling", "DescribePolicies", "ScalingPolicies", PolicyTypes=["TargetTrackingScaling"]):
        tracking = one.get("TargetTrackingConfiguration") or {}
        if tracking.get("PredefinedMetricSpecification", {}).get("PredefinedMetricType") == _CPU:
            found[str(one["AutoScalingGroupName"])] = int(tracking["TargetValue"])
    return found


def scaling_of(there: Mapping[str, Any], percent: int | None) -> Scaling | None:
    """Return the bounds of a group whose size follows its load; None when it does not. Pure."""
    if percent is None or not follows_load(there):
        return None
    return Scaling(minimum=int(there["MinSize"]), maximum=int(there["MaxSize"]), cpu_percent=percent)
