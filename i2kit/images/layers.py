"""Layers: what is in a layer's tar, checked and cached, and how layers are merged into one file tree."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Literal, cast

import zstandard
from attrs import astuple, frozen

from i2kit.errors import BuildError, I2kitError
from i2kit.images.folders import file_digest, written_aside
from i2kit.images.locked import Layer
from i2kit.images.plaintars import UntrustedTar
from i2kit.paths import cache_home

INDEX_SCHEMA = 2
PAGE = 4096
MEMBERS_AT_MOST = 1 << 20
"""Of one layer; a whole desktop's files are a third of it. Layers of nothing but headers compress to almost nothing."""

_CHUNK = 1 << 20
_LARGEST_ID = 0xFFFFFFFE
_LARGEST_FILE = 1 << 40
_LATEST = 0xFFFFFFFF
_LONGEST_PATH, _LONGEST_NAME, _DEEPEST = 4095, 255, 256

EntryType = Literal["file", "link", "directory", "symlink", "char", "block", "fifo"]

_TYPES: dict[bytes, EntryType] = {
    tarfile.REGTYPE: "file",
    tarfile.AREGTYPE: "file",
    tarfile.CONTTYPE: "file",
    tarfile.GNUTYPE_SPARSE: "file",
    tarfile.LNKTYPE: "link",
    tarfile.SYMTYPE: "symlink",
    tarfile.DIRTYPE: "directory",
    tarfile.CHRTYPE: "char",
    tarfile.BLKTYPE: "block",
    tarfile.FIFOTYPE: "fifo",
}


@frozen
class Member:
    """One member of a layer's tar: `number` counts from 0, `path` has no leading slash, `target` is a link's."""

    number: int
    path: str
    type: EntryType
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime: int = 0
    size: int = 0
    target: str = ""
    major: int = 0
    minor: int = 0


def damaged(layer: str, reason: str, *, code: str = "layer-damaged") -> I2kitError:
    """Make the error for a layer that cannot be used."""
    return BuildError.of(
        code,
        f"layer {layer}: {reason}",
        hint="remove it (`i2kit images rm`), and import or pull it again; if that does not help, build it anew",
    )


def members(layer: Layer, blob: Path) -> tuple[Member, ...]:
    """Return what is in a layer, in the order of its tar; the plain tar's digest is verified. Cached by `diff_id`.

    Raises `BuildError` for what is damaged (``layer-damaged``) or would lead out of the image (``layer-unsafe-path``).
    """
    cached = cache_home() / "layers" / f"{layer.diff_id.removeprefix('sha256:')}.{INDEX_SCHEMA}.json"
    try:
        rows = json.loads(cached.read_bytes())
        return tuple(Member(*row) for row in rows)
    except (OSError, ValueError, TypeError):
        pass
    found = _read_members(layer, blob)
    with written_aside(cached) as aside:
        aside.write_text(json.dumps([_row(member) for member in found], separators=(",", ":")))
    return found


def _row(member: Member) -> tuple[object, ...]:
    return astuple(member)


def _read_members(layer: Layer, blob: Path) -> tuple[Member, ...]:
    found: list[Member] = []
    with open_layer(layer.digest, blob) as stream:
        tar = UntrustedTar(stream)
        for number, info in enumerate(tar):
            if number >= MEMBERS_AT_MOST:
                raise damaged(layer.digest, f"it has more than {MEMBERS_AT_MOST} members")
            found.append(_member(layer.digest, number, info))
        actual = tar.digest()
    if actual != layer.diff_id:
        raise damaged(layer.digest, f"the plain tar is {actual}, the image's configuration says {layer.diff_id}", code="digest-mismatch")
    return tuple(found)


def contents(name: str, blob: Path, numbers: Collection[int], *, trusted: bool = False) -> Iterator[tuple[int, int, Iterator[bytes]]]:
    """Yield the contents of some files of a layer, as number, bytes in all and pieces, in the order in which they lie there.

    The pieces of one file are to be read before the next is asked for. `name` is the layer's digest; unless it is `trusted`, the layer is
    checked against it: a disk may have changed it since it was imported. Raises `BuildError`, as `members` does.
    """
    missing = set(numbers)
    if missing and not trusted and blob.exists() and file_digest(blob) != name:
        raise damaged(name, "it is not what its digest says any more", code="digest-mismatch")
    with open_layer(name, blob) as stream:
        tar = UntrustedTar(stream)
        for number, info in enumerate(tar if missing else ()):
            if number not in missing or info.type not in _TYPES or _TYPES[info.type] != "file":
                continue
            yield number, info.size, _pieces(name, tar, info)
            missing.discard(number)
            if not missing:
                return
    if missing:
        raise damaged(name, "it has less in it than when it was imported")


def _pieces(name: str, tar: UntrustedTar, info: tarfile.TarInfo) -> Iterator[bytes]:
    with _damage(name):
        yield from tar.content(info, _CHUNK)


def _member(layer: str, number: int, info: tarfile.TarInfo) -> Member:
    kind = _TYPES.get(info.type)
    if kind is None:
        raise damaged(layer, f"{info.name!r} is of a type ({info.type!r}) that no file system has")
    device = (info.devmajor, info.devminor) if kind in ("char", "block") else (0, 0)
    numbers = (info.uid, info.gid, *device)
    if not all(0 <= number <= _LARGEST_ID for number in numbers) or not 0 <= info.size <= _LARGEST_FILE:
        raise damaged(layer, f"{info.name!r} has numbers that no file has: size {info.size}, owner and device {numbers}")
    target = info.linkname if kind in ("link", "symlink") else ""
    if kind == "link":
        target = safe_path(layer, target)
    elif _bytes(target) > _LONGEST_PATH or "\0" in target:
        raise damaged(layer, f"{info.name!r} is a link to a name that no file can have")
    return Member(
        number,
        safe_path(layer, info.name),
        kind,
        info.mode & 0o7777,
        info.uid,
        info.gid,
        # What lies before 1970 or after 2106 has the nearest date that every one of our formats can hold.
        min(max(int(info.mtime), 0), _LATEST),
        info.size if kind == "file" else 0,
        target,
        *device,
    )


def safe_path(layer: str, name: str) -> str:
    """Return a tar member's name as a path relative to the root; the root itself is the empty string.

    Raises `BuildError` for names that lead out of it, and for those that are longer or deeper than any file system has them.
    """
    if name in ("/", "./", "."):
        return ""
    if name.startswith("/") or "\0" in name:
        raise damaged(layer, f"{name!r} is an absolute path", code="layer-unsafe-path")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise damaged(layer, f"{name!r} leads out of the image", code="layer-unsafe-path")
    if _bytes(name) > _LONGEST_PATH or len(parts) > _DEEPEST or any(_bytes(part) > _LONGEST_NAME for part in parts):
        raise damaged(layer, f"{name[:80]!r}... is longer or deeper than a path may be")
    return "/".join(parts)


def _bytes(name: str) -> int:
    return len(name.encode("utf-8", "surrogateescape"))


@contextmanager
def open_layer(name: str, blob: Path) -> Iterator[IO[bytes]]:
    """Open a layer's plain tar, whatever it is compressed with; what is damaged raises `BuildError`."""
    with _damage(name):
        try:
            raw = blob.open("rb")
        except FileNotFoundError as error:
            raise damaged(name, "it is not in the store", code="blob-missing") from error
        with raw:
            magic = raw.read(4)
            raw.seek(0)
            if magic[:2] == b"\x1f\x8b":
                with gzip.open(raw, "rb") as plain:
                    yield cast(IO[bytes], io.BufferedReader(plain, 1 << 20))
            elif magic == b"\x28\xb5\x2f\xfd":
                with zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True) as plain:
                    yield cast(IO[bytes], plain)
            else:
                yield raw


@contextmanager
def _damage(name: str) -> Iterator[None]:
    """Say of everything that the readers of formats stumble over that the layer is damaged."""
    try:
        yield
    except (tarfile.TarError, zlib.error, gzip.BadGzipFile, zstandard.ZstdError, EOFError) as error:
        raise damaged(name, f"it cannot be read ({error})") from error
