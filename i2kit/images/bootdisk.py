"""What firmware starts: a FAT file system with boot loader, kernel and initramfs, and a disk of it and the root disk."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from i2kit.images import holes, loaders, partitions, uki
from i2kit.images.formats import Firmware
from i2kit.images.parts import Parts, join
from i2kit.images.programs import run

LABEL = "I2KIT"

PROGRAMS = ("mkfs.vfat", "mmd", "mcopy")
"""The programs of this machine that are needed."""

_EFI_NAMES: Mapping[str, str] = {"x86_64": "BOOTX64.EFI", "aarch64": "BOOTAA64.EFI"}
_SPARE = 256 << 10
"""Room for FAT's own tables, beside one byte in 64."""

_LEAST = 9 << 20
"""FAT16 has at least 4085 clusters, which mkfs.vfat makes of 2 KiB."""


def write(target: Path, parts: Parts, firmware: Sequence[Firmware], *, scratch: Path, whole: int = 0) -> None:
    """Write a raw disk that `firmware` starts, sized to what is on it, or up to a multiple of `whole` bytes. Holes take no space.

    Raises `BuildError` when a program fails.
    """
    boot = scratch / "boot"
    write_files(boot, parts, firmware, scratch=scratch)
    root = parts.root.stat().st_size if parts.root is not None else 0
    table = partitions.lay_out(boot.stat().st_size, root)
    seed = bytes.fromhex(parts.digest.removeprefix("sha256:"))
    if "efi" in firmware:
        size = partitions.aligned(partitions.gpt_size(table), whole or partitions.ALIGNMENT)
        code = parts.loader[loaders.GPT_MBR].read_bytes() if "bios" in firmware else b""
        around = partitions.gpt(table, size, code, seed[:16])
    else:
        size = partitions.aligned(partitions.end(table), whole or partitions.ALIGNMENT)
        around = partitions.mbr(table, parts.loader[loaders.MBR].read_bytes(), seed)
    sources = [boot] if parts.root is None else [boot, parts.root]
    with target.open("wb") as stream:
        stream.truncate(size)
    for offset, content in around.items():
        _overwrite(target, offset, content)
    for source, partition in zip(sources, table, strict=True):
        holes.copy(source, target, partition.start)
    boot.unlink()


def write_files(target: Path, parts: Parts, firmware: Sequence[Firmware], *, scratch: Path) -> None:
    """Write the FAT file system alone, without a disk around it. Raises as `write` does."""
    bios = "bios" in firmware
    files = _files(parts, firmware, scratch)
    content = sum(-(-path.stat().st_size // holes.PAGE) * holes.PAGE for path in files.values())
    with target.open("wb") as stream:
        stream.truncate(partitions.aligned(max(content + content // 64 + _SPARE, _LEAST)))
    hidden = str(partitions.ALIGNMENT // partitions.SECTOR)
    serial = parts.digest.removeprefix("sha256:")[:8]
    options = ("--invariant", "-F", "16", "-h", hidden, "-i", serial, "-n", LABEL)
    run("mkfs.vfat", *options, str(target), folder=scratch)
    folders = {parent.as_posix(): None for name in files for parent in reversed(Path(name).parents) if parent.name}
    if folders:
        run("mmd", "-i", str(target), *(f"::{folder}" for folder in folders), folder=scratch)
    for name, path in files.items():
        run("mcopy", "-i", str(target), str(path), f"::{name}", folder=scratch)
    if bios:
        installer = scratch / "syslinux"
        shutil.copyfile(parts.loader[loaders.INSTALLER], installer)
        installer.chmod(0o755)
        run(installer, "--install", str(target), folder=scratch)


def _files(parts: Parts, firmware: Sequence[Firmware], scratch: Path) -> dict[str, Path]:
    """Return what lies on the boot file system by its names there.

    For UEFI alone it is a unified kernel image. Where a BIOS starts the disk too, kernel and initramfs are files that both read.
    """
    program = f"EFI/BOOT/{_EFI_NAMES[parts.architecture]}"
    if "bios" not in firmware:
        unified = scratch / "unified"
        uki.write(unified, parts.loader[loaders.STUB].read_bytes(), kernel=parts.kernel, initrd=parts.initrd, cmdline=parts.cmdline)
        return {program: unified}
    initrd = scratch / "initrd"
    join(parts.initrd, initrd)
    texts = {"syslinux.cfg": syslinux(parts.cmdline)}
    files = {"kernel": parts.kernel, "initrd": initrd, "ldlinux.c32": parts.loader[loaders.ISOLINUX_CORE]}
    if "efi" in firmware:
        texts |= {"loader/loader.conf": _MENU, "loader/entries/i2kit.conf": _entry(parts.cmdline)}
        files[program] = parts.loader[loaders.MENU]
    for number, (name, text) in enumerate(texts.items()):
        files[name] = scratch / f"text{number}"
        files[name].write_text(text)
    return files


def syslinux(cmdline: str) -> str:
    """Return the configuration of syslinux and isolinux: no menu, no waiting."""
    return f"DEFAULT i2kit\nLABEL i2kit\n  KERNEL /kernel\n  INITRD /initrd\n  APPEND {cmdline}\n"


_MENU = "timeout 0\neditor no\n"


def _entry(cmdline: str) -> str:
    return f"title i2kit\nlinux /kernel\ninitrd /initrd\noptions {cmdline}\n"


def _overwrite(target: Path, offset: int, content: bytes) -> None:
    with target.open("r+b") as stream:
        stream.seek(offset)
        stream.write(content)
