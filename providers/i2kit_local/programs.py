"""The programs that the local region is made of: where they are, which Debian package has them."""

from __future__ import annotations

import os
import shutil

from i2kit.errors import MissingRequirement, Problem

PACKAGES = {
    "dnsmasq": "dnsmasq-base",
    "haproxy": "haproxy",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "qemu-system-x86_64": "qemu-system-x86",
    "slirp4netns": "slirp4netns",
    "unshare": "util-linux",
}
# A user's PATH often lacks the folders where Debian keeps what root uses.
_ALSO = ("/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin")


def missing() -> tuple[Problem, ...]:
    """Return a problem for each program that is not installed."""
    return tuple(_problem(name) for name in PACKAGES if _find(name) is None)


def program(name: str) -> str:
    """Return the absolute path of a program; raise `MissingRequirement` when it is not installed."""
    path = _find(name)
    if path is None:
        raise MissingRequirement(_problem(name))
    return path


def search_path() -> str:
    """Return the PATH that the region's own programs get."""
    return ":".join(dict.fromkeys([*os.environ.get("PATH", "").split(":"), *_ALSO])).strip(":")


def _find(name: str) -> str | None:
    path = shutil.which(name, path=search_path())
    return os.path.realpath(os.path.dirname(path)) + "/" + os.path.basename(path) if path else None  # noqa: PTH119, PTH120


def _problem(name: str) -> Problem:
    return Problem(
        code="missing-program",
        message=f"{name} is not installed",
        expected=f"{name} on PATH",
        hint=f"apt-get install {PACKAGES[name]}",
    )
