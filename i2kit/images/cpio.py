"""The ``newc`` cpio format as the kernel reads it (its documentation: "initramfs buffer format")."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import IO

from attrs import field, frozen

from i2kit.errors import BuildError
from i2kit.images.layers import EntryType
from i2kit.images.tree import as_bytes

_TYPE_BITS: dict[EntryType, int] = {
    "fifo": 0o010000,
    "char": 0o020000,
    "directory": 0o040000,
    "block": 0o060000,
    "file": 0o100000,
    "symlink": 0o120000,
}
_TYPES: Mapping[int, EntryType] = {bits: name for name, bits in _TYPE_BITS.items()}
_LARGEST = 0xFFFFFFFF
_LONGEST_PATH = 4095
_TRAILER = "TRAILER!!!"
_MAGIC = b"070701"
_HEADER, _NAME_SIZE = 110, 11
_CHUNK = 1 << 20

Content = Iterator[bytes]
"""A file's content (a symbolic link's is its target) in pieces."""


@frozen(kw_only=True)
class Header:
    """What an archive says of one file; `links` above 1 with equal `inode` numbers are hard links, of which the first has the content."""

    path: str
    type: EntryType
    mode: int
    uid: int = 0
    gid: int = 0
    mtime: int = 0
    size: int = 0
    major: int = 0
    minor: int = 0
    inode: int = 0
    links: int = 1


@frozen
class Writer:
    """Writes one archive through `write`, each file whole; `close` ends it. Raises `BuildError` for what the format cannot hold."""

    write: Callable[[bytes], object]
    _position: list[int] = field(factory=lambda: [0], init=False)

    def add(self, header: Header, content: bytes = b"") -> None:
        """Write a file with its content (a symbolic link's is its target)."""
        self.begin(header)
        self._put(content)
        self.end()

    def begin(self, header: Header) -> None:
        """Write a header; `header.size` bytes of content have to follow through `feed`, then `end`."""
        name = as_bytes(header.path)
        if not name or len(name) > _LONGEST_PATH or header.size > _LARGEST:
            raise BuildError.of("initramfs-impossible", f"{header.path!r} does not fit into an initramfs (name or size too large)")
        self._put(_header(header, len(name) + 1) + name + b"\0")
        self._pad()

    def feed(self, content: bytes) -> None:
        """Write some of a file's content."""
        self._put(content)

    def end(self) -> None:
        """End a file."""
        self._pad()

    def close(self) -> None:
        """Write the end of the archive."""
        self._put(_header(Header(path=_TRAILER, type="file", mode=0), len(_TRAILER) + 1, bits=0) + _TRAILER.encode() + b"\0")
        self._pad()

    def _put(self, data: bytes) -> None:
        if data:
            self.write(data)
            self._position[0] += len(data)

    def _pad(self) -> None:
        self._put(b"\0" * (-self._position[0] % 4))


def _header(header: Header, name_size: int, bits: int | None = None) -> bytes:
    mode = header.mode | _TYPE_BITS[header.type] if bits is None else bits
    device = (header.major, header.minor) if header.type in ("char", "block") else (0, 0)
    numbers = (
        header.inode,
        mode,
        header.uid,
        header.gid,
        header.links,
        min(max(header.mtime, 0), _LARGEST),
        header.size,
        0,
        0,
        *device,
        name_size,
        0,
    )
    return _MAGIC + b"".join(b"%08X" % number for number in numbers)


def read(stream: IO[bytes]) -> Iterator[tuple[Header, Content]]:
    """Yield the files of one archive and their contents, to be read before the next file is asked for.

    Raises `ValueError` and `EOFError` for what is no archive, or not a whole one.
    """
    while True:
        head = _exactly(stream, _HEADER)
        numbers = _numbers(head)
        name = _exactly(stream, numbers[_NAME_SIZE]).rstrip(b"\0").decode("utf-8", "surrogateescape")
        _exactly(stream, -(_HEADER + numbers[_NAME_SIZE]) % 4)
        if name == _TRAILER:
            return
        # Layers may name their own root, and begin every path with it.
        header = _read_header("/".join(part for part in name.split("/") if part not in ("", ".")), numbers)
        content = _pieces(stream, header.size)
        if header.path:
            yield header, content
        for _piece in content:
            pass  # what nobody wanted
        _exactly(stream, -header.size % 4)


def final(headers: Iterable[Header]) -> dict[int, Header]:
    """Return which files the kernel ends up with after archives that name paths twice: their numbers, and the properties they have then.

    What stands before its folder is lost.
    """
    places: dict[str, int] = {}
    kept: dict[int, Header] = {}
    for number, header in enumerate(headers):
        folder = header.path.rpartition("/")[0]
        if folder and (folder not in places or kept[places[folder]].type != "directory"):
            continue  # the kernel finds no folder
        before = places.get(header.path)
        if before is not None and kept[before].type == header.type == "directory":
            # What is in the folder may come between the two.
            kept[before] = header
            continue
        if before is not None:
            del kept[before]
        places[header.path] = number
        kept[number] = header
    return kept


def _numbers(head: bytes) -> list[int]:
    if not head.startswith(_MAGIC):
        raise ValueError(f"{head[:6]!r} is not the head of an entry")
    return [int(head[6 + 8 * place : 14 + 8 * place], 16) for place in range(13)]


def _read_header(path: str, numbers: list[int]) -> Header:
    inode, mode, uid, gid, links, mtime, size, _, _, major, minor, _, _ = numbers
    if mode & 0o170000 not in _TYPES:
        raise ValueError(f"{path} is of no known type")
    return Header(
        path=path,
        type=_TYPES[mode & 0o170000],
        mode=mode & 0o7777,
        uid=uid,
        gid=gid,
        mtime=mtime,
        size=size,
        major=major,
        minor=minor,
        inode=inode,
        links=links,
    )


def _pieces(stream: IO[bytes], size: int) -> Content:
    while size:
        piece = stream.read(min(size, _CHUNK))
        if not piece:
            raise EOFError
        size -= len(piece)
        yield piece


def _exactly(stream: IO[bytes], size: int) -> bytes:
    return b"".join(_pieces(stream, size))
