"""The environment's network namespace: kept by a mount on a file in its runtime folder, with a bridge inside."""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import subprocess
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any, TypeVar

from i2kit.errors import ProviderError
from i2kit_local.folders import private_folder
from i2kit_local.programs import program

T = TypeVar("T")

BRIDGE = "i2kit0"
# The same in every environment: they do not meet.
SUBNET = IPv4Network("10.88.0.0/16")
BRIDGE_ADDRESS = IPv4Address("10.88.0.1")
_FIRST_MEMBER = IPv4Address("10.88.0.16")
_FIRST_VIP = IPv4Address("10.88.128.1")
MEMBERS = int(_FIRST_VIP) - int(_FIRST_MEMBER) - 1
VIPS = int(SUBNET.broadcast_address) - int(_FIRST_VIP)
_BRIDGE_MAC = "52:54:00:88:ff:01"

_CLONE_NEWNET = 0x40000000
_NS_GET_NSTYPE = 0xB703
_MNT_DETACH = 2


def member_address(index: int) -> str:
    """Return the address of the VM that has number `index` (from 0) in the environment."""
    return str(_FIRST_MEMBER + index)


def member_mac(index: int) -> str:
    """Return the hardware address of that VM: address and hardware address always go together, so no lease is ever in the way."""
    return f"52:54:00:88:{index >> 8:02x}:{index & 255:02x}"


def vip_address(index: int) -> str:
    """Return the address of the balancer that has number `index` (from 0) in the environment."""
    return str(_FIRST_VIP + index)


class Namespace:
    """A network namespace that `pin`, a file, keeps alive."""

    def __init__(self, pin: Path) -> None:
        self.pin = pin

    def exists(self) -> bool:
        """Whether the file is a network namespace."""
        try:
            descriptor = os.open(self.pin, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            return fcntl.ioctl(descriptor, _NS_GET_NSTYPE) == _CLONE_NEWNET
        except OSError:
            return False
        finally:
            os.close(descriptor)

    def create(self) -> None:
        """Make a namespace, unless there is one."""
        if self.exists():
            return
        private_folder(self.pin.parent)
        self.pin.touch(mode=0o600)
        _run([program("unshare"), f"--net={self.pin}", "true"])

    def delete(self) -> None:
        """Let the namespace go; it ends with the last process in it."""
        libc = ctypes.CDLL(None, use_errno=True)
        while self.exists():
            if libc.umount2(os.fsencode(self.pin), _MNT_DETACH):
                raise ProviderError.of("namespace", f"cannot unmount {self.pin}: {os.strerror(ctypes.get_errno())}")
        with suppress(FileNotFoundError):
            self.pin.unlink()

    def command(self, *argv: str) -> tuple[str, ...]:
        """Return the command line that runs `argv` in the namespace."""
        return (program("nsenter"), f"--net={self.pin}", *argv)

    def inside(self, work: Callable[[], T]) -> T:
        """Do `work` in the namespace and return what it returns; a socket made there stays there, wherever it is used."""
        outcome: list[T] = []
        failure: list[BaseException] = []

        def enter_and_work() -> None:
            try:
                self._enter()
                outcome.append(work())
            except BaseException as error:  # it is raised in the caller's thread
                failure.append(error)

        # A namespace belongs to a thread: one that ends afterwards cannot do other work in the wrong network.
        thread = threading.Thread(target=enter_and_work, name="i2kit-netns")
        thread.start()
        thread.join()
        if failure:
            raise failure[0]
        return outcome[0]

    def _enter(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        try:
            descriptor = os.open(self.pin, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise ProviderError.of("namespace", f"the environment's network namespace is gone ({error.strerror})") from error
        try:
            if libc.setns(descriptor, _CLONE_NEWNET):
                raise ProviderError.of("namespace", f"cannot enter {self.pin}: {os.strerror(ctypes.get_errno())}")
        finally:
            os.close(descriptor)

    def configure(self, vips: Sequence[str]) -> None:
        """Bring up loopback and the bridge with exactly these balancer addresses, and let packets through."""
        self.inside(_let_through)
        if not any(link.get("ifname") == BRIDGE for link in self._links()):
            # A hardware address of its own keeps the bridge from taking that of the VM that came last.
            self._ip(f"link add name {BRIDGE} address {_BRIDGE_MAC} type bridge stp_state 0 forward_delay 0")
        self._ip("link set lo up", f"link set {BRIDGE} up", f"addr replace {BRIDGE_ADDRESS}/{SUBNET.prefixlen} dev {BRIDGE}")
        self.set_vips(vips)

    def set_vips(self, vips: Sequence[str]) -> None:
        """Give the bridge exactly these balancer addresses."""
        there = set(self.vips())
        self._ip(
            *(f"addr replace {vip}/32 dev {BRIDGE}" for vip in vips if vip not in there),
            *(f"addr del {vip}/32 dev {BRIDGE}" for vip in sorted(there - set(vips))),
        )

    def vips(self) -> tuple[str, ...]:
        """Return the balancer addresses that the bridge has."""
        return tuple(local for local, length in self._bridge_addresses() if length == SUBNET.max_prefixlen)

    def has_bridge(self) -> bool:
        """Whether the bridge is up and has its address."""
        return any(local == str(BRIDGE_ADDRESS) for local, _ in self._bridge_addresses())

    def _bridge_addresses(self) -> list[tuple[str, int]]:
        return [
            (address["local"], address["prefixlen"])
            for link in self._links()
            if link.get("ifname") == BRIDGE and "UP" in link.get("flags", ())
            for address in link.get("addr_info", ())
        ]

    def _links(self) -> list[dict[str, Any]]:
        answer: list[dict[str, Any]] = json.loads(_run(self.command(program("ip"), "-json", "-4", "addr", "show")))
        return answer

    def _ip(self, *lines: str) -> None:
        if lines:
            _run(self.command(program("ip"), "-batch", "-"), "".join(f"{line}\n" for line in lines))


def _let_through() -> None:
    settings = {"net/ipv4/ip_forward": "1", "net/ipv4/conf/all/proxy_arp": "1", "net/ipv4/conf/default/proxy_arp": "1"}
    for name, value in settings.items():
        # Which namespace's settings these files show depends on who opens them.
        Path("/proc/sys", name).write_text(value)
    ipv6 = Path("/proc/sys/net/ipv6/conf/all/disable_ipv6")
    if ipv6.exists():
        ipv6.write_text("1")


def _run(argv: Sequence[str], text: str = "") -> str:
    # Of a session of its own: Ctrl-C is for the command, which finishes its step.
    result = subprocess.run(argv, input=text, capture_output=True, text=True, check=False, start_new_session=True)
    if result.returncode:
        raise ProviderError.of("namespace", f"{' '.join(argv)} failed: {result.stderr.strip()}")
    return result.stdout
