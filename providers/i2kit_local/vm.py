"""A VM's keeper: runs QEMU as long as the guest is alive (``python -m i2kit_local.vm CONFIGURATION``).

It ends when the guest is dead, hung, reset, or powered off by itself, and supervisor starts it again. TERM becomes the ACPI button.
Light to import: one runs beside every VM.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from typing import Any

from i2kit_local.qmp import Monitor

_TUNSETIFF = 0x400454CA
_IFF_TAP, _IFF_NO_PI, _IFF_VNET_HDR = 0x0002, 0x1000, 0x4000
_SIOCGIFINDEX, _SIOCBRADDIF, _SIOCGIFFLAGS, _SIOCSIFFLAGS = 0x8933, 0x89A2, 0x8913, 0x8914
_IFF_UP = 0x1
_TAP_SECONDS = 5.0
# QEMU's own time to end once it is told to.
_QUIT_SECONDS = 5.0


def say(**event: Any) -> None:
    """Write a line on the console, as the guest does."""
    sys.stdout.write(f"\ni2kit {json.dumps({'event': 'vm', **event})}\n")
    sys.stdout.flush()


def open_tap(name: str, bridge: str) -> int:
    """Make a tap device on the bridge and return its descriptor; the device goes when it is closed."""
    deadline = time.monotonic() + _TAP_SECONDS
    while True:
        descriptor = os.open("/dev/net/tun", os.O_RDWR)
        try:
            fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR))
            break
        except OSError:
            # A QEMU that was just killed may still hold it.
            os.close(descriptor)
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        index = struct.unpack("16si20x", fcntl.ioctl(control, _SIOCGIFINDEX, struct.pack("16s24x", name.encode())))[1]
        fcntl.ioctl(control, _SIOCBRADDIF, struct.pack("16si20x", bridge.encode(), index))
        flags = struct.unpack("16sH22x", fcntl.ioctl(control, _SIOCGIFFLAGS, struct.pack("16s24x", name.encode())))[1]
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sH22x", name.encode(), flags | _IFF_UP))
    return descriptor


def is_live(address: str, port: int, timeout: float) -> bool:
    """Whether the guest answers ``GET /livez`` with 200."""
    try:
        with socket.create_connection((address, port), timeout) as sock:
            sock.settimeout(timeout)
            sock.sendall(b"GET /livez HTTP/1.0\r\n\r\n")
            return sock.recv(64).split(b" ")[1:2] == [b"200"]
    except OSError:
        return False


class Keeper:
    """Watches one QEMU from its start to its end."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._settings = settings
        self._stopping = False
        self._started = time.monotonic()
        self._live = False
        self._failures = 0
        self._wakeup, write_end = os.pipe()
        os.set_blocking(write_end, False)
        signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self._stop)
        tap = open_tap(settings["tap"], settings["bridge"])
        ours, theirs = socket.socketpair()
        self._qemu = subprocess.Popen(
            [*settings["command"], "-netdev", f"tap,id=net,fd={tap}", "-chardev", f"socket,id=keeper,fd={theirs.fileno()}"],
            stdin=subprocess.DEVNULL,
            pass_fds=(tap, theirs.fileno()),
        )
        os.close(tap)
        theirs.close()
        self._monitor = Monitor(ours)

    def _stop(self, _number: int, _frame: object) -> None:
        self._stopping = True

    def keep(self) -> int:
        """Return when the VM has ended, with the status to exit with."""
        say(state="started", qemu=self._qemu.pid)
        try:
            reason = self._watch()
            if self._stopping and self._qemu.poll() is None:
                reason = self._shut_down()
        finally:
            self._end()
        say(state="ended", reason=reason)
        return 0 if self._stopping else 1

    def _watch(self) -> str:
        """Return why the VM is to end, or has ended."""
        due = time.monotonic() + self._settings["poll_seconds"]
        while not self._stopping:
            self._wait(due - time.monotonic())
            if self._gone():
                return self._how()
            if time.monotonic() >= due and not self._stopping:
                if verdict := self._look():
                    return verdict
                due = time.monotonic() + self._settings["poll_seconds"]
        return "asked to stop"

    def _look(self) -> str:
        """Ask the guest whether it is alive; return why the VM is given up, if it is."""
        if self._asks():
            self._live, self._failures = True, 0
            return ""
        self._failures += 1
        if self._live and self._failures >= self._settings["failures"]:
            return f"/livez failed {self._failures} times in a row"
        boot = self._settings["boot_seconds"]
        if not self._live and time.monotonic() - self._started > boot:
            return f"not live after {boot} s"
        return ""

    def _asks(self) -> bool:
        return is_live(self._settings["address"], self._settings["health_port"], self._settings["timeout_seconds"])

    def _shut_down(self) -> str:
        """Press the ACPI button until the guest has heard it, and give it its time to end."""
        if not self._live and not self._asks():
            return "stopped before it was live"
        deadline = time.monotonic() + self._settings["stop_seconds"]
        while time.monotonic() < deadline:
            self._monitor.send("system_powerdown")
            self._wait(1.0)
            if self._gone():
                return self._how()
        return f"did not power off within {self._settings['stop_seconds']} s"

    def _wait(self, seconds: float) -> None:
        monitor = self._monitor.fileno()
        ready, _, _ = select.select([monitor, self._wakeup], [], [], max(0.0, seconds))
        if monitor in ready:
            self._monitor.read()
        if self._wakeup in ready:
            os.read(self._wakeup, 512)

    def _gone(self) -> bool:
        return self._monitor.closed or self._qemu.poll() is not None

    def _how(self) -> str:
        try:
            status = self._qemu.wait(_QUIT_SECONDS)
        except subprocess.TimeoutExpired:
            return "QEMU closed its monitor"
        return self._monitor.ended or (f"QEMU was killed by signal {-status}" if status < 0 else f"QEMU exited with {status}")

    def _end(self) -> None:
        self._qemu.kill()
        self._qemu.wait()


def main(configuration: str) -> int:
    """Run the VM that the file describes until it ends."""
    with open(configuration, encoding="utf-8") as file:  # noqa: PTH123 - pathlib costs memory beside every VM
        settings = json.load(file)
    return Keeper(settings).keep()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
