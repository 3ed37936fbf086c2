"""What a run knows to be there: observed at its start, and as its own changes have made it since."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from attrs import define, evolve, field, frozen

from i2kit.plan import Change, GroupHealth, Observed
from i2kit.resources import InstanceGroup, Resource, key


@frozen(kw_only=True)
class Look:
    """What was seen of a group's members.

    `since` tells by member since when it is ready (seconds since the epoch), `best` how many ever were at once. A look is `fresh` when
    nothing has been changed after it began; `version` counts those changes. `peak` is the greatest number of late, and when it was seen.
    """

    since: Mapping[str, float] = field(factory=dict)
    last: GroupHealth | None = None
    best: int = 0
    fresh: bool = False
    version: int = 0
    peak: tuple[int, float] = (0, 0.0)

    def seen(self, health: GroupHealth, now: float, version: int, lag: float = 0.0) -> Look:
        """Return what is known after a look that began at `version`, on a cloud whose answers may be `lag` seconds old."""
        since = {one.id: self.since.get(one.id, now) for one in health.instances if one.ready}
        # A smaller number counts once it cannot be older than the greater one.
        peak = self.peak if health.ready < self.peak[0] and now - self.peak[1] <= lag else (health.ready, now)
        return evolve(self, since=since, last=health, best=max(self.best, health.ready), fresh=version == self.version, peak=peak)

    def outdated(self) -> Look:
        """Return what is left of it once something was changed."""
        return evolve(self, fresh=False, version=self.version + 1)

    @property
    def ready(self) -> int | None:
        """How many members are ready; None when that may not hold any more."""
        return self.last.ready if self.last is not None and self.fresh else None

    def available(self, seconds: int, now: float) -> int:
        """How many members have been ready for so many seconds; none when that may not hold any more."""
        if self.ready is None:
            return 0
        return min(self.ready, sum(now - since >= seconds for since in self.since.values()))

    def shortfall(self, size: int) -> str:
        """Say how far the group got."""
        ready = self.last.ready if self.last else 0
        reasons = sorted({one.reason for one in self.last.instances if one.reason and not one.ready}) if self.last else []
        text = f"{ready} of {size} members are ready"
        return f"{text} ({'; '.join(reasons)})" if reasons else text


@define(kw_only=True)
class World:
    """Resources by their keys, those of them that are broken, and looks by group name. Only one loop touches it.

    `lag` is how old looks may be, `begun` when the run began (seconds since the epoch). A group that lost members and has more again may
    show those that are gone: `lessened` tells when it lost them, `believed` when a look must have begun to count.
    """

    resources: dict[str, Resource]
    broken: set[str]
    lag: float = 0.0
    begun: float = float("-inf")
    looks: dict[str, Look] = field(factory=dict)
    lessened: dict[str, float] = field(factory=dict)
    believed: dict[str, float] = field(factory=dict)

    @classmethod
    def of(cls, observed: Observed, changes: Iterable[Change], lag: float = 0.0, now: float = float("-inf")) -> World:
        """Return the world as it was observed when `changes` were found, with what does not show yet, for a run that begins `now`."""
        found = list(changes)
        known = [change.observed for change in found if change.observed is not None]
        return cls(
            resources={key(one.resource): one.resource for one in (*observed.resources, *known)},
            broken={change.key for change in found if change.action == "update" and _looks_right(change)},
            lag=lag,
            begun=now,
        )

    def group(self, name: str) -> InstanceGroup | None:
        """Return a group as it is, None when it is not there."""
        found = self.resources.get(f"InstanceGroup/{name}")
        return found if isinstance(found, InstanceGroup) else None

    def look(self, name: str) -> Look:
        """Return what was seen of a group's members."""
        return self.looks.get(name, Look())

    def believes(self, name: str, began: float) -> bool:
        """Whether a look at a group's members that began then shows none that are gone by something that was done on purpose."""
        return began >= self.believed.get(name, began)

    def saw(self, name: str, health: GroupHealth, now: float, version: int) -> Look:
        """Take over what was seen of a group's members in a look that began at `version`; return what is known by it."""
        self.looks[name] = self.look(name).seen(health, now, version, self.lag)
        return self.looks[name]

    def applied(self, change: Change, now: float) -> None:
        """Take a change over that was made by `now`."""
        self._resized(change, now)
        if change.action == "delete":
            self.resources.pop(change.key, None)
            self.looks.pop(change.resource.name, None)
        else:
            self.resources[change.key] = change.resource
        self.broken.discard(change.key)

    def half_applied(self, change: Change, now: float) -> None:
        """Take a change over that had failed by `now`: what it left is not known, and has to be applied again."""
        self._resized(change, now)
        if change.action != "delete" and isinstance(change.resource, InstanceGroup):
            self.resources.setdefault(change.key, evolve(change.resource, replicas=0))
        self.broken.add(change.key)

    def _resized(self, change: Change, now: float) -> None:
        name, wanted, there = change.resource.name, change.resource, self.group(change.resource.name)
        size = wanted.replicas if isinstance(wanted, InstanceGroup) and change.action != "delete" else 0
        if there is not None and size < there.replicas:
            self.lessened[name] = now
        elif size and (there is None or size > there.replicas):
            # One that is made may have been removed just before this run.
            lessened = self.lessened.get(name, float("-inf") if there else self.begun)
            self.believed[name] = max(lessened + self.lag, self.believed.get(name, lessened))
            # Who comes now may have the name of one that left, and has not been ready for as long.
            self.looks[name] = evolve(self.look(name), since={}) if name in self.lessened else self.look(name)

    def outdate(self, groups: Iterable[str]) -> None:
        """Forget how ready groups are: something was changed."""
        for name in groups:
            self.looks[name] = self.look(name).outdated()


def _looks_right(change: Change) -> bool:
    """Whether a resource that is to be updated has the fields it should have: then it is broken, or in doubt."""
    seen = change.observed.resource if change.observed else None
    if seen is None:
        return False
    wanted = change.resource
    if isinstance(seen, InstanceGroup) and isinstance(wanted, InstanceGroup):
        return seen.replicas == wanted.replicas
    return evolve(seen, mark=wanted.mark) == wanted
