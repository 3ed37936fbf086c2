"""LinuxKit's format `tar`: the VM's whole file tree as one tar, with the kernel and its command line in /boot."""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import IO, cast

import zstandard
from attrs import evolve

from i2kit.errors import BuildError
from i2kit.images import cpio
from i2kit.images.layers import EntryType
from i2kit.images.parts import Parts
from i2kit.images.tree import BUILD_TIME

_TYPES: Mapping[EntryType, bytes] = {
    "file": tarfile.REGTYPE,
    "directory": tarfile.DIRTYPE,
    "symlink": tarfile.SYMTYPE,
    "char": tarfile.CHRTYPE,
    "block": tarfile.BLKTYPE,
    "fifo": tarfile.FIFOTYPE,
}
_GZIP = b"\x1f\x8b"
_BOOT = "boot"


def write(target: Path, parts: Parts) -> None:
    """Write the tar of what the kernel would unpack; every path comes once. Raises `BuildError` (``initramfs-damaged``)."""
    try:
        kept = cpio.final(header for _, header, _ in _entries(parts))
        with target.open("wb") as stream:
            for head, content in chain(_boot(parts, kept), _tree(parts, kept)):
                stream.write(head.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape"))
                for piece in content:
                    stream.write(piece)
                stream.write(b"\0" * (-head.size % tarfile.BLOCKSIZE))
            stream.write(b"\0" * 2 * tarfile.BLOCKSIZE)
    except (zstandard.ZstdError, gzip.BadGzipFile, zlib.error, EOFError, ValueError) as error:
        raise BuildError.of(
            "initramfs-damaged", f"the initramfs cannot be read ({error or type(error).__name__})", hint="build with --no-cache"
        ) from error


def member(header: cpio.Header, target: bytes = b"") -> tarfile.TarInfo:
    """Return the head of a tar's member for an archive's file; `target` is a symbolic link's."""
    found = tarfile.TarInfo(header.path)
    found.type = _TYPES[header.type]
    found.mode, found.uid, found.gid, found.mtime = header.mode, header.uid, header.gid, header.mtime
    found.devmajor, found.devminor = header.major, header.minor
    found.linkname = target.decode("utf-8", "surrogateescape")
    found.size = header.size if header.type == "file" else 0
    return found


def _boot(parts: Parts, kept: Mapping[int, cpio.Header]) -> Iterator[tuple[tarfile.TarInfo, Iterable[bytes]]]:
    """Yield what LinuxKit adds to the tree, first as there."""
    made = cpio.Header(path=_BOOT, type="directory", mode=0o755, mtime=BUILD_TIME)
    yield member(next((header for header in kept.values() if header.path == _BOOT), made)), ()
    cmdline = parts.cmdline.encode()
    file = cpio.Header(path=f"{_BOOT}/cmdline", type="file", mode=0o644, mtime=BUILD_TIME, size=len(cmdline))
    yield member(file), (cmdline,)
    kernel = parts.kernel.read_bytes()
    yield member(evolve(file, path=f"{_BOOT}/kernel", size=len(kernel))), (kernel,)


def _tree(parts: Parts, kept: Mapping[int, cpio.Header]) -> Iterator[tuple[tarfile.TarInfo, Iterable[bytes]]]:
    names: dict[tuple[int, int], list[cpio.Header]] = {}
    for number, (place, header, _content) in enumerate(_entries(parts)):
        if number in kept and _linked(header):
            names.setdefault((place, header.inode), []).append(header)
    for number, (place, header, content) in enumerate(_entries(parts)):
        if _linked(header):
            # The first name has the content; a later archive may have put something else in its place.
            group = names.pop((place, header.inode), [])
            if group:
                yield member(evolve(group[0], size=header.size)), content
            for other in group[1:]:
                link = member(evolve(other, size=0))
                link.type, link.linkname = tarfile.LNKTYPE, group[0].path
                yield link, ()
        elif number in kept and header.path != _BOOT:
            final = evolve(kept[number], size=header.size)
            if header.type == "symlink":
                yield member(final, b"".join(content)), ()
            else:
                yield member(final), content


def _linked(header: cpio.Header) -> bool:
    return header.links > 1 and header.type == "file"


def _entries(parts: Parts) -> Iterator[tuple[int, cpio.Header, cpio.Content]]:
    """Yield every file of the archives that make the initramfs, with the archive's number."""
    for place, path in enumerate(parts.initrd):
        with _unpacked(path) as stream:
            for header, content in cpio.read(stream):
                yield place, header, content


@contextmanager
def _unpacked(path: Path) -> Iterator[IO[bytes]]:
    with path.open("rb") as packed:
        gzipped = packed.read(len(_GZIP)) == _GZIP
        packed.seek(0)
        if gzipped:
            with gzip.open(packed) as stream:
                yield cast(IO[bytes], stream)
        else:
            with zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True) as reader:
                yield cast(IO[bytes], reader)
