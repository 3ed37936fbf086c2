"""How LinuxKit 1.8 lays layers over each other, where that is not what the image specification says. Pure.

LinuxKit reads the uppermost layer first and writes what it finds at once. So it forgets a removed folder that a later layer makes again,
knows no opaque whiteouts, and writes files before their folders; those the kernel cannot unpack, and they are lost without an error.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Sequence

from attrs import frozen

from i2kit.images.layers import Member

_WHITEOUT = ".wh."
# LinuxKit writes these itself, or leaves them out, whatever the image has there.
_ITS_OWN = ("dev", "etc/hostname", "etc/hosts", "etc/mtab", "etc/resolv.conf", "proc", "sys", ".dockerenv", "Dockerfile")


@frozen(kw_only=True)
class Difference:
    """What LinuxKit makes of an image otherwise: paths that it loses, and paths that it brings back though an upper layer removed them."""

    lost: tuple[str, ...] = ()
    returned: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.lost or self.returned)


def difference(layers: Sequence[Sequence[Member]], merged: Iterable[str]) -> Difference:
    """Compare the paths that LinuxKit makes of `layers`, lowest first, with those of the merged tree."""
    made, right = unpacked(layers), set(merged) - {""}
    return Difference(
        lost=tuple(sorted(path for path in right - made if not _its_own(path))),
        returned=tuple(sorted(path for path in made - right if not _its_own(path))),
    )


def _its_own(path: str) -> bool:
    return any(path == name or path.startswith(f"{name}/") for name in _ITS_OWN)


def unpacked(layers: Sequence[Sequence[Member]]) -> set[str]:
    """Return the paths that are there when the kernel has unpacked what LinuxKit wrote, without what it adds itself."""
    links: dict[str, str] = {}
    folders, there = {""}, set()
    for member in _written(layers):
        folder = _through(posixpath.dirname(member.path), links)
        if folder not in folders or not member.path:
            continue
        path = posixpath.join(folder, posixpath.basename(member.path))
        there.add(path)
        if member.type == "directory":
            folders.add(path)
        elif member.type == "symlink":
            links[path] = member.target
    return there


def _written(layers: Sequence[Sequence[Member]]) -> Iterable[Member]:
    """Yield what LinuxKit writes, in its order."""
    hides: dict[str, bool] = {}
    for layer in reversed(layers):
        for member in layer:
            folder, base = posixpath.split(member.path)
            removes = base.startswith(_WHITEOUT)
            name = posixpath.join(folder, base.removeprefix(_WHITEOUT)) if member.type != "directory" else member.path
            if name in hides or _hidden(name, hides):
                continue
            hides[name] = removes or member.type != "directory"
            if not removes:
                yield member


def _hidden(name: str, hides: dict[str, bool]) -> bool:
    while name:
        name = posixpath.dirname(name)
        if hides.get(name, False):
            return True
    return False


def _through(folder: str, links: dict[str, str]) -> str:
    """Follow the symbolic links that are in the way of a folder, as far as they stay in the image."""
    for _hop in range(40):
        parts = folder.split("/")
        prefixes = ["/".join(parts[: count + 1]) for count in range(len(parts))]
        link = next((prefix for prefix in prefixes if prefix in links), None)
        if link is None:
            break
        rest = folder[len(link) :]
        target = posixpath.join("/", posixpath.dirname(link), links[link])
        folder = (posixpath.normpath(target) + rest).lstrip("/")
    return folder
