"""Boot loaders that start nothing, for tests of how disks are laid out: real ones take packages, and boot in tests/e2e."""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

REFERENCE = "docker.io/i2kit/loader:test"

# What the real one changes in the file system's first sector.
_INSTALLER = b"""#!/bin/sh
test "$1" = --install && printf SYSLINUX | dd "of=$2" bs=1 seek=3 conv=notrunc status=none
"""


def stub(machine: int = 0x8664) -> bytes:
    """Return the least PE program that others read: one section, and room for more."""
    optional = bytearray(240)
    struct.pack_into("<H", optional, 0, 0x20B)
    struct.pack_into("<II", optional, 32, 4096, 512)
    struct.pack_into("<II", optional, 56, 8192, 1024)
    struct.pack_into("<H", optional, 68, 10)
    struct.pack_into("<I", optional, 108, 16)
    coff = struct.pack("<HHIIIHH", machine, 1, 0, 0, 0, len(optional), 0x22)
    section = struct.pack("<8sIIIIIIHHI", b".text", 16, 4096, 512, 1024, 0, 0, 0, 0, 0x60000020)
    head = b"MZ".ljust(60, b"\0") + struct.pack("<I", 64) + b"PE\0\0" + coff + optional + section
    return head.ljust(1024, b"\0") + (b"\xc3" * 16).ljust(512, b"\0")


FILES: Mapping[str, bytes] = {
    "syslinux": _INSTALLER,
    "mbr.bin": b"code of an MBR".ljust(440, b"."),
    "gptmbr.bin": b"code for a GPT".ljust(440, b"."),
    "isolinux.bin": b"isolinux".ljust(24_000, b"i"),
    "ldlinux.c32": b"ldlinux".ljust(120_000, b"l"),
    "stub.efi": stub(),
    "systemd-boot.efi": b"MZ the menu",
}


def description() -> dict[str, Any]:
    """Return the image of boot loaders as `synthetic` describes images."""
    entries = [{"file": name, "base64": base64.b64encode(content).decode()} for name, content in FILES.items()]
    return {REFERENCE: {"layers": [entries]}}


def written(folder: Path) -> dict[str, Path]:
    """Write the files into a folder and return them by their names."""
    folder.mkdir()
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    return {name: folder / name for name in FILES}
