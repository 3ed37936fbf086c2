"""What tests have set of the cloud's moods, in the server's process: one object, made anew by every reset."""

from __future__ import annotations

from typing import Any

from attrs import define, field


@define(kw_only=True)
class CapacityFailure:
    """Launches of a group (``*``: of any), in a zone (``*``: in any), that AWS does not manage; `times` of them, or all (-1)."""

    group: str
    zone: str
    code: str
    message: str
    times: int


@define(kw_only=True)
class Settings:
    """The moods. Waits are counted in calls of the reader that would see them end, so that no test waits for a clock."""

    health: dict[tuple[str, str], str] = field(factory=dict)
    """(target group or ``*``, instance, Auto Scaling group or ``*``) to a state; without one a target follows its instance's lifecycle."""
    console: dict[str, str] = field(factory=dict)
    capacity: list[CapacityFailure] = field(factory=list)
    activities: dict[str, list[dict[str, Any]]] = field(factory=dict)
    quotas: dict[tuple[str, str], float] = field(factory=dict)
    tokens: dict[str, tuple[dict[str, Any], str]] = field(factory=dict)
    new_members: str = "InService"
    """The lifecycle state in which members of groups start: ``InService`` or ``Pending``."""
    drain_calls: int = 1
    """For how many DescribeTargetHealth a target that was deregistered shows as draining."""
    interface_calls: int = 1
    """For how many DescribeNetworkInterfaces a balancer's interfaces outlive it."""
    nat_calls: int = 1
    """For how many DescribeNatGateways a NAT gateway is pending, and deleting."""
    snapshot_calls: int = 1
    """For how many DescribeSnapshots a completed snapshot is still pending."""
    image_calls: int = 0
    """For how many DescribeImages an image that was registered is pending."""
    terminate_calls: int = 1
    """For how many reads of instances, interfaces or groups a terminated instance is still shutting down, with its interfaces."""
    image_tags: bool = True
    """Whether RegisterImage keeps its tags, as AWS does, or drops them, as stock moto does."""


SETTINGS = Settings()


def renew() -> None:
    """Forget everything that was set."""
    fresh = Settings()
    for name in fresh.__slots__:
        if not name.startswith("__"):
            setattr(SETTINGS, name, getattr(fresh, name))


def failure(group: str, zone: str) -> CapacityFailure | None:
    """Return why AWS does not launch a member of a group in a zone, and count it; None when it does."""
    for one in SETTINGS.capacity:
        if one.group in ("*", group) and one.zone in ("*", zone) and one.times:
            one.times -= 1 if one.times > 0 else 0
            return one
    return None
