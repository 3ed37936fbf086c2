"""The VMs of a group: what becomes of them as time goes by."""

from __future__ import annotations

from typing import Literal

from attrs import field, frozen
from attrs.validators import ge, gt, optional

from i2kit.driver import LogLine
from i2kit.plan import Instance, InstanceState

CYCLES = 20
"""So many of its last lives a member that dies again and again has on its console."""

Fate = Literal["serves", "never-boots", "never-starts", "never-ready"]

_REASONS = {
    "serves": "",
    "never-boots": "it did not boot",
    "never-starts": "container app does not start",
    "never-ready": "container app is not ready",
}
_LAST_LINES = {
    "serves": 'i2kit {"event": "readiness", "ready": true}',
    "never-boots": "Kernel panic - not syncing: VFS: Unable to mount root fs",
    "never-starts": 'i2kit {"event": "container", "name": "app", "state": "failed"}',
    "never-ready": 'i2kit {"event": "readiness", "ready": false}',
}


@frozen(kw_only=True)
class Behaviour:
    """What becomes of the members of a group; without arguments they boot and serve for good.

    A member is ready `boot_seconds` after it was made (the cloud's own unless given). One that `lives_seconds` dies when it has been ready
    for so long, and boots again, forever. `log` are lines that its container writes when it starts.
    """

    fate: Fate = "serves"
    reason: str = ""
    boot_seconds: float | None = field(default=None, validator=optional(ge(0.0)))
    lives_seconds: float | None = field(default=None, validator=optional(gt(0.0)))
    log: tuple[str, ...] = ()


def never_boots(reason: str = "") -> Behaviour:
    """The VM does not come up: the kernel panics."""
    return Behaviour(fate="never-boots", reason=reason)


def never_starts(reason: str = "", *, log: tuple[str, ...] = ()) -> Behaviour:
    """The VM boots, and its container ends at once whenever it is started."""
    return Behaviour(fate="never-starts", reason=reason, log=log)


def never_ready(reason: str = "", *, log: tuple[str, ...] = ()) -> Behaviour:
    """The container runs, and its readiness probe fails."""
    return Behaviour(fate="never-ready", reason=reason, log=log)


def dies_after(seconds: float, *, log: tuple[str, ...] = ()) -> Behaviour:
    """The member gets ready, dies so many seconds later, and boots again, forever."""
    return Behaviour(lives_seconds=seconds, log=log)


@frozen(kw_only=True)
class Member:
    """One VM: its place in the group, and when it began to boot (seconds since the epoch)."""

    group: str
    slot: int
    born: float

    @property
    def id(self) -> str:
        """The name of the VM, which it keeps when it is replaced."""
        return f"{self.group}-{self.slot}"


def instance(member: Member, behaviour: Behaviour, boot_seconds: float, at: float) -> Instance:
    """Return what a member is doing at a time; `boot_seconds` are those of the behaviour or the cloud."""
    lives, age = _lives(member, behaviour, boot_seconds, at)
    if age < boot_seconds:
        reason = "it died and boots again" if lives else "it boots"
        return Instance(id=member.id, group=member.group, state="starting", ready=False, reason=reason)
    state: InstanceState = "failed" if behaviour.fate == "never-boots" else "running"
    ready = behaviour.fate == "serves"
    return Instance(id=member.id, group=member.group, state=state, ready=ready, reason=behaviour.reason or _REASONS[behaviour.fate])


def console(member: Member, behaviour: Behaviour, boot_seconds: float, at: float) -> list[tuple[float, LogLine]]:
    """Return what stands on a member's console at a time, each line with when it was written."""
    lives, _ = _lives(member, behaviour, boot_seconds, at)
    cycle = boot_seconds + (behaviour.lives_seconds or 0.0)
    lines = []
    for life in range(max(0, lives - CYCLES), lives + 1):
        born = member.born + life * cycle
        lines.append((born, LogLine(instance=member.id, container="", text='i2kit {"event": "start"}')))
        if behaviour.fate != "never-boots":
            lines += [(born + boot_seconds, LogLine(instance=member.id, container="app", text=text)) for text in behaviour.log]
        lines.append((born + boot_seconds, LogLine(instance=member.id, container="", text=_LAST_LINES[behaviour.fate])))
    return [(written, line) for written, line in lines if written <= at]


def _lives(member: Member, behaviour: Behaviour, boot_seconds: float, at: float) -> tuple[int, float]:
    """Return how often a member has died, and how long ago it began to boot last."""
    age = at - member.born
    if behaviour.lives_seconds is None or behaviour.fate != "serves":
        return 0, age
    lives, since = divmod(age, boot_seconds + behaviour.lives_seconds)
    return int(lives), since
