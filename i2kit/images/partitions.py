"""Partition tables: MBR and GPT (UEFI specification, "GUID Partition Table Disk Layout"), as the bytes that go onto a disk. Pure."""

from __future__ import annotations

import struct
import uuid
import zlib
from collections.abc import Mapping, Sequence
from typing import Literal

from attrs import frozen

SECTOR = 512
ALIGNMENT = 1 << 20
"""Where partitions begin and end, in bytes."""

Use = Literal["boot", "root"]

_MBR_TYPES: Mapping[Use, int] = {"boot": 0x0E, "root": 0x83}
_GPT_TYPES: Mapping[Use, uuid.UUID] = {
    "boot": uuid.UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b"),
    "root": uuid.UUID("0fc63daf-8483-4772-8e79-3d69d8477de4"),
}
_LEGACY_BOOTABLE = 1 << 2
_PROTECTIVE = 0xEE
_ENTRIES, _ENTRY_SIZE = 128, 128
_TABLE_SECTORS = _ENTRIES * _ENTRY_SIZE // SECTOR
_HEADER_SIZE = 92


@frozen
class Partition:
    """One partition: where it begins and how long it is, in bytes, both whole megabytes."""

    use: Use
    start: int
    size: int


def lay_out(boot: int, root: int) -> tuple[Partition, ...]:
    """Return the partitions for a boot file system and a root disk of these many bytes; without a root disk (0) there is one."""
    first = Partition("boot", ALIGNMENT, aligned(boot))
    return (first,) if not root else (first, Partition("root", first.start + first.size, aligned(root)))


def aligned(size: int, to: int = ALIGNMENT) -> int:
    """Return the least multiple of `to` that is not less than `size`."""
    return -(-size // to) * to


def end(partitions: Sequence[Partition]) -> int:
    """Return where the last partition ends."""
    return partitions[-1].start + partitions[-1].size


def mbr(partitions: Sequence[Partition], code: bytes, seed: bytes) -> dict[int, bytes]:
    """Return what a disk with an MBR has outside its partitions: bytes by their offset. The first partition is the active one."""
    entries = [
        _mbr_entry(_MBR_TYPES[one.use], one.start // SECTOR, one.size // SECTOR, active=number == 0)
        for number, one in enumerate(partitions)
    ]
    return {0: _mbr_sector(code, seed[:4], entries)}


def gpt(partitions: Sequence[Partition], size: int, code: bytes, seed: bytes) -> dict[int, bytes]:
    """Return what a disk of `size` bytes with a GPT has outside its partitions: bytes by their offset.

    The ids are taken from `seed` (16 bytes). With `code` for a BIOS the first partition is marked as the one to start from.
    """
    table = b"".join(_gpt_entry(one, _id(seed, number + 1), legacy=bool(code) and number == 0) for number, one in enumerate(partitions))
    table += b"\0" * (_ENTRIES * _ENTRY_SIZE - len(table))
    last = size // SECTOR - 1
    protective = _mbr_entry(_PROTECTIVE, 1, min(last, 0xFFFFFFFF), active=False)
    disk = _id(seed, 0)
    return {
        0: _mbr_sector(code, b"\0" * 4, [protective]) + _gpt_header(1, last, 2, last, table, disk),
        2 * SECTOR: table,
        (last - _TABLE_SECTORS) * SECTOR: table + _gpt_header(last, 1, last - _TABLE_SECTORS, last, table, disk),
    }


def gpt_size(partitions: Sequence[Partition]) -> int:
    """Return the least size in bytes of a disk with a GPT, in whole megabytes: a copy of the table lies behind the partitions."""
    return aligned(end(partitions) + (_TABLE_SECTORS + 1) * SECTOR)


def _mbr_sector(code: bytes, disk_id: bytes, entries: Sequence[bytes]) -> bytes:
    return code[:440].ljust(440, b"\0") + disk_id + b"\0\0" + b"".join(entries).ljust(64, b"\0") + b"\x55\xaa"


def _mbr_entry(kind: int, start: int, sectors: int, *, active: bool) -> bytes:
    # Cylinders, heads and sectors say "beyond what they can": everybody reads the numbers behind them.
    beyond = b"\xfe\xff\xff"
    return struct.pack("<B3sB3sII", 0x80 if active else 0, beyond, kind, beyond, start, sectors)


def _gpt_entry(partition: Partition, own: uuid.UUID, *, legacy: bool) -> bytes:
    first, last = partition.start // SECTOR, (partition.start + partition.size) // SECTOR - 1
    name = partition.use.encode("utf-16-le").ljust(72, b"\0")
    kind = _GPT_TYPES[partition.use].bytes_le
    return kind + own.bytes_le + struct.pack("<QQQ", first, last, _LEGACY_BOOTABLE if legacy else 0) + name


def _gpt_header(own: int, other: int, table_at: int, last: int, table: bytes, disk: uuid.UUID) -> bytes:
    usable = (2 + _TABLE_SECTORS, last - _TABLE_SECTORS - 1)

    def header(checksum: int) -> bytes:
        start = struct.pack("<8sIIIIQQQQ", b"EFI PART", 0x10000, _HEADER_SIZE, checksum, 0, own, other, *usable)
        return start + disk.bytes_le + struct.pack("<QIII", table_at, _ENTRIES, _ENTRY_SIZE, zlib.crc32(table))

    return header(zlib.crc32(header(0))).ljust(SECTOR, b"\0")


def _id(seed: bytes, number: int) -> uuid.UUID:
    return uuid.uuid5(uuid.UUID(bytes=seed[:16]), str(number))
