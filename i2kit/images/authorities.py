"""Root certificates for the guest, out of Debian's package of those that Mozilla trusts."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path

from i2kit.errors import BuildError
from i2kit.images.tars import package_files

PACKAGE = "ca-certificates"
PATH = "etc/ssl/certs/ca-certificates.crt"
"""Where they lie in the pod image, one behind the other in PEM (``docs/reference/guest.md``)."""

_FOLDER = "usr/share/ca-certificates/mozilla/"


def roots(deb: Path, patterns: Iterable[str]) -> bytes:
    """Return the certificates whose files' names match one of `patterns`, in the order of their names.

    Raises `BuildError` (``base-damaged``) when a pattern matches none: VMs without it would trust nobody, and say so only when they boot.
    """
    wanted = tuple(f"{_FOLDER}{pattern}.crt" for pattern in patterns)
    files = dict(
        sorted(
            (info.name, content)
            for info, content in package_files(deb, lambda path: any(fnmatchcase(path, pattern) for pattern in wanted))
            if info.isreg()
        )
    )
    for pattern in wanted:
        if not any(fnmatchcase(path, pattern) for path in files):
            raise BuildError.of("base-damaged", f"{deb.name} has no {pattern}")
    return b"".join(content.strip() + b"\n" for content in files.values())
