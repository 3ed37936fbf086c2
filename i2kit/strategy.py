"""How a workload goes from one revision to the next: what its manifest asks for."""

from __future__ import annotations

from typing import Literal

from attrs import frozen

StrategyType = Literal["rolling-update", "recreate", "blue-green", "canary"]


@frozen(kw_only=True)
class Amount:
    """A number of replicas, or a share of the desired ones in percent, as maxSurge and maxUnavailable have it."""

    value: int
    percent: bool = False

    def of(self, replicas: int, *, up: bool) -> int:
        """Return the number of replicas; a share is rounded `up` or down.

        >>> Amount(value=25, percent=True).of(3, up=True), Amount(value=25, percent=True).of(3, up=False)
        (1, 0)
        """
        if not self.percent:
            return self.value
        return -(-replicas * self.value // 100) if up else replicas * self.value // 100

    def __str__(self) -> str:
        return f"{self.value}%" if self.percent else str(self.value)


_QUARTER = Amount(value=25, percent=True)


@frozen(kw_only=True)
class CanaryStep:
    """One step of a canary: the new revision's share of the traffic in percent, then a pause.

    `pause_seconds` is how long it lasts; None means until somebody promotes it.
    """

    weight: int
    pause_seconds: int | None = 0


@frozen(kw_only=True)
class Strategy:
    """How the new revision takes over.

    `max_surge` and `max_unavailable` belong to rolling updates; `steps` to canaries. A blue/green switch waits for a promotion when
    `promotion` is manual.
    """

    type: StrategyType = "rolling-update"
    max_surge: Amount = _QUARTER
    max_unavailable: Amount = _QUARTER
    steps: tuple[CanaryStep, ...] = ()
    promotion: Literal["automatic", "manual"] = "automatic"

    def limits(self, size: int) -> tuple[int, int]:
        """Return how many members a rolling update may have beyond `size`, and how many may be unavailable.

        Shares that are rounded to zero both would stand still: then one may be unavailable, as in Kubernetes.

        >>> Strategy().limits(3), Strategy(max_surge=Amount(value=0)).limits(3)
        ((1, 0), (0, 1))
        """
        surge = self.max_surge.of(size, up=True)
        unavailable = min(size, self.max_unavailable.of(size, up=False))
        return (surge, unavailable) if surge or unavailable else (0, 1)


@frozen(kw_only=True)
class Scaling:
    """Bounds between which a provider moves a group's size so that its members use `cpu_percent` of their CPU."""

    minimum: int
    maximum: int
    cpu_percent: int = 80
