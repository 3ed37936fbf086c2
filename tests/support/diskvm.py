"""hello in every output format, and VMs that firmware starts from it: SeaBIOS, or EDK2's for UEFI, on QEMU's disks and CDs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from attrs import evolve, field, frozen
from imagevm import PORT, RunningVm, boot_configuration, free_port

import i2kit
from i2kit import sizing
from i2kit.environment import Environment
from i2kit.images import assembler, platforms
from i2kit.images.base import Wanted, lock_base
from i2kit.images.builder import BuildRequest
from i2kit.images.formats import Firmware, Root
from i2kit.images.locked import Locked
from i2kit.images.store import default_store
from i2kit.manifest.workloads import Workloads
from i2kit.resources import Image

OVMF = Path("/usr/share/OVMF")
PAGE = b"Hello from a virtual machine"

# A place that QEMU is: the boot configuration as in the local region, but every kind of disk that a format is made for.
ANYWHERE = platforms.Platform(
    name="anywhere",
    boot_config="fw_cfg",
    modules=("virtio_pci", "virtio_net", "virtio_rng", "qemu_fw_cfg"),
    disk_modules=("virtio_blk", "virtio_scsi", "sd_mod", "nvme", "dm_mod", "dm_bufio", "dm_verity", "squashfs"),
)

DEVICES = {
    "virtio": ("-device", "virtio-blk-pci,drive=disk"),
    "nvme": ("-device", "nvme,drive=disk,serial=vol0"),
    "scsi": ("-device", "virtio-scsi-pci", "-device", "scsi-hd,drive=disk"),
    "ide-cd": ("-device", "ide-cd,drive=disk,bus=ide.0"),
}


@frozen
class Images:
    """Images of a manifest, whatever platform their formats are made for."""

    workloads: Workloads
    locked: Locked
    files: dict[tuple[str, Root], dict[str, Path]] = field(factory=dict)

    def get(self, form: str, root: Root) -> dict[str, Path]:
        """Build an image once and return its files; the root file systems lie where they are wanted."""
        if (form, root) not in self.files:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(sizing, "ROOT_IN_MEMORY_MIB", 1000 if root == "memory" else 0)
                plan = i2kit.plan(self.workloads, self.locked, Environment(), application="formats", format=form)
            (image,) = (one for one in plan.resources if isinstance(one, Image))
            assert image.root == root
            self.files[form, root] = dict(assembler.build(BuildRequest(image=image)).files)
        return self.files[form, root]


@contextmanager
def images_of(manifest: Path) -> Iterator[Images]:
    """Resolve a manifest's images for a platform that is none of the real ones, in the default store."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(platforms, "PLATFORMS", {**platforms.PLATFORMS, ANYWHERE.name: ANYWHERE})
        workloads, environment = i2kit.load([manifest]), Environment()
        base = lock_base(environment.base, default_store(), Wanted(platform=ANYWHERE.name, loader=True))
        yield Images(workloads, evolve(i2kit.resolve(workloads, environment), base=base))


class DiskVm(RunningVm):
    """A VM that firmware starts from a disk or CD, to which nothing is written."""

    def __init__(
        self,
        disk: Path,
        scratch: Path,
        firmware: Firmware,
        device: str = "virtio",
        *,
        form: str = "raw",
        machine: str = "q35",
        memory_mib: int = 256,
    ) -> None:
        scratch.mkdir(parents=True, exist_ok=True)
        port = free_port()
        command = [
            *("qemu-system-x86_64", "-accel", "tcg,tb-size=64", "-cpu", "max", "-m", f"{memory_mib}M", "-machine", machine),
            *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio"),
            *("-netdev", f"user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:{PORT}"),
            *("-device", "virtio-net-pci,netdev=net,romfile=", "-device", "virtio-rng-pci"),
            *("-fw_cfg", f"name=opt/i2kit/boot,file={boot_configuration(scratch)}"),
            *("-drive", f"file={disk},format={form},if=none,id=disk,snapshot=on", *DEVICES[device]),
            *started_by(firmware, scratch),
        ]
        super().__init__(command, scratch / "console", port)


def started_by(firmware: Firmware, scratch: Path) -> list[str]:
    """Return QEMU's options for a firmware; skip the test where it is not installed."""
    if firmware == "bios":
        return []
    if not OVMF.is_dir():
        pytest.skip("OVMF, which is UEFI for QEMU, is not installed (apt-get install ovmf)")
    remembered = scratch / "efi-variables"
    shutil.copyfile(OVMF / "OVMF_VARS.fd", remembered)
    code = f"if=pflash,format=raw,unit=0,readonly=on,file={OVMF / 'OVMF_CODE.fd'}"
    return ["-drive", code, "-drive", f"if=pflash,format=raw,unit=1,file={remembered}"]
