"""Hello in a VM of its own, for the benchmarks: QEMU as the local region calls it, reached by a forwarded port of 127.0.0.1.

Not a benchmark. Always QEMU's TCG, so that figures of different machines can be compared.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

from attrs import frozen

from i2kit_local.folders import Folders
from i2kit_local.kernels import vmlinux
from i2kit_local.machine import Machine, accelerator

HELLO = Path(__file__).resolve().parent.parent / "examples" / "hello"
PORT = 8080
OVMF = Path("/usr/share/OVMF")
_POLL_SECONDS = 0.02
_ASK_SECONDS = 0.5
_LOSSES = ("Initramfs unpacking failed", "Out of memory", "out of memory", "page allocation failure")


@frozen
class Files:
    """What is booted; `direct` is the kernel that QEMU enters by PVH, as the local region does it.

    `disk` is a disk that the VM writes to (and that stays as it is), `root` a root disk.
    """

    kernel: Path
    direct: Path
    initrd: Path
    cmdline: str
    disk: Path | None = None
    root: Path | None = None

    @property
    def bytes(self) -> int:
        """The size of the image: kernel as it is shipped, initramfs, and root disk."""
        return sum(path.stat().st_size for path in (self.kernel, self.initrd, self.root) if path is not None)


def built(manifest: Path, folder: Path, form: str = "kernel+initrd") -> Files:
    """Build a manifest's only image into `folder`, and unpack its kernel."""
    build(manifest, folder, form)
    return prepared(folder)


def build(manifest: Path, target: Path, form: str) -> None:
    """Build a manifest's only image: a file for formats that have one, else a folder."""
    command = [sys.executable, "-m", "i2kit", "build", "-f", str(manifest), "--format", form, "--out", str(target)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def hello(folder: Path) -> Files:
    """Build examples/hello with a store and caches below `folder`."""
    os.environ.update(XDG_DATA_HOME=str(folder / "data"), XDG_CACHE_HOME=str(folder / "cache"))
    layout = folder / "hello"
    for command in (
        [str(HELLO / "image" / "build.py"), "--out", str(layout)],
        ["-m", "i2kit", "images", "import", str(layout)],
    ):
        subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)
    return built(HELLO / "hello.yaml", folder / "image")


def prepared(folder: Path) -> Files:
    """Return the files of a built image, which lie in `folder` or in its only folder."""
    (kernel,) = folder.rglob("kernel")
    unpacked = vmlinux(kernel.read_bytes())
    if unpacked is None:
        raise SystemExit("the kernel cannot be entered by PVH")
    direct = kernel.with_name("vmlinux")
    direct.write_bytes(unpacked)
    root = kernel.with_name("root")
    return Files(kernel, direct, kernel.with_name("initrd"), kernel.with_name("cmdline").read_text(), root=root if root.exists() else None)


@frozen
class Disk:
    """A disk that firmware starts: its file, QEMU's name for what it is (``raw``, ``qcow2``), and whether the firmware is UEFI."""

    path: Path
    format: str
    efi: bool

    def options(self, scratch: Path) -> list[str]:
        """Return QEMU's options for it; `scratch` is for what UEFI remembers."""
        options = ["-drive", f"file={self.path},format={self.format},if=none,id=disk,snapshot=on", "-device", "virtio-blk-pci,drive=disk"]
        if self.efi:
            remembered = scratch / "efi-variables"
            shutil.copyfile(OVMF / "OVMF_VARS.fd", remembered)
            options += ["-drive", f"if=pflash,format=raw,readonly=on,file={OVMF / 'OVMF_CODE.fd'}"]
            options += ["-drive", f"if=pflash,format=raw,file={remembered}"]
        return options


class Vm:
    """One VM from power-on to the end of the `with` block, where QEMU is gone.

    Without a `disk` QEMU loads the kernel, by PVH when it is to be `direct`.
    """

    def __init__(self, files: Files, memory_mib: int, *, direct: bool = True, disk: Disk | None = None, scratch: Path) -> None:
        self._console = scratch / "console"
        boot = scratch / "boot.json"
        boot.write_text(json.dumps({"schema": 1, "instance": "bench-0", "fields": {}, "secrets": {}}))
        self.port = _free_port()
        machine = Machine(
            name="bench",
            kernel=files.direct if direct else files.kernel,
            initrd=files.initrd,
            cmdline=files.cmdline,
            boot=boot,
            control=scratch / "qmp",
            memory_mib=memory_mib,
            cpus=1,
            mac="02:00:00:00:00:02",
            root=files.root,
        )
        forward = f"hostfwd=tcp:127.0.0.1:{self.port}-:{PORT}"
        command = machine.command(accelerator(Folders(state=scratch, runtime=scratch), files.kernel, "tcg"))
        if disk is not None:
            command = [*_without(command, "-kernel", "-initrd", "-append"), *disk.options(scratch)]
        self._command = [
            *command,
            *("-chardev", "null,id=keeper"),
            *("-netdev", f"user,id=net,restrict=on,{forward}"),
            *(("-drive", f"file={files.disk},format=raw,if=virtio,snapshot=on") if files.disk else ()),
        ]

    def __enter__(self) -> Vm:
        """Switch it on."""
        with self._console.open("wb") as console:
            self.started = time.monotonic()
            self._qemu = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """End QEMU, however it stands."""
        self._qemu.kill()
        self._qemu.wait()

    def seconds_to_serve(self, limit: float) -> float | None:
        """Return the time from power-on to the first HTTP 200; None when QEMU ends before that or `limit` seconds pass."""
        while time.monotonic() - self.started < limit and self._qemu.poll() is None:
            if self._answers():
                return time.monotonic() - self.started
            time.sleep(_POLL_SECONDS)
        return None

    def processor_seconds(self) -> float:
        """Return the processor time that QEMU has taken so far: what a busy machine changes less than the time on the clock."""
        fields = Path(f"/proc/{self._qemu.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def losses(self) -> list[str]:
        """Return what the console says about memory that was too small, also where the VM serves all the same."""
        return [line for line in self.console().splitlines() if any(word in line for word in _LOSSES)]

    def console(self) -> str:
        """Return what the VM has written so far."""
        return self._console.read_text(errors="replace")

    def _answers(self) -> bool:
        # QEMU accepts connections before the guest listens: an answer that stays away is no answer.
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_ASK_SECONDS)
        try:
            connection.request("GET", "/")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def _without(command: list[str], *options: str) -> list[str]:
    """Return a command line without some options and their values."""
    return [word for place, word in enumerate(command) if word not in options and (place == 0 or command[place - 1] not in options)]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
