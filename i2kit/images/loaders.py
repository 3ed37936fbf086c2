"""Boot loaders: what firmware starts, out of Debian packages of the base's lock, so that a disk has the same bytes whoever builds it."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

from i2kit.errors import BuildError
from i2kit.images import oci
from i2kit.images.folders import folder_aside
from i2kit.images.inspection import chain_id
from i2kit.images.layers import open_layer
from i2kit.images.store import ImageStore
from i2kit.images.tars import TarFiles, package_files
from i2kit.paths import cache_home

STUB = "efi/linux.efi.stub"
"""What a unified kernel image begins with."""

MENU = "efi/boot.efi"
"""systemd-boot, which reads kernel and initramfs as files of their own."""

MBR, GPT_MBR = "bios/mbr.bin", "bios/gptmbr.bin"
INSTALLER = "bios/syslinux"
"""syslinux' installer, a program for x86_64; it carries ldlinux.sys."""

MODULE = "bios/ldlinux.c32"
CD = "bios/isolinux.bin"

_BIOS = {
    "syslinux": {"usr/bin/syslinux": INSTALLER},
    "syslinux-common": {
        "usr/lib/syslinux/mbr/mbr.bin": MBR,
        "usr/lib/syslinux/mbr/gptmbr.bin": GPT_MBR,
        "usr/lib/syslinux/modules/bios/ldlinux.c32": MODULE,
    },
    "isolinux": {"usr/lib/ISOLINUX/isolinux.bin": CD},
}


def _efi(suffix: str) -> dict[str, dict[str, str]]:
    folder = "usr/lib/systemd/boot/efi"
    return {"systemd-boot-efi": {f"{folder}/linux{suffix}.efi.stub": STUB, f"{folder}/systemd-boot{suffix}.efi": MENU}}


_FILES: Mapping[str, Mapping[str, Mapping[str, str]]] = {"x86_64": {**_BIOS, **_efi("x64")}, "aarch64": _efi("aa64")}


def packages(architecture: str) -> tuple[str, ...]:
    """Return the names of the Debian packages that an architecture's boot loaders come from."""
    return tuple(sorted(_FILES[architecture]))


def loader_layer(debs: Callable[[str], Path], architecture: str) -> bytes:
    """Make the layer of the boot loaders' image (`debs` finds a package's file). Raises `BuildError` (``base-damaged``)."""
    layer = TarFiles()
    for package, names in _FILES[architecture].items():
        found = {info.name: content for info, content in package_files(debs(package), names.__contains__)}
        for path, name in names.items():
            if path not in found:
                raise BuildError.of("base-damaged", f"the package {package} has no {path}")
            layer.file(name, found[path], 0o755 if name == INSTALLER else 0o644)
    return layer.bytes()


def unpacked(store: ImageStore, manifest: oci.Manifest) -> Mapping[str, Path]:
    """Return the files of a boot loaders' image, unpacked in the cache, by their names. Raises `BuildError` for a damaged one."""
    folder = cache_home() / "loaders" / chain_id(manifest)
    if not folder.is_dir():
        (layer,) = manifest.layers
        with (
            folder_aside(folder) as aside,
            open_layer(layer.digest, store.blob(layer.digest)) as stream,
            tarfile.open(fileobj=stream, mode="r|") as archive,
        ):
            archive.extractall(aside, filter="data")
    return {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
