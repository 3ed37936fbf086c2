"""An image's file tree where LinuxKit puts it: below a folder, without what Docker makes, with what every container needs. Pure."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable

from attrs import evolve, frozen

from i2kit.images.tree import BUILD_TIME, IMPLIED_FOLDER, Entry, Inode, as_bytes

HOSTS = b"""127.0.0.1       localhost
::1     localhost ip6-localhost ip6-loopback
fe00::0 ip6-localnet
ff00::0 ip6-mcastprefix
ff02::1 ip6-allnodes
ff02::2 ip6-allrouters
"""
NO_RESOLVER = b"\n# no resolv.conf configured\n"
VM_RESOLVER = "/run/resolvconf/resolv.conf"
"""Where LinuxKit has the VM's own resolv.conf lead."""

_LEFT_OUT = (".dockerenv", "Dockerfile", "dev/console", "dev/pts", "dev/shm", "etc/hostname")
_FOLDERS = ("dev", "dev/pts", "dev/shm", "etc", "proc", "sys")


@frozen
class Item:
    """A path of the initramfs; `content` is a file's, where it is not in a layer."""

    path: str
    inode: Inode
    content: bytes | None = None


def made_file(path: str, content: bytes, mode: int = 0o644, uid: int = 0, gid: int = 0) -> Item:
    """Make the item for a file that no layer has."""
    return Item(path, Inode("file", mode, uid, gid, size=len(content)), content)


def made_folder(path: str, mode: int = 0o755, uid: int = 0, gid: int = 0) -> Item:
    """Make the item for a folder that no layer has."""
    return Item(path, Inode("directory", mode, uid, gid))


def made_link(path: str, target: str, uid: int = 0, gid: int = 0) -> Item:
    """Make the item for a symbolic link that no layer has."""
    return Item(path, Inode("symlink", 0o777, uid, gid, size=len(as_bytes(target)), target=target))


def place(entries: Iterable[Entry], prefix: str, *, of_vm: bool = False) -> tuple[Item, ...]:
    """Put an image's tree below `prefix` (empty for the VM's root) as LinuxKit does; folders come before what is in them.

    `of_vm` says that it is the VM's own root file system, whose resolv.conf leads to ``/run``.
    """
    # LinuxKit keeps the VM's /boot for the kernel, and leaves out what images have there.
    items = {entry.path: Item(entry.path, entry.inode) for entry in entries if not (of_vm and entry.path.startswith("boot/"))}
    root = items.pop("", Item("", IMPLIED_FOLDER))
    for path in _LEFT_OUT:
        items.pop(path, None)
    for path in _FOLDERS:
        items[path] = Item(path, IMPLIED_FOLDER)
    items["etc/hosts"] = made_file("etc/hosts", HOSTS)
    resolver = "etc/resolv.conf"
    items[resolver] = made_link(resolver, VM_RESOLVER) if of_vm else made_file(resolver, NO_RESOLVER)
    mounts = items.get("etc/mtab")
    items["etc/mtab"] = evolve(mounts, inode=evolve(mounts.inode, mtime=BUILD_TIME)) if mounts else made_link("etc/mtab", "/proc/mounts")
    placed = [Item(posixpath.join(prefix, item.path), item.inode, item.content) for item in items.values()]
    placed += [made_folder(folder) for folder in ancestors(prefix)]
    if prefix or root.inode.layer >= 0:
        placed.append(Item(prefix or ".", root.inode))
    return tuple(sorted(placed, key=lambda item: as_bytes(item.path)))


def ancestors(path: str) -> tuple[str, ...]:
    """Return the folders above a path, outermost first.

    >>> ancestors("a/b/c")
    ('a', 'a/b')
    """
    parts = path.split("/")
    return tuple("/".join(parts[:count]) for count in range(1, len(parts)))


__all__ = ["BUILD_TIME", "Item", "ancestors", "made_file", "made_folder", "made_link", "place"]
