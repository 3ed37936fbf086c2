"""LinuxKit's initramfs, divided: the containers' root file systems for a root disk, and what stays in the VM's memory."""

from __future__ import annotations

import gzip
import re
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, cast

from attrs import evolve, frozen

from i2kit.errors import BuildError
from i2kit.images import cpio
from i2kit.images.layers import EntryType
from i2kit.images.segments import compressor_for

_MAGIC, _TRAILER = b"070701", "TRAILER!!!"
_HEADER, _NAME_SIZE = 110, 11
_CHUNK = 1 << 20
_TYPES: Mapping[int, EntryType] = {
    0o010000: "fifo",
    0o020000: "char",
    0o040000: "directory",
    0o060000: "block",
    0o100000: "file",
    0o120000: "symlink",
}
_TAR_TYPES: Mapping[EntryType, bytes] = {
    "file": tarfile.REGTYPE,
    "directory": tarfile.DIRTYPE,
    "symlink": tarfile.SYMTYPE,
    "char": tarfile.CHRTYPE,
    "block": tarfile.BLKTYPE,
    "fifo": tarfile.FIFOTYPE,
}
_BUNDLE = re.compile(r"(containers/(?:onboot|services)/[^/]+)/(lower|rootfs)(/.*)?")

Content = Iterator[bytes]


@frozen(kw_only=True)
class Divided:
    """An initramfs that LinuxKit made, as the kernel would unpack it; `roots` are the folders of the containers' root file systems.

    `kept` are the archive's entries that count, by their numbers, each with the properties that its path has in the end: an archive may
    name a path twice, and what stands before its folder is lost.
    """

    initrd: Path
    roots: frozenset[str]
    kept: Mapping[int, cpio.Header]

    def write_roots(self, stream: IO[bytes]) -> None:
        """Write the tar of the root file systems and the folders above them. Raises `BuildError` when the initramfs is damaged."""
        above = {folder.rsplit("/", count)[0] for folder in self.roots for count in (1, 2, 3)}
        for header, content in self._entries():
            if header.path in above or self._in_root(header.path):
                member = _member(header, b"".join(content) if header.type == "symlink" else b"")
                stream.write(member.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape"))
                for piece in content:
                    stream.write(piece)
                stream.write(b"\0" * (-member.size % tarfile.BLOCKSIZE))
        stream.write(b"\0" * 2 * tarfile.BLOCKSIZE)

    def write_rest(self, stream: IO[bytes]) -> None:
        """Write the initramfs without the root file systems. Raises `BuildError` when the initramfs is damaged."""
        rest = sum(header.size for header in self.kept.values() if not self._in_root(header.path))
        compressor = compressor_for(rest)
        writer = cpio.Writer(lambda data: stream.write(compressor.compress(data)))
        for header, content in self._entries():
            if not self._in_root(header.path):
                writer.begin(header)
                for piece in content:
                    writer.feed(piece)
                writer.end()
        writer.close()
        stream.write(compressor.flush())

    def _in_root(self, path: str) -> bool:
        found = _BUNDLE.fullmatch(path)
        return found is not None and f"{found[1]}/{found[2]}" in self.roots

    def _entries(self) -> Iterator[tuple[cpio.Header, Content]]:
        for number, (header, content) in enumerate(_read(self.initrd)):
            final = self.kept.get(number)
            if final is not None:
                yield evolve(final, size=header.size), content


def divide(initrd: Path) -> Divided:
    """Look through an initramfs. Raises `BuildError` (``linuxkit-failed``) for what is none of LinuxKit's."""
    places: dict[str, int] = {}
    kept: dict[int, cpio.Header] = {}
    for number, (header, _content) in enumerate(_read(initrd)):
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
    found = {(match[1], match[2]): match[3] is not None for path in sorted(places) if (match := _BUNDLE.fullmatch(path))}
    # A container that shares another's root file system, or has one below `lower`, has an empty `rootfs` for the mount.
    roots = {f"{folder}/{name}" for (folder, name), filled in found.items() if name == "lower" or filled}
    return Divided(initrd=initrd, roots=frozenset(roots), kept=kept)


def _member(header: cpio.Header, target: bytes) -> tarfile.TarInfo:
    member = tarfile.TarInfo(header.path)
    member.type = _TAR_TYPES[header.type]
    member.mode, member.uid, member.gid, member.mtime = header.mode, header.uid, header.gid, header.mtime
    member.devmajor, member.devminor = header.major, header.minor
    member.linkname = target.decode("utf-8", "surrogateescape")
    member.size = header.size if header.type == "file" else 0
    return member


def _read(initrd: Path) -> Iterator[tuple[cpio.Header, Content]]:
    """Yield the entries of a compressed archive and their contents, to be read before the next entry is asked for."""
    try:
        with gzip.open(initrd) as unpacked:
            stream = cast(IO[bytes], unpacked)
            while head := _exactly(stream, _HEADER):
                numbers = _numbers(head)
                name = _exactly(stream, numbers[_NAME_SIZE]).rstrip(b"\0").decode("utf-8", "surrogateescape")
                _exactly(stream, -(_HEADER + numbers[_NAME_SIZE]) % 4)
                if name == _TRAILER:
                    return
                # Layers may name their own root, and begin every path with it.
                header = _header("/".join(part for part in name.split("/") if part not in ("", ".")), numbers)
                content = _pieces(stream, header.size)
                if header.path:
                    yield header, content
                for _piece in content:
                    pass  # what nobody wanted
                _exactly(stream, -header.size % 4)
    except (gzip.BadGzipFile, zlib.error, EOFError, KeyError, ValueError) as error:
        raise BuildError.of("linuxkit-failed", f"LinuxKit's initramfs cannot be read ({error or type(error).__name__})") from error


def _numbers(head: bytes) -> list[int]:
    if not head.startswith(_MAGIC):
        raise ValueError(f"{head[:6]!r} is not the head of an entry")
    return [int(head[6 + 8 * place : 14 + 8 * place], 16) for place in range(13)]


def _header(path: str, numbers: list[int]) -> cpio.Header:
    inode, mode, uid, gid, links, mtime, size, _, _, major, minor, _, _ = numbers
    kind = _TYPES[mode & 0o170000]
    if links > 1 and kind == "file":
        raise ValueError(f"{path} is a hard link, which LinuxKit's never has")
    return cpio.Header(
        path=path,
        type=kind,
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
