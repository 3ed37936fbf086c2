"""What the environment remembers, a file for each resource: what was asked for, and what was chosen for it (slots, addresses, ports)."""

from __future__ import annotations

import base64
import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from attrs import evolve, field, frozen

from i2kit import wire
from i2kit.errors import ProviderError
from i2kit.manifest.workloads import SecretValue
from i2kit.resources import Balancer, DnsRecord, Image, InstanceGroup, Network, Resource, Secret
from i2kit_local import netns
from i2kit_local.folders import Folders, remove, write

R = TypeVar("R", bound=Resource)


@frozen(kw_only=True)
class Member:
    """One VM of a group: its slot there, its number in the environment (which gives its addresses); `leaving` when it is to go."""

    group: str
    slot: int
    index: int
    leaving: bool = False

    @property
    def id(self) -> str:
        """The VM's name, which is its host name too."""
        return f"{self.group}-{self.slot}"

    @property
    def program(self) -> str:
        """The name of its program."""
        return f"vm-{self.id}"

    @property
    def address(self) -> str:
        """Its network address."""
        return netns.member_address(self.index)

    @property
    def mac(self) -> str:
        """Its hardware address."""
        return netns.member_mac(self.index)


@frozen(kw_only=True)
class GroupState:
    """A group and its members by slot."""

    resource: InstanceGroup
    members: tuple[Member, ...] = ()

    @property
    def staying(self) -> tuple[Member, ...]:
        """The members that are not leaving."""
        return tuple(member for member in self.members if not member.leaving)


@frozen(kw_only=True)
class BalancerState:
    """A balancer, the number of its address, and where its ports are published on this machine (port -> port here).

    `leaving` when it is to go.
    """

    resource: Balancer
    index: int
    published: Mapping[int, int] = field(factory=dict)
    leaving: bool = False

    @property
    def vip(self) -> str:
        """Its address in the environment."""
        return netns.vip_address(self.index)


@frozen(kw_only=True)
class State:
    """Reads and writes an environment's files. The caller holds the environment's lock where it changes what others read."""

    folders: Folders

    @property
    def _root(self) -> Path:
        return self.folders.state

    def network(self) -> Network | None:
        """Return the environment's network."""
        return self._one(self._root / "network.json", Network)

    def save_network(self, network: Network) -> None:
        """Remember the network."""
        _save(self._root / "network.json", network)

    def image_folder(self, name: str) -> Path:
        """Return where an image's files are."""
        return self._root / "images" / name

    def images(self) -> Iterator[Image]:
        """Yield the images that are here whole."""
        for folder in _entries(self._root / "images"):
            if image := self._one(folder / "image.json", Image):
                yield image

    def save_image(self, image: Image, folder: Path) -> None:
        """Write down, in a folder that is being made, which image it is."""
        _save(folder / "image.json", image)

    def secrets(self) -> Iterator[Secret]:
        """Yield the Secrets."""
        for path in _entries(self._root / "secrets"):
            if secret := self._one(path, Secret):
                yield secret

    def save_secret(self, secret: Secret, values: Mapping[str, SecretValue]) -> None:
        """Keep a Secret's values in a file that only root can read."""
        encoded = {key: base64.b64encode(value.reveal()).decode() for key, value in values.items()}
        _save(self._root / "secrets" / f"{secret.name}.json", secret, values=encoded)

    def secret_values(self, name: str) -> dict[str, str]:
        """Return a Secret's values in base64; raise `ProviderError` when it is not there."""
        data = _load(self._root / "secrets" / f"{name}.json")
        if data is None:
            raise ProviderError.of("no-such-secret", f"Secret {name} is not in the environment", hint="run `i2kit deploy` again")
        values: dict[str, str] = data["values"]
        return values

    def remove_secret(self, name: str) -> None:
        """Remove a Secret."""
        remove(self._root / "secrets" / f"{name}.json")

    def member_folder(self, member: Member) -> Path:
        """Return where a VM's files are: its boot configuration, its console."""
        return self._root / "groups" / member.group / str(member.slot)

    def groups(self) -> dict[str, GroupState]:
        """Return all groups by name."""
        found = (self.group(folder.name) for folder in _entries(self._root / "groups"))
        return {one.resource.name: one for one in found if one is not None}

    def group(self, name: str) -> GroupState | None:
        """Return a group."""
        data = _load(self._root / "groups" / name / "group.json")
        if data is None:
            return None
        members = tuple(Member(group=name, **member) for member in data["members"])
        return GroupState(resource=_resource(data, InstanceGroup), members=members)

    def save_group(self, group: GroupState) -> None:
        """Remember a group."""
        name = group.resource.name
        members = [{"slot": one.slot, "index": one.index, "leaving": one.leaving} for one in group.members]
        _save(self._root / "groups" / name / "group.json", group.resource, members=members)

    def remove_group(self, name: str) -> None:
        """Forget a group with all its files."""
        remove(self._root / "groups" / name)

    def balancers(self) -> dict[str, BalancerState]:
        """Return all balancers by name."""
        found = (self.balancer(path.stem) for path in _entries(self._root / "balancers"))
        return {one.resource.name: one for one in found if one is not None}

    def balancer(self, name: str) -> BalancerState | None:
        """Return a balancer."""
        data = _load(self._root / "balancers" / f"{name}.json")
        if data is None:
            return None
        published = {int(port): here for port, here in data["published"].items()}
        return BalancerState(resource=_resource(data, Balancer), index=data["index"], published=published, leaving=data["leaving"])

    def save_balancer(self, balancer: BalancerState) -> None:
        """Remember a balancer."""
        path = self._root / "balancers" / f"{balancer.resource.name}.json"
        published = {str(port): here for port, here in balancer.published.items()}
        _save(path, balancer.resource, index=balancer.index, published=published, leaving=balancer.leaving)

    def remove_balancer(self, name: str) -> None:
        """Forget a balancer."""
        remove(self._root / "balancers" / f"{name}.json")

    def names(self) -> Iterator[DnsRecord]:
        """Yield the DNS records."""
        for path in _entries(self._root / "names"):
            if record := self._one(path, DnsRecord):
                yield record

    def save_name(self, record: DnsRecord) -> None:
        """Remember a DNS record."""
        _save(self._root / "names" / f"{record.name}.json", record)

    def remove_name(self, name: str) -> None:
        """Forget a DNS record."""
        remove(self._root / "names" / f"{name}.json")

    @staticmethod
    def _one(path: Path, kind: type[R]) -> R | None:
        data = _load(path)
        return None if data is None else _resource(data, kind)


def resized(group: GroupState, resource: InstanceGroup, taken: set[int], unready: Collection[str] = ()) -> GroupState:
    """Return the group with as many staying members as `resource` asks for.

    Those that are `unready` (their names) leave first, then the highest slots; the lowest free slots come. `taken` are the numbers that
    VMs of the environment have. Raises `ProviderError` when there is none left. Pure.
    """
    members = sorted(group.members, key=lambda member: member.slot)
    staying = [member for member in members if not member.leaving]
    # Stable, so that slots are in order within those that are ready and those that are not.
    keeping = sorted(staying, key=lambda member: member.id in unready)[: resource.replicas]
    leaving = {member.slot for member in staying if member not in keeping}
    members = [evolve(member, leaving=member.leaving or member.slot in leaving) for member in members]
    slots, used = {member.slot for member in members}, {*taken, *(member.index for member in members)}
    for _ in range(resource.replicas - len(staying)):
        slot = _lowest_free(slots)
        index = _lowest_free(used)
        if index >= netns.MEMBERS:
            raise ProviderError.of("no-address", f"the environment has no address left for a member of {resource.name}")
        slots.add(slot)
        used.add(index)
        members.append(Member(group=resource.name, slot=slot, index=index))
    return GroupState(resource=resource, members=tuple(sorted(members, key=lambda member: member.slot)))


def free_vip(balancers: Mapping[str, BalancerState]) -> int:
    """Return the lowest number of an address that no balancer has; raise `ProviderError` when there is none left. Pure."""
    index = _lowest_free({one.index for one in balancers.values()})
    if index >= netns.VIPS:
        raise ProviderError.of("no-address", "the environment has no address left for a balancer")
    return index


def _lowest_free(taken: set[int]) -> int:
    return next(number for number in range(len(taken) + 1) if number not in taken)


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except FileNotFoundError:
        return []


def _save(path: Path, resource: Resource, **more: Any) -> None:
    write(path, json.dumps({"resource": wire.to_data(resource), **more}, sort_keys=True))


def _load(path: Path) -> dict[str, Any] | None:
    try:
        text = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        data: dict[str, Any] = json.loads(text)
    except ValueError as error:
        raise ProviderError.of(
            "damaged-state", f"{path} is damaged: {error}", hint="remove the file; `i2kit deploy` makes it again"
        ) from error
    return data


def _resource(data: Mapping[str, Any], kind: type[R]) -> R:
    resource: Resource = wire.from_data(data["resource"], Resource)  # type: ignore[arg-type]
    if not isinstance(resource, kind):
        raise ProviderError.of("damaged-state", f"a {kind.__name__} was expected, and a {type(resource).__name__} was found")
    return resource
