"""dnsmasq: addresses for the VMs, names for their services."""

from __future__ import annotations

import hashlib
import secrets
import socket
import struct
import time
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address

from i2kit.errors import ProviderError
from i2kit_local.folders import Folders, changed, private_folder
from i2kit_local.netns import BRIDGE, BRIDGE_ADDRESS, SUBNET, Namespace
from i2kit_local.programs import program
from i2kit_local.supervisor import Program, Supervisor

NAME = "dnsmasq"
UPSTREAM = "10.0.2.3"
CLUSTER_ZONE = "cluster.local"
_QUERY_SECONDS = 1.0
_NEWS_SECONDS = 3.0


def render(folders: Folders, zone: str) -> str:
    """Return dnsmasq's configuration; `zone` is the environment's own, of which nothing is asked outside."""
    state, runtime = folders.state, folders.runtime
    return f"""\
no-resolv
no-hosts
no-poll
server={UPSTREAM}
local=/{CLUSTER_ZONE}/
local=/{zone}/
domain={zone}
domain-needed
bogus-priv
hostsdir={state}/dns
bind-interfaces
except-interface=lo
interface={BRIDGE}
listen-address={BRIDGE_ADDRESS}
dhcp-authoritative
dhcp-range={SUBNET.network_address},static,{SUBNET.netmask},12h
dhcp-hostsdir={state}/dhcp
conf-dir={state}/dhcp-options,*.conf
dhcp-leasefile={runtime}/dnsmasq.leases
dhcp-lease-max=40000
pid-file
log-facility=-
"""


class Dnsmasq:
    """An environment's dnsmasq."""

    def __init__(self, folders: Folders, namespace: Namespace, supervisor: Supervisor) -> None:
        self._folders = folders
        self._namespace = namespace
        self._supervisor = supervisor

    def program(self, zone: str) -> Program:
        """Write the configuration and return what supervisor is to run."""
        for name in ("dns", "dhcp", "dhcp-options"):
            private_folder(self._folders.state / name)
        # Where most manifests are: known from the start, it costs no new one when the first VM comes.
        self._option((f"default.svc.{CLUSTER_ZONE}", f"svc.{CLUSTER_ZONE}", CLUSTER_ZONE))
        path = self._folders.state / "dnsmasq.conf"
        changed(path, render(self._folders, zone))
        return Program(
            name=NAME,
            # It would become nobody, and could not read below a folder that is root's alone.
            command=self._namespace.command(program("dnsmasq"), "--keep-in-foreground", "--user=root", "--group=", f"--conf-file={path}"),
            log=self._folders.state / "log/dnsmasq.log",
        )

    def lease(self, address: str, mac: str, search: Sequence[str]) -> None:
        """Give the VM with that hardware address its network address and its DNS search domains."""
        host = self._folders.state / "dhcp" / address
        known = host.exists()
        tag, news = self._option(search)
        altered = changed(host, f"{mac},set:{tag},{address}\n")
        if news or (known and altered):
            # It reads new hosts by itself. All else needs a new start: told by HUP to read options again, 2.90 crashes.
            self._restart()

    def _option(self, search: Sequence[str]) -> tuple[str, bool]:
        """Write down what VMs with a tag are told to search; return the tag, and whether that is news."""
        tag = f"s{hashlib.sha256(' '.join(search).encode()).hexdigest()[:8]}"
        path = self._folders.state / "dhcp-options" / f"{tag}.conf"
        return tag, bool(search) and changed(path, f"dhcp-option=tag:{tag},option:domain-search,{','.join(search)}\n")

    def _restart(self) -> None:
        self._supervisor.restart(NAME)
        self._await(lambda: self.resolve(CLUSTER_ZONE) is not None)

    @staticmethod
    def _await(condition: Callable[[], bool]) -> bool:
        deadline = time.monotonic() + _NEWS_SECONDS
        while not (done := condition()) and time.monotonic() < deadline:
            time.sleep(0.01)
        return done

    def name(self, name: str, address: str) -> None:
        """Have `name` answer with `address`."""
        changed(self._folders.state / "dns" / name, f"{address} {name}\n")
        if not self._await(lambda: self.resolve(name) == [address]):
            self._restart()

    def unname(self, name: str) -> None:
        """Have `name` not answer any more, or as it does outside."""
        path = self._folders.state / "dns" / name
        ours = path.read_text().split()[:1] if path.exists() else []
        path.unlink(missing_ok=True)
        if not self._await(lambda: not (answer := self.resolve(name)) or answer != ours):
            self._restart()

    def resolve(self, name: str) -> list[str] | None:
        """Ask dnsmasq for a name; return its addresses, or None when dnsmasq does not answer."""
        identifier = secrets.randbits(16)
        try:
            sock = self._namespace.inside(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        except ProviderError:
            return None
        with sock:
            sock.settimeout(_QUERY_SECONDS)
            try:
                sock.connect((str(BRIDGE_ADDRESS), 53))
                sock.send(question(identifier, name))
                return addresses(sock.recv(4096), identifier)
            except OSError:
                return None


def question(identifier: int, name: str) -> bytes:
    """Return a DNS query for the A records of `name` (RFC 1035, 4.1)."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.strip(".").split("."))
    return struct.pack("!6H", identifier, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", 1, 1)


def addresses(message: bytes, identifier: int) -> list[str]:
    """Return the A records of a DNS answer; none when it is no answer to `identifier`."""
    if len(message) < 12:
        return []
    answer_to, _, questions, answers = struct.unpack_from("!4H", message)
    if answer_to != identifier:
        return []
    position, found = 12, []
    for _ in range(questions):
        position = _after_name(message, position) + 4
    for _ in range(answers):
        position = _after_name(message, position)
        kind, _, _, length = struct.unpack_from("!2HIH", message, position)
        position += 10
        if kind == 1 and length == 4:
            found.append(str(IPv4Address(message[position : position + 4])))
        position += length
    return found


def _after_name(message: bytes, position: int) -> int:
    while (length := message[position]) != 0:
        if length & 0xC0:
            return position + 2
        position += length + 1
    return position + 1
