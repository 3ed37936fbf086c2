"""Unified kernel images: a stub that firmware starts, with kernel, initramfs and command line as sections of one program.

The stub is systemd's; the sections are those of the "Unified Kernel Image" specification.
"""

from __future__ import annotations

import shutil
import struct
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import IO, Any

from attrs import frozen

from i2kit.errors import BuildError

_COFF = 20
_SECTION = 40
_SECTION_HEADER = "<8sIIIIIIHHI"
_OPTIONAL_ALIGNMENTS = 32
_OPTIONAL_IMAGE_SIZE = 56
_READABLE_DATA = 0x40000040
_RELEASE = b"ID=i2kit\nPRETTY_NAME=i2kit\nVERSION_ID=1\n"


@frozen
class _Stub:
    """Where the parts of a PE file are that have to change when sections come to it."""

    data: bytearray
    coff: int
    section_alignment: int
    file_alignment: int
    sections: tuple[tuple[Any, ...], ...]
    table_end: int

    @property
    def optional(self) -> int:
        return self.coff + _COFF


def write(target: Path, stub: bytes, *, kernel: Path, initrd: Sequence[Path], cmdline: str) -> None:
    """Write a unified kernel image. Raises `BuildError` (``base-damaged``) when the stub is no PE file with room for sections."""
    found = _parsed(stub)
    # The stub finds the initramfs by its section; the kernel, which unpacks itself, comes last so that it has room behind it.
    small = {".osrel": _RELEASE, ".cmdline": cmdline.encode()}
    parts: list[tuple[str, int, list[Path] | bytes]] = [(name, len(content), content) for name, content in small.items()]
    parts.append((".initrd", sum(path.stat().st_size for path in initrd), list(initrd)))
    parts.append((".linux", kernel.stat().st_size, [kernel]))
    places = _place(found, [(name, size) for name, size, _ in parts])
    with target.open("wb") as stream:
        stream.write(found.data)
        for (_name, size, content), offset in zip(parts, places, strict=True):
            stream.seek(offset)
            _copy(content, stream)
            assert stream.tell() == offset + size  # noqa: S101 (files of the cache do not change)
        stream.truncate(_up(stream.tell(), found.file_alignment))


def _parsed(stub: bytes) -> _Stub:
    data = bytearray(stub)
    try:
        (start,) = struct.unpack_from("<I", data, 60)
        if data[:2] != b"MZ" or data[start : start + 4] != b"PE\0\0":
            raise ValueError("no PE file")
        coff = start + 4
        (sections,) = struct.unpack_from("<H", data, coff + 2)
        section_alignment, file_alignment = struct.unpack_from("<II", data, coff + _COFF + _OPTIONAL_ALIGNMENTS)
        (optional_size,) = struct.unpack_from("<H", data, coff + 16)
        table = coff + _COFF + optional_size
        headers = tuple(struct.unpack_from(_SECTION_HEADER, data, table + number * _SECTION) for number in range(sections))
    except (struct.error, ValueError) as error:
        raise BuildError.of("base-damaged", f"the base's stub for UEFI cannot be used ({error})") from error
    return _Stub(data, coff, section_alignment, file_alignment, headers, table + sections * _SECTION)


def _place(stub: _Stub, parts: Sequence[tuple[str, int]]) -> list[int]:
    """Write the section headers; return where in the file each part goes."""
    begin = min((header[4] for header in stub.sections if header[4]), default=0)
    if stub.table_end + len(parts) * _SECTION > begin:
        raise BuildError.of("base-damaged", "the base's stub for UEFI has no room for sections")
    address = max(header[2] + header[1] for header in stub.sections)
    offset = _up(len(stub.data), stub.file_alignment)
    offsets = []
    for number, (name, size) in enumerate(parts):
        address = _up(address, stub.section_alignment)
        raw = _up(size, stub.file_alignment)
        header = struct.pack(_SECTION_HEADER, name.encode(), size, address, raw, offset, 0, 0, 0, 0, _READABLE_DATA)
        stub.data[stub.table_end + number * _SECTION : stub.table_end + (number + 1) * _SECTION] = header
        offsets.append(offset)
        address, offset = address + size, offset + raw
    struct.pack_into("<H", stub.data, stub.coff + 2, len(stub.sections) + len(parts))
    struct.pack_into("<I", stub.data, stub.optional + _OPTIONAL_IMAGE_SIZE, _up(address, stub.section_alignment))
    return offsets


def _copy(content: list[Path] | bytes, stream: IO[bytes]) -> None:
    if isinstance(content, bytes):
        shutil.copyfileobj(BytesIO(content), stream)
        return
    for path in content:
        with path.open("rb") as source:
            shutil.copyfileobj(source, stream, 1 << 20)


def _up(number: int, to: int) -> int:
    return -(-number // to) * to
