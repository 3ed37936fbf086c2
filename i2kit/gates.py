"""When a group counts as ready, and when waiting for it has failed. Pure."""

from __future__ import annotations

from typing import Literal

from attrs import evolve, frozen

from i2kit.plan import GroupHealth
from i2kit.resources import InstanceGroup

Verdict = Literal["waiting", "ready", "failed"]


@frozen(kw_only=True)
class Gate:
    """The wait for a group.

    Opened at `opened`, last got further at `progressed`, all members ready since `ready_since`; most members ever ready: `best`. Times in
    seconds.
    """

    group: InstanceGroup
    opened: float
    progressed: float
    ready_since: float | None = None
    best: int = 0
    last: GroupHealth | None = None

    @classmethod
    def open(cls, group: InstanceGroup, now: float) -> Gate:
        """Start waiting for `group`."""
        return cls(group=group, opened=now, progressed=now)

    def seen(self, health: GroupHealth, now: float) -> Gate:
        """Return the gate after a look at the group."""
        ready = health.ready >= self.group.replicas
        return evolve(
            self,
            last=health,
            best=max(self.best, health.ready),
            progressed=now if health.ready > self.best else self.progressed,
            ready_since=(self.ready_since if self.ready_since is not None else now) if ready else None,
        )

    def verdict(self, now: float) -> Verdict:
        """Tell whether the group is ready for `min_ready_seconds`, or made no progress for `progress_deadline_seconds`."""
        if self.ready_since is not None and now - self.ready_since >= self.group.min_ready_seconds:
            return "ready"
        if now - self.progressed >= self.group.progress_deadline_seconds:
            return "failed"
        return "waiting"

    def shortfall(self) -> str:
        """Say how far the group got."""
        ready = self.last.ready if self.last else 0
        reasons = sorted({one.reason for one in self.last.instances if one.reason and not one.ready}) if self.last else []
        text = f"{ready} of {self.group.replicas} members are ready"
        return f"{text} ({'; '.join(reasons)})" if reasons else text
