"""Tars that are the same bytes whoever writes them, and the files of Debian packages."""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

from attrs import field, frozen

from i2kit.errors import BuildError
from i2kit.images.tree import BUILD_TIME


@frozen
class TarFiles:
    """Files for one layer; folders above them are made by themselves. All belong to root and carry one date."""

    _entries: dict[str, tuple[tarfile.TarInfo, bytes]] = field(factory=dict, init=False)

    def folder(self, path: str, mode: int = 0o755) -> None:
        """Add a folder."""
        self._put(path, tarfile.DIRTYPE, mode)

    def file(self, path: str, content: bytes, mode: int = 0o644) -> None:
        """Add a file."""
        self._put(path, tarfile.REGTYPE, mode, content)

    def link(self, path: str, target: str) -> None:
        """Add a symbolic link."""
        self._put(path, tarfile.SYMTYPE, 0o777, target=target)

    def _put(self, path: str, kind: bytes, mode: int, content: bytes = b"", target: str = "") -> None:
        head = path.rpartition("/")[0]
        if head and head not in self._entries:
            self.folder(head)
        info = tarfile.TarInfo(path)
        info.type, info.mode, info.size, info.linkname, info.mtime = kind, mode, len(content), target, BUILD_TIME
        self._entries[path] = (info, content)

    def bytes(self) -> bytes:
        """Return the tar, its members in the order of their names."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for path in sorted(self._entries):
                info, content = self._entries[path]
                archive.addfile(info, io.BytesIO(content))
        return buffer.getvalue()


def package_files(deb: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    """Yield the files and links of a Debian package that are `wanted` (by path, without leading slash).

    Raises `BuildError` (``base-damaged``) when dpkg-deb cannot read it.
    """
    process = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(deb)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert process.stdout is not None  # noqa: S101 (asked for)
        with tarfile.open(fileobj=process.stdout, mode="r|") as archive:
            for info in archive:
                info.name = info.name.removeprefix("./")
                if not info.isdir() and wanted(info.name):
                    content = archive.extractfile(info) if info.isreg() else None
                    yield info, content.read() if content is not None else b""
    except tarfile.TarError as error:
        raise BuildError.of("base-damaged", f"{deb.name} cannot be read ({error})") from error
    finally:
        process.kill()
        process.communicate()
