"""An environment's parts, put together: its files, its namespace and the programs in it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import structlog
from attrs import evolve

from i2kit.errors import ProviderError
from i2kit.plan import Instance
from i2kit.resources import Network
from i2kit_local import slirp
from i2kit_local.balancing import Listener, listeners
from i2kit_local.dnsmasq import CLUSTER_ZONE, Dnsmasq
from i2kit_local.folders import Folders, changed, erase
from i2kit_local.haproxy import Haproxy
from i2kit_local.health import instances
from i2kit_local.netns import Namespace
from i2kit_local.programs import program
from i2kit_local.settings import Settings
from i2kit_local.state import BalancerState, GroupState, State
from i2kit_local.supervisor import Program, Supervisor, end_processes

_READY_SECONDS = 15.0
_log = structlog.get_logger(__name__)


class Region:
    """One environment on this machine."""

    def __init__(self, folders: Folders, settings: Settings) -> None:
        self.folders = folders
        self.settings = settings
        self.state = State(folders=folders)
        self.namespace = Namespace(folders.runtime / "net")
        self.supervisor = Supervisor(folders)
        self.dnsmasq = Dnsmasq(folders, self.namespace, self.supervisor)
        self.haproxy = Haproxy(folders, self.namespace, self.supervisor)
        self.slirp_socket = str(folders.socket("slirp.sock"))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the environment against everybody else who changes it."""
        with self.folders.locked():
            yield

    def instances(self, group: GroupState) -> tuple[Instance, ...]:
        """Return how a group's members are, by asking each; one that a balancer checks is ready when it is up there, too."""
        members = [(member, group.resource.health_port) for member in group.members]
        unseen = {one.name for one in self.haproxy.states() or () if one.admin == 0 and not one.up}
        return tuple(
            evolve(one, ready=False, reason="its balancer has not seen it ready yet") if one.ready and one.id in unseen else one
            for one in instances(self.namespace, members, self.supervisor.states()).values()
        )

    # The lock is held by the caller of everything below.

    def ensure(self, network: Network) -> None:
        """Make the network, or put right what of it is broken; what works is not disturbed."""
        self._claim_runtime()
        self.state.save_network(network)
        if not self.namespace.exists():
            # Whatever still runs sits in a namespace that nobody can enter any more.
            end_processes(self.folders)
            self.namespace.create()
        self.namespace.configure(self._vips())
        wanted = self.listeners()
        programs = (self.dnsmasq.program(network.dns_zone), self.haproxy.program(wanted), self._slirp_program())
        self.supervisor.start()
        self.supervisor.ensure(*programs)
        self._await_programs()
        self.sync_balancers()
        self.sync_published()

    def remove(self) -> None:
        """End everything of the environment and remove its files; records, images and Secrets are resources of their own."""
        end_processes(self.folders)
        if not self.folders.foreign:
            self.namespace.delete()
            erase(self.folders.runtime)
        for name in ("groups", "balancers", "names", "dns", "dhcp", "dhcp-options", "programs", "log"):
            erase(self.folders.state / name)
        # The network itself last: as long as anything is left, there is something to be seen and deleted.
        for name in ("supervisord.conf", "dnsmasq.conf", "haproxy.cfg", "slirp.json", "runtime", "network.json"):
            erase(self.folders.state / name)

    def _claim_runtime(self) -> None:
        if self.folders.foreign and self.supervisor.running():
            raise ProviderError.of(
                "runtime-taken",
                f"an environment of the same name, with its state elsewhere, uses {self.folders.runtime}",
                hint="name this environment differently (`name:` in environment.yml), or set XDG_RUNTIME_DIR",
            )
        if self.folders.foreign:
            self.namespace.delete()
            erase(self.folders.runtime)
        self.folders.claim()

    def _slirp_program(self) -> Program:
        path = self.folders.state / "slirp.json"
        command = [program("slirp4netns"), "--configure", "--mtu=1500", "--disable-host-loopback"]
        command += ["--api-socket", self.slirp_socket, "--netns-type=path", str(self.namespace.pin), slirp.TAP]
        forwards = [
            {"host_addr": self.settings.publish, "host_port": here, "guest_addr": one.vip, "guest_port": port}
            for one in self._staying()
            for port, here in one.published.items()
        ]
        changed(path, json.dumps({"command": command, "socket": self.slirp_socket, "forwards": forwards}))
        return self.python(slirp.NAME, "i2kit_local.slirp", str(path))

    def python(self, name: str, module: str, *arguments: str, inside: bool = False, log: str = "", stop_seconds: int = 5) -> Program:
        """Return a program that is a module of this package, run by a Python without site packages: it starts fast and stays small."""
        command = (sys.executable, "-S", "-m", module, *arguments)
        return Program(
            name=name,
            command=self.namespace.command(*command) if inside else command,
            log=self.folders.state / (log or f"log/{name}.log"),
            log_bytes="4MB" if log else "1MB",
            stop_seconds=stop_seconds,
            environment={"PYTHONPATH": str(_PACKAGES), "PYTHONDONTWRITEBYTECODE": "1"},
        )

    def _await_programs(self) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        while missing := self.silent():
            if time.monotonic() > deadline:
                raise ProviderError.of(
                    "not-running",
                    f"{', '.join(missing)} does not answer after {_READY_SECONDS:.0f} s",
                    hint=f"see {self.folders.state}/log",
                )
            time.sleep(0.02)

    def silent(self) -> list[str]:
        """Return the programs that do not do their work, by asking each."""
        missing = []
        if self.dnsmasq.resolve(CLUSTER_ZONE) is None:
            missing.append("dnsmasq")
        if self.haproxy.states() is None:
            missing.append("HAProxy")
        try:
            slirp.forwards(self.slirp_socket)
        except slirp.Refused:
            missing.append("slirp4netns")
        return missing

    def listeners(self) -> tuple[Listener, ...]:
        """Return what HAProxy is to do."""
        members = {name: [(one.id, one.address) for one in group.staying] for name, group in self.state.groups().items()}
        return tuple(listener for balancer in self._staying() for listener in listeners(balancer.resource, balancer.vip, members))

    def sync_balancers(self) -> bool:
        """Give the bridge the balancers' addresses, and HAProxy its work; False when a server keeps traffic for want of a successor."""
        self.namespace.set_vips(self._vips())
        members = {member.id: not member.leaving for group in self.state.groups().values() for member in group.members}
        return self.haproxy.sync(self.listeners(), members)

    def sync_what_works(self) -> None:
        """Take what is to go out of HAProxy's work, as far as that still runs: what is broken must not be in the way of removing it."""
        try:
            self.sync_balancers()
            self.sync_published()
        except ProviderError as error:
            _log.info("local.broken", environment=self.folders.state.name, error=str(error))

    def unname(self, name: str) -> None:
        """Have a name not answer any more, as far as dnsmasq still runs."""
        try:
            self.dnsmasq.unname(name)
        except ProviderError as error:
            _log.info("local.broken", environment=self.folders.state.name, error=str(error))

    def _staying(self) -> list[BalancerState]:
        return [one for one in self.state.balancers().values() if not one.leaving]

    def _vips(self) -> list[str]:
        return [one.vip for one in self._staying()]

    def sync_published(self) -> None:
        """Publish exactly the ports that balancers remember as published, and have them published again when slirp4netns restarts."""
        self._slirp_program()
        wanted = {(here, one.vip, port) for one in self._staying() for port, here in one.published.items()}
        there = self.published()
        for forward, identifier in there.items():
            if forward not in wanted:
                with suppress(slirp.Refused):  # it is gone already
                    slirp.withdraw(self.slirp_socket, identifier)
        for here, vip, port in sorted(wanted - there.keys()):
            with suppress(slirp.Refused):  # taken meanwhile: the balancer's own change finds another
                self.publish(here, vip, port)

    def publish(self, here: int, vip: str, port: int) -> None:
        """Publish a balancer's port on this machine; raise `slirp.Refused` when it is taken."""
        forward = {"host_addr": self.settings.publish, "host_port": here, "guest_addr": vip, "guest_port": port}
        slirp.publish(self.slirp_socket, forward)

    def published(self) -> dict[tuple[int, str, int], int]:
        """Return what is published (port here, balancer's address, its port), with slirp4netns' number for it."""
        try:
            entries = slirp.forwards(self.slirp_socket)
        except slirp.Refused:
            return {}
        return {(one["host_port"], one["guest_addr"], one["guest_port"]): one["id"] for one in entries}


def _packages() -> str:
    import i2kit_local

    (folder,) = i2kit_local.__path__
    return folder.rpartition("/")[0]


_PACKAGES = _packages()
