"""The ``newc`` cpio format as the kernel reads it (its documentation: "initramfs buffer format")."""

from __future__ import annotations

from collections.abc import Callable

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
_LARGEST = 0xFFFFFFFF
_LONGEST_PATH = 4095
_TRAILER = "TRAILER!!!"


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
    return b"070701" + b"".join(b"%08X" % number for number in numbers)
