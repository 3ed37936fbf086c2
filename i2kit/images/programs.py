"""The programs of this machine that output formats are made with, each needed only where a format needs it."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from i2kit.errors import BuildError, Problem
from i2kit.images.folders import full
from i2kit.images.tree import BUILD_TIME

PACKAGES: Mapping[str, str] = {
    "mcopy": "mtools",
    "mkfs.vfat": "dosfstools",
    "mmd": "mtools",
    "qemu-img": "qemu-utils",
    "xorriso": "xorriso",
}
"""Debian's package for every program."""

_TIMEOUT = 1800
_SYSTEM = "/usr/local/sbin:/usr/sbin:/sbin"


def missing(programs: Iterable[str]) -> Sequence[Problem]:
    """List which of `programs` are not on this machine."""
    lacking = [program for program in programs if _found(program) is None]
    packages = " ".join(sorted({PACKAGES[program] for program in lacking}))
    return [
        Problem(code="program-missing", message=f"{program} is not installed", hint=f"`sudo apt-get install {packages}`")
        for program in lacking
    ]


def run(program: str | Path, *arguments: str, folder: Path) -> None:
    """Run a program in `folder`, with dates and languages that are the same everywhere.

    Raises `BuildError` (``disk-full``, or ``program-failed`` with what it said).
    """
    name = Path(program).name
    command = [_found(program) or program if isinstance(program, str) else program, *arguments]
    environment = {
        "PATH": f"{os.environ.get('PATH', os.defpath)}:{_SYSTEM}",
        "HOME": str(folder),
        "LC_ALL": "C",
        "TZ": "UTC",
        "SOURCE_DATE_EPOCH": str(BUILD_TIME),
        # mtools would read the machine's and the user's own settings, and refuse disks whose sides and tracks do not add up.
        "MTOOLSRC": os.devnull,
        "MTOOLS_SKIP_CHECK": "1",
    }
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_TIMEOUT, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildError.of("program-failed", f"{name} does not run: {error}") from error
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()
        if os.strerror(errno.ENOSPC) in said:
            raise full(folder)
        raise BuildError.of("program-failed", f"{name} failed: {' '.join(said.splitlines()[-3:]) or 'it said nothing'}")


def _found(program: str | Path) -> str | None:
    return shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:{_SYSTEM}")
