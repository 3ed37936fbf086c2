"""The driver: changes -> what the local region does, and what it looks at."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from i2kit.driver import Context, LogLine, Record
from i2kit.environment import Environment
from i2kit.errors import Problem, ProviderError
from i2kit.plan import Change, GroupHealth, Observed
from i2kit.resources import Balancer, DnsRecord, Image, InstanceGroup, Network, Resource, Secret
from i2kit_local import consoles
from i2kit_local.balancers import Balancers, Names
from i2kit_local.folders import Folders
from i2kit_local.groups import Groups, Patience
from i2kit_local.image_files import Images
from i2kit_local.observe import observe
from i2kit_local.records import RecordFiles
from i2kit_local.region import Region
from i2kit_local.settings import Settings


class LocalDriver:
    """Talks to one environment on this machine. Thread-safe."""

    def __init__(self, environment: Environment, *, patience: Patience | None = None) -> None:
        self._folders = Folders.of(environment.name)
        self.region = Region(self._folders, Settings.of(environment))
        self._records = RecordFiles(self._folders)
        self._images = Images(state=self.region.state)
        self._groups = Groups(region=self.region, patience=patience or Patience())
        self._balancers = Balancers(region=self.region)
        self._names = Names(region=self.region)
        self._closed = threading.Event()

    def observe(self) -> Observed:
        """Return everything of the environment."""
        return observe(self.region)

    def preflight(self, changes: Sequence[Change]) -> Sequence[Problem]:
        """Nothing stands in the way that `check` and `limits` do not tell already."""
        return ()

    def apply(self, change: Change, context: Context) -> None:
        """Make one change happen."""
        context.check()
        if change.action in ("delete", "replace"):
            self._delete(change, context)
        if change.action in ("create", "update", "replace"):
            self._ensure(change, context)

    def _ensure(self, change: Change, context: Context) -> None:
        match change.resource:
            case Network() as network:
                with self.region.locked():
                    self.region.ensure(network)
            case Image() as image:
                self._images.ensure(image, context)
            case Secret() as secret:
                self.region.state.save_secret(secret, context.secret(secret.name))
            case InstanceGroup() as group:
                self._groups.ensure(group, context)
            case Balancer() as balancer:
                self._balancers.ensure(balancer, context)
            case DnsRecord() as record:
                self._names.ensure(record)
            case other:
                raise ProviderError.of("unsupported", f"the local region makes no {other.kind}")

    def _delete(self, change: Change, context: Context) -> None:
        match change.resource:
            case Network():
                with self.region.locked():
                    self.region.remove()
            case Image(name=name):
                self._images.delete(name)
            case Secret(name=name):
                self.region.state.remove_secret(name)
            case InstanceGroup() as group:
                self._groups.delete(group, context)
            case Balancer(name=name):
                self._balancers.delete(name)
            case DnsRecord(name=name):
                self._names.delete(name)
            case other:
                raise ProviderError.of("unsupported", f"the local region has no {other.kind}")
        self._folders.tidy()

    def health(self, group: str) -> GroupHealth:
        """Return which members of the group are ready, by asking each; one that a balancer checks also has to be up there."""
        state = self.region.state.group(group)
        found = self.region.instances(state) if state else ()
        return GroupHealth(ready=sum(one.ready for one in found), instances=found)

    def logs(self, group: str, *, tail: int | None = None, follow: bool = False) -> Iterator[LogLine]:
        """Yield the members' console lines."""
        if follow:
            yield from consoles.follow(lambda: self._consoles(group), tail, self._closed.wait)
            return
        for instance, console in self._consoles(group).items():
            yield from consoles.last(console, instance, tail)

    def _consoles(self, group: str) -> dict[str, Path]:
        state = self.region.state.group(group)
        members = state.members if state else ()
        return {member.id: self.region.state.member_folder(member) / "console.log" for member in members}

    def records(self, application: str) -> Sequence[Record]:
        """Return the application's release records in order."""
        return self._records.all(application)

    def append_record(self, application: str, number: int, body: bytes) -> None:
        """Create a record, unless there is one of that number."""
        self._records.append(application, number, body)

    def remove_record(self, application: str, number: int) -> None:
        """Remove a record."""
        self._records.remove(application, number)

    def applications(self) -> Sequence[str]:
        """Return the applications that have records or resources."""
        state = self.region.state
        resources: list[Resource] = [group.resource for group in state.groups().values()]
        resources += [balancer.resource for balancer in state.balancers().values()]
        resources += [*state.secrets(), *state.names()]
        return sorted({*self._records.applications(), *(one.mark.application for one in resources)} - {""})

    def close(self) -> None:
        """End what follows consoles."""
        self._closed.set()
