"""Layers that nobody vouches for: whatever is done to one, it is a tree that stays in its root, or a clear error."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from brokentars import BLOCK, COMPRESSIONS, DIALECTS, SPARSE, broken, check, laid, read, with_checksum, with_gnu_tar, with_python
from hypothesis import HealthCheck, given, settings

from i2kit.errors import BuildError
from i2kit.images import layers
from i2kit.images.inspection import layer_contents


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("layers")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


@settings(max_examples=400, suppress_health_check=list(HealthCheck))
@given(broken())
def test_a_broken_layer_is_a_tree_in_its_root_or_a_clear_error(folder: Path, tar: tuple[bytes, bytes]) -> None:
    check(*laid(folder, *tar))


def test_sparse_files_are_read_with_their_holes(folder: Path) -> None:
    for plain in with_gnu_tar():
        layer, path = laid(folder, plain)
        (member,) = layers.members(layer, path)
        assert (member.path, member.size) == ("sparse", 200_000)
        assert layer_contents(layer.digest, path, {0})[0] == SPARSE


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
@pytest.mark.parametrize("compression", sorted(COMPRESSIONS))
def test_every_dialect_and_compression_gives_the_same_members(folder: Path, dialect: str, compression: str) -> None:
    plain = with_python(DIALECTS[dialect])
    layer, path = laid(folder, plain, COMPRESSIONS[compression](plain))
    found = {member.path: member for member in layers.members(layer, path)}
    assert (found["bin/su"].mode, found["dev/null"].type, found["dev/null"].minor) == (0o4755, "char", 3)
    if dialect != "ustar":
        (long,) = (member for name, member in found.items() if name.endswith("/file"))
        # 1970 is the earliest date that every format of ours holds.
        assert (len(long.path), long.uid, long.mtime) == (268, 5_000_000, 0)
        assert (found["far"].target, found["large-id"].uid) == (long.path, 1 << 28)


# What a header may claim.


def header(**fields: object) -> bytes:
    info = tarfile.TarInfo("x")
    for name, value in fields.items():
        setattr(info, name, value)
    return info.tobuf(tarfile.GNU_FORMAT)


def claims(kind: bytes, size: int) -> bytes:
    return header(type=kind, size=size)


def endless_map(extended: int) -> bytes:
    """Return an old GNU sparse file whose map goes on and on."""
    first = bytearray(claims(tarfile.GNUTYPE_SPARSE, 0))
    first[482] = 1
    more = bytearray(BLOCK)
    more[504] = 1
    return with_checksum(bytes(first)) + bytes(more) * extended


def sparse(offset: int, size: int, real: int) -> bytes:
    first = bytearray(claims(tarfile.GNUTYPE_SPARSE, 512))
    first[386:410] = tarfile.itn(offset, 12, tarfile.GNU_FORMAT) + tarfile.itn(size, 12, tarfile.GNU_FORMAT)
    first[483:495] = tarfile.itn(real, 12, tarfile.GNU_FORMAT)
    return with_checksum(bytes(first)) + bytes(512)


def pax(records: dict[str, str]) -> bytes:
    info = tarfile.TarInfo("x")
    info.pax_headers = records
    return info.tobuf(tarfile.PAX_FORMAT)


CLAIMS = {
    "a file of 2^60 bytes": lambda: claims(tarfile.REGTYPE, 1 << 60) + bytes(4096),
    "a folder of 2^60 bytes": lambda: claims(tarfile.DIRTYPE, 1 << 60),
    "a negative size": lambda: claims(tarfile.REGTYPE, -512) + bytes(4096),
    "a long name of 2^60 bytes": lambda: claims(tarfile.GNUTYPE_LONGNAME, 1 << 60) + bytes(4096),
    "a long link of 2^60 bytes": lambda: claims(tarfile.GNUTYPE_LONGLINK, 1 << 60) + bytes(4096),
    "PAX records of 2^60 bytes": lambda: claims(tarfile.XHDTYPE, 1 << 60) + bytes(4096),
    "global PAX records of 2^60 bytes": lambda: claims(tarfile.XGLTYPE, 1 << 60) + bytes(4096),
    "a negative long name": lambda: claims(tarfile.GNUTYPE_LONGNAME, -1 << 40) + bytes(4096),
    "PAX records that are one number": lambda: claims(tarfile.XHDTYPE, 1 << 17) + b"1" * (1 << 17) + header(),
    "PAX records that are none": lambda: claims(tarfile.XHDTYPE, 20) + b"12 path=name\nzz=yyyy".ljust(BLOCK, b"\0") + header(),
    "ten thousand long names": lambda: claims(tarfile.GNUTYPE_LONGNAME, 0) * 10_000 + header(),
    "a map that goes on and on": lambda: endless_map(10_000),
    "a map that leads nowhere": lambda: pax({"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}),
    "a sparse file of 2^60 bytes": lambda: sparse(0, 512, 1 << 60),
    "a map beyond the file": lambda: sparse(1 << 50, 512, 1024),
    "a map of more than is stored": lambda: sparse(0, 1 << 30, 1 << 30),
    "a size of minus one in a PAX record": lambda: pax({"size": "-1"}),
    "a date that is no number": lambda: pax({"mtime": "nan"}),
    "a date without end": lambda: pax({"mtime": "inf"}),
    "an owner of 2^40": lambda: pax({"uid": str(1 << 40)}),
    "a name of a megabyte": lambda: pax({"path": "a/" * (1 << 19)}),
    "a name of a thousand folders": lambda: pax({"path": "a/" * 1000}),
    "a name of 5000 bytes": lambda: pax({"path": "/".join(["b" * 200] * 25)}),
    "a part of a name of 300 bytes": lambda: pax({"path": "ä" * 150}),
}


@pytest.mark.parametrize("claim", list(CLAIMS))
def test_what_a_header_claims_costs_nothing(folder: Path, claim: str) -> None:
    plain = CLAIMS[claim]() + bytes(2 * BLOCK)
    layer, path = laid(folder, plain, COMPRESSIONS["gzip"](plain))
    with pytest.raises(BuildError) as caught:
        read(layer, path)
    assert [problem.code for problem in caught.value.problems] == ["layer-damaged"]


def test_a_header_that_is_no_header_is_not_the_end_of_a_layer(folder: Path) -> None:
    """Python's tarfile would stop there, and what follows would be missing without a word."""
    whole = with_python(tarfile.USTAR_FORMAT)
    at = whole.index(b"bin/su\0")
    layer, path = laid(folder, whole[:at] + b"B" + whole[at + 1 :])
    with pytest.raises(BuildError, match="bad checksum"):
        layers.members(layer, path)


def test_a_sparse_file_that_claims_much_is_not_read_whole(folder: Path) -> None:
    layer, path = laid(folder, sparse(0, 512, 1 << 39) + bytes(2 * BLOCK))
    assert layers.members(layer, path)[0].size == 1 << 39
    with pytest.raises(BuildError, match="more than a file of its name can have"):
        layer_contents(layer.digest, path, {0})


def test_more_members_than_any_image_has_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "MEMBERS_AT_MOST", 12)
    layer, path = laid(folder, with_python(tarfile.PAX_FORMAT))
    with pytest.raises(BuildError, match="more than 12 members"):
        layers.members(layer, path)


def test_a_layer_that_shrank_since_it_was_imported_is_said_to_have(folder: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("only"))
    layer, path = laid(folder, buffer.getvalue())
    with pytest.raises(BuildError, match="less in it than when it was imported"):
        layer_contents(layer.digest, path, {0, 1})
