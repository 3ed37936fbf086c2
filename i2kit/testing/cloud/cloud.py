"""A cloud in memory that behaves as badly as real ones do, the same way each time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from attrs import evolve

from i2kit.capabilities import Capability, Level, Support
from i2kit.clock import Clock
from i2kit.driver import DRIVER_API, Driver, Limits, Provider
from i2kit.plan import Observed
from i2kit.resources import Backend, Balancer, DnsRecord, InstanceGroup, Resource
from i2kit.testing.cloud.clock import FakeClock
from i2kit.testing.cloud.driver import CloudDriver
from i2kit.testing.cloud.faults import FAULTLESS, Faults
from i2kit.testing.cloud.front import Answer, Front
from i2kit.testing.cloud.members import Behaviour
from i2kit.testing.cloud.state import State
from i2kit.testing.cloud.store import Store, Watcher

T = TypeVar("T")

_FULL: Mapping[Capability, Level] = dict.fromkeys(Capability, Level(support=Support.FULL))


class FakeCloud:
    """Holds the truth about one environment; drivers are what operators see of it.

    Members are ready `boot_seconds` after they were made, by `clock` (a new `FakeClock` unless given). With `heals`, a member that was
    killed is replaced, as instance groups do. `faults` may be exchanged at any time. What the `seed` decides is the same in every run,
    also with threads: it depends on the call and on how often it was made, and on nothing else.
    """

    def __init__(
        self,
        environment: str = "conformance",
        *,
        seed: int = 0,
        faults: Faults = FAULTLESS,
        clock: Clock | None = None,
        boot_seconds: float = 0.0,
        heals: bool = True,
    ) -> None:
        self.environment = environment
        self.clock: Clock = clock or FakeClock()
        self.heals = heals
        self._front = Front(self.clock, faults, seed)
        self._store = Store(State(boot_seconds=boot_seconds), self.clock)

    def driver(self) -> Driver:
        """Return a new driver, as another operator has it."""
        return CloudDriver(self.environment, self._store, self._front)

    def provider(
        self, name: str = "fake", *, capabilities: Mapping[Capability, Level] = _FULL, limits: Callable[[], Limits] | None = None
    ) -> Provider:
        """Return the record of a provider whose drivers are this cloud's, whatever the environment; it can do everything unless given."""
        tight = {"Balancer": 32, "Network": 32}
        return Provider(
            name=name,
            summary="a cloud in memory for tests; boots nothing",
            api=DRIVER_API,
            formats=("kernel+initrd", "qcow2-bios"),
            capabilities=capabilities,
            limits=limits or (lambda: Limits(max_memory_mib=65536, max_cpu_millis=64000, name_lengths=tight)),
            connect=lambda _environment: self.driver(),
            check=lambda _environment: (),
            lag_seconds=self.faults.stale_seconds,
        )

    # How badly it behaves.

    @property
    def faults(self) -> Faults:
        """What goes wrong with calls."""
        return self._front.faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        self._front.faults = faults

    def behave(self, pattern: str, behaviour: Behaviour) -> None:
        """Let the members of groups whose names match the pattern fare like this, also those that there are."""
        self._change(lambda state: evolve(state, behaviours={**_less(state.behaviours, pattern), pattern: behaviour}))

    def refuse(self, pattern: str, reason: str) -> None:
        """Refuse changes of resources whose keys match the pattern (``Balancer/*``); with an empty reason, no longer."""
        self._change(lambda state: evolve(state, refusals={**_less(state.refusals, pattern), **({pattern: reason} if reason else {})}))

    # What happens behind i2kit's back.

    def kill_member(self, group: str, slot: int) -> None:
        """End a VM; if the cloud heals, another one boots in its place. Raises `KeyError` when it is not there."""

        def kill(state: State) -> State:
            members = {member.slot: member for member in state.members[group]}
            killed = members.pop(slot)
            replacement = (evolve(killed, born=self.clock.now()),) if self.heals else ()
            return state.peopled(group, (*members.values(), *replacement))

        self._change(kill)

    def resize(self, group: str, size: int) -> None:
        """Give a group another size at the cloud's own console. Raises `KeyError` when it is not there."""
        self._change(lambda state: _resized(state, state.group(group), size, self.clock.now()))

    def autoscale(self, group: str, size: int) -> int:
        """Move a group towards a size, as its load would: within its bounds, not at all if it has none. Returns its size then.

        Raises `KeyError` when it is not there.
        """

        def scale(state: State) -> State:
            found = state.group(group)
            if found.scaling is None:
                return state
            within = max(found.scaling.minimum, min(found.scaling.maximum, size))
            return _resized(state, found, within, self.clock.now())

        return self._change(scale).group(group).replicas

    def remove(self, key: str) -> None:
        """Remove a resource, whoever uses it. Raises `KeyError` when it is not there."""
        self._change(lambda state: state.without(_there(state, key)))

    def damage(self, key: str, fault: str) -> None:
        """Break a resource in a way that `observe` tells and the next change mends. Raises `KeyError` when it is not there."""
        self._change(lambda state: evolve(state, broken={**state.broken, _there(state, key): (*state.broken.get(key, ()), fault)}))

    def retarget(self, name: str, balancer: str) -> None:
        """Let a name answer with another balancer's address. Raises `KeyError` when it is not there."""

        def move(state: State) -> State:
            record = state.resources[f"DnsRecord/{name}"]
            assert isinstance(record, DnsRecord)
            return _replaced(state, evolve(record, balancer=balancer))

        self._change(move)

    def reweigh(self, balancer: str, weights: Mapping[str, int]) -> None:
        """Put a balancer in front of other groups, with their weights. Raises `KeyError` when it is not there."""

        def move(state: State) -> State:
            backends = tuple(Backend(group=group, weight=weight) for group, weight in weights.items())
            return _replaced(state, evolve(_balancer(state, balancer), backends=backends))

        self._change(move)

    # What is true.

    def truth(self) -> Observed:
        """Return all that there really is, now."""
        with self._store.lock:
            return self._store.state.observed(self.clock.now())

    def serving(self, balancer: str) -> dict[str, tuple[int, int]]:
        """Return the weight and the number of ready members of each group that a balancer is in front of.

        Raises `KeyError` when there is no such balancer; a group that is gone has no ready members.
        """
        with self._store.lock:
            state, now = self._store.state, self.clock.now()
            return {one.group: (one.weight, state.health(one.group, now).ready) for one in _balancer(state, balancer).backends}

    def watch(self, watcher: Watcher) -> None:
        """Call `watcher` with the truth after every effect, before anything else can happen; `verify` raises what it raised."""
        with self._store.lock:
            self._store.watchers.append(watcher)

    def verify(self) -> None:
        """Raise what a watcher raised first; nothing happens if all were content."""
        with self._store.lock:
            if self._store.complaints:
                raise self._store.complaints[0]

    # The books.

    @property
    def calls(self) -> tuple[Answer, ...]:
        """The calls of all drivers, in the order in which they were answered."""
        return self._front.answers

    @property
    def call_seconds(self) -> float:
        """The time that the cloud took for all calls together."""
        return sum(call.seconds for call in self.calls)

    @property
    def max_concurrent(self) -> int:
        """The most calls that were under way at once."""
        return self._front.max_concurrent

    def forget_calls(self) -> None:
        """Begin the books anew."""
        self._front.forget()

    def _change(self, change: Callable[[State], State]) -> State:
        with self._store.lock:
            after = change(self._store.state)
            self._store.commit(after, remember=self.faults.stale_seconds)
            return after


def _resized(state: State, group: InstanceGroup, size: int, now: float) -> State:
    return _replaced(state, evolve(group, replicas=size)).sized(group.name, size, now)


def _replaced(state: State, resource: Resource) -> State:
    return evolve(state, resources={**state.resources, f"{resource.kind}/{resource.name}": resource})


def _balancer(state: State, name: str) -> Balancer:
    found = state.resources[f"Balancer/{name}"]
    assert isinstance(found, Balancer)
    return found


def _there(state: State, key: str) -> str:
    if key not in state.resources:
        raise KeyError(key)
    return key


def _less(mapping: Mapping[str, T], name: str) -> dict[str, T]:
    return {one: value for one, value in mapping.items() if one != name}
