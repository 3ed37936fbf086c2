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
from i2kit.images.roottar import member
from i2kit.images.segments import compressor_for

_BUNDLE = re.compile(r"(containers/(?:onboot|services)/[^/]+)/(lower|rootfs)(/.*)?")


@frozen(kw_only=True)
class Divided:
    """An initramfs that LinuxKit made; `roots` are the folders of the containers' root file systems, `kept` is what `cpio.final` says."""

    initrd: Path
    roots: frozenset[str]
    kept: Mapping[int, cpio.Header]

    def write_roots(self, stream: IO[bytes]) -> None:
        """Write the tar of the root file systems and the folders above them. Raises `BuildError` when the initramfs is damaged."""
        above = {folder.rsplit("/", count)[0] for folder in self.roots for count in (1, 2, 3)}
        for header, content in self._entries():
            if header.path in above or self._in_root(header.path):
                head = member(header, b"".join(content) if header.type == "symlink" else b"")
                stream.write(head.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape"))
                for piece in content:
                    stream.write(piece)
                stream.write(b"\0" * (-head.size % tarfile.BLOCKSIZE))
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

    def _entries(self) -> Iterator[tuple[cpio.Header, cpio.Content]]:
        for number, (header, content) in enumerate(_read(self.initrd)):
            if number in self.kept:
                yield evolve(self.kept[number], size=header.size), content


def divide(initrd: Path) -> Divided:
    """Look through an initramfs. Raises `BuildError` (``linuxkit-failed``) for what is none of LinuxKit's."""
    kept = cpio.final(header for header, _ in _read(initrd))
    bundles = [match for header in kept.values() if (match := _BUNDLE.fullmatch(header.path))]
    # A container that shares another's root file system, or has one below `lower`, has an empty `rootfs` for the mount.
    roots = {f"{folder}/{name}" for folder, name, inside in (match.groups() for match in bundles) if name == "lower" or inside}
    return Divided(initrd=initrd, roots=frozenset(roots), kept=kept)


def _read(initrd: Path) -> Iterator[tuple[cpio.Header, cpio.Content]]:
    try:
        with gzip.open(initrd) as stream:
            for header, content in cpio.read(cast(IO[bytes], stream)):
                if header.links > 1 and header.type == "file":
                    raise ValueError(f"{header.path} is a hard link, which LinuxKit's never has")
                yield header, content
    except (gzip.BadGzipFile, zlib.error, EOFError, ValueError) as error:
        raise BuildError.of("linuxkit-failed", f"LinuxKit's initramfs cannot be read ({error or type(error).__name__})") from error
