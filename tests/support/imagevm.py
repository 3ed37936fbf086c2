"""One VM of a built image, without a region: QEMU as the local region calls it, one port forwarded from 127.0.0.1."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType

from i2kit_local.folders import Folders
from i2kit_local.kernels import vmlinux
from i2kit_local.machine import Machine, accelerator

PORT = 8080


class ImageVm:
    """A VM from power-on to the end of the `with` block; `folder` has the image's files, `root` may be another disk than its own."""

    def __init__(self, folder: Path, scratch: Path, memory_mib: int, *, root: Path | None = None) -> None:
        scratch.mkdir(parents=True, exist_ok=True)
        (scratch / "boot.json").write_text(json.dumps({"schema": 1, "instance": "vm-0", "fields": {}, "secrets": {}}))
        kernel = vmlinux((folder / "kernel").read_bytes())
        assert kernel is not None
        (scratch / "vmlinux").write_bytes(kernel)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        machine = Machine(
            name="vm",
            kernel=scratch / "vmlinux",
            initrd=folder / "initrd",
            cmdline=(folder / "cmdline").read_text(),
            boot=scratch / "boot.json",
            control=scratch / "qmp",
            memory_mib=memory_mib,
            cpus=1,
            mac="02:00:00:00:00:02",
            root=root or folder / "root",
        )
        self._command = [
            *machine.command(accelerator(Folders(state=scratch, runtime=scratch), folder / "kernel", "tcg")),
            *("-chardev", "null,id=keeper"),
            *("-netdev", f"user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{self.port}-:{PORT}"),
        ]
        self._console = scratch / "console"

    def __enter__(self) -> ImageVm:
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
