"""Target groups: one for each group and port behind a balancer, attached to the group's Auto Scaling group.

AWS finds no target group by its tags without a delay. So their names begin with digests of group and balancer, and all of them are
listed; tags prove whose they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from attrs import evolve, field, frozen

from i2kit.driver import Context
from i2kit.names import HASH_LENGTH, digest
from i2kit.resources import Balancer
from i2kit_aws import tags, waits
from i2kit_aws.gateway import absent
from i2kit_aws.listeners import Listener
from i2kit_aws.site import Site

NAME_LENGTH = 32
CHECK_SECONDS = 5
CHECK_TIMEOUT_SECONDS = 3
CHECK_THRESHOLD = 2
"""After so many checks a member is healthy, or is not any more; NLB takes no fewer."""
DRAIN_SECONDS = 30
"""The deregistration delay while no group says how long its members drain."""

# How long beyond its deregistration delay a target may take to leave, and a target group to be free after its listener.
_LEAVING_SECONDS = 120.0
_FREE_SECONDS = 120.0
_RECENT_SECONDS = 2.0
_KEPT = "target groups"
_MOST_TAGS = 20
_MOST_ATTACHED = 10
_gone = absent("TargetGroupNotFound")


@frozen(kw_only=True)
class TargetGroup:
    """A target group: `group` and `balancer` are what its tags say, `used` whether a balancer has a listener that forwards to it."""

    arn: str
    name: str
    port: int
    used: bool
    group: str = ""
    balancer: str = ""
    check: Mapping[str, Any] = field(factory=dict, repr=False)

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> TargetGroup:
        """Read what AWS tells of one."""
        return cls(
            arn=str(told["TargetGroupArn"]),
            name=str(told["TargetGroupName"]),
            port=int(told.get("Port") or 0),
            used=bool(told.get("LoadBalancerArns")),
            check={name: told.get(name) for name in check_of("", 0)},
        )


@frozen(kw_only=True)
class Health:
    """What a balancer finds when it checks a target: AWS's state, reason and description."""

    state: str
    reason: str = ""
    description: str = ""


@frozen(kw_only=True)
class Scaling:
    """What an Auto Scaling group is to balancers: its size, the target groups attached to it, how many seconds its members drain."""

    size: int = 0
    attached: frozenset[str] = frozenset()
    drain_seconds: int = DRAIN_SECONDS


def short(site: Site, kind: str, name: str) -> str:
    """Return the digits that stand for a group or a balancer in target groups' names."""
    return digest(site.environment.name, kind, name)[:HASH_LENGTH]


def name_of(site: Site, group: str, balancer: str, listener: Listener) -> str:
    """Return the name of the target group of a group behind a listener; `group` is empty for the one that never has a target."""
    readable = "-".join((short(site, "InstanceGroup", group), short(site, "Balancer", balancer), str(listener.port)))
    identity = (group, balancer, listener.target_protocol, str(listener.port), str(listener.target_port))
    return site.name(readable, "TargetGroup", *identity, limit=NAME_LENGTH)


def listed(site: Site) -> Iterator[TargetGroup]:
    """Yield all target groups of the region, other people's too; a page is of 400."""
    return map(TargetGroup.of, site.gateway.pages("elbv2", "DescribeTargetGroups", "TargetGroups"))


def recently(site: Site) -> Sequence[TargetGroup]:
    """Return all target groups of the region as they were a moment ago at most: many who look after their groups ask once together."""
    return site.memory.recent(_KEPT, _RECENT_SECONDS, lambda: tuple(listed(site)))


def outdate(site: Site) -> None:
    """Have target groups asked for anew: some were changed."""
    site.memory.forget(_KEPT)


def named_after(site: Site, group: str, there: Iterable[TargetGroup]) -> list[TargetGroup]:
    """Return those of the target groups that are `there` that are named after a group. Pure."""
    start = f"{short(site, 'InstanceGroup', group)}-"
    return [one for one in there if one.name.startswith(start)]


def of_group(site: Site, group: str) -> tuple[str, ...]:
    """Return the ARNs of a group's target groups, which whoever makes its Auto Scaling group attaches to it; two requests."""
    found = owned(site, named_after(site, group, listed(site)))
    return tuple(sorted(one.arn for one in found if one.group == group))


def of_balancer(site: Site, balancer: str, there: Iterable[TargetGroup]) -> list[TargetGroup]:
    """Return those of the target groups that are `there` that are behind a balancer; one request."""
    middle = f"-{short(site, 'Balancer', balancer)}-"
    return [one for one in owned(site, [one for one in there if middle in one.name]) if one.balancer == balancer]


def owned(site: Site, groups: Sequence[TargetGroup]) -> list[TargetGroup]:
    """Return those that are the environment's, with what their tags say."""
    labels = tags_of(site, [one.arn for one in groups])
    return [labelled(one, labels[one.arn]) for one in groups if labels.get(one.arn, {}).get(tags.ENVIRONMENT) == site.label]


def labelled(group: TargetGroup, held: Mapping[str, str]) -> TargetGroup:
    """Return a target group with what its tags say. Pure."""
    return evolve(group, group=tags.fact(held, "group"), balancer=tags.fact(held, "balancer"))


def tags_of(site: Site, arns: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return the tags of Elastic Load Balancing's resources by their ARNs, twenty a request; what is gone is left out."""
    found: dict[str, dict[str, str]] = {}
    for some in batches(arns, _MOST_TAGS):
        found |= _tags_of(site, some)
    return found


def _tags_of(site: Site, arns: Sequence[str]) -> dict[str, dict[str, str]]:
    gone = absent("TargetGroupNotFound", "ListenerNotFound", "LoadBalancerNotFound")
    answer = gone(lambda: site.gateway.call("elbv2", "DescribeTags", ResourceArns=list(arns)))
    if answer is not None:
        return {str(one["ResourceArn"]): tags.unlisted(one.get("Tags")) for one in answer["TagDescriptions"]}
    # One of them was deleted meanwhile, and AWS does not say which.
    return {arn: held for one in arns for arn, held in _tags_of(site, [one]).items()} if len(arns) > 1 else {}


def batches(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """Yield the items in pieces of at most `size`."""
    return (items[start : start + size] for start in range(0, len(items), size))


def health(site: Site, arn: str) -> dict[str, Health] | None:
    """Return how the targets of a target group are by their instances; None when it is not there any more."""
    answer = _gone(lambda: site.gateway.call("elbv2", "DescribeTargetHealth", TargetGroupArn=arn))
    if answer is None:
        return None
    found = {}
    for one in answer["TargetHealthDescriptions"]:
        told = one.get("TargetHealth") or {}
        found[str(one["Target"]["Id"])] = Health(
            state=str(told.get("State") or ""), reason=str(told.get("Reason") or ""), description=str(told.get("Description") or "")
        )
    return found


def scaling(site: Site, groups: Iterable[str]) -> dict[str, Scaling]:
    """Return what is there of groups, by name; groups that are not there, or about to go, are left out."""
    names = sorted({*groups} - {""})
    if not names:
        return {}
    found = site.gateway.pages("autoscaling", "DescribeAutoScalingGroups", "AutoScalingGroups", AutoScalingGroupNames=names)
    return dict(scalings(site, found))


def scalings(site: Site, described: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, Scaling]]:
    """Yield what Auto Scaling groups of the environment are to balancers, as they were described. Pure."""
    for one in described:
        held = tags.unlisted(one.get("Tags"))
        # A status means that it is being deleted.
        if held.get(tags.ENVIRONMENT) == site.label and not one.get("Status"):
            drain = tags.fact(held, "drain")
            yield (
                str(one["AutoScalingGroupName"]),
                Scaling(
                    size=int(one.get("DesiredCapacity") or 0),
                    attached=frozenset(map(str, one.get("TargetGroupARNs") or ())),
                    drain_seconds=int(drain) if drain.isdigit() else DRAIN_SECONDS,
                ),
            )


def check_of(path: str, port: int) -> dict[str, Any]:
    """Return how a balancer checks its members, as AWS takes it. Pure."""
    return {
        "HealthCheckProtocol": "HTTP",
        "HealthCheckPort": str(port),
        "HealthCheckPath": path,
        "HealthCheckIntervalSeconds": CHECK_SECONDS,
        "HealthCheckTimeoutSeconds": CHECK_TIMEOUT_SECONDS,
        "HealthyThresholdCount": CHECK_THRESHOLD,
        "UnhealthyThresholdCount": CHECK_THRESHOLD,
        "Matcher": {"HttpCode": "200"},
    }


def attributes_of(protocol: str, scope: str, drain_seconds: int) -> dict[str, str]:
    """Return the attributes of a target group (docs/explanation/aws.md says why). Pure.

    >>> attributes_of("TCP", "internal", 3)["preserve_client_ip.enabled"]
    'false'
    """
    datagrams = protocol != "TCP"
    found = {
        "deregistration_delay.timeout_seconds": str(drain_seconds),
        # What is still connected when the drain time is over has the members' own grace period. Datagrams would go to who is gone.
        "deregistration_delay.connection_termination.enabled": str(datagrams).lower(),
        # A member that connects to its own Service may be sent to itself: with its own address as the client's nothing comes back.
        "preserve_client_ip.enabled": str(datagrams or scope == "public").lower(),
    }
    if not datagrams:
        # Who is not ready gets no new connections; those it has are its own affair, as in Kubernetes.
        found["target_health_state.unhealthy.connection_termination.enabled"] = "false"
    return found


def ensure(
    site: Site, balancer: Balancer, listener: Listener, group: str, there: Mapping[str, TargetGroup], *, vpc: str, drain_seconds: int
) -> str:
    """Have the target group of a group behind a listener as it should be, and return its ARN; `there` are the balancer's by name."""
    name, check = name_of(site, group, balancer.name, listener), check_of(balancer.health_path, balancer.health_port)
    found = there.get(name)
    if found is None:
        made = site.gateway.call(
            "elbv2",
            "CreateTargetGroup",
            Name=name,
            Protocol=listener.target_protocol,
            Port=listener.target_port,
            VpcId=vpc,
            TargetType="instance",
            Tags=tags.listed(_tags(site, balancer, listener, group)),
            **check,
        )
        arn = str(made["TargetGroups"][0]["TargetGroupArn"])
    else:
        arn = found.arn
        if changed := {key: value for key, value in check.items() if found.check.get(key) != value}:
            site.gateway.call("elbv2", "ModifyTargetGroup", TargetGroupArn=arn, **changed)
    _set(site, arn, attributes_of(listener.target_protocol, balancer.scope, drain_seconds))
    return arn


def _tags(site: Site, balancer: Balancer, listener: Listener, group: str) -> dict[str, str]:
    name = f"{group or 'nobody'} behind {balancer.name} port {listener.port}"
    return site.tags(balancer.mark, name, group=group, balancer=balancer.name, port=str(listener.port))


def _set(site: Site, arn: str, wanted: Mapping[str, str]) -> None:
    answer = site.gateway.call("elbv2", "DescribeTargetGroupAttributes", TargetGroupArn=arn)
    if changed := changed_attributes(wanted, answer["Attributes"]):
        site.gateway.call("elbv2", "ModifyTargetGroupAttributes", TargetGroupArn=arn, Attributes=changed)


def changed_attributes(wanted: Mapping[str, str], there: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return those attributes that are not as they should be, as AWS takes them. Pure."""
    held = {str(one["Key"]): str(one.get("Value")) for one in there}
    return [{"Key": key, "Value": value} for key, value in wanted.items() if held.get(key) != value]


def attach(site: Site, group: str, arns: Iterable[str], there: Scaling) -> None:
    """Have target groups attached to an Auto Scaling group: its members are targets of them from now on."""
    for some in batches(sorted({*arns} - there.attached), _MOST_ATTACHED):
        site.gateway.call("autoscaling", "AttachLoadBalancerTargetGroups", AutoScalingGroupName=group, TargetGroupARNs=list(some))


def forget(site: Site, group: str, state: Scaling, there: Iterable[TargetGroup]) -> None:
    """Detach target groups that are not there any more from an Auto Scaling group: with them it starts no members."""
    for some in batches(sorted(state.attached - {one.arn for one in there}), _MOST_ATTACHED):
        _detach(site, group, some)


def _detach(site: Site, group: str, arns: Sequence[str]) -> None:
    """Detach target groups; nothing happens when they are not attached, or one side is not there."""
    # Auto Scaling has one code for all refusals.
    gone = absent("TargetGroupNotFound", "ValidationError")
    given = {"AutoScalingGroupName": group, "TargetGroupARNs": list(arns)}
    gone(lambda: site.gateway.call("autoscaling", "DetachLoadBalancerTargetGroups", **given))


def retire(site: Site, leaving: Sequence[TargetGroup], context: Context, *, drained: bool) -> None:
    """Have target groups go that no listener forwards to any more; with `drained` not before their targets have left.

    Whoever is still connected after that time has had it: nobody waits longer than the deregistration delay and what AWS needs for it.
    """
    if not leaving:
        return
    there = scaling(site, [one.group for one in leaving])
    for group, state in there.items():
        arns = sorted({one.arn for one in leaving if one.group == group} & state.attached)
        for some in batches(arns, _MOST_ATTACHED):
            _detach(site, group, some)
    if drained:
        longest = max((state.drain_seconds for state in there.values()), default=0)
        _left(site, [one.arn for one in leaving], longest + _LEAVING_SECONDS, context)
    for one in leaving:
        _delete(site, one, context)
    outdate(site)


def _left(site: Site, arns: Sequence[str], seconds: float, context: Context) -> None:
    """Wait until target groups have no targets any more, those that drain among them; not for ever."""
    for number, pause in enumerate(waits.pauses(seconds)):
        if not any(health(site, arn) for arn in arns):
            return
        if not number:
            context.progress("members that leave the balancer finish their connections")
        waits.rest(pause, context)


def _delete(site: Site, group: TargetGroup, context: Context) -> None:
    def gone() -> bool | None:
        # A listener that has just gone may still count.
        free = absent("ResourceInUse")
        return free(lambda: bool(_gone(lambda: site.gateway.call("elbv2", "DeleteTargetGroup", TargetGroupArn=group.arn)) or True))

    waits.until(gone, context, seconds=_FREE_SECONDS, otherwise=f"AWS still says that target group {group.name} is in use")
