"""The words of rollouts: where one stands, what it goes by, and the steps that it takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from attrs import evolve, field, frozen

from i2kit.resources import InstanceGroup
from i2kit.strategy import Strategy

WHOLE = 100
"""The weights of a workload's groups behind a balancer add up to this."""


@frozen(kw_only=True)
class Position:
    """Where a rollout to group `to` stands; every step of a run writes it into the records.

    `stage` counts the stages that are done, `reached` is when the present one got its traffic (seconds since the epoch), `promoted`
    that somebody let it go on. `before` is the size that the old group had when the rollout began. `undo` says why the old revision is
    put back; it is empty on the way forward.
    """

    to: str
    stage: int = 0
    reached: float | None = None
    promoted: bool = False
    before: int | None = None
    undo: str = ""
    aborted: bool = False


@frozen(kw_only=True)
class Rollout:
    """One workload's rollout: from `olds` to `new` at `size` replicas.

    `stable` is what is put back when it fails (the last good release's group; `new` itself, at its former size, when only the size
    changes; None when there is nothing to go back to). `balancers` are the keys of those that move along. `weights` tells whether the
    provider can divide traffic; `at_once`, that it can only move as a whole because the balancer itself changes with the Pod.
    `repair` tells that the group is to be applied although its size is right: something of it is broken.
    """

    workload: str
    new: InstanceGroup
    size: int
    olds: tuple[InstanceGroup, ...] = ()
    stable: InstanceGroup | None = None
    strategy: Strategy = Strategy()
    balancers: tuple[str, ...] = ()
    weights: bool = True
    at_once: bool = False
    keep_failed: bool = False
    position: Position

    @property
    def strays(self) -> tuple[InstanceGroup, ...]:
        """Old groups that nobody goes back to: of runs that died, failed or were aborted."""
        return tuple(old for old in self.olds if self.stable is None or old.name != self.stable.name)

    @property
    def undoing(self) -> bool:
        """Whether the old revision is being put back."""
        return bool(self.position.undo)

    def give_up(self, reason: str, *, aborted: bool = False) -> Rollout:
        """Return the rollout on its way back."""
        return evolve(self, position=evolve(self.position, undo=reason, aborted=aborted))


@frozen(kw_only=True)
class GroupSeen:
    """A group that is there: its size as last applied or observed, and how many members are ready, and for long enough.

    `ready` is None until somebody looked since the last step; `lately` is how many were seen ready so late that it may still hold.
    `broken`: to be applied although its size is right.
    """

    size: int
    ready: int | None = None
    available: int = 0
    lately: int = 0
    scaling: bool = False
    broken: bool = False


@frozen(kw_only=True)
class Seen:
    """What a rollout goes by.

    `traffic` are the weights of the workload's groups behind its balancers; `unsettled` that balancers differ among each other or from
    what they should be in more than weights; `restored` that balancers and names are those of the last good release. `progressed` is
    when it last got further (seconds since the epoch); `shortfall` says what is missing, for people.
    """

    groups: Mapping[str, GroupSeen] = field(factory=dict)
    traffic: Mapping[str, int] = field(factory=dict)
    unsettled: bool = False
    restored: bool = True
    progressed: float = 0.0
    shortfall: str = ""


@frozen(kw_only=True)
class Resize:
    """Make a group, or give it another size."""

    group: InstanceGroup
    reason: str


@frozen(kw_only=True)
class Shift:
    """Divide the traffic of the workload's balancers; with `final` they become what is planned in everything else, too."""

    weights: Mapping[str, int]
    reason: str
    final: bool = False


@frozen(kw_only=True)
class Restore:
    """Give balancers and names back to the last good release."""

    reason: str


@frozen(kw_only=True)
class Remove:
    """Remove a group; its members are drained first. `leftover`: the rollout has arrived without it."""

    group: InstanceGroup
    reason: str
    leftover: bool = False


@frozen(kw_only=True)
class Advance:
    """Nothing to do to the world: the rollout stands elsewhere now."""

    position: Position
    reason: str


@frozen(kw_only=True)
class Wait:
    """Nothing to do until something else is seen, or until a time (seconds since the epoch)."""

    reason: str
    until: float | None = None


@frozen(kw_only=True)
class Pause:
    """Nothing to do until somebody promotes or aborts."""

    reason: str


@frozen(kw_only=True)
class Done:
    """The new revision is all there is."""


@frozen(kw_only=True)
class Undone:
    """The old revision is back, or nothing was there to go back to; `problem` says what is wrong with it all the same."""

    problem: str = ""


Action = Resize | Shift | Restore | Remove | Advance | Wait | Pause | Done | Undone


Kind = Literal["resize", "traffic", "remove", "wait", "pause"]


@frozen(kw_only=True)
class Step:
    """One step of a rollout as a plan shows it."""

    kind: Kind
    text: str
