"""Root disks: the containers' root file systems as one squashfs, with the hash tree behind it that dm-verity checks every read against."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import struct
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from attrs import frozen

from i2kit.errors import BuildError, I2kitError, MissingRequirement, Problem
from i2kit.images.folders import full, written_aside
from i2kit.images.layers import EntryType, contents
from i2kit.images.locked import Layer
from i2kit.images.rootfs import Item

SCHEMA = 1
COMPRESSION = "squashfs-zstd-6"
"""What root disks are made of; why is in docs/explanation/images.md."""

BLOCK = 4096
"""Bytes of dm-verity's blocks, of data and of hashes alike."""

PARAMETER = "i2kit.root"
"""The word of the kernel command line by which the guest knows the disk: ``i2kit.root=<data blocks>:<root hash>``."""

_DIGESTS_PER_BLOCK = BLOCK // hashlib.sha256().digest_size
_LEAST_BLOCKS = 2
"""Data in one block has no tree at all: its root hash would be the data's."""

_MKSQUASHFS = "mksquashfs"
_OPTIONS = (
    *("-comp", "zstd", "-Xcompression-level", "6", "-no-xattrs", "-noappend", "-no-progress"),
    *("-reproducible", "-mkfs-time", "0", "-root-mode", "755"),
    # Plain inodes, so that the root's date can be set: version 4.5 gives it the time of the build, whatever it is told.
    "-noI",
)
_MAGIC = b"hsqs"
_NUMBER = struct.Struct("<Q")
_ROOT_INODE_AT, _BYTES_USED_AT, _INODES_AT = 32, 40, 64
_DATE_AT = 8
"""Of an inode."""

_TAR_TYPES: Mapping[EntryType, bytes] = {
    "file": tarfile.REGTYPE,
    "directory": tarfile.DIRTYPE,
    "symlink": tarfile.SYMTYPE,
    "char": tarfile.CHRTYPE,
    "block": tarfile.BLKTYPE,
    "fifo": tarfile.FIFOTYPE,
}

WriteTar = Callable[[IO[bytes]], None]
"""Writes the tar of a file tree; every path comes once, what is in a folder after it."""


@frozen(kw_only=True)
class RootDisk:
    """A finished root disk: `path` has `data_blocks` blocks of file system, then the hash tree, whose top hashes to `root_hash` (hex)."""

    path: Path
    data_blocks: int
    root_hash: str

    @property
    def word(self) -> str:
        """What the kernel command line says of it."""
        return f"{PARAMETER}={self.data_blocks}:{self.root_hash}"


def missing() -> Sequence[Problem]:
    """List what this machine lacks for making root disks."""
    if shutil.which(_MKSQUASHFS) is not None:
        return ()
    hint = "`sudo apt-get install squashfs-tools`"
    return (Problem(code="program-missing", message=f"{_MKSQUASHFS} is not installed", expected=f"{_MKSQUASHFS} on PATH", hint=hint),)


@frozen
class RootDisks:
    """Finished root disks at `folder`, by what is on them; with `fresh` they are made again, the same bytes over the old."""

    folder: Path
    fresh: bool = False

    def get(self, key: str, write_tar: WriteTar) -> RootDisk:
        """Return the disk that `key` stands for, made of the tar that `write_tar` writes if need be. Raises as `make` does."""
        path = self.folder / f"{key}.img"
        if self.fresh or not path.exists():
            with written_aside(path) as aside:
                make(write_tar, aside)
        return read(path)


def key_of(*inputs: str) -> str:
    """Return the key of the root disk that is made of what `inputs` name."""
    return hashlib.sha256("\n".join([f"{SCHEMA} {COMPRESSION}", *inputs]).encode()).hexdigest()


def make(write_tar: WriteTar, target: Path) -> None:
    """Write a root disk to `target`.

    Raises `MissingRequirement` (``program-missing``) without mksquashfs, `BuildError` (``root-disk-failed``, ``disk-full``) when it fails.
    """
    if problems := missing():
        raise MissingRequirement(problems)
    _squash(write_tar, target)
    _undate_root(target)
    append_hash_tree(target)


def read(path: Path) -> RootDisk:
    """Return what a file that `make` wrote says of itself. Raises `BuildError` (``root-disk-failed``) for any other."""
    with path.open("rb") as stream:
        blocks = _data_blocks(path, stream)
        stream.seek(blocks * BLOCK)
        return RootDisk(path=path, data_blocks=blocks, root_hash=hashlib.sha256(stream.read(BLOCK)).hexdigest())


def _data_blocks(path: Path, stream: IO[bytes]) -> int:
    head = stream.read(96)
    if len(head) < 96 or not head.startswith(_MAGIC):
        raise BuildError.of("root-disk-failed", f"{path} is no squashfs")
    used: int = _NUMBER.unpack_from(head, _BYTES_USED_AT)[0]
    return max(-(-used // BLOCK), _LEAST_BLOCKS)


def _squash(write_tar: WriteTar, target: Path) -> None:
    """Have mksquashfs read the tar while it is written."""
    command = [_MKSQUASHFS, "-", str(target), "-tar", *_OPTIONS, "-quiet", "-processors", str(os.cpu_count() or 1)]
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=said)
        assert process.stdin is not None  # noqa: S101 (asked for)
        try:
            # A pipe that breaks is one whose reader has ended; it says why.
            with suppress(BrokenPipeError):
                write_tar(process.stdin)
            with suppress(BrokenPipeError):
                process.stdin.close()
            status = process.wait()
        finally:
            process.kill()
            process.wait()
            with suppress(BrokenPipeError):
                process.stdin.close()
        if status != 0:
            said.seek(0)
            raise _failure(target, status, said.read().decode(errors="replace"))


def _failure(target: Path, status: int, said: str) -> I2kitError:
    if os.strerror(errno.ENOSPC) in said:
        return full(target.parent)
    reason = next((line.strip() for line in reversed(said.splitlines()) if line.strip()), "it said nothing")
    return BuildError.of("root-disk-failed", f"{_MKSQUASHFS} failed (exit code {status}): {reason}")


def _undate_root(path: Path) -> None:
    """Give the root of a squashfs the date 0. Raises `BuildError` (``root-disk-failed``) for any other file."""
    with path.open("r+b") as stream:
        _data_blocks(path, stream)
        stream.seek(0)
        head = stream.read(96)
        (reference,), (inodes,) = (_NUMBER.unpack_from(head, place) for place in (_ROOT_INODE_AT, _INODES_AT))
        # A reference names a block of the inode table, which has a length of two bytes before it, and a place in there.
        stream.seek(inodes + (reference >> 16) + 2 + (reference & 0xFFFF) + _DATE_AT)
        stream.write(bytes(4))


def append_hash_tree(path: Path) -> None:
    """Pad a squashfs to whole blocks and write dm-verity's hash tree behind it (Linux: "dm-verity", version 1, sha256, no salt)."""
    with path.open("r+b") as stream:
        blocks = _data_blocks(path, stream)
        stream.truncate(blocks * BLOCK)
        stream.seek(0)
        level = b"".join(hashlib.sha256(stream.read(BLOCK)).digest() for _ in range(blocks))
        levels = [_padded(level)]
        while len(levels[-1]) > BLOCK:
            below = levels[-1]
            level = b"".join(hashlib.sha256(below[start : start + BLOCK]).digest() for start in range(0, len(below), BLOCK))
            levels.append(_padded(level))
        for level in reversed(levels):
            stream.write(level)


def _padded(level: bytes) -> bytes:
    return level + b"\0" * (-len(level) % BLOCK)


@frozen
class Tree:
    """A file tree for a root disk: items in the order of their paths, and the layers that have the contents of files."""

    items: tuple[Item, ...]
    layers: tuple[Layer, ...]


def tar_of(trees: Iterable[Tree], blob: Callable[[str], Path]) -> WriteTar:
    """Return what writes the tar of `trees`, which share no paths but folders; `blob` finds layers.

    It raises `BuildError` when a layer is missing or damaged.
    """

    def write(stream: IO[bytes]) -> None:
        folders: set[str] = set()
        for tree in trees:
            fresh = [item for item in tree.items if not (item.inode.type == "directory" and item.path in folders)]
            folders.update(item.path for item in fresh if item.inode.type == "directory")
            for header, pieces in _members(fresh, tree.layers, blob):
                stream.write(header.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape"))
                for piece in pieces:
                    stream.write(piece)
                stream.write(b"\0" * (-header.size % tarfile.BLOCKSIZE))
        stream.write(b"\0" * 2 * tarfile.BLOCKSIZE)

    return write


_Pieces = Iterator[bytes] | tuple[bytes, ...]


def _members(items: Sequence[Item], layers: Sequence[Layer], blob: Callable[[str], Path]) -> Iterator[tuple[tarfile.TarInfo, _Pieces]]:
    """Yield what needs no layer, then the layers' files in the order in which they lie there, so that each layer is read once."""
    names: dict[tuple[int, int], list[Item]] = {}
    for item in items:
        if item.inode.type != "file":
            yield _header(item), ()
        elif item.content is not None:
            yield _header(item, size=len(item.content)), (item.content,)
        else:
            names.setdefault((item.inode.layer, item.inode.member), []).append(item)
    for number, layer in enumerate(layers):
        wanted = {member for place, member in names if place == number}
        if not wanted:
            continue
        for member, size, pieces in contents(layer.digest, blob(layer.digest), wanted):
            first, *others = names[number, member]
            yield _header(first, size=size), pieces
            for other in others:
                yield _header(other, link=first.path), ()


def _header(item: Item, *, size: int = 0, link: str | None = None) -> tarfile.TarInfo:
    node = item.inode
    header = tarfile.TarInfo(item.path)
    header.type = tarfile.LNKTYPE if link is not None else _TAR_TYPES[node.type]
    header.linkname = node.target if link is None else link
    header.mode, header.uid, header.gid, header.mtime, header.size = node.mode, node.uid, node.gid, node.mtime, size
    header.devmajor, header.devminor = node.major, node.minor
    return header
