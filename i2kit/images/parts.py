"""What every builder makes of a Pod before it becomes an output format: kernel, initramfs, command line, and perhaps a root disk."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from attrs import field, frozen


@frozen(kw_only=True)
class Parts:
    """The parts of an image, as files that nobody changes.

    `initrd` are the files that make the initramfs, in order. `root` is the disk with the containers' root file systems, where the image
    has one: the file system and its hash tree, as it is to lie on a disk or partition; `cmdline` then says how it is known. `loader` are
    the boot loader's files by their names in the base's image of boot loaders, where the format needs any. `digest` is the image's own
    (``sha256:...``): what has to differ between two disks (ids, serial numbers) is taken from it, so that a build repeats bit for bit.
    """

    architecture: str
    digest: str
    kernel: Path
    initrd: tuple[Path, ...]
    cmdline: str
    root: Path | None = None
    loader: Mapping[str, Path] = field(factory=dict)


def join(sources: Iterable[Path], target: Path) -> None:
    """Write files one behind the other."""
    with target.open("wb") as stream:
        for source in sources:
            with source.open("rb") as part:
                shutil.copyfileobj(part, stream, 1 << 20)
