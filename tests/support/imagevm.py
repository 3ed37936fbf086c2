"""One VM of a built image, without a region: QEMU as the local region calls it, one port forwarded from 127.0.0.1."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from i2kit_local.folders import Folders
from i2kit_local.kernels import vmlinux
from i2kit_local.machine import Machine, accelerator

PORT = 8080


class RunningVm:
    """A VM from power-on to the end of the `with` block."""

    def __init__(self, command: Sequence[str], console: Path, port: int) -> None:
        self._command = command
        self._console = console
        self.port = port

    def __enter__(self) -> Self:
        """Switch it on."""
        with self._console.open("wb") as console:
            self._qemu = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """End QEMU, however it stands."""
        self._qemu.kill()
        self._qemu.wait()

    def ended(self, seconds: float = 120) -> None:
        """Wait until the VM has powered itself off."""
        try:
            self._qemu.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the VM still runs after {seconds} s:\n{self.console()}") from None

    def get(self, path: str, timeout: float = 30) -> bytes | None:
        """Return what it serves at `path`; None when it does not."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.read() if answer.status == 200 else None
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def served(self, path: str, seconds: float = 120) -> bytes:
        """Wait until it serves `path`; return what."""
        deadline = time.monotonic() + seconds
        # QEMU accepts connections before the guest listens: an answer that stays away is no answer.
        while (answer := self.get(path, timeout=1)) is None:
            assert self._qemu.poll() is None, f"the VM has ended:\n{self.console()}"
            assert time.monotonic() < deadline, f"not within {seconds} s:\n{self.console()}"
            time.sleep(0.05)
        return answer

    def console(self) -> str:
        """Return what the VM has written so far."""
        return self._console.read_text(errors="replace")

    def fatal(self) -> str:
        """Return why the guest gave up."""
        events = [json.loads(line.removeprefix("i2kit ")) for line in self.console().splitlines() if line.startswith("i2kit {")]
        (reason,) = [str(event["reason"]) for event in events if event["event"] == "fatal"]
        return reason


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def boot_configuration(scratch: Path) -> Path:
    """Write what every VM of a Pod is told, and return where."""
    path = scratch / "boot.json"
    path.write_text(json.dumps({"schema": 1, "instance": "vm-0", "fields": {}, "secrets": {}}))
    return path


class ImageVm(RunningVm):
    """A VM that QEMU loads a kernel for; `folder` has the image's files, `root` may be another disk than its own."""

    def __init__(self, folder: Path, scratch: Path, memory_mib: int, *, root: Path | None = None) -> None:
        scratch.mkdir(parents=True, exist_ok=True)
        kernel = vmlinux((folder / "kernel").read_bytes())
        assert kernel is not None
        (scratch / "vmlinux").write_bytes(kernel)
        port = free_port()
        machine = Machine(
            name="vm",
            kernel=scratch / "vmlinux",
            initrd=folder / "initrd",
            cmdline=(folder / "cmdline").read_text(),
            boot=boot_configuration(scratch),
            control=scratch / "qmp",
            memory_mib=memory_mib,
            cpus=1,
            mac="02:00:00:00:00:02",
            root=root or folder / "root",
        )
        command = [
            *machine.command(accelerator(Folders(state=scratch, runtime=scratch), folder / "kernel", "tcg")),
            *("-chardev", "null,id=keeper"),
            *("-netdev", f"user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:{PORT}"),
        ]
        super().__init__(command, scratch / "console", port)
