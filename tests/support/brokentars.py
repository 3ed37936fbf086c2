"""Tars of every dialect, and ways to break them: what the reader of layers is tried with."""

from __future__ import annotations

import gzip
import hashlib
import io
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from functools import cache
from itertools import islice
from pathlib import Path

import zstandard
from hypothesis import strategies as st

from i2kit.errors import BuildError
from i2kit.images import layers, tree
from i2kit.images.locked import Layer

BLOCK = tarfile.BLOCKSIZE
LONG = "/".join(["a-folder-with-a-rather-long-name"] * 8)

SPARSE = b"".join((b"piece %d" % number).ljust(30_000, b"\0") for number in range(6)) + bytes(20_000)
DIALECTS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}

# Where the fields of a header lie: offset and length.
FIELDS = {
    "name": (0, 100),
    "mode": (100, 8),
    "uid": (108, 8),
    "gid": (116, 8),
    "size": (124, 12),
    "mtime": (136, 12),
    "type": (156, 1),
    "linkname": (157, 100),
    "magic": (257, 8),
    "devmajor": (329, 8),
    "devminor": (337, 8),
    "prefix": (345, 155),
    "sparse": (386, 96),
    "extended": (482, 1),
}
NASTY = (
    b"\xff" * 12,
    b"\x80" + bytes(3) + b"\x10" + bytes(7),  # 2^60, base-256
    b"\x80" + b"\xff" * 11,
    b"\xff" + b"\x80" * 11,
    b"77777777777\0",
    b"-0000000001\0",
    b"0",
    b"",
    b"        ",
    b"nonsense",
    b"../../../etc/passwd\0",
    b"/etc/passwd\0",
    b"way/../../x\0",
    b"way\0",
    b"\xff\xfe\0",
    *(bytes([kind]) for kind in b"0123456789SLKxgXVDMN"),
)
COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "none": bytes,
    "gzip": lambda data: gzip.compress(data, 1, mtime=0),
    "zstd": lambda data: zstandard.ZstdCompressor(level=1).compress(data),
}


def with_python(dialect: int) -> bytes:
    """Return a tar of everything that tarfile can write in a dialect."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=dialect) as archive:

        def add(name: str, kind: bytes = tarfile.REGTYPE, target: str = "", content: bytes = b"", **fields: int) -> None:
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.size = kind, target, len(content)
            for field, value in fields.items():
                setattr(info, field, value)
            archive.addfile(info, io.BytesIO(content))

        plain = dialect == tarfile.USTAR_FORMAT
        add("etc", tarfile.DIRTYPE, mode=0o755)
        add("etc/passwd", content=b"root:x:0:0::/:/bin/sh\n")
        add("bin/su", content=b"x" * 700, mode=0o4755)
        add("way", tarfile.SYMTYPE, "etc")
        add("back", tarfile.SYMTYPE, "../outside")
        add("way/through", content=b"1")
        add("dev/null", tarfile.CHRTYPE, devmajor=1, devminor=3)
        add("pipe", tarfile.FIFOTYPE)
        add("etc/.wh.gone", content=b"")
        add("opt/.wh..wh..opq", content=b"")
        add("hard", tarfile.LNKTYPE, "etc/passwd")
        if not plain:
            add(f"{LONG}/file", content=b"2", uid=5_000_000, mtime=-5)
            add("far", tarfile.SYMTYPE, f"{LONG}/file")
            add("large-id", content=b"3", uid=1 << 28)
    return buffer.getvalue()


@cache
def with_gnu_tar() -> tuple[bytes, ...]:
    """Return tars with a sparse file of `SPARSE`, in every way in which GNU tar writes one."""
    with tempfile.TemporaryDirectory() as folder:
        with (Path(folder) / "sparse").open("wb") as stream:
            for number in range(6):
                stream.seek(number * 30_000)
                stream.write(b"piece %d" % number)
            stream.truncate(len(SPARSE))
        command = ["tar", "-C", folder, "--sparse", "--mtime=@0", "--owner=root:0", "-cf", "-"]
        ways = (["--format=gnu"], *(["--format=posix", f"--sparse-version={version}"] for version in ("0.0", "0.1", "1.0")))
        return tuple(subprocess.run([*command, *way, "sparse"], capture_output=True, check=True).stdout for way in ways)


def with_checksum(header: bytes) -> bytes:
    """Return a header with the checksum that belongs to it."""
    blank = header[:148] + b" " * 8 + header[156:]
    return header[:148] + b"%06o\0 " % sum(blank) + header[156:]


@cache
def tars() -> tuple[bytes, ...]:
    """Return tars that are whole."""
    return (*(with_python(dialect) for dialect in DIALECTS.values()), *with_gnu_tar())


@st.composite
def broken(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """Draw a tar, broken in some places, and the same as a blob, which may be broken once more."""
    plain = bytearray(tars()[draw(st.integers(0, len(tars()) - 1))])
    for way in draw(st.lists(st.sampled_from(("flip", "head", "cut", "move")), max_size=4)):
        plain = _WAYS[way](draw, plain)
    blob = bytearray(COMPRESSIONS[draw(st.sampled_from(sorted(COMPRESSIONS)))](bytes(plain)))
    for way in draw(st.sampled_from(((), (), (), ("flip",), ("cut",)))):
        blob = _WAYS[way](draw, blob)
    return bytes(plain), bytes(blob)


def _flipped(draw: st.DrawFn, data: bytearray) -> bytearray:
    if data:
        data[draw(st.integers(0, len(data) - 1))] ^= 1 << draw(st.integers(0, 7))
    return data


def _cut(draw: st.DrawFn, data: bytearray) -> bytearray:
    return data[: draw(st.integers(0, len(data)))]


def _headed(draw: st.DrawFn, data: bytearray) -> bytearray:
    """Write something into a field of a header, with the right checksum, so that it is believed."""
    headers = [at for at in range(0, len(data) - BLOCK + 1, BLOCK) if data[at + 257 : at + 262] == b"ustar"]
    if not headers:
        return data
    at = draw(st.sampled_from(headers))
    offset, length = FIELDS[draw(st.sampled_from(sorted(FIELDS)))]
    value = draw(st.sampled_from(NASTY) | st.binary(max_size=length))[:length]
    data[at + offset : at + offset + len(value)] = value
    data[at : at + BLOCK] = with_checksum(bytes(data[at : at + BLOCK]))
    return data


def _moved(draw: st.DrawFn, data: bytearray) -> bytearray:
    """Put a block to another place."""
    count = len(data) // BLOCK
    if count < 2:
        return data
    source, target = (draw(st.integers(0, count - 1)) * BLOCK for _ in range(2))
    block = data[source : source + BLOCK]
    return data[:target] + block + data[target:]


_WAYS = {"flip": _flipped, "head": _headed, "cut": _cut, "move": _moved}


# What is done with them.


def digest(data: bytes) -> str:
    """Return the digest of some bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def laid(folder: Path, plain: bytes, blob: bytes | None = None) -> tuple[Layer, Path]:
    """Put a layer into a folder; `blob` is what is there in place of the plain tar."""
    data = plain if blob is None else blob
    path = folder / "blob"
    path.write_bytes(data)
    return Layer(digest=digest(data), diff_id=digest(plain), size=len(data)), path


def read(layer: Layer, path: Path) -> tuple[tree.Entry, ...]:
    """Read a layer as import and build do: its members, the merged tree, and (the beginning of) every content."""
    found = layers.members(layer, path)
    entries = tree.merge([(layer.digest, found)])
    files = {member.number for member in found if member.type == "file"}
    for _number, size, pieces in layers.contents(layer.digest, path, files):
        got = sum(map(len, islice(pieces, 4)))
        assert got == size or got >= 4 << 20 or size > got > 0
    return entries


def check(layer: Layer, path: Path) -> None:
    """Demand that a layer is a tree that stays in its root, or that the error says what is wrong with which layer."""
    try:
        entries = read(layer, path)
    except BuildError as error:
        assert layer.digest in str(error)  # noqa: PT017 (both outcomes are right)
        assert {problem.code for problem in error.problems} <= {"layer-damaged", "layer-unsafe-path", "digest-mismatch"}  # noqa: PT017 (both outcomes are right)
        return
    for entry in entries:
        assert not entry.path.startswith("/")
        assert not {"..", "."} & set(entry.path.split("/"))
        assert "\0" not in entry.path
