"""CD images that firmware starts, made by xorriso: isolinux for a BIOS, a FAT file system with a unified kernel image for UEFI."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from i2kit.images import bootdisk, loaders
from i2kit.images.formats import Firmware
from i2kit.images.parts import Parts, join
from i2kit.images.programs import run
from i2kit.images.tree import BUILD_TIME

PROGRAMS: Mapping[tuple[Firmware, ...], tuple[str, ...]] = {("bios",): ("xorriso",), ("efi",): (*bootdisk.PROGRAMS, "xorriso")}
"""The programs of this machine that are needed, by the firmware."""

_STARTED: Mapping[Firmware, tuple[str, ...]] = {
    "bios": ("-b", "isolinux/isolinux.bin", "-c", "isolinux/boot.cat", "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table"),
    "efi": ("-e", "efi.img", "-no-emul-boot"),
}


def write(target: Path, parts: Parts, firmware: Sequence[Firmware], *, scratch: Path) -> None:
    """Write a CD image for one kind of firmware. Raises `BuildError` when a program fails."""
    (one,) = firmware
    tree = scratch / "cd"
    tree.mkdir()
    if one == "bios":
        _bios(tree, parts)
    else:
        bootdisk.write_files(tree / "efi.img", parts, firmware, scratch=scratch)
    date = time.strftime("%Y%m%d%H%M%S00", time.gmtime(BUILD_TIME))
    fixed = ("-V", bootdisk.LABEL, f"--modification-date={date}", "--set_all_file_dates", date, "-rational-rock")
    run("xorriso", "-as", "mkisofs", "-quiet", "-o", str(target), *fixed, *_STARTED[one], str(tree), folder=scratch)


def _bios(tree: Path, parts: Parts) -> None:
    folder = tree / "isolinux"
    folder.mkdir()
    os.link(parts.loader[loaders.ISOLINUX], folder / "isolinux.bin")
    os.link(parts.loader[loaders.ISOLINUX_CORE], folder / "ldlinux.c32")
    (folder / "isolinux.cfg").write_text(bootdisk.syslinux(parts.cmdline))
    os.link(parts.kernel, tree / "kernel")
    join(parts.initrd, tree / "initrd")
