"""Which members of groups are ready: by the balancers in front of them, and where there is none by what they say on their consoles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from i2kit.consoles import Told, told
from i2kit.plan import GroupHealth, Instance, InstanceState
from i2kit_aws import consoles, members, targets
from i2kit_aws.members import Member
from i2kit_aws.site import Site
from i2kit_aws.targets import Health

_CHECKS_AT_ONCE = 8

IN_SERVICE = "InService"

# EC2's word for an instance, and Auto Scaling's for its place in the group, as far as they say more than that it runs.
_STATES: dict[str, InstanceState] = {
    "pending": "starting",
    "shutting-down": "stopping",
    "stopping": "stopping",
    "terminated": "stopped",
    "stopped": "stopped",
    members.FAILED: "failed",
}
_LIFECYCLES: dict[str, InstanceState] = {
    "Pending": "starting",
    "Warmed": "starting",
    "Terminating": "stopping",
    "Detaching": "stopping",
    "Detached": "stopping",
    "Terminated": "stopped",
}


def of_group(site: Site, group: str) -> GroupHealth:
    """Return the health of the group called `group`; one that does not exist has no members."""
    found = judged(site, {group: members.of_group(site, group)})[group]
    return GroupHealth(ready=sum(one.ready for one in found), instances=found)


def judged(site: Site, groups: Mapping[str, Sequence[Member]]) -> dict[str, tuple[Instance, ...]]:
    """Return how the members of groups are.

    A member that balancers check is ready when it is in service in its group and healthy in every target group that a listener forwards
    to, whatever its weight. Others are ready when their guests last said so. That takes a request for all target groups (for each 400 of
    the region; those who ask within a moment share it), one for each target group in front of one of the groups, and one for each running
    member that no balancer checks.
    """
    asked = [group for group, found in groups.items() if found]
    there = targets.recently(site) if asked else ()
    fronts = {group: targets.named_after(site, group, there) for group in asked}
    arns = [one for front in fronts.values() for one in front]
    with ThreadPoolExecutor(_CHECKS_AT_ONCE) as pool:
        found = dict(zip((one.arn for one in arns), pool.map(lambda one: targets.health(site, one.arn), arns), strict=True))
    checks = {group: checking([(one.used, found[one.arn]) for one in front]) for group, front in fronts.items()}
    unchecked = [one.id for group in asked if not checks[group] for one in groups[group] if _serves(one)]
    said = {one: told(console) for one, console in consoles.said(site, unchecked).items()}
    return {group: tuple(instance(one, group, checks.get(group, ()), said.get(one.id)) for one in groups[group]) for group in groups}


def checking(found: Iterable[tuple[bool, Mapping[str, Health] | None]]) -> list[Mapping[str, Health]]:
    """Return the targets of those target groups (used, targets) that a balancer checks; None are those that are gone. Pure.

    A target group that no listener forwards to tells nothing: it is about to be used, or to be deleted. That it is used shows in its
    targets too.
    """
    idle = ("unused", "draining")
    return [held for used, held in found if held is not None and (used or any(one.state not in idle for one in held.values()))]


def _serves(member: Member) -> bool:
    return member.lifecycle == IN_SERVICE and member.state == "running"


def instance(member: Member, group: str, checks: Sequence[Mapping[str, Health]], said: Told | None) -> Instance:
    """Return how a member is, by what balancers find (one mapping for each target group) or else by what it `said`. Pure."""
    state = _STATES.get(member.state) or _LIFECYCLES.get(member.lifecycle.partition(":")[0]) or "running"
    if not _serves(member):
        reason = member.reason or f"it is {member.lifecycle or member.state} in its group, and its instance {member.state}"
    elif checks:
        reason = next((why for held in checks if (why := _trouble(held.get(member.id)))), "")
        new = any(_is_new(held.get(member.id)) for held in checks)
        state = "starting" if new else state
    else:
        said = said or Told()
        reason = "" if said.ready else said.reason
        state = "failed" if said.fatal else "starting" if said == Told() else state
    return Instance(id=member.id, group=group, state=state, ready=not reason, address=member.address, reason=reason)


def _trouble(target: Health | None) -> str:
    """Say in AWS's words what keeps a target from traffic; empty when nothing does."""
    if target is None:
        return "it is not a target of its balancer yet"
    if target.state == "healthy":
        return ""
    words = target.description or f"its balancer finds it {target.state}"
    return f"{words} ({target.reason})" if target.reason else words


def _is_new(target: Health | None) -> bool:
    return target is None or target.state == "initial"
