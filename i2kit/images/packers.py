"""Parts -> files in an output format."""

from __future__ import annotations

import os
import shutil
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

from i2kit.images.parts import Parts

Packer = Callable[[Parts, Path], None]
"""Writes the files of one format, named by their roles, into a folder."""


def pack(format_name: str, parts: Parts, folder: Path) -> None:
    """Write the files of a format into `folder`, named by their roles. Raises `BuildError` and `MissingRequirement`."""
    PACKERS[format_name](parts, folder)
    for path in folder.iterdir():
        path.chmod(0o644)


def _direct(parts: Parts, folder: Path) -> None:
    (folder / "cmdline").write_text(parts.cmdline)
    join(parts.initrd, folder / "initrd")
    _share(parts.kernel, folder / "kernel")
    if parts.root is not None:
        _share(parts.root, folder / "root")


def _tar_of_three(parts: Parts, folder: Path) -> None:
    """Make one tar of the three files, under the names that LinuxKit gives them."""
    _direct(parts, folder)
    with tarfile.open(folder / "tar", "w", format=tarfile.PAX_FORMAT) as archive:
        for role, name in (("kernel", "kernel"), ("initrd", "initrd.img"), ("cmdline", "cmdline")):
            info = tarfile.TarInfo(name)
            info.size, info.mode = (folder / role).stat().st_size, 0o600
            with (folder / role).open("rb") as stream:
                archive.addfile(info, stream)
            (folder / role).unlink()


PACKERS: Mapping[str, Packer] = {
    "kernel+initrd": _direct,
    "kernel+squashfs": _direct,
    "tar-kernel-initrd": _tar_of_three,
}


def join(sources: tuple[Path, ...], target: Path) -> None:
    """Write files one behind the other."""
    with target.open("wb") as stream:
        for source in sources:
            with source.open("rb") as part:
                shutil.copyfileobj(part, stream, 1 << 20)


def _share(source: Path, target: Path) -> None:
    # One kernel serves many images; files of the cache are never written to, so they can share it.
    os.link(source, target)
