"""A small model of the world that rollouts go by, explored exhaustively: every order in which members get ready, steps come and fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from attrs import evolve, field, frozen

from i2kit import rollout as rollouts
from i2kit.resources import Boot, InstanceGroup, Mark
from i2kit.steps import Advance, Done, GroupSeen, Pause, Position, Remove, Resize, Restore, Rollout, Seen, Shift, Undone, Wait
from i2kit.strategy import Scaling, Strategy

WEB = "Balancer/web"
START = 1000.0
DEADLINE = 600


def group(name: str, replicas: int, scaling: Scaling | None = None) -> InstanceGroup:
    """A group of workload `web`."""
    return InstanceGroup(
        name=name,
        mark=Mark(environment="test", application="sample", namespace="default", workload="web", revision=name),
        image="image",
        network="network",
        replicas=replicas,
        cpu_millis=100,
        memory_mib=128,
        architecture="x86_64",
        boot=Boot(fields={}, search=(), secrets={}),
        grace_seconds=5,
        progress_deadline_seconds=DEADLINE,
        scaling=scaling,
    )


@frozen(kw_only=True)
class Members:
    """A group as it really is; `failing` members never get ready."""

    size: int
    ready: int
    scaling: bool = False
    failing: bool = False

    def resized(self, size: int, scaling: bool) -> Members:
        """Who is not ready leaves first, as everywhere."""
        return evolve(self, size=size, ready=min(self.ready, size), scaling=scaling)


@frozen(kw_only=True)
class State:
    """All that matters: where the rollout stands, what there is, whether somebody looked since the last step.

    `plan` is the rollout as it began, the same in all states.
    """

    plan: Rollout = field(eq=False, repr=False)
    position: Position
    groups: tuple[tuple[str, Members], ...]
    traffic: tuple[tuple[str, int], ...] = ()
    looked: bool = True
    now: float = START
    progressed: float = START

    @property
    def rollout(self) -> Rollout:
        return evolve(self.plan, position=self.position)

    @property
    def there(self) -> dict[str, Members]:
        return dict(self.groups)

    @property
    def weights(self) -> dict[str, int]:
        return dict(self.traffic)

    @property
    def total(self) -> int:
        return sum(one.size for _, one in self.groups)

    @property
    def ready(self) -> int:
        return sum(one.ready for _, one in self.groups)

    @property
    def serving(self) -> int:
        """How many ready members get traffic, or may do work without any."""
        return sum(one.ready for name, one in self.groups if not self.plan.balancers or self.weights.get(name))

    @property
    def seen(self) -> Seen:
        stable = self.rollout.stable
        return Seen(
            groups={
                name: GroupSeen(
                    size=one.size,
                    ready=one.ready if self.looked or not one.size else None,
                    available=one.ready if self.looked else 0,
                    lately=one.ready,
                    scaling=one.scaling,
                )
                for name, one in self.groups
            },
            traffic=self.weights,
            restored=not self.rollout.undoing or stable is None or not self.rollout.balancers or self.weights == {stable.name: 100},
            progressed=self.progressed,
        )

    def next(self) -> rollouts.Action:
        return rollouts.next_step(self.rollout, self.seen, self.now)

    def give_up(self, *, aborted: bool = False) -> State:
        return evolve(self, position=self.rollout.give_up("it failed", aborted=aborted).position)

    def with_groups(self, groups: Mapping[str, Members]) -> State:
        return evolve(self, groups=tuple(sorted(groups.items())))


def start(rollout: Rollout, there: Mapping[str, Members], traffic: Mapping[str, int]) -> State:
    """The world before a rollout."""
    weights = traffic if rollout.balancers else {}
    return State(plan=rollout, position=rollout.position, groups=tuple(sorted(there.items())), traffic=tuple(sorted(weights.items())))


def after(state: State, action: rollouts.Action, *, failing: bool = False) -> State | None:
    """Return the world after a step; None when it is the last one, or waits for people or members."""
    there, changed = state.there, evolve(state, looked=False, progressed=state.now)
    match action:
        case Resize(group=one):
            before = there.get(one.name, Members(size=0, ready=0, failing=failing and one.name == state.plan.new.name))
            there[one.name] = before.resized(one.replicas, one.scaling is not None)
            return changed.with_groups(there)
        case Shift(weights=weights):
            return evolve(changed, traffic=tuple(sorted(weights.items())))
        case Restore():
            assert state.plan.stable is not None
            return evolve(changed, traffic=((state.plan.stable.name, 100),))
        case Remove(group=one):
            there.pop(one.name)
            left = tuple((name, weight) for name, weight in state.traffic if name != one.name)
            return evolve(changed.with_groups(there), traffic=left)
        case Advance(position=position):
            return evolve(state, position=position, progressed=state.now if position.undo else state.progressed)
        case Wait(until=until) if until is not None:
            return evolve(state, now=until)
        case _:
            return None


def events(state: State) -> Iterator[State]:
    """Return what may happen by itself: somebody looks, or one more member gets ready."""
    if not state.looked:
        yield evolve(state, looked=True)
    there = state.there
    for name, one in state.groups:
        if one.ready < one.size and not one.failing:
            yield state.with_groups({**there, name: evolve(one, ready=one.ready + 1)})


Check = Callable[[State, rollouts.Action, State | None], None]


@frozen(kw_only=True)
class Explored:
    """Everything that can be reached, and how it can end."""

    states: tuple[State, ...]
    ends: tuple[tuple[State, rollouts.Action], ...]


def explore(begin: State, check: Check, *, failing: bool = False, promote: bool = True) -> Explored:
    """Go every way from a state, checking each step; fail when one never ends or stands still.

    A `failing` new group waits out its deadline. Pauses are promoted, unless `promote` is False: then they are an end.
    """
    seen: dict[State, bool] = {}  # whether all ways from it are done
    ends: list[tuple[State, rollouts.Action]] = []

    def ways(state: State) -> Iterator[State]:
        action = state.next()
        later = after(state, action, failing=failing)
        check(state, action, later)
        others = list(events(state))
        if isinstance(action, Pause) and promote:
            later = evolve(state, position=evolve(state.position, promoted=True))
        if isinstance(action, Wait) and later is None and not others:
            # Nothing will happen by itself any more: time passes.
            later = evolve(state, now=state.progressed + DEADLINE)
            assert later != state, f"stands still: {action} in {state}"
        if isinstance(action, Done | Undone) or (isinstance(action, Pause) and not promote):
            ends.append((state, action))
            return
        if later is not None:
            yield later
        yield from others

    stack = [(begin, ways(begin))]
    seen[begin] = False
    while stack:
        state, rest = stack[-1]
        following = next(rest, None)
        if following is None:
            seen[state] = True
            stack.pop()
        elif following not in seen:
            seen[following] = False
            stack.append((following, ways(following)))
        else:
            assert seen[following], f"goes round in circles: {following.next()} in {following}"
    return Explored(states=tuple(seen), ends=tuple(ends))


def update(
    strategy: Strategy, size: int, old_size: int | None = None, *, balanced: bool = True, weights: bool = True, at_once: bool = False
) -> Rollout:
    """An update from group `old`, the last good one, to `new`."""
    old = group("old", size if old_size is None else old_size)
    return Rollout(
        workload="default/web",
        new=group("new", size),
        size=size,
        olds=(old,),
        stable=old,
        strategy=strategy,
        balancers=(WEB,) if balanced else (),
        weights=weights,
        at_once=at_once,
        position=Position(to="new"),
    )


def healthy(rollout: Rollout) -> State:
    """The world before an update: the old group serves whole."""
    (old,) = rollout.olds
    return start(rollout, {"old": Members(size=old.replicas, ready=old.replicas)}, {"old": 100})


def stays_within(surge: int, unavailable: int) -> Check:
    """Never more than size + surge members, nor fewer than size - unavailable available ones, unless it began so; no traffic to nobody."""

    def check(state: State, action: rollouts.Action, later: State | None) -> None:
        if later is None:
            return
        size = state.rollout.size
        assert later.total <= max(size + surge, state.total), f"{later.total} members of at most {size + surge} after {action}"
        least = min(size - unavailable, state.ready)
        assert later.ready >= least, f"{later.ready} available members of at least {least} after {action}"
        serves_only_with_members(state, action, later)

    return check


def serves_only_with_members(state: State, action: rollouts.Action, later: State | None) -> None:
    """No step takes members from where the last traffic goes, or moves traffic to where nobody is, as long as somebody is anywhere."""
    if later is None or not later.traffic:
        return
    there = later.there
    for name, weight in later.traffic:
        missing = weight > 0 and (name not in there or not there[name].ready)
        was = state.weights.get(name, 0) > 0 and (name not in state.there or not state.there[name].ready)
        assert not missing or was or not later.ready, f"{weight}% of the traffic go to {name}, where nobody is ready, after {action}"


def has_arrived(end: State, action: rollouts.Action) -> None:
    """The new revision is all there is, whole, with all the traffic."""
    assert isinstance(action, Done), f"it ended with {action}"
    new = end.rollout.new
    assert [name for name, _ in end.groups] == [new.name]
    assert end.there[new.name].ready == end.there[new.name].size == end.rollout.size
    assert not end.rollout.balancers or end.weights == {new.name: 100}


def is_back(end: State, action: rollouts.Action) -> None:
    """The last good revision is all there is, whole, with all the traffic."""
    assert action == Undone(), f"it ended with {action}"
    stable = end.rollout.stable
    assert stable is not None
    assert [name for name, _ in end.groups] == [stable.name]
    assert end.there[stable.name].ready == end.there[stable.name].size == stable.replicas
    assert not end.rollout.balancers or end.weights == {stable.name: 100}
