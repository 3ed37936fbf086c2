"""Instance groups: VMs that supervisor keeps running."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence

from attrs import evolve, frozen

from i2kit.driver import Context
from i2kit.errors import ProviderError
from i2kit.resources import InstanceGroup
from i2kit_local import netns
from i2kit_local.drains import end_idle_drains
from i2kit_local.folders import changed, private_folder, remove
from i2kit_local.machine import Machine, accelerator
from i2kit_local.programs import program
from i2kit_local.region import Region
from i2kit_local.state import GroupState, Member, resized
from i2kit_local.supervisor import ENDED, Program

# From the end of the guest's grace period to KILL.
_MARGIN_SECONDS = 10
_POLL_SECONDS = 0.1


@frozen(kw_only=True)
class Patience:
    """How long a VM's keeper waits, in seconds: between two looks, for an answer, until the first one; and how many may fail."""

    poll_seconds: float = 2.0
    timeout_seconds: float = 3.0
    boot_seconds: float = 180.0
    failures: int = 4


@frozen(kw_only=True)
class Groups:
    """Makes, resizes and removes groups."""

    region: Region
    patience: Patience = Patience()

    def ensure(self, group: InstanceGroup, context: Context) -> None:
        """Have a group of that size, every member with its program."""
        if group.form != "replicas":
            raise ProviderError.of("unsupported", f"group {group.name} has stable members, which the local region does not offer")
        with self.region.locked():
            self._require(group)
            groups = self.region.state.groups()
            taken = {member.index for one in groups.values() for member in one.members}
            there = groups.get(group.name, GroupState(resource=group))
            state = resized(there, group, taken, self._unready(there) if len(there.staying) > group.replicas else ())
            self.region.state.save_group(state)
            programs = [self._prepare(group, member) for member in state.staying]
            self.region.supervisor.ensure(*programs)
            self.region.sync_balancers()
        self._dismiss(group, [member for member in state.members if member.leaving], context)

    def delete(self, group: InstanceGroup, context: Context) -> None:
        """Have no such group: its VMs end as they would like to, then everything of it goes."""
        with self.region.locked():
            state = self.region.state.group(group.name)
            if state is None:
                return
            state = evolve(state, members=tuple(evolve(member, leaving=True) for member in state.members))
            self.region.state.save_group(state)
            self.region.sync_what_works()
        self._dismiss(group, state.members, context)
        with self.region.locked():
            self.region.state.remove_group(group.name)

    def _require(self, group: InstanceGroup) -> None:
        if self.region.state.network() is None:
            raise ProviderError.of("no-network", f"group {group.name} needs Network {group.network}, which does not exist")
        if not (self.region.state.image_folder(group.image) / "image.json").exists():
            raise ProviderError.of("no-image", f"group {group.name} needs Image {group.image}, which does not exist")

    def _unready(self, group: GroupState) -> set[str]:
        return {one.id for one in self.region.instances(group) if not one.ready}

    def _prepare(self, group: InstanceGroup, member: Member) -> Program:
        """Write what a VM needs and return its program."""
        region, folder = self.region, private_folder(self.region.state.member_folder(member))
        image = region.state.image_folder(group.image)
        kernel = next(path for path in (image / "vmlinux", image / "kernel") if path.exists())
        machine = Machine(
            name=member.id,
            kernel=kernel,
            initrd=image / "initrd",
            cmdline=(image / "cmdline").read_text().strip(),
            boot=folder / "boot.json",
            control=region.folders.socket(f"{member.index}.qmp"),
            memory_mib=group.memory_mib,
            cpus=max(1, -(-group.cpu_millis // 1000)),
            mac=member.mac,
            root=image / "root" if (image / "root").exists() else None,
        )
        options = accelerator(region.folders, image / "kernel", region.settings.accelerator)
        stop_seconds = group.drain_seconds + group.grace_seconds + _MARGIN_SECONDS
        settings = {
            # QEMU dies with its keeper.
            "command": [program("setpriv"), "--pdeathsig", "KILL", *machine.command(options)],
            "tap": f"vm{member.index}",
            "bridge": netns.BRIDGE,
            "address": member.address,
            "health_port": group.health_port,
            "stop_seconds": stop_seconds,
            "poll_seconds": self.patience.poll_seconds,
            "timeout_seconds": self.patience.timeout_seconds,
            "boot_seconds": self.patience.boot_seconds,
            "failures": self.patience.failures,
        }
        changed(folder / "boot.json", json.dumps(self._boot(group, member), sort_keys=True))
        changed(folder / "vm.json", json.dumps(settings))
        region.dnsmasq.lease(member.address, member.mac, group.boot.search)
        log = str((folder / "console.log").relative_to(region.folders.state))
        return region.python(
            member.program, "i2kit_local.vm", str(folder / "vm.json"), inside=True, log=log, stop_seconds=stop_seconds + _MARGIN_SECONDS
        )

    def _boot(self, group: InstanceGroup, member: Member) -> dict[str, object]:
        """Return a VM's boot configuration (docs/reference/guest.md)."""
        return {
            "schema": 1,
            "instance": member.id,
            "hostname": member.id,
            "healthFrom": [f"{netns.BRIDGE_ADDRESS}/32"],
            "fields": {"metadata.name": member.id, **group.boot.fields},
            "secrets": {name: self.region.state.secret_values(resource) for name, resource in group.boot.secrets.items()},
        }

    def _dismiss(self, group: InstanceGroup, leaving: Sequence[Member], context: Context) -> None:
        """Wait until VMs have ended, the highest slot told first; they have got no new connections since HAProxy was told."""
        supervisor = self.region.supervisor
        if leaving and supervisor.running():
            for member in sorted(leaving, key=lambda one: -one.slot):
                supervisor.begin_stop(member.program)
            context.progress(f"{len(leaving)} VMs are shutting down" if len(leaving) > 1 else f"{leaving[0].id} is shutting down")
            while going := [one for one in leaving if supervisor.states().get(one.program, "STOPPED") not in ENDED]:
                context.check()
                end_idle_drains(self.region.namespace, going, group.health_port)
                time.sleep(_POLL_SECONDS)
        with self.region.locked():
            self._forget(group.name, leaving)

    def _forget(self, name: str, gone: Sequence[Member]) -> None:
        state = self.region.state.group(name)
        if state is None or not gone:
            return
        slots = {member.slot for member in gone}
        for member in gone:
            self.region.supervisor.forget(member.program)
            self.region.folders.socket(f"{member.index}.qmp").unlink(missing_ok=True)
        self.region.state.save_group(evolve(state, members=tuple(one for one in state.members if one.slot not in slots)))
        for member in gone:
            remove(self.region.state.member_folder(member))
        self.region.sync_what_works()
