"""Images: a folder each, with the files that QEMU boots."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from attrs import frozen

from i2kit.driver import Context
from i2kit.errors import ProviderError
from i2kit.resources import Image
from i2kit_local.folders import erase, folder_aside, remove
from i2kit_local.kernels import vmlinux
from i2kit_local.state import State

_DIRECT = ("kernel", "initrd", "cmdline")
FORMATS = {"kernel+initrd": _DIRECT, "kernel+squashfs": (*_DIRECT, "root")}
"""The files of each image format; `root` is the disk with the containers' root file systems, which all VMs of the image read."""


@frozen(kw_only=True)
class Images:
    """Takes images in and removes them."""

    state: State

    def ensure(self, image: Image, context: Context) -> None:
        """Have the image's files, whole."""
        folder = self.state.image_folder(image.name)
        if not self.faults(image):
            return
        artefact = context.artefact(image.name)
        roles = FORMATS.get(artefact.format, ())
        if not roles or artefact.format != image.format or not set(artefact.files) >= set(roles):
            raise ProviderError.of("bad-artefact", f"image {image.name} is {artefact.format} with {', '.join(sorted(artefact.files))}")
        making = folder_aside(folder)
        try:
            for role in roles:
                _take(artefact.files[role], making / role)
            if (kernel := vmlinux((making / "kernel").read_bytes())) is not None:
                (making / "vmlinux").write_bytes(kernel)
            self.state.save_image(image, making)
            remove(folder)
            making.rename(folder)
        finally:
            erase(making)

    def faults(self, image: Image) -> tuple[str, ...]:
        """Say what is wrong with an image that should be here."""
        folder = self.state.image_folder(image.name)
        roles = ("image.json", *FORMATS.get(image.format, ()))
        return tuple(f"its {role} is missing" for role in roles if not (folder / role).is_file())

    def delete(self, name: str) -> None:
        """Have no such image."""
        remove(self.state.image_folder(name))


def _take(source: Path, target: Path) -> None:
    """Link a file where that is possible: builders never change one in place."""
    with suppress(OSError):
        os.link(source.resolve(), target)
        return
    shutil.copyfile(source, target)
