"""Groups: a launch template, a role where there are Secrets, and an Auto Scaling group, made in this order and removed in the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from i2kit.driver import Context
from i2kit.errors import ProviderError
from i2kit.plan import Instance, ObservedResource
from i2kit.resources import InstanceGroup
from i2kit_aws import health, images, members, networks, offers, roles, scaling, tags, targets, templates, waits
from i2kit_aws.gateway import AwsError, absent
from i2kit_aws.scaling import Size
from i2kit_aws.site import Site
from i2kit_aws.templates import Start, Template

T = TypeVar("T")

# From the end of a guest's grace period to the end of its instance, and of the group that it was in.
_ENDING_SECONDS = 600.0
_GONE_SECONDS = 600.0
_NOT_ENDED = ("pending", "running", "shutting-down", "stopping", "stopped")
_NOT_FOUND = "not found"


def observe(site: Site) -> Sequence[ObservedResource]:
    """Return the environment's groups with their members; the same number of requests for any number of groups, but for pages."""
    with ThreadPoolExecutor(3) as pool:
        asked = pool.submit(templates.all_of, site), pool.submit(_scaling_groups, site), pool.submit(members.instances_of, site)
        found, groups, instances = asked[0].result(), asked[1].result(), asked[2].result()
    known = {str(one["AutoScalingGroupName"]): one for one in groups}
    percents = scaling.policies(site) if any(map(scaling.follows_load, groups)) else {}
    own = [known[one.name] for one in found if one.name in known]
    judged = health.judged(site, members.of_groups(site, own, instances)) if own else {}
    seen = (_observed(one, known.get(one.name), percents.get(one.name), judged.get(one.name, ())) for one in found)
    return [one for one in seen if one is not None]


def _scaling_groups(site: Site) -> list[Mapping[str, Any]]:
    filters = tags.having(site.own())
    return list(site.gateway.pages("autoscaling", "DescribeAutoScalingGroups", "AutoScalingGroups", Filters=filters, MaxRecords=100))


def _observed(
    template: Template, there: Mapping[str, Any] | None, percent: int | None, instances: Sequence[Instance]
) -> ObservedResource | None:
    """Return a group as it is: what is planned from its template, its size and bounds from its Auto Scaling group. Pure."""
    replicas = int(there["DesiredCapacity"]) if there else 0
    bounds = scaling.scaling_of(there, percent) if there else None
    group = templates.group_in(template, replicas=replicas, scaling=bounds)
    if group is None:
        return None
    return ObservedResource(resource=group, faults=tuple(_faults(template, there)), instances=tuple(instances))


def _faults(template: Template, there: Mapping[str, Any] | None) -> list[str]:
    if there is None:
        return ["its Auto Scaling group is not there"]
    if there.get("Status"):
        return [f"its Auto Scaling group is in the state {there['Status']!r}"]
    faults = [f"Auto Scaling's {name} is suspended ({reason})" for name, reason in scaling.suspended(there).items()]
    if not scaling.launches(there, template.name):
        faults.append("its Auto Scaling group launches by another template")
    return faults


def ensure(site: Site, group: InstanceGroup, context: Context) -> None:
    """Have the group as it is asked for. Returns when AWS has accepted it: members come and go by themselves then."""
    if group.form != "replicas":
        raise ProviderError.of("unsupported", f"group {group.name} has stable members, which i2kit does not make on AWS yet")
    located = networks.locate(site)
    choice = offers.choose(site, group, located.subnets, context)
    start = Start(ami=images.ami(site, group.image), type=choice.type, located=located, profile=roles.profile_of(site, group))
    data = templates.data_of(site, group, start)
    there = _settled(site, group.name, context)
    template = templates.of_group(site, group.name)
    if template is None and not templates.create(site, group, data):
        # An answer was lost, or another run was faster.
        template = _shown(templates.of_group, site, group, context)
    if roles.is_own(site, group) and (there is None or template is None or templates.profile_in(template.data) != start.profile):
        roles.ensure(site, group, context)
    if template is not None and templates.renew(site, template, data):
        context.progress(f"members that start from now on are {choice.type}")
    subnets = [located.subnets[zone] for zone in choice.zones]
    if there is None:
        there = _create(site, group, subnets, context)
    if there is not None:
        _update(site, group, there, subnets, context)
    if group.scaling is not None:
        scaling.follow_load(site, group.name, group.scaling)
    if template is not None:
        templates.label(site, template, group)


def _settled(site: Site, name: str, context: Context) -> Mapping[str, Any] | None:
    """Return the Auto Scaling group; one that is being deleted is none, once it is over."""

    def look() -> list[Mapping[str, Any]] | None:
        there = members.scaling_group(site, name)
        if there is not None and there.get("Status"):
            context.progress(f"Auto Scaling group {name}: {there['Status']}")
            return None
        return [there] if there is not None else []

    found = waits.until(look, context, seconds=_GONE_SECONDS, otherwise=f"Auto Scaling group {name} is still being deleted")
    return found[0] if found else None


def _create(site: Site, group: InstanceGroup, subnets: Sequence[str], context: Context) -> Mapping[str, Any] | None:
    """Make the Auto Scaling group; return the one that there was nevertheless, if an answer was late or lost."""
    size = scaling.size_of(group, None)

    def create() -> dict[str, Any]:
        # Whoever makes the group attaches what is there for it, and whoever makes a target group later, attaches that.
        wanted = scaling.created(group, subnets, size, targets.of_group(site, group.name), _tags(site, group))
        return site.gateway.call("autoscaling", "CreateAutoScalingGroup", **wanted)

    if absent("AlreadyExists")(lambda: waits.accepted(create, _too_early, context)) is not None:
        return None
    return _shown(members.scaling_group, site, group, context)


def _shown(look: Callable[[Site, str], T | None], site: Site, group: InstanceGroup, context: Context) -> T:
    """Return what has the group's name already; it need not show at once."""
    otherwise = f"the name {group.name} is taken, and what has it does not show as the environment's,"
    return waits.until(lambda: look(site, group.name), context, seconds=waits.HEARSAY_SECONDS, otherwise=otherwise)


def _tags(site: Site, group: InstanceGroup) -> dict[str, str]:
    """Return the tags of the Auto Scaling group; balancers read there how long its members drain."""
    return site.tags(group.mark, group.name, drain=str(group.drain_seconds))


def _too_early(error: AwsError) -> bool:
    """Whether Auto Scaling has not heard yet of what a template names, or still has of a target group. It has one code for all refusals."""
    told = str(error)
    unknown = "launch template" in told and "does not exist" in told
    return unknown or "Invalid IAM Instance Profile" in told or ("arget group" in told and _NOT_FOUND in told)


def _update(site: Site, group: InstanceGroup, there: Mapping[str, Any], subnets: Sequence[str], context: Context) -> None:
    call, name = site.gateway.call, group.name
    if group.scaling is None and scaling.follows_load(there):
        scaling.keep_size(site, name)
    size = scaling.size_of(group, there)
    there = _without_unready(site, there, size, context)
    given = scaling.changed(group, there, subnets, size)
    _patiently(lambda: call("autoscaling", "UpdateAutoScalingGroup", **given), context)
    if stopped := scaling.suspended(there):
        call("autoscaling", "ResumeProcesses", AutoScalingGroupName=name, ScalingProcesses=sorted(stopped))
    held = tags.unlisted(there.get("Tags"))
    if changed := {one: value for one, value in _tags(site, group).items() if held.get(one) != value}:
        call("autoscaling", "CreateOrUpdateTags", Tags=scaling.listed(name, changed))


def _without_unready(site: Site, there: Mapping[str, Any], size: Size, context: Context) -> Mapping[str, Any]:
    """Where the group shrinks, have members go that are not ready; whom else it loses is its own choice. Return what is there then."""
    name = str(there["AutoScalingGroupName"])
    if not 0 < size.desired < int(there["DesiredCapacity"]):
        return there
    staying = [one for one in members.of_group(site, name) if one.exists and not one.leaving]
    judged = health.judged(site, {name: staying}).get(name, ())
    going = [one.id for one in judged if not one.ready][: max(0, len(staying) - size.desired)]
    if not going:
        return there
    # What it lacks is not to be started while others leave. While AWS moves members to other zones there is one too many.
    least, most = min(size.least, int(there["MinSize"])), max(len(staying), int(there["MaxSize"]))
    bounds = {"MinSize": least, "MaxSize": most, "DesiredCapacity": len(staying)}
    _patiently(lambda: site.gateway.call("autoscaling", "UpdateAutoScalingGroup", AutoScalingGroupName=name, **bounds), context)
    for one in going:
        context.progress(f"{one}, which is not ready, leaves {name}")
        _dismiss(site, name, one, context)
    return {**there, **bounds, "DesiredCapacity": None}


def _dismiss(site: Site, group: str, instance: str, context: Context) -> None:
    """Have a member go and nobody come in its place; nothing happens when it has gone by itself."""
    given = {"InstanceId": instance, "ShouldDecrementDesiredCapacity": True}
    try:
        _patiently(lambda: site.gateway.call("autoscaling", "TerminateInstanceInAutoScalingGroup", **given), context)
    except AwsError as error:
        # Auto Scaling has one code for all refusals: what its words do not say, that it is about to leave by itself, is seen.
        if error.code != "ValidationError":
            raise
        if _NOT_FOUND not in str(error) and any(one.id == instance and not one.leaving for one in members.of_group(site, group)):
            raise


def _patiently(work: Callable[[], T], context: Context) -> T:
    """Do what Auto Scaling may refuse while it is starting or ending members."""
    return waits.accepted(work, lambda error: error.code in ("ScalingActivityInProgress", "ResourceInUse"), context)


def delete(site: Site, group: InstanceGroup, context: Context) -> None:
    """Remove the group and everything it has, and return when its members have ended; nothing happens when it is not there."""
    name = group.name
    if members.scaling_group(site, name) is not None:
        _delete_scaling_group(site, name, context)
    seconds = group.drain_seconds + group.grace_seconds + _ENDING_SECONDS
    waits.until(lambda: _ended(site, name, context), context, seconds=seconds, otherwise=f"members of {name} are still there")
    if versions := templates.versions_of(site, name):
        if roles.name_of(site, name) in templates.profiles_in(versions):
            roles.delete(site, name, context)
        templates.delete(site, name)


def _delete_scaling_group(site: Site, name: str, context: Context) -> None:
    """Have the group and its members end. Its alarms go with it."""
    try:
        _patiently(lambda: site.gateway.call("autoscaling", "DeleteAutoScalingGroup", AutoScalingGroupName=name, ForceDelete=True), context)
    except AwsError as error:
        if _NOT_FOUND not in str(error):
            raise


def _ended(site: Site, name: str, context: Context) -> bool | None:
    """Whether nothing is left of the Auto Scaling group and its members; None when they are on their way."""
    if members.scaling_group(site, name) is not None:
        context.progress(f"Auto Scaling group {name} is being deleted")
        return None
    filters = [*tags.having(site.own(group=name)), {"Name": "instance-state-name", "Values": list(_NOT_ENDED)}]
    left = [one for some in site.gateway.pages("ec2", "DescribeInstances", "Reservations", Filters=filters) for one in some["Instances"]]
    if left:
        context.progress(f"{len(left)} VMs are shutting down" if len(left) > 1 else f"{left[0]['InstanceId']} is shutting down")
        return None
    return True
