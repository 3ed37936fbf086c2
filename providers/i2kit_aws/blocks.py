"""A raw disk as blocks of a snapshot: which of them hold data, what is in them, and the checksums that AWS asks for. Only reads."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from attrs import frozen

from i2kit.images import holes

BLOCK_BYTES = 512 << 10
"""The size of every block of a snapshot; a disk's end is filled up with zeros."""

_GIB = 1 << 30


@frozen(kw_only=True)
class Disk:
    """A disk in a file: the sha256 (`checksums`) of the blocks that hold anything but zeros, by their indexes, in order.

    `gib` is the size of the volume that it is on: volumes are whole GiB.
    """

    path: Path
    checksums: Mapping[int, bytes]
    gib: int

    @classmethod
    def of(cls, path: Path) -> Disk:
        """Look at a disk; raises `OSError` when the file cannot be read."""
        with path.open("rb") as stream:
            checksums = {index: hashlib.sha256(_block(stream.fileno(), index)).digest() for index in _indexes(path)}
        return cls(path=path, checksums=checksums, gib=max(1, -(-path.stat().st_size // _GIB)))

    @property
    def size(self) -> int:
        """How many bytes its blocks are."""
        return len(self.checksums) * BLOCK_BYTES

    @property
    def checksum(self) -> bytes:
        """The checksum of all blocks together, by their own (the EBS direct APIs call this method ``LINEAR``)."""
        return hashlib.sha256(b"".join(self.checksums.values())).digest()

    def read(self, index: int) -> bytes:
        """Return a block, whole."""
        with self.path.open("rb") as stream:
            return _block(stream.fileno(), index)


def _block(file: int, index: int) -> bytes:
    return os.pread(file, BLOCK_BYTES, index * BLOCK_BYTES).ljust(BLOCK_BYTES, b"\0")


def _indexes(path: Path) -> Iterator[int]:
    """Yield the blocks with data: extents come in order, and several may lie in one block."""
    following = 0
    for start, length in holes.extents(path):
        first, behind = start // BLOCK_BYTES, -(-(start + length) // BLOCK_BYTES)
        yield from range(max(first, following), behind)
        following = behind


def text(checksum: bytes) -> str:
    """Return a checksum as requests have it.

    >>> text(hashlib.sha256(b"").digest())
    '47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='
    """
    return base64.b64encode(checksum).decode()
