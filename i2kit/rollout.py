"""The way of one workload from the groups that are there to the one that is planned: which step comes now.

Pure, and asked again after every step, so that it reacts to what is seen, resumes after a run that died, and times out. What a plan
shows is its simulation. No provider carries rollout code.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import evolve, frozen

from i2kit.resources import InstanceGroup
from i2kit.steps import (
    WHOLE,
    Action,
    Advance,
    Done,
    GroupSeen,
    Pause,
    Position,
    Remove,
    Resize,
    Restore,
    Rollout,
    Seen,
    Shift,
    Undone,
    Wait,
)

_BLIND_SECONDS = 60.0
_NOTHING = GroupSeen(size=0, ready=0)


@frozen(kw_only=True)
class _Scene:
    """A rollout and what is seen of it, with what every strategy asks."""

    rollout: Rollout
    seen: Seen

    @property
    def new(self) -> GroupSeen:
        return self.seen.groups.get(self.rollout.new.name, _NOTHING)

    @property
    def size(self) -> int:
        return self.rollout.size

    @property
    def olds(self) -> list[InstanceGroup]:
        return [old for old in self.rollout.olds if old.name in self.seen.groups]

    @property
    def old_size(self) -> int:
        return sum(self.group(old).size for old in self.olds)

    @property
    def looked(self) -> bool:
        return all(self.group(one).ready is not None for one in (self.rollout.new, *self.olds))

    @property
    def complete(self) -> bool:
        return self.new.size == self.size and self.new.available >= self.size and not self.new.broken

    @property
    def takes_in_advance(self) -> bool:
        """Whether a group can stand behind the balancers before it gets traffic, so that its health there is known."""
        return self.rollout.weights and not self.rollout.at_once and bool(self.rollout.balancers)

    @property
    def least_available(self) -> int:
        rolling = self.rollout.strategy.type == "rolling-update"
        return self.size - (self.rollout.strategy.limits(self.size)[1] if rolling else 0)

    def group(self, group: InstanceGroup) -> GroupSeen:
        return self.seen.groups.get(group.name, _NOTHING)

    def ready(self, group: InstanceGroup) -> int:
        """How many members are ready; none as long as nobody looked."""
        seen = self.group(group)
        return min(seen.ready or 0, seen.size)

    def serves(self, group: InstanceGroup) -> bool:
        """Whether the group gets traffic, or may do work without any."""
        return self.seen.traffic.get(group.name, 0) > 0 if self.rollout.balancers else True

    def resized(self, group: InstanceGroup, size: int, reason: str) -> Resize:
        """Scaling pauses as long as a rollout goes on."""
        return Resize(group=evolve(group, replicas=size, scaling=None), reason=reason)

    def grown(self, size: int, reason: str) -> Resize | None:
        """Return the step that gives the new group a size, if it has another one."""
        exists = self.rollout.new.name in self.seen.groups
        if exists and self.new.size == size and not self.new.broken:
            return None
        return self.resized(self.rollout.new, size, reason)

    def shifted(self, weights: Mapping[str, int], reason: str, *, final: bool = False) -> Shift | None:
        """Return the step that divides the traffic like that, if it is divided otherwise."""
        if not self.rollout.balancers or (self.rollout.at_once and not final):
            return None
        wanted = dict(weights)
        if dict(self.seen.traffic) == wanted and not self.seen.unsettled:
            return None
        return Shift(weights=wanted, reason=reason, final=final)

    def introduced(self) -> Shift | None:
        """Return the step that has the balancers check the new group before it gets traffic."""
        name = self.rollout.new.name
        if not self.takes_in_advance or name in self.seen.traffic or not self.new.size:
            return None
        present = {old: weight for old, weight in self.seen.traffic.items() if old in self.seen.groups}
        return self.shifted({**present, name: 0}, f"{name} is checked before it gets traffic")


def next_step(rollout: Rollout, seen: Seen, now: float) -> Action:
    """Return what to do next, given what is seen at `now` (seconds since the epoch)."""
    scene = _Scene(rollout=rollout, seen=seen)
    waited = now - seen.progressed - rollout.new.progress_deadline_seconds
    # Members that nobody could look at may be ready; but not for ever.
    overdue = waited >= (0 if scene.looked else _BLIND_SECONDS)
    if rollout.undoing:
        return _back(scene, overdue)
    step = _forward(scene, now)
    if isinstance(step, Wait) and step.until is None and overdue:
        seconds = rollout.new.progress_deadline_seconds
        reason = f"not ready after {seconds} s without progress: {seen.shortfall or step.reason}"
        return Advance(position=rollout.give_up(reason).position, reason=reason)
    return step


def _forward(scene: _Scene, now: float) -> Action:
    for old in scene.olds:
        if scene.group(old).scaling:
            return scene.resized(old, scene.group(old).size, "scaling pauses during the rollout")
    if not scene.olds:
        return _alone(scene)
    if stray := _stray(scene):
        return stray
    strategy = scene.rollout.strategy.type
    if strategy == "recreate":
        return _recreate(scene)
    if strategy == "rolling-update" and not scene.rollout.at_once:
        return _rolling(scene)
    return _staged(scene, now)


def _alone(scene: _Scene) -> Action:
    """Nothing else of the workload is there: nothing can be lost, and a Pod may need its own Service to get ready."""
    return (
        scene.grown(scene.size, f"{scene.size} replicas are wanted")
        or scene.shifted(_all(scene), "nothing else serves", final=True)
        or _arrival(scene)
    )


def _arrival(scene: _Scene) -> Action:
    """The last steps of every rollout: all traffic to the new group, the old ones go, the provider scales again."""
    if not scene.complete:
        return Wait(reason=f"{min(scene.new.available, scene.new.size)} of {scene.size} members are available")
    if shift := scene.shifted(_all(scene), "all of the new revision is available", final=True):
        return shift
    for old in scene.olds:
        return Remove(group=old, reason=f"replaced by {scene.rollout.new.name}", leftover=True)
    if scene.rollout.new.scaling is not None and not scene.new.scaling:
        return Resize(group=evolve(scene.rollout.new, replicas=scene.size), reason="its size follows the load again")
    return Done()


def _all(scene: _Scene) -> dict[str, int]:
    return {scene.rollout.new.name: WHOLE}


def _stray(scene: _Scene) -> Action | None:
    """Remove what an earlier run left, as soon as nobody misses it."""
    stable = scene.rollout.stable
    for old in scene.rollout.strays:
        if old.name not in scene.seen.groups or scene.group(old).ready is None:
            continue
        rest = _without(scene, old)
        if not scene.ready(old) or not scene.serves(old):
            if old.name not in scene.seen.traffic:
                return Remove(group=old, reason="left by an earlier run")
            shift = scene.shifted(rest, f"{old.name} is of an earlier run") if rest else None
        else:
            spare = stable and scene.rollout.balancers and scene.serves(stable)
            enough = stable and scene.ready(stable) >= max(1, scene.least_available)
            shift = scene.shifted(rest, f"the rollout to {old.name} is given up") if spare and enough else None
        if shift:
            return shift
    return None


def _without(scene: _Scene, group: InstanceGroup) -> dict[str, int]:
    """Return the traffic with a group's share given to those that have the rest; empty when there are none."""
    rest = {name: weight for name, weight in scene.seen.traffic.items() if name != group.name and name in scene.seen.groups}
    total = sum(rest.values())
    return _divided(rest) if total else {}


def _divided(parts: Mapping[str, int], whole: int = WHOLE) -> dict[str, int]:
    """Divide a whole in proportion to parts, at least 1 for each that is not 0.

    >>> _divided({"old": 2, "new": 1})
    {'old': 67, 'new': 33}
    """
    total = sum(parts.values())
    shares = {name: max(1, round(whole * part / total)) if part and whole else 0 for name, part in parts.items()}
    greatest = max(shares, key=lambda name: shares[name])
    shares[greatest] += whole - sum(shares.values())
    return shares


def _rolling(scene: _Scene) -> Action:
    """Kubernetes' rolling update: never more than size + maxSurge members, never fewer than size - maxUnavailable available ones."""
    surge, unavailable = scene.rollout.strategy.limits(scene.size)
    target = min(scene.size, max(scene.size + surge - scene.old_size, scene.new.size))
    exists = scene.rollout.new.name in scene.seen.groups
    if (target or exists or not scene.size) and (grown := scene.grown(target, f"at most {scene.size + surge} members at once")):
        return grown
    if shift := scene.introduced():
        return shift
    if not scene.looked:
        return Wait(reason="looking at the members")
    if scene.complete:
        return _arrival(scene)
    sizes = {old.name: scene.group(old).size for old in scene.olds}
    after = _shrunk(scene, unavailable)
    if shift := scene.shifted(_shares(scene, after), "traffic follows the members"):
        return shift
    for old in scene.olds:
        if after[old.name] < sizes[old.name]:
            least = scene.size - unavailable
            return scene.resized(old, after[old.name], f"at least {least} members stay available")
    return Wait(reason=f"{scene.new.available} of {scene.new.size} new members are available")


def _shrunk(scene: _Scene, unavailable: int) -> dict[str, int]:
    """Return the old groups' sizes after as many members as possible have left, those that nobody goes back to first."""
    ready = sum(scene.ready(old) for old in scene.olds)
    least = scene.size - unavailable
    waiting = scene.new.size - scene.new.available
    idle = min(scene.old_size - ready, max(0, scene.old_size + scene.new.size - least - waiting))
    drop = min(scene.old_size, max(idle, ready + scene.new.available - least, 0))
    sizes = {}
    for old in sorted(scene.olds, key=lambda one: scene.rollout.stable is not None and one.name == scene.rollout.stable.name):
        leaving = min(drop, scene.group(old).size)
        sizes[old.name] = scene.group(old).size - leaving
        drop -= leaving
    return sizes


def _shares(scene: _Scene, sizes: Mapping[str, int]) -> dict[str, int]:
    """Return weights by which every member gets the same, given the old groups' sizes."""
    serving = {old.name: sizes[old.name] for old in scene.olds if scene.serves(old)}
    if not any(serving.values()):
        # A run that died may have left all of the traffic with a group that goes first now.
        serving = {old.name: sizes[old.name] for old in scene.olds if scene.ready(old)}
    new = scene.rollout.new
    # A run that goes on has not seen them ready for long yet: what they have they keep.
    takers = max(scene.new.available, scene.new.lately if scene.seen.traffic.get(new.name) else 0)
    parts = {**{name: size for name, size in serving.items() if size}, new.name: takers}
    if not sum(parts.values()):
        return dict(scene.seen.traffic)
    if not scene.takes_in_advance and not takers:
        del parts[new.name]
    if not scene.new.size:
        parts.pop(new.name, None)
    return _divided(parts)


def _recreate(scene: _Scene) -> Action:
    """All old members go before the first new one comes."""
    for old in scene.olds:
        if scene.group(old).size:
            return scene.resized(old, 0, "the old revision ends before the new one begins")
    return (
        scene.grown(scene.size, "the old revision has ended")
        or scene.shifted(_all(scene), "nothing else serves", final=True)
        or _arrival(scene)
    )


@frozen(kw_only=True)
class _Stage:
    """A stop on the way: so many new members with so much of the traffic; then a pause in seconds, None until promoted."""

    size: int
    weight: int
    pause: int | None


def _stages(rollout: Rollout) -> list[_Stage]:
    strategy = rollout.strategy
    if rollout.stable is not None and rollout.stable.name == rollout.new.name:
        return []  # back to what serves: nothing about it is to be tried out
    if strategy.type == "blue-green" and strategy.promotion == "manual":
        return [_Stage(size=rollout.size, weight=0, pause=None)]
    if strategy.type != "canary" or rollout.at_once:
        return []
    return [_Stage(size=-(-rollout.size * step.weight // 100), weight=step.weight, pause=step.pause_seconds) for step in strategy.steps]


def _staged(scene: _Scene, now: float) -> Action:
    """Blue/green and canary: the old revision stays whole until the new one has all the traffic."""
    stages, position = _stages(scene.rollout), scene.rollout.position
    stage = stages[position.stage] if position.stage < len(stages) else None
    size = stage.size if stage else scene.size
    step = scene.grown(max(size, scene.new.size if scene.new.size <= scene.size else 0), _label(position, stages)) or scene.introduced()
    if step:
        return step
    if not scene.looked:
        return Wait(reason="looking at the members")
    if stage is None:
        return _arrival(scene)
    if scene.new.available < size:
        return Wait(reason=f"{scene.new.available} of {size} new members are available")
    return _shared(scene, stage) or _paused(stage, stages, position, now)


def _shared(scene: _Scene, stage: _Stage) -> Action | None:
    """Give the new revision the stage's share: by weight, or where the provider has none, by numbers of members."""
    if not stage.weight:
        return None
    serving = {old.name: scene.group(old).size for old in scene.olds if scene.serves(old)}
    if sum(serving.values()):
        weights = {**_divided(serving, WHOLE - stage.weight), scene.rollout.new.name: stage.weight}
        if shift := scene.shifted(weights, f"{stage.weight}% of the traffic to the new revision"):
            return shift
    if scene.rollout.weights:
        return None
    surplus = scene.old_size + stage.size - scene.size
    for old in scene.olds:
        # A group that still has a share of the traffic needs somebody to take it.
        size = max(int(stage.weight < WHOLE), scene.group(old).size - surplus)
        if size < scene.group(old).size:
            return scene.resized(old, size, f"{stage.weight}% of the members are of the new revision")
    return None


def _paused(stage: _Stage, stages: list[_Stage], position: Position, now: float) -> Action:
    label = _label(position, stages)
    if position.reached is None:
        return Advance(position=evolve(position, reached=now), reason=f"{label} is reached")
    if stage.pause is None and not position.promoted:
        return Pause(reason=f"{label}: waiting to be promoted or aborted")
    until = position.reached + (stage.pause or 0)
    if stage.pause and now < until and not position.promoted:
        return Wait(reason=f"{label}: {stage.pause} s pause", until=until)
    return Advance(position=evolve(position, stage=position.stage + 1, reached=None, promoted=False), reason=f"{label} is done")


def stage_label(rollout: Rollout) -> str:
    """Say at which of its strategy's stages a rollout stands; empty where the strategy has none."""
    stages = _stages(rollout)
    return _label(rollout.position, stages) if stages else ""


def _label(position: Position, stages: list[_Stage]) -> str:
    if position.stage >= len(stages):
        return "the whole new revision beside the old one"
    return f"step {position.stage + 1} of {len(stages)} ({stages[position.stage].weight}% of the traffic)"


def _back(scene: _Scene, overdue: bool) -> Action:
    """Put the old revision back whole: size, balancers, names; then everything else of the workload goes."""
    rollout, stable = scene.rollout, scene.rollout.stable
    others = [one for one in (rollout.new, *rollout.strays) if one.name in scene.seen.groups and (not stable or one.name != stable.name)]
    going = [] if rollout.keep_failed else others
    if stable is None:
        return Remove(group=going[0], reason=rollout.position.undo) if rollout.new in going else Undone()
    wanted = stable.replicas if rollout.position.before is None else rollout.position.before
    if stable.name not in scene.seen.groups or scene.group(stable).size != wanted:
        return scene.resized(stable, wanted, "the last good revision is put back")
    missing = scene.group(stable).ready is None or scene.ready(stable) < wanted
    # As long as nobody looked they may serve.
    serving = any(scene.group(one).size and scene.group(one).ready != 0 and scene.serves(one) for one in others)
    if serving and missing and not overdue and (going or not scene.seen.restored):
        return _awaited_back(scene, stable, wanted, overdue)
    if not scene.seen.restored:
        return Restore(reason="the last good revision serves again")
    for one in going:
        return Remove(group=one, reason=rollout.position.undo if one.name == rollout.new.name else "left by an earlier run")
    # Where nothing was changed, nobody waits for what was wrong before.
    changed = stable.name != rollout.new.name or wanted != rollout.size
    return _awaited_back(scene, stable, wanted, overdue) if missing and changed else _settled_back(scene, stable, wanted)


def _awaited_back(scene: _Scene, stable: InstanceGroup, size: int, overdue: bool) -> Action:
    """Wait for the last good revision's members, but not for ever."""
    ready = scene.ready(stable)
    if overdue:
        return Undone(problem=f"of the old revision, {ready} of {size} members are ready")
    return Wait(reason=f"{ready} of {size} old members are ready")


def _settled_back(scene: _Scene, stable: InstanceGroup, size: int) -> Action:
    if stable.scaling is not None and not scene.group(stable).scaling:
        return Resize(group=evolve(stable, replicas=size), reason="its size follows the load again")
    return Undone()
