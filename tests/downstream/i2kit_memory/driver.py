"""Changes -> calls to the region, and the region -> what is observed."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from typing import Any

from attrs import evolve

from i2kit import wire
from i2kit.driver import Context, LogLine, Record
from i2kit.errors import ConflictingRecord, Problem, ProviderError
from i2kit.plan import Change, GroupHealth, Instance, Observed, ObservedResource
from i2kit.resources import Image, InstanceGroup, Resource, Secret
from i2kit_memory.region import Region, forget


class MemoryDriver:
    """Talks to one region; thread-safe, since the region changes by one transaction at a time."""

    def __init__(self, region: Region) -> None:
        self.region = region
        self._closed = threading.Event()

    def observe(self) -> Observed:
        """Return everything there is."""
        with self.region.transaction() as state:
            return Observed(resources=tuple(_observed(state, key) for key in state["resources"]))

    def preflight(self, changes: Sequence[Change]) -> Sequence[Problem]:
        """Nothing stands in the way: there are no quotas."""
        return ()

    def apply(self, change: Change, context: Context) -> None:
        """Make one change happen."""
        context.check()
        # What may take long, or ask for more, comes before the transaction that holds the region.
        secret = _values(change, context)
        _upload(change, context)
        with self.region.transaction() as state:
            _refuse(state, change)
            if change.action == "delete":
                forget(state, change.key)
                return
            state["resources"][change.key] = wire.to_data(change.resource)
            state["faults"].pop(change.key, None)
            if isinstance(change.resource, Secret):
                state["secrets"][change.resource.name] = secret
            if isinstance(change.resource, InstanceGroup):
                _resize(state, change.resource)

    def health(self, group: str) -> GroupHealth:
        """Return the group's members, all ready unless a lever says otherwise."""
        with self.region.transaction() as state:
            instances = _instances(state, group)
        return GroupHealth(ready=sum(one.ready for one in instances), instances=instances)

    def logs(self, group: str, *, tail: int | None = None, follow: bool = False) -> Iterator[LogLine]:
        """Yield what stands on the members' consoles."""
        shown: dict[str, int] = {}
        while True:
            with self.region.transaction() as state:
                consoles = {member: state["console"].get(member, []) for member in state["members"].get(group, [])}
            for member, lines in consoles.items():
                first = max(0, len(lines) - tail) if tail is not None else 0
                for text in lines[shown.get(member, first) :]:
                    yield LogLine(instance=member, container="", text=text)
                shown[member] = len(lines)
            if not follow or self._closed.wait(0.1):
                return

    def records(self, application: str) -> Sequence[Record]:
        """Return the application's records in order."""
        with self.region.transaction() as state:
            bodies = state["records"].get(application, {})
            return [Record(number=int(number), body=base64.b64decode(bodies[number])) for number in sorted(bodies, key=int)]

    def append_record(self, application: str, number: int, body: bytes) -> None:
        """Create a record, unless there is one of that number."""
        with self.region.transaction() as state:
            bodies = state["records"].setdefault(application, {})
            if str(number) in bodies:
                raise ConflictingRecord.of("record-exists", f"record {number} of application {application} exists")
            bodies[str(number)] = base64.b64encode(body).decode()

    def remove_record(self, application: str, number: int) -> None:
        """Remove a record, and the application's list with its last one."""
        with self.region.transaction() as state:
            bodies = state["records"].get(application, {})
            bodies.pop(str(number), None)
            if not bodies:
                state["records"].pop(application, None)

    def applications(self) -> Sequence[str]:
        """Return the applications that have records or resources."""
        with self.region.transaction() as state:
            marked = {data["mark"]["application"] for data in state["resources"].values()}
            return sorted({*state["records"], *marked} - {""})

    def close(self) -> None:
        """End what follows logs."""
        self._closed.set()


def _observed(state: dict[str, Any], key: str) -> ObservedResource:
    resource: Resource = wire.from_data(state["resources"][key], Resource)  # type: ignore[arg-type]
    faults = tuple(state["faults"].get(key, ()))
    if not isinstance(resource, InstanceGroup):
        return ObservedResource(resource=resource, faults=faults)
    instances = _instances(state, resource.name)
    # The members that there are, not those there should be: nobody here replaces what is gone, so the next deploy has to see it.
    return ObservedResource(resource=evolve(resource, replicas=len(instances)), faults=faults, instances=instances)


def _instances(state: dict[str, Any], group: str) -> tuple[Instance, ...]:
    reason = next((reason for pattern, reason in state["unready"].items() if fnmatch(group, pattern)), "")
    return tuple(
        Instance(id=member, group=group, state="running", ready=not reason, reason=reason) for member in state["members"].get(group, [])
    )


def _values(change: Change, context: Context) -> dict[str, str]:
    if change.action == "delete" or not isinstance(change.resource, Secret):
        return {}
    return {name: base64.b64encode(value.reveal()).decode() for name, value in context.secret(change.resource.name).items()}


def _upload(change: Change, context: Context) -> None:
    """Take an image's files, as far as a cloud of no disks can: they must be there and have something in them."""
    if change.action == "delete" or not isinstance(change.resource, Image):
        return
    context.progress(f"uploading {change.resource.name}")
    artefact = context.artefact(change.resource.name)
    empty = [role for role, path in artefact.files.items() if path.stat().st_size == 0]
    if artefact.format != change.resource.format or empty:
        raise ProviderError.of("bad-artefact", f"image {change.resource.name} is no {change.resource.format}: {artefact.format} {empty}")


def _refuse(state: dict[str, Any], change: Change) -> None:
    """Refuse what a cloud refuses: a change it cannot make now, to use what is not there, to delete what is in use."""
    reasons = [reason for pattern, reason in state["refused"].items() if fnmatch(change.key, pattern)]
    if change.action == "delete":
        if not isinstance(change.resource, InstanceGroup):
            users = [key for key, data in state["resources"].items() if change.key in wire.from_data(data, Resource).needs]  # type: ignore[arg-type]
            reasons += [f"{user} uses it" for user in users]
    else:
        reasons += [f"{needed} does not exist" for needed in change.resource.needs if needed not in state["resources"]]
    if reasons:
        raise ProviderError.of("refused", f"cannot {change.action} {change.key}: {'; '.join(reasons)}")


def _resize(state: dict[str, Any], group: InstanceGroup) -> None:
    """Keep the members that there are, in the order of their age; end the youngest, start what is missing under free numbers."""
    members = state["members"].setdefault(group.name, [])
    for member in members[group.replicas :]:
        state["console"].pop(member, None)
    del members[group.replicas :]
    free = (name for number in range(group.replicas * 2) if (name := f"{group.name}-{number}") not in members)
    while len(members) < group.replicas:
        name = next(free)
        members.append(name)
        state["console"][name] = ['i2kit {"event": "start"}', 'i2kit {"event": "readiness", "ready": true}']
