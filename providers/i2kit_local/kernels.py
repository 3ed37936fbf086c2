"""bzImage -> vmlinux: a kernel that QEMU enters by PVH needs no memory to unpack itself, and starts sooner."""

from __future__ import annotations

import lzma
import struct
import zlib
from collections.abc import Callable, Mapping

import zstandard

_ELF_MAGIC = b"\x7fELF"
_PT_NOTE = 4
_XEN_ELFNOTE_PHYS32_ENTRY = 18
_LZ4_CHUNK = 8 << 20


def vmlinux(bzimage: bytes) -> bytes | None:
    """Return the uncompressed kernel of a bzImage (Linux' boot protocol), cut to what is loaded.

    None when it cannot be had that way: not a bzImage, packed in a way that is not known here, or no entry for PVH.
    """
    payload = _payload(bzimage)
    unpack = next((unpack for magic, unpack in _UNPACKERS.items() if payload.startswith(magic)), None)
    if unpack is None:
        return None
    try:
        kernel = unpack(payload)
    except (ValueError, EOFError, ImportError, zlib.error, lzma.LZMAError, zstandard.ZstdError, struct.error):
        return None
    return _trimmed(kernel)


def _payload(bzimage: bytes) -> bytes:
    if len(bzimage) < 0x250 or bzimage[0x202:0x206] != b"HdrS":
        return b""
    (protocol,) = struct.unpack_from("<H", bzimage, 0x206)
    if protocol < 0x208:
        return b""
    start = ((bzimage[0x1F1] or 4) + 1) * 512
    offset, length = struct.unpack_from("<II", bzimage, 0x248)
    return bzimage[start + offset : start + offset + length]


def _lz4(payload: bytes) -> bytes:
    """Unpack LZ4's legacy frames, as the kernel's build makes them; four bytes with the size follow."""
    from lz4.block import LZ4BlockError, decompress

    position, parts = 4, []
    while position + 4 < len(payload):
        (size,) = struct.unpack_from("<I", payload, position)
        position += 4
        try:
            parts.append(decompress(payload[position : position + size], uncompressed_size=_LZ4_CHUNK))
        except LZ4BlockError as error:
            raise ValueError(str(error)) from error
        position += size
    return b"".join(parts)


_UNPACKERS: Mapping[bytes, Callable[[bytes], bytes]] = {
    b"\x02\x21\x4c\x18": _lz4,
    b"\x1f\x8b": lambda payload: zlib.decompressobj(wbits=31).decompress(payload),
    b"\x28\xb5\x2f\xfd": lambda payload: zstandard.ZstdDecompressor().decompressobj().decompress(payload),
    b"\xfd7zXZ\x00": lambda payload: lzma.LZMADecompressor().decompress(payload),
}


def _trimmed(kernel: bytes) -> bytes | None:
    """Return a 64-bit ELF file without what lies behind its segments; None when it has no entry for PVH."""
    if not kernel.startswith(_ELF_MAGIC + b"\x02\x01"):
        return None
    (table,) = struct.unpack_from("<Q", kernel, 32)
    entry_size, entries = struct.unpack_from("<HH", kernel, 54)
    end, enters = table + entry_size * entries, False
    for number in range(entries):
        kind, _, offset, _, _, size = struct.unpack_from("<IIQQQQ", kernel, table + number * entry_size)
        end = max(end, offset + size)
        enters |= kind == _PT_NOTE and _has_entry(kernel[offset : offset + size])
    if not enters:
        return None
    header = bytearray(kernel[:64])
    # No section headers: they, and the sections that are not loaded, lay behind the segments.
    struct.pack_into("<Q", header, 40, 0)
    struct.pack_into("<HHH", header, 58, 64, 0, 0)
    return bytes(header) + kernel[64:end]


def _has_entry(notes: bytes) -> bool:
    position = 0
    while position + 12 <= len(notes):
        name_size, data_size, kind = struct.unpack_from("<III", notes, position)
        if kind == _XEN_ELFNOTE_PHYS32_ENTRY and notes[position + 12 : position + 15] == b"Xen":
            return True
        position += 12 + (name_size + 3 & ~3) + (data_size + 3 & ~3)
    return False
