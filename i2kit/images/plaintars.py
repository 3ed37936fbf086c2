"""Tars that nobody vouches for, read forwards once: what a header claims costs neither memory nor time beyond what is really there."""

from __future__ import annotations

import hashlib
import re
import tarfile
from collections.abc import Iterator
from typing import IO, cast

_CHUNK = 1 << 20
HEADERS_AT_MOST = 1 << 18
"""Bytes of one member's headers: long names, PAX records, maps of sparse files."""

_WITH_RECORDS = frozenset({tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE})
_OF_THE_NEXT = frozenset({tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, *_WITH_RECORDS})
STUMBLES = (ArithmeticError, LookupError, TypeError, ValueError, RecursionError)
"""What tarfile ends with besides its own errors, when numbers and names make no sense."""

_RECORD = re.compile(rb"([0-9]{1,9}) [^=]+=")


class UntrustedTar:
    """A tar, read by Python's tarfile, which trusts what headers say; everything it reads goes through `_Bounded`.

    Iterating gives the members. Raises `tarfile.TarError` for everything that is wrong with the tar.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = _Bounded(stream)
        self._tar: tarfile.TarFile | None = None

    def __iter__(self) -> Iterator[tarfile.TarInfo]:
        """Yield the members in the order of the tar."""
        while (info := self._next()) is not None:
            yield info

    def _next(self) -> tarfile.TarInfo | None:
        self._stream.allowance = HEADERS_AT_MOST
        try:
            if self._tar is None:
                source = cast(IO[bytes], self._stream)
                self._tar = tarfile.TarFile(fileobj=source, tarinfo=_LayerHeader, errors="surrogateescape", errorlevel=2)
            info = self._tar.next()
            if info is not None:
                info.mtime = int(info.mtime)
                _check_map(info, self._tar.offset - info.offset_data)
        except STUMBLES as error:
            raise tarfile.ReadError(f"a header makes no sense: {error}") from error
        finally:
            self._stream.allowance = None
        # It would keep every member that it ever saw.
        self._tar.members = []  # type: ignore[attr-defined]
        return info

    def content(self, info: tarfile.TarInfo, piece: int) -> Iterator[bytes]:
        """Yield the content of the member that was read last, a regular file, in pieces of at most that many bytes."""
        assert self._tar is not None  # noqa: S101 (there is a member)
        stream = self._tar.extractfile(info)
        while stream is not None and (data := stream.read(piece)):
            yield data

    def digest(self) -> str:
        """Read to the end and return the digest of the whole tar."""
        while self._stream.take(_CHUNK):
            pass
        return f"sha256:{self._stream.hashed.hexdigest()}"


class Header(tarfile.TarInfo):
    """A member that says so when its header is broken (tarfile itself would take it for the end of the tar) or makes no sense."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Header:
        """Read a header. Raises `tarfile.ReadError`."""
        try:
            found = super().frombuf(buf, encoding, errors)
        except (tarfile.InvalidHeaderError, tarfile.TruncatedHeaderError) as error:  # type: ignore[attr-defined]
            raise tarfile.ReadError(str(error)) from error
        if found.size < 0 or (found.type in _OF_THE_NEXT and found.size > HEADERS_AT_MOST):
            raise tarfile.ReadError(f"a header of {found.size} bytes")
        return found


class _LayerHeader(Header):
    """A member whose PAX records have to be right: some of Python's versions pass over those that are not, others do not."""

    def _proc_member(self, tar: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type in _WITH_RECORDS:
            cast(_Bounded, tar.fileobj).records = self.size
        return cast(tarfile.TarInfo, super()._proc_member(tar))  # type: ignore[misc]


class WholeHeader(Header):
    """A member of a tar that nothing bounds, since it is not read forwards: no maps that go on where the tar has ended."""

    def _proc_gnusparse_10(self, *_arguments: object) -> None:
        raise tarfile.ReadError("sparse files do not belong here")


def _check_map(info: tarfile.TarInfo, stored: int) -> None:
    """Refuse a sparse file whose pieces overlap or are more than what is stored of it."""
    end = total = 0
    for offset, size in cast("list[tuple[int, int]]", info.sparse or ()):
        if size == 0:
            continue
        if offset < end or size < 0:
            raise tarfile.ReadError(f"the map of the sparse file {info.name!r} makes no sense")
        end, total = offset + size, total + size
    if end > info.size or total > stored:
        raise tarfile.ReadError(f"the map of the sparse file {info.name!r} is larger than the file")


def _check_records(data: bytes) -> None:
    """Refuse what is no row of PAX records ("LENGTH NAME=VALUE\\n"), and numbers that take tarfile quadratic time (CVE-2024-6232)."""
    position = 0
    while position < len(data):
        found = _RECORD.match(data, position)
        end = position + int(found[1]) if found else 0
        if found is None or not found.end() < end <= len(data) or data[end - 1] != ord("\n"):
            raise tarfile.ReadError("a member's PAX records make no sense")
        position = end


class _Bounded:
    """What tarfile reads from: forwards only, hashed; while headers are read, no more than `allowance` bytes of them.

    The next `records` bytes are PAX records, and checked.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._position = 0
        self.hashed = hashlib.sha256()
        self.allowance: int | None = None
        self.records = 0

    def tell(self) -> int:
        return self._position

    def seek(self, position: int) -> int:
        if position < self._position:
            raise tarfile.ReadError("a header leads backwards")
        while self._position < position:
            if not self.take(min(_CHUNK, position - self._position)):
                raise tarfile.ReadError("unexpected end of data")
        return position

    def read(self, size: int) -> bytes:
        if self.allowance is None:
            return self.take(size)
        if not 0 <= size <= self.allowance:
            raise tarfile.ReadError("a member has more headers than any real one")
        self.allowance -= size
        data = self.take(size)
        if self.records:
            _check_records(data[: self.records])
            self.records = 0
        return data

    def take(self, size: int) -> bytes:
        """Read so many bytes, fewer only at the end."""
        pieces = []
        while size > 0 and (data := self._stream.read(size)):
            self.hashed.update(data)
            self._position += len(data)
            size -= len(data)
            pieces.append(data)
        return b"".join(pieces)
