"""Auto Scaling as AWS does it: members in every zone, replacement, and activities that say what failed. Patches moto's groups."""

from __future__ import annotations

import copy
import uuid
from collections import Counter
from typing import Any

from moto.autoscaling.models import AutoScalingBackend, FakeAutoScalingGroup, InstanceState, autoscaling_backends
from moto.autoscaling.responses import AutoScalingResponse
from moto.core.responses import ActionResult
from moto.core.utils import utcnow
from moto.ec2.models import ec2_backends
from moto.ec2.models.instances import Instance, InstanceBackend
from moto.elbv2.models import elbv2_backends

from aws.settings import SETTINGS, failure
from aws.targets import state_of

_STOCK_TERMINATE = Instance.terminate
_LIVE = ("InService", "Pending")
_STARTED = "an instance was started in response to a difference between desired and actual capacity, increasing the capacity"
_REPLACED = "an instance was taken out of service in response to an EC2 health check indicating it has been terminated or stopped"
_SHRUNK = "an instance was taken out of service in response to a difference between desired and actual capacity, shrinking the capacity"


def install() -> None:
    """Put the patches in place, once for a process."""
    FakeAutoScalingGroup.replace_autoscaling_group_instances = _launch
    FakeAutoScalingGroup.active_instances = lambda self: [one for one in self.instance_states if one.lifecycle_state in _LIVE]
    FakeAutoScalingGroup.set_desired_capacity = _resized(FakeAutoScalingGroup.set_desired_capacity)
    AutoScalingResponse.describe_scaling_activities = _activities
    AutoScalingBackend.delete_auto_scaling_group = _deleted(AutoScalingBackend.delete_auto_scaling_group)
    Instance.terminate = _terminated
    InstanceBackend.run_instances = _run(InstanceBackend.run_instances)
    InstanceState.launch_template = property(lambda state: getattr(state.instance, "made_from", None))


def _run(stock: Any) -> Any:
    """Give instances what moto leaves out: the image's disk, the template's profile and options, an interface that goes too."""

    def run(self: Any, image_id: str, count: int, user_data: Any, security_group_names: list[str], **kwargs: Any) -> Any:
        given = kwargs.get("launch_template")
        data = self._get_template_from_args(given).data if given else {}
        image = self.amis.get(image_id or data.get("ImageId"))
        disks = {one["DeviceName"]: copy.deepcopy(one) for one in (image.block_device_mappings if image else [])}
        for one in kwargs.get("block_device_mappings") or data.get("BlockDeviceMappings") or []:
            disk = disks.setdefault(one["DeviceName"], {"DeviceName": one["DeviceName"], "Ebs": {"DeleteOnTermination": True}})
            disk["Ebs"].update(one.get("Ebs", {}))
        kwargs["block_device_mappings"] = list(disks.values())
        nics = copy.deepcopy(kwargs.get("nics") or data.get("NetworkInterfaces") or [{"DeviceIndex": 0}])
        for nic in nics:
            nic.setdefault("DeviceIndex", 0)
            nic.setdefault("DeleteOnTermination", True)
        kwargs["nics"] = nics
        kwargs["metadata_options"] = kwargs.get("metadata_options") or data.get("MetadataOptions") or {}
        behaviour = kwargs.get("instance_initiated_shutdown_behavior") or data.get("InstanceInitiatedShutdownBehavior")
        kwargs["instance_initiated_shutdown_behavior"] = behaviour
        reservation = stock(self, image_id, count, user_data, security_group_names, **kwargs)
        for instance in reservation.instances:
            instance.security_groups = list(instance.nics[0].group_set)
            _profiled(self, instance, data.get("IamInstanceProfile") if not kwargs.get("iam_instance_profile_name") else None)
        return reservation

    return run


def _profiled(backend: Any, instance: Instance, profile: dict[str, str] | None) -> None:
    if profile:
        named = {"iam_instance_profile_name": profile.get("Name"), "iam_instance_profile_arn": profile.get("Arn")}
        backend.associate_iam_instance_profile(instance.id, **named)


def _terminated(instance: Any) -> Any:
    """Begin to end: what an instance uses is free only when it is over."""
    before = copy.copy(instance._state)
    if instance.state not in ("terminated", "shutting-down"):
        instance._state.name, instance._state.code = "shutting-down", 32
        instance.calls_left = SETTINGS.terminate_calls
        if not instance.calls_left:
            _STOCK_TERMINATE(instance)
    return before


def describe_ticks(account: str, region: str) -> None:
    """Let instances that shut down come nearer to their end. To be called after the answer."""
    for instance in ec2_backends[account][region].all_instances():
        if instance.state == "shutting-down":
            instance.calls_left -= 1
            if instance.calls_left <= 0:
                _STOCK_TERMINATE(instance)


def _launch(group: Any, count: int, tags: dict[str, str]) -> None:
    tags = {**tags, "aws:autoscaling:groupName": group.name, **group.instance_tags}
    for _ in range(count):
        if not any(_launched(group, zone, subnet, tags) for zone, subnet in _emptiest(group)):
            return


def _emptiest(group: Any) -> list[tuple[str, str | None]]:
    """Zones with their subnets, those with the fewest members first."""
    if group.vpc_zone_identifier:
        ids = group.vpc_zone_identifier.split(",")
        places = [(group.ec2_backend.get_subnet(one.strip()).availability_zone, one.strip()) for one in ids]
    else:
        places = [(zone, None) for zone in group.availability_zones]
    members = Counter(one.instance.placement.zone for one in group.active_instances())
    return sorted(places, key=lambda place: members[place[0]])


def _launched(group: Any, zone: str, subnet: str | None, tags: dict[str, str]) -> bool:
    failed = failure(group.name, zone)
    if failed:
        message = failed.message.format(type=group.instance_type, zone=zone)
        note(group, "Launching a new EC2 instance", zone, f"{message} Launching EC2 instance failed.", code="Failed")
        return False
    template = version = None
    if group.ec2_launch_template:
        version = group.ec2_launch_template.get_version(group.launch_template_version)
        template = {"LaunchTemplateId": group.ec2_launch_template.id, "Version": str(version.number)}
    volume_tags = {}
    for spec in (version.data if version else {}).get("TagSpecifications", []):
        if spec["ResourceType"] == "volume":
            volume_tags = {one["Key"]: one["Value"] for one in spec["Tags"]}
    reservation = group.autoscaling_backend.ec2_backend.run_instances(
        group.image_id,
        1,
        group.user_data,
        group.security_groups,
        instance_type=group.instance_type,
        tags={"instance": dict(tags), "volume": volume_tags},
        placement=zone,
        region_name=group.region,
        launch_config=group.launch_config,
        launch_template=template,
        is_instance_type_default=False,
        associate_public_ip=group.launch_config.associate_public_ip_address if group.launch_config else None,
        subnet_id=subnet,
    )
    instance = reservation.instances[0]
    instance.autoscaling_group = group
    if template:
        instance.made_from = {**template, "LaunchTemplateName": group.ec2_launch_template.name}
    protected = group.new_instances_protected_from_scale_in
    group.instance_states.append(InstanceState(instance, lifecycle_state=SETTINGS.new_members, protected_from_scale_in=protected))
    note(group, f"Launching a new EC2 instance: {instance.id}", zone)
    return True


def note(group: Any, description: str, zone: str, message: str = "", *, code: str = "Successful", cause: str = "") -> None:
    """Write down an activity of a group, newest first as AWS lists them."""
    now = utcnow()
    activity = {
        "ActivityId": str(uuid.uuid4()),
        "AutoScalingGroupName": group.name,
        "Description": description,
        "Cause": f"At {now:%Y-%m-%dT%H:%M:%SZ} {cause or _STARTED}.",
        "StartTime": now,
        "EndTime": now,
        "StatusCode": code,
        "StatusMessage": message,
        "Progress": 100,
        "Details": f'{{"Availability Zone":"{zone}"}}',
    }
    SETTINGS.activities.setdefault(group.name, []).insert(0, activity)


def _activities(response: Any) -> ActionResult:
    name = response._get_param("AutoScalingGroupName")
    wanted = response._get_param("ActivityIds") or []
    listed = [one for group, notes in SETTINGS.activities.items() if name in (None, group) for one in notes]
    return ActionResult({"Activities": [one for one in listed if not wanted or one["ActivityId"] in wanted][:100]})


def _resized(stock: Any) -> Any:
    def resize(group: Any, capacity: int | None) -> None:
        before = {one.instance.id: one for one in group.instance_states}
        stock(group, capacity)
        # moto makes a set of them, and so forgets in which order they came.
        group.instance_states = sorted(group.instance_states, key=lambda one: one.instance.launch_time)
        gone = set(before) - {one.instance.id for one in group.instance_states}
        for name in sorted(gone):
            note(group, f"Terminating EC2 instance: {name}", before[name].instance.placement.zone, cause=_SHRUNK)
        _told(group, gone)

    return resize


def _told(group: Any, gone: set[str]) -> None:
    if gone:
        elbv2_backends[group.account_id][group.region].notify_terminate_instances(list(gone))


def _deleted(stock: Any) -> Any:
    def delete(backend: Any, name: str) -> None:
        stock(backend, name)
        SETTINGS.activities.pop(name, None)
        for policy in [one for one, held in backend.policies.items() if held.auto_scaling_group_name == name]:
            backend.policies.pop(policy)

    return delete


def settle() -> None:
    """Let every group replace what died, and start what is missing."""
    for regions in list(autoscaling_backends.values()):
        for backend in list(regions.values()):
            for group in list(backend.autoscaling_groups.values()):
                _settled(backend, group)


def _settled(backend: Any, group: Any) -> None:
    paused = {one["ProcessName"] for one in group.suspended_processes}
    if not paused & {"HealthCheck", "ReplaceUnhealthy", "Terminate"}:
        dead = [one for one in group.instance_states if one.lifecycle_state != "Standby" and _dead(group, one)]
        if dead:
            ids = [one.instance.id for one in dead]
            group.instance_states = [one for one in group.instance_states if one not in dead]
            live = [one.instance.id for one in dead if one.instance.state != "terminated"]
            if live:
                ec2_backends[backend.account_id][backend.region_name].terminate_instances(live)
            for one in dead:
                note(group, f"Terminating EC2 instance: {one.instance.id}", one.instance.placement.zone, cause=_REPLACED)
            _told(group, set(ids))
    missing = (group.desired_capacity or 0) - len(group.active_instances())
    if missing > 0 and "Launch" not in paused:
        _launch(group, missing, group.get_propagated_tags())
        backend.update_attached_target_groups(group.name)


def _dead(group: Any, state: Any) -> bool:
    if state.health_status == "Unhealthy" or state.instance.state not in ("running", "pending"):
        return True
    if group.health_check_type != "ELB":
        return False
    return any(state_of(arn, state.instance.id)[0] == "unhealthy" for arn in group.target_group_arns)


def member(instance: str) -> Any:
    """Return the state of a group's member. Raises KeyError when no group has it."""
    for regions in autoscaling_backends.values():
        for backend in regions.values():
            for group in backend.autoscaling_groups.values():
                for one in group.instance_states:
                    if one.instance.id == instance:
                        return one
    raise KeyError(instance)
