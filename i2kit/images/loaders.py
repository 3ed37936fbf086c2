"""Boot loaders: which Debian packages they come from, the image made of them, and its files for the packers.

They are part of the base, so that a disk does not depend on what the machine that builds it has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from i2kit.errors import BuildError
from i2kit.images.folders import folder_aside
from i2kit.images.inspection import chain_id, read_file
from i2kit.images.store import ImageStore
from i2kit.images.tars import TarFiles, package_files
from i2kit.paths import cache_home

RECIPE = 1
"""Part of the image's name: raise it whenever `loader_layer` makes other bytes of the same packages."""

INSTALLER = "syslinux"
"""Writes syslinux into a FAT file system; a program for x86_64."""

MBR, GPT_MBR = "mbr.bin", "gptmbr.bin"
"""The first sector's code, which starts the active partition of an MBR, or the partition of a GPT marked for old BIOSes."""

ISOLINUX, ISOLINUX_CORE = "isolinux.bin", "ldlinux.c32"

STUB, MENU = "stub.efi", "systemd-boot.efi"
"""What systemd has for UEFI: the head of a unified kernel image, and the boot menu, which starts kernels that lie beside it."""

_EFI = "usr/lib/systemd/boot/efi"
_FILES: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "x86_64": {
        INSTALLER: ("syslinux", "usr/bin/syslinux"),
        MBR: ("syslinux-common", "usr/lib/syslinux/mbr/mbr.bin"),
        GPT_MBR: ("syslinux-common", "usr/lib/syslinux/mbr/gptmbr.bin"),
        ISOLINUX: ("isolinux", "usr/lib/ISOLINUX/isolinux.bin"),
        ISOLINUX_CORE: ("syslinux-common", "usr/lib/syslinux/modules/bios/ldlinux.c32"),
        STUB: ("systemd-boot-efi", f"{_EFI}/linuxx64.efi.stub"),
        MENU: ("systemd-boot-efi", f"{_EFI}/systemd-bootx64.efi"),
    },
    "aarch64": {
        STUB: ("systemd-boot-efi", f"{_EFI}/linuxaa64.efi.stub"),
        MENU: ("systemd-boot-efi", f"{_EFI}/systemd-bootaa64.efi"),
    },
}

PACKAGES: Mapping[str, tuple[str, ...]] = {
    architecture: tuple(sorted({package for package, _ in files.values()})) for architecture, files in _FILES.items()
}
"""The packages by the architecture of the VMs."""


def loader_layer(debs: Callable[[str], Path], architecture: str) -> bytes:
    """Make the layer of the image of boot loaders; `debs` finds a package's file. Raises `BuildError` (``base-damaged``)."""
    found: dict[tuple[str, str], bytes] = {}
    for package in PACKAGES[architecture]:
        paths = {path for owner, path in _FILES[architecture].values() if owner == package}
        found |= {(package, info.name): content for info, content in package_files(debs(package), paths.__contains__) if info.isreg()}
    layer = TarFiles()
    for name, place in _FILES[architecture].items():
        if place not in found:
            raise BuildError.of("base-damaged", f"the base's package {place[0]} has no /{place[1]}")
        layer.file(name, found[place], 0o755 if name == INSTALLER else 0o644)
    return layer.bytes()


def loader_files(store: ImageStore, digest: str, architecture: str) -> Mapping[str, Path]:
    """Return the boot loaders' files by their names, unpacked from the image once. Raises `BuildError`."""
    manifest = store.manifest(digest)
    folder = cache_home() / "loaders" / chain_id(manifest)
    if not folder.is_dir():
        with folder_aside(folder) as aside:
            for name in _FILES[architecture]:
                content = read_file(store, manifest, name)
                if content is None:
                    raise BuildError.of("base-damaged", f"the image of boot loaders {digest} has no /{name}")
                (aside / name).write_bytes(content)
    return {name: folder / name for name in _FILES[architecture]}
