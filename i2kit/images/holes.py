"""Files that are mostly zeros: what of them is data, copies that leave holes, and a tar without the zeros."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from i2kit.images.tree import BUILD_TIME

PAGE = 4096
_CHUNK = 1 << 20

_BLOCK = 512
_PIECES_IN_HEAD, _PIECES_IN_BLOCK = 4, 21
_LARGEST_OCTAL = 8**11 - 1

Extent = tuple[int, int]
"""Where data begins, and how long it is."""


def extents(path: Path) -> Iterator[Extent]:
    """Yield where a file has pages that are not zeros, neighbours as one; what the file system makes of them does not matter."""
    zeros = b"\0" * PAGE
    found: Extent = (0, 0)
    for offset, page in _pages(path):
        if page == zeros[: len(page)]:
            continue
        start, length = found
        if length and start + length == offset:
            found = (start, length + len(page))
        else:
            if length:
                yield found
            found = (offset, len(page))
    if found[1]:
        yield found


def copy(source: Path, target: Path, offset: int) -> None:
    """Copy a file into another one at `offset`; pages of zeros stay what they are there."""
    with source.open("rb") as stream, target.open("r+b") as other:
        for start, length in extents(source):
            stream.seek(start)
            other.seek(offset + start)
            _copy(stream, other, length)


def write_tar(source: Path, name: str, target: IO[bytes]) -> None:
    """Write a tar of one file without its zeros, in the old form of GNU tar (its manual: "Old GNU Format")."""
    size = source.stat().st_size
    data = list(extents(source))
    # Where the file ends stands last, as a piece without data.
    pieces = [*data, (size, 0)]
    first, rest = pieces[:_PIECES_IN_HEAD], pieces[_PIECES_IN_HEAD:]
    stored = sum(length for _, length in data)
    head = bytearray(_head(name, stored, size, first, more=bool(rest)))
    struct.pack_into("8s", head, 148, b"%06o\0 " % sum(head))
    target.write(head)
    while rest:
        some, rest = rest[:_PIECES_IN_BLOCK], rest[_PIECES_IN_BLOCK:]
        target.write((_sparse(some, _PIECES_IN_BLOCK) + (b"\1" if rest else b"\0")).ljust(_BLOCK, b"\0"))
    with source.open("rb") as stream:
        for start, length in data:
            stream.seek(start)
            _copy(stream, target, length)
    target.write(b"\0" * (-stored % _BLOCK + 2 * _BLOCK))


def _head(name: str, stored: int, size: int, pieces: Sequence[Extent], *, more: bool) -> bytes:
    owner = b"%07o\0" % 0
    start = struct.pack("100s8s8s8s", name.encode(), b"%07o\0" % 0o644, owner, owner)
    start += _number(stored) + _number(BUILD_TIME) + b" " * 8 + b"S"
    # Names of a link, a user and a group, and numbers of a device: none; dates of reading and of changes, an offset, longer names: none.
    magic = b"\0" * 100 + b"ustar  \0"
    return (start + magic).ljust(386, b"\0") + (_sparse(pieces, _PIECES_IN_HEAD) + bytes([more]) + _number(size)).ljust(126, b"\0")


def _sparse(pieces: Sequence[Extent], room: int) -> bytes:
    return b"".join(_number(number) for piece in pieces for number in piece).ljust(24 * room, b"\0")


def _number(number: int) -> bytes:
    return b"%011o\0" % number if number <= _LARGEST_OCTAL else b"\x80" + number.to_bytes(11, "big")


def _pages(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield pages and where they are; holes that the file system knows of are left out."""
    with path.open("rb") as stream:
        position, size = 0, os.fstat(stream.fileno()).st_size
        while position < size:
            try:
                position = os.lseek(stream.fileno(), position, os.SEEK_DATA) // PAGE * PAGE
            except OSError:
                return  # nothing but a hole follows
            end = os.lseek(stream.fileno(), position, os.SEEK_HOLE)
            stream.seek(position)
            end = min(-(-max(end, position + 1) // PAGE) * PAGE, size)
            while position < end:
                chunk = stream.read(min(_CHUNK, end - position))
                for place in range(0, len(chunk), PAGE):
                    yield position + place, chunk[place : place + PAGE]
                position += len(chunk)


def _copy(source: IO[bytes], target: IO[bytes], length: int) -> None:
    while length:
        piece = source.read(min(length, _CHUNK))
        if not piece:
            raise EOFError
        target.write(piece)
        length -= len(piece)
