"""How files get into the image store and the cache: written aside, then renamed, so that nobody sees half of one."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from i2kit.errors import BuildError, I2kitError

_FULL = (errno.ENOSPC, errno.EDQUOT)
ASIDE = ".aside-"
"""What the names of files begin with that are not finished; after a kill they stay behind."""

_DEAD_SECONDS = 24 * 3600


@contextmanager
def ample(path: Path) -> Iterator[None]:
    """Do something that needs space at `path`; where there is none any more, raise `BuildError` (``disk-full``)."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise full(path) from error


def full(path: Path) -> I2kitError:
    """Make the error for a disk without space."""
    return BuildError.of(
        "disk-full", f"there is no space left at {path}", hint="free some, or have XDG_CACHE_HOME and XDG_DATA_HOME name another disk"
    )


def file_digest(path: Path) -> str:
    """Return the digest of a file."""
    with path.open("rb") as stream:
        return f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on `path` (made when missing) against every other process and thread that does the same."""
    with ample(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path` that takes its place when the block ends well, and goes away when not."""
    with ample(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path.parent)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=ASIDE)
        os.close(descriptor)
        aside = Path(name)
        try:
            yield aside
            aside.chmod(0o644)
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)


@contextmanager
def folder_aside(path: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes `path` when the block ends well; if somebody made `path` meanwhile, theirs stays."""
    with ample(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path.parent)
        aside = Path(tempfile.mkdtemp(dir=path.parent, prefix=ASIDE))
        try:
            yield aside
            aside.chmod(0o755)
            try:
                aside.rename(path)
            except OSError:
                if not path.is_dir():
                    raise
        finally:
            shutil.rmtree(aside, ignore_errors=True)


@cache
def _sweep(folder: Path) -> None:
    """Remove, once per process, what was never finished in a folder: nothing takes a day."""
    for aside in folder.glob(f"{ASIDE}*"):
        with suppress(OSError):
            if time.time() - aside.lstat().st_mtime > _DEAD_SECONDS:
                shutil.rmtree(aside) if aside.is_dir() else aside.unlink()
