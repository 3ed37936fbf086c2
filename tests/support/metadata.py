"""A cloud's metadata service for VMs on this machine: a small real server at 169.254.169.254, in a network of its own.

The servers are as strict as the real ones: EC2's with version 1 of its service switched off, Google's with its header.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from attrs import define, field, frozen

from i2kit_local.netns import BRIDGE, BRIDGE_ADDRESS, Namespace, member_mac
from i2kit_local.programs import program
from i2kit_local.vm import open_tap

ADDRESS = "169.254.169.254"
NAME = "metadata.google.internal"
"""What the network's name server, which has the same address, knows."""
_TOKEN = "AQAEAtoken=="
# A boot takes three seconds; on a machine that is busy with other things it has taken more than a minute.
_BOOT_SECONDS = 240.0


@define
class Answers:
    """What the service answers by path: 503 until it is `opened`, as right after a boot."""

    pages: dict[str, str]
    flavour: str
    opened: threading.Event = field(factory=threading.Event)
    asked: Counter[str] = field(factory=Counter)
    refused: list[str] = field(factory=list)

    def answer(self, method: str, path: str, headers: dict[str, str]) -> tuple[int, str]:
        """Return status and text, as the cloud of this flavour would."""
        question = f"{method} {path}"
        self.asked[question] += 1
        if not self.opened.is_set():
            return 503, ""
        if self.flavour == "aws" and question == "PUT /latest/api/token":
            lifetime = headers.get("x-aws-ec2-metadata-token-ttl-seconds", "")
            return (200, _TOKEN) if lifetime.isdigit() and 1 <= int(lifetime) <= 21600 else (400, "")
        if self.flavour == "aws" and headers.get("x-aws-ec2-metadata-token") != _TOKEN:
            self.refused.append(f"{question}: no token")
            return 401, ""
        if self.flavour == "gcp" and headers.get("metadata-flavor") != "Google":
            self.refused.append(f"{question}: no Metadata-Flavor")
            return 403, ""
        if "x-forwarded-for" in headers or method != "GET":
            self.refused.append(f"{question}: {headers}")
            return 403, ""
        return (200, self.pages[path]) if path in self.pages else (404, "<html>not found</html>")


@frozen(kw_only=True)
class Boot:
    """What a VM is started with.

    `drives` are QEMU's options for its disks and the like, `machine` is the kind of PC (on a ``pc`` CDs are IDE, on a ``q35`` SATA).
    """

    kernel: Path
    initrd: Path
    cmdline: str
    drives: Sequence[str] = ()
    machine: str = "pc"

    @property
    def options(self) -> Sequence[str]:
        """QEMU's options for what is started."""
        return ("-kernel", str(self.kernel), "-initrd", str(self.initrd), "-append", self.cmdline)


@frozen(kw_only=True)
class Firmware:
    """A disk from which firmware starts a VM; `options` are QEMU's for the firmware, SeaBIOS unless they name another."""

    drives: Sequence[str]
    options: Sequence[str] = ()
    machine: str = "q35"


@frozen(kw_only=True)
class VM:
    """A VM that runs."""

    process: subprocess.Popen[bytes]
    console: Path
    namespace: Namespace

    def lines(self) -> list[str]:
        """Return what the console has said, in whole lines."""
        return self.console.read_text(errors="replace").replace("\r", "").split("\n")[:-1]

    def line(self, begin: str) -> str:
        """Wait for a line and return it. Raises `AssertionError` when it does not come, or the VM has ended without it."""
        deadline = time.monotonic() + _BOOT_SECONDS
        while True:
            ended = self.process.poll() is not None
            for line in self.lines():
                if line.startswith(begin):
                    return line
            if ended or time.monotonic() > deadline:
                raise AssertionError(f"no line {begin!r} on the console:\n" + "\n".join(self.lines()))
            time.sleep(0.05)

    def event(self, kind: str) -> dict[str, object]:
        """Wait for an event of the guest and return it."""
        event: dict[str, object] = json.loads(self.line(f'i2kit {{"event": "{kind}"').removeprefix("i2kit "))
        return event

    def health(self, path: str, source: str = "") -> tuple[int, str]:
        """Ask the guest's health port, from one of the bridge's addresses; the status is 0 when it does not answer."""
        address = str(self.event("network")["address"])

        def ask() -> tuple[int, str]:
            connection = http.client.HTTPConnection(address, 10256, timeout=10, source_address=(source, 0) if source else None)
            try:
                connection.request("GET", path)
                answer = connection.getresponse()
                return answer.status, answer.read().decode().strip()
            except OSError:
                return 0, ""
            finally:
                connection.close()

        return self.namespace.inside(ask)

    def end(self) -> int:
        """Wait until the VM has powered itself off; return QEMU's exit code."""
        return self.process.wait(timeout=_BOOT_SECONDS)


@define
class Network:
    """A network namespace with a bridge, DHCP, DNS, and room for a metadata service."""

    namespace: Namespace
    _index: int = 0

    @contextmanager
    def service(self, flavour: str, pages: dict[str, str], *, shut: bool = False) -> Iterator[Answers]:
        """Serve metadata while the context lasts."""
        answers = Answers(pages, flavour)
        if not shut:
            answers.opened.set()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                headers = {name.lower(): value for name, value in self.headers.items()}
                status, text = answers.answer(self.command, self.path, headers)
                self.send_response(status)
                self.send_header("Content-Length", str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode())

            do_GET = do_PUT = answer  # noqa: N815 (the library's names)

            def log_message(self, *_arguments: object) -> None:
                pass

        server = self.namespace.inside(lambda: ThreadingHTTPServer((ADDRESS, 80), Handler))
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield answers
        finally:
            server.shutdown()
            thread.join()
            server.server_close()

    @contextmanager
    def vm(self, boot: Boot | Firmware, console: Path) -> Iterator[VM]:
        """Run a VM while the context lasts; it is ended in any case."""
        self._index += 1
        tap = self.namespace.inside(lambda: open_tap(f"vm{self._index}", BRIDGE))
        with console.open("wb") as output:
            qemu = subprocess.Popen(
                [
                    *(program("qemu-system-x86_64"), "-accel", "tcg,tb-size=32", "-cpu", "max", "-m", "256M"),
                    *("-machine", boot.machine, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio"),
                    *boot.options,
                    *("-netdev", f"tap,id=net,fd={tap}"),
                    *("-device", f"virtio-net-pci,netdev=net,mac={member_mac(self._index)},romfile=", "-device", "virtio-rng-pci"),
                    *boot.drives,
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=(tap,),
            )
        os.close(tap)
        try:
            yield VM(process=qemu, console=console, namespace=self.namespace)
        finally:
            qemu.kill()
            qemu.wait()


@contextmanager
def network(folder: Path, names: Mapping[str, str] | None = None) -> Iterator[Network]:
    """Make a network and take it down; the metadata service's address is on the bridge, and so is that of a name server, which knows
    `names` with their addresses too."""
    namespace = Namespace(folder / "netns")
    namespace.create()
    try:
        namespace.configure([ADDRESS])
        dnsmasq = subprocess.Popen(
            namespace.command(
                *(program("dnsmasq"), "--keep-in-foreground", "--conf-file=/dev/null", "--user=root", "--group=root", "--pid-file"),
                *(f"--interface={BRIDGE}", "--bind-interfaces", "--except-interface=lo", "--log-facility=-"),
                *("--dhcp-range=10.88.0.16,10.88.0.99,1h", "--dhcp-authoritative", f"--dhcp-leasefile={folder / 'leases'}"),
                *(f"--dhcp-option=option:router,{BRIDGE_ADDRESS}", f"--dhcp-option=option:dns-server,{ADDRESS}"),
                *("--no-resolv", "--no-hosts", *(f"--address=/{name}/{there}" for name, there in {NAME: ADDRESS, **(names or {})}.items())),
            ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield Network(namespace)
        finally:
            dnsmasq.kill()
            dnsmasq.wait()
    finally:
        namespace.delete()
