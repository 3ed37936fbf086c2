"""Parts -> files in an output format."""

from __future__ import annotations

import os
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

from attrs import frozen

from i2kit.errors import BuildError, MissingRequirement, Problem
from i2kit.images import bootdisk, cdimages, programs, rootdisk, roottar, virtualdisks
from i2kit.images.folders import ASIDE, ample
from i2kit.images.formats import FORMATS, Firmware, Root, firmware_for
from i2kit.images.parts import Parts, join
from i2kit.resources import Image

SCHEMA = 1
"""Part of every image's identity: raise it when the same parts give another disk."""


@frozen
class Packer:
    """How a format is made: `write` gets the parts, a folder to write the format's files into by their roles, and one for scratch files.

    `programs` are the programs of this machine that it runs.
    """

    write: Callable[[Parts, Path, Path], None]
    programs: tuple[str, ...] = ()


def pack(format_name: str, parts: Parts, folder: Path) -> None:
    """Write the files of a format into `folder`, named by their roles. Raises `BuildError` and `MissingRequirement`."""
    with ample(folder):
        with tempfile.TemporaryDirectory(prefix=ASIDE, dir=folder) as scratch:
            PACKERS[format_name].write(parts, folder, Path(scratch))
        for path in folder.iterdir():
            path.chmod(0o644)


def require(image: Image) -> None:
    """Raise what stands in the way of an image before any work is done for it.

    Raises `MissingRequirement` (``program-missing``) for programs that this machine lacks, `BuildError` (``format-impossible``) for a
    format that machines of the image's architecture cannot start.
    """
    if problems := missing([image.format], (image.root,)):
        raise MissingRequirement(problems)
    if FORMATS[image.format].firmware and not firmware_for(image.format, image.architecture):
        raise BuildError.of(
            "format-impossible",
            f"image {image.name}: {image.format} is started by a BIOS, which no {image.architecture} machine has",
            expected="a format for UEFI, such as qcow2-efi or raw-efi",
        )


def missing(formats: Iterable[str], roots: Iterable[Root] = ("memory", "disk")) -> Sequence[Problem]:
    """List what this machine lacks for making `formats` with the root file systems in any of the places `roots` that they have."""
    known = [name for name in formats if name in PACKERS]
    wanted = {program: None for name in known for program in PACKERS[name].programs}
    disk = "disk" in roots and any("disk" in FORMATS[name].roots for name in known)
    return (*programs.missing(wanted), *(rootdisk.missing() if disk else ()))


def _direct(parts: Parts, folder: Path, _scratch: Path) -> None:
    (folder / "cmdline").write_text(parts.cmdline)
    join(parts.initrd, folder / "initrd")
    _share(parts.kernel, folder / "kernel")
    if parts.root is not None:
        _share(parts.root, folder / "root")


def _tar_of_three(parts: Parts, folder: Path, scratch: Path) -> None:
    """Make one tar of the three files, under the names that LinuxKit gives them."""
    _direct(parts, scratch, scratch)
    with tarfile.open(folder / "tar", "w", format=tarfile.PAX_FORMAT) as archive:
        for role, name in (("kernel", "kernel"), ("initrd", "initrd.img"), ("cmdline", "cmdline")):
            info = tarfile.TarInfo(name)
            info.size, info.mode = (scratch / role).stat().st_size, 0o600
            with (scratch / role).open("rb") as stream:
                archive.addfile(info, stream)


def _tar(parts: Parts, folder: Path, _scratch: Path) -> None:
    roottar.write(folder / "tar", parts)


def _raw(format_name: str, parts: Parts, target: Path, scratch: Path) -> None:
    """Write the disk that a format is, or is made of."""
    whole = virtualdisks.GIB if format_name in _WHOLE_GIB else 0
    bootdisk.write(target, parts, _firmware(format_name, parts), scratch=scratch, whole=whole)


def _disk(format_name: str, parts: Parts, folder: Path, scratch: Path) -> None:
    _raw(format_name, parts, folder / "disk", scratch)


def _converted(convert: virtualdisks.Convert, format_name: str, parts: Parts, folder: Path, scratch: Path) -> None:
    raw = scratch / "disk.raw"
    _raw(format_name, parts, raw, scratch)
    convert(raw, folder / "disk", parts.digest)


def _cd(format_name: str, parts: Parts, folder: Path, scratch: Path) -> None:
    cdimages.write(folder / "disk", parts, _firmware(format_name, parts), scratch=scratch)


def _firmware(format_name: str, parts: Parts) -> tuple[Firmware, ...]:
    firmware = firmware_for(format_name, parts.architecture)
    assert firmware  # noqa: S101 (see `require`)
    return firmware


_WHOLE_GIB = ("aws", "gcp")
"""Volumes of these clouds are whole GiB."""


def _packers() -> dict[str, Packer]:
    table = {
        "kernel+initrd": Packer(_direct),
        "kernel+squashfs": Packer(_direct),
        "tar": Packer(_tar),
        "tar-kernel-initrd": Packer(_tar_of_three),
    }
    for name in ("aws", "raw-bios", "raw-efi"):
        table[name] = Packer(partial(_disk, name), bootdisk.PROGRAMS)
    for name, convert in virtualdisks.CONVERTERS.items():
        table[name] = Packer(partial(_converted, convert.write, name), (*bootdisk.PROGRAMS, *convert.programs))
    for name in ("iso-bios", "iso-efi"):
        table[name] = Packer(partial(_cd, name), cdimages.PROGRAMS[FORMATS[name].firmware])
    return {name: table[name] for name in FORMATS if name in table}


PACKERS: Mapping[str, Packer] = _packers()


def _share(source: Path, target: Path) -> None:
    # One kernel serves many images; files of the cache are never written to, so they can share it.
    os.link(source, target)
