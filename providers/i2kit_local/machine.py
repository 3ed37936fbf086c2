"""How QEMU is called: the machine, and whether KVM can be used."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from attrs import frozen

from i2kit_local.folders import Folders, write
from i2kit_local.programs import program

_PROBE_SECONDS = 10.0
_TCG = ("-accel", "tcg,tb-size=32", "-cpu", "max")
_KVM = ("-accel", "kvm", "-cpu", "host")
_BARE = ("-machine", "q35,usb=off,smbus=off", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot")


@frozen(kw_only=True)
class Machine:
    """What a VM is made of; `boot` is its boot configuration, `control` a socket for QMP that people may use, `root` its disk if any."""

    name: str
    kernel: Path
    initrd: Path
    cmdline: str
    boot: Path
    control: Path
    memory_mib: int
    cpus: int
    mac: str
    root: Path | None = None

    def command(self, accelerator: Sequence[str]) -> list[str]:
        """Return QEMU's command line but for the network and the keeper's own control."""
        return [
            program("qemu-system-x86_64"),
            *accelerator,
            *_BARE,
            *("-name", self.name),
            *("-m", f"{self.memory_mib}M"),
            *("-smp", str(self.cpus)),
            *("-kernel", _option(self.kernel)),
            *("-initrd", _option(self.initrd)),
            *("-append", self.cmdline),
            *self._disk(),
            *("-fw_cfg", f"name=opt/i2kit/boot,file={_option(self.boot, comma=True)}"),
            *("-chardev", "stdio,id=console,signal=off"),
            *("-serial", "chardev:console"),
            *("-device", f"virtio-net-pci,netdev=net,mac={self.mac},romfile="),
            *("-device", "virtio-rng-pci"),
            *("-mon", "chardev=keeper,mode=control"),
            *("-qmp", f"unix:{_option(self.control, comma=True)},server=on,wait=off"),
        ]

    def _disk(self) -> tuple[str, ...]:
        if self.root is None:
            return ()
        # The host's page cache serves all VMs that read the same file.
        source = f"driver=raw,node-name=root,read-only=on,file.driver=file,file.filename={_option(self.root, comma=True)}"
        return ("-blockdev", source, "-device", "virtio-blk-pci,drive=root")


def _option(path: Path, *, comma: bool = False) -> str:
    """Return a path as QEMU takes it: within a list of options, a comma is written twice."""
    return str(path).replace(",", ",,") if comma else str(path)


def accelerator(folders: Folders, kernel: Path, wanted: str) -> tuple[str, ...]:
    """Return QEMU's options for the acceleration: `wanted` is ``kvm``, ``tcg`` or ``auto``, which is found out once and remembered."""
    if wanted in ("kvm", "tcg"):
        return _KVM if wanted == "kvm" else _TCG
    remembered = folders.runtime / "accelerator"
    try:
        name = remembered.read_text()
    except FileNotFoundError:
        name = "kvm" if _kvm_works(kernel) else "tcg"
        write(remembered, name)
    return _KVM if name == "kvm" else _TCG


def _kvm_works(kernel: Path) -> bool:
    """Whether the kernel runs under KVM: the device may be there and still not run it, so it is tried.

    Without a root file system the kernel panics, which resets the machine, which ends QEMU.
    """
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    cmdline = ("-append", "console=ttyS0 panic=-1")
    command = [program("qemu-system-x86_64"), *_KVM, *_BARE, "-m", "128M", "-kernel", str(kernel), *cmdline, "-serial", "stdio"]
    try:
        result = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=_PROBE_SECONDS, start_new_session=True
        )
    except subprocess.TimeoutExpired:
        return False
    return result.returncode == 0 and b"Kernel panic - not syncing" in result.stdout
