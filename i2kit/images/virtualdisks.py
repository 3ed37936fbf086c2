"""A raw disk in the forms that virtual machines and clouds take, most of them made by qemu-img; ids and dates are fixed."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, cast

from attrs import frozen

from i2kit.errors import BuildError
from i2kit.images import holes
from i2kit.images.programs import run
from i2kit.images.tree import BUILD_TIME

GIB = 1 << 30

Convert = Callable[[Path, Path, str], None]
"""Writes a disk (first path) in another form (second path); ids are taken from the image's digest. Raises `BuildError`."""

_VHD_FOOTER = 512
_VHD_COOKIE = b"conectix"
_VHD_EPOCH = 946684800
"""Dates of VHD count from the year 2000."""

_CID = b"\nCID="
_DESCRIPTOR = 1 << 20
"""A VMDK's description is before that."""


@frozen
class Converter:
    """A form of disks: how it is written, and by which programs of this machine."""

    write: Convert
    programs: tuple[str, ...] = ("qemu-img",)


def _qcow2(raw: Path, target: Path, _digest: str) -> None:
    _qemu_img(raw, target, "qcow2", "compat=1.1")


def _vhd(raw: Path, target: Path, digest: str) -> None:
    # Without force_size the disk would grow to what sides and tracks can express; clouds want whole MiB.
    _qemu_img(raw, target, "vpc", "subformat=fixed,force_size=on")
    _fix_vhd(target, digest, (-_VHD_FOOTER,))


def _dynamic_vhd(raw: Path, target: Path, digest: str) -> None:
    _qemu_img(raw, target, "vpc", "subformat=dynamic,force_size=on")
    _fix_vhd(target, digest, (0, -_VHD_FOOTER))


def _vmdk(raw: Path, target: Path, digest: str) -> None:
    _qemu_img(raw, target, "vmdk", "subformat=streamOptimized")
    with target.open("r+b") as stream:
        head = stream.read(_DESCRIPTOR)
        start = head.find(_CID) + len(_CID)
        end = head.find(b"\n", start)
        closed = head.find(b"\0", start)
        if start < len(_CID) or not start < end < closed:
            raise BuildError.of("program-failed", "qemu-img wrote a VMDK without an id")
        # The id may have fewer than eight digits; zeros follow the description.
        text = head[start:closed]
        fixed = digest.removeprefix("sha256:")[:8].encode() + text[end - start :]
        stream.seek(start)
        stream.write(fixed.ljust(len(text), b"\0"))


def _gcp(raw: Path, target: Path, _digest: str) -> None:
    """Make the archive that Google imports: an old GNU tar of ``disk.raw``, without its holes, compressed by gzip."""
    # Kernel, initramfs and root disk are compressed already.
    with target.open("wb") as stream, gzip.GzipFile(filename="", mode="wb", compresslevel=1, fileobj=stream, mtime=0) as packed:
        holes.write_tar(raw, "disk.raw", cast(IO[bytes], packed))


def _qemu_img(raw: Path, target: Path, form: str, options: str) -> None:
    run("qemu-img", "convert", "-f", "raw", "-O", form, "-o", options, raw.name, str(target), folder=raw.parent)


def _fix_vhd(target: Path, digest: str, places: tuple[int, ...]) -> None:
    """Give a VHD's footer, and its copy, a fixed date and id (Microsoft: "Virtual Hard Disk Image Format Specification")."""
    own = bytes.fromhex(digest.removeprefix("sha256:"))[:16]
    with target.open("r+b") as stream:
        for place in places:
            stream.seek(place, 2 if place < 0 else 0)
            footer = bytearray(stream.read(_VHD_FOOTER))
            if not footer.startswith(_VHD_COOKIE):
                raise BuildError.of("program-failed", "qemu-img wrote a VHD without a footer")
            struct.pack_into(">I", footer, 24, BUILD_TIME - _VHD_EPOCH)
            struct.pack_into(">I16s", footer, 64, 0, own)
            struct.pack_into(">I", footer, 64, ~sum(footer) & 0xFFFFFFFF)
            stream.seek(place, 2 if place < 0 else 0)
            stream.write(footer)


CONVERTERS: Mapping[str, Converter] = {
    "dynamic-vhd": Converter(_dynamic_vhd),
    "gcp": Converter(_gcp, ()),
    "qcow2-bios": Converter(_qcow2),
    "qcow2-efi": Converter(_qcow2),
    "vhd": Converter(_vhd),
    "vmdk": Converter(_vmdk),
}
"""Every form by the format whose disk has it."""
