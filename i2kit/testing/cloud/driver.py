"""The driver of a fake cloud: the contract's methods as calls that may go wrong."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from random import Random

from i2kit.driver import Context, LogLine, Record
from i2kit.errors import ConflictingRecord, Problem, ProviderError
from i2kit.plan import Change, GroupHealth, Observed
from i2kit.resources import Image, InstanceGroup, Resource, Secret, key
from i2kit.testing.cloud.faults import INSTANCES, Faults
from i2kit.testing.cloud.front import Front
from i2kit.testing.cloud.state import State
from i2kit.testing.cloud.store import Store


class CloudDriver:
    """One operator's access to a cloud; there may be many at once. Thread-safe.

    Release records are strongly consistent, whatever the faults: `append_record` is the lock, and `records` shows all that was appended
    before. `apply` works on what is true; only `observe` and `health` may be stale.
    """

    def __init__(self, environment: str, store: Store, front: Front) -> None:
        self._environment = environment
        self._store = store
        self._front = front
        self._closed = threading.Event()

    def observe(self) -> Observed:
        """Return everything there is, or was a moment ago."""

        def look(dice: Random) -> Observed:
            now = self._store.clock.now()
            at = now - self._staleness(dice)
            return self._store.at(at).observed(at, shown=now)

        return self._front.serve("observe", "", look)

    def preflight(self, changes: Sequence[Change]) -> Sequence[Problem]:
        """Nothing is known to stand in the way: quotas are found out by going beyond them."""
        return ()

    def apply(self, change: Change, context: Context) -> None:
        """Make one change happen."""
        context.check()

        def work(dice: Random) -> None:
            context.check()
            # What takes long comes before the change itself, which holds the cloud.
            _fetch(change, context)
            self._change(change, dice)

        self._front.serve("apply", f"{change.action} {change.key}", work)

    def health(self, group: str) -> GroupHealth:
        """Return what the members of a group do, or did a moment ago."""

        def look(dice: Random) -> GroupHealth:
            at = self._store.clock.now() - self._staleness(dice)
            return self._store.at(at).health(group, at)

        return self._front.serve("health", group, look)

    def logs(self, group: str, *, tail: int | None = None, follow: bool = False) -> Iterator[LogLine]:
        """Yield what stands on the members' consoles; with `follow`, look again as real time goes by, until closed."""
        consoles = self._front.serve("logs", group, lambda _dice: self._consoles(group))
        return self._lines(
            group, {name: lines if tail is None else lines[max(0, len(lines) - tail) :] for name, lines in consoles.items()}, follow
        )

    def _lines(self, group: str, consoles: dict[str, list[tuple[float, LogLine]]], follow: bool) -> Iterator[LogLine]:
        shown: dict[str, float] = {}
        while True:
            for member, lines in consoles.items():
                yield from (line for written, line in lines if written > shown.get(member, float("-inf")))
                shown[member] = max((written for written, _ in lines), default=shown.get(member, float("-inf")))
            if not follow or self._closed.wait(0.05):
                return
            consoles = self._consoles(group)

    def _consoles(self, group: str) -> dict[str, list[tuple[float, LogLine]]]:
        return self._store.state.consoles(group, self._store.clock.now())

    def records(self, application: str) -> Sequence[Record]:
        """Return all records that were appended before."""

        def look(_dice: Random) -> list[Record]:
            with self._store.lock:
                bodies = self._store.records.get(application, {})
                return [Record(number=number, body=bodies[number]) for number in sorted(bodies)]

        return self._front.serve("records", application, look)

    def append_record(self, application: str, number: int, body: bytes) -> None:
        """Create a record, unless there is one of that number."""

        def work(_dice: Random) -> None:
            with self._store.lock:
                if number in self._store.records.get(application, {}):
                    raise ConflictingRecord.of("record-exists", f"record {number} of application {application} exists")
                self._store.records.setdefault(application, {})[number] = body

        self._front.serve("append_record", f"{application} {number}", work)

    def remove_record(self, application: str, number: int) -> None:
        """Remove a record, and with the last one what was known of the application."""

        def work(_dice: Random) -> None:
            with self._store.lock:
                bodies = self._store.records.get(application, {})
                bodies.pop(number, None)
                if not bodies:
                    self._store.records.pop(application, None)

        self._front.serve("remove_record", f"{application} {number}", work)

    def applications(self) -> Sequence[str]:
        """Return the applications that have records or resources."""

        def look(_dice: Random) -> list[str]:
            with self._store.lock:
                marked = {resource.mark.application for resource in self._store.state.resources.values()}
                return sorted({*self._store.records, *marked} - {""})

        return self._front.serve("applications", "", look)

    def close(self) -> None:
        """End what follows logs."""
        self._closed.set()

    def _staleness(self, dice: Random) -> float:
        return dice.uniform(0.0, self._front.faults.stale_seconds)

    def _change(self, change: Change, dice: Random) -> None:
        """Make the change in one step, so that whoever dies leaves it done or not done, or as a partial failure leaves it."""
        faults = self._front.faults
        with self._store.lock:
            state, now = self._store.state, self._store.clock.now()
            _refuse(state, change, self._environment)
            if change.action == "delete":
                self._store.commit(state.without(change.key), remember=faults.stale_seconds)
                return
            resource = change.resource
            _keep_within_quotas(state, resource, faults)
            after = state.put(resource, shown_from=now + dice.uniform(0.0, faults.eventual_seconds))
            size, missing = _size(state, resource, faults, dice, f"apply {change.action} {change.key}")
            if isinstance(resource, InstanceGroup):
                after = after.sized(resource.name, size, now)
            self._store.commit(after, remember=faults.stale_seconds)
        if missing:
            raise ProviderError.of("capacity", f"InsufficientInstanceCapacity: {missing} instances of {resource.name} could not be started")


def wanted_size(group: InstanceGroup) -> int:
    """Return the size that a group gets: what it asks for, within its bounds."""
    if group.scaling is None:
        return group.replicas
    return max(group.scaling.minimum, min(group.scaling.maximum, group.replicas))


def _fetch(change: Change, context: Context) -> None:
    """Take an image's files and a secret's values, as far as a cloud without disks can: they must be there. Nothing of them is kept."""
    resource = change.resource
    if change.action == "delete":
        return
    if isinstance(resource, Secret):
        values = context.secret(resource.name)
        if set(values) != set(resource.keys):
            raise ProviderError.of("refused", f"Secret {resource.name} has keys {sorted(values)}, not {sorted(resource.keys)}")
    if isinstance(resource, Image):
        context.progress(f"uploading {resource.name}")
        artefact = context.artefact(resource.name)
        empty = [role for role, path in artefact.files.items() if path.stat().st_size == 0]
        if artefact.format != resource.format or empty:
            raise ProviderError.of("bad-artefact", f"image {resource.name} is no {resource.format}: {artefact.format} {empty}")


def _refuse(state: State, change: Change, environment: str) -> None:
    """Refuse what a cloud refuses: to use what is not there, to delete what is in use, to take what belongs to another environment."""
    reasons = [state.refusal(change.key)]
    if change.action == "delete":
        # A group goes also when a balancer is in front of it, as with most clouds: the balancer is left without it.
        if not isinstance(change.resource, InstanceGroup):
            reasons += [f"{user} uses it" for user in state.users(change.key)]
    else:
        reasons += [f"{needed} does not exist" for needed in change.resource.needs if needed not in state.resources]
        if change.resource.mark.environment != environment:
            reasons.append(f"it is marked for environment {change.resource.mark.environment}, this is {environment}")
    if any(reasons):
        raise ProviderError.of("refused", f"cannot {change.action} {change.key}: {'; '.join(filter(None, reasons))}")


def _keep_within_quotas(state: State, resource: Resource, faults: Faults) -> None:
    """Refuse what goes beyond a quota, in a cloud's words."""
    used: dict[str, int] = {resource.kind: state.of_kind(resource.kind)}
    asked: dict[str, int] = {resource.kind: int(key(resource) not in state.resources)}
    if isinstance(resource, InstanceGroup):
        used[INSTANCES] = state.instances
        asked[INSTANCES] = max(0, wanted_size(resource) - len(state.members.get(resource.name, ())))
    for what, more in asked.items():
        limit = faults.quotas.get(what)
        if limit is not None and more and used[what] + more > limit:
            raise ProviderError.of(
                "quota",
                f"QuotaExceeded: the quota of {what} is {limit}, {used[what]} are in use, {more} more were asked for",
                hint="ask the provider for a greater quota, or remove what is not needed",
            )


def _size(state: State, resource: Resource, faults: Faults, dice: Random, call: str) -> tuple[int, int]:
    """Return how many members a group really gets, and how many it lacks then."""
    if not isinstance(resource, InstanceGroup):
        return 0, 0
    wanted, there = wanted_size(resource), len(state.members.get(resource.name, ()))
    if wanted <= there or dice.random() >= faults.partial or not faults.concern(call):
        return wanted, 0
    size = dice.randrange(there, wanted)
    return size, wanted - size
