"""Layers: what is in a layer's tar, checked and cached, and how layers are merged into one file tree."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Literal, cast

import zstandard
from attrs import astuple, frozen

from i2kit.errors import BuildError, I2kitError
from i2kit.images.folders import written_aside
from i2kit.images.locked import Layer
from i2kit.paths import cache_home

INDEX_SCHEMA = 1
PAGE = 4096

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
    return BuildError.of(code, f"layer {layer}: {reason}", hint="import or pull the image again; if that does not help, build it anew")


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
    found = []
    with open_layer(layer.digest, blob) as stream:
        hashed = _HashedReader(stream)
        with tarfile.open(fileobj=cast(IO[bytes], hashed), mode="r|", errorlevel=2) as archive:
            for number, info in enumerate(archive):
                found.append(_member(layer.digest, number, info))
        hashed.drain()
    actual = f"sha256:{hashed.digest.hexdigest()}"
    if actual != layer.diff_id:
        raise damaged(layer.digest, f"the plain tar is {actual}, the image's configuration says {layer.diff_id}", code="digest-mismatch")
    return tuple(found)


def _member(layer: str, number: int, info: tarfile.TarInfo) -> Member:
    kind = _TYPES.get(info.type)
    if kind is None:
        raise damaged(layer, f"{info.name!r} is of a type ({info.type!r}) that no file system has")
    target = info.linkname if kind in ("link", "symlink") else ""
    if kind == "link":
        target = safe_path(layer, target)
    return Member(
        number,
        safe_path(layer, info.name),
        kind,
        info.mode & 0o7777,
        info.uid,
        info.gid,
        int(info.mtime),
        info.size if kind == "file" else 0,
        target,
        info.devmajor,
        info.devminor,
    )


def safe_path(layer: str, name: str) -> str:
    """Return a tar member's name as a path relative to the root; the root itself is the empty string.

    Raises `BuildError` for names that lead out of it.
    """
    if name in ("/", "./", "."):
        return ""
    if name.startswith("/") or "\0" in name:
        raise damaged(layer, f"{name!r} is an absolute path", code="layer-unsafe-path")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise damaged(layer, f"{name!r} leads out of the image", code="layer-unsafe-path")
    return "/".join(parts)


@contextmanager
def open_layer(name: str, blob: Path) -> Iterator[IO[bytes]]:
    """Open a layer's plain tar, whatever it is compressed with; what is damaged raises `BuildError`."""
    try:
        with blob.open("rb") as raw:
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
    except FileNotFoundError as error:
        raise damaged(name, "it is not in the store", code="blob-missing") from error
    except (tarfile.TarError, zlib.error, gzip.BadGzipFile, zstandard.ZstdError, EOFError) as error:
        raise damaged(name, f"it cannot be read ({error})") from error


class _HashedReader:
    """Reads for tarfile and hashes all that passes."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self.digest.update(data)
        return data

    def drain(self) -> None:
        while self.read(1 << 20):
            pass
