"""The merged file tree of an image: layers laid over each other as the OCI image specification says ("Applying Changesets")."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator

from attrs import define, field, frozen

from i2kit.images.layers import PAGE, EntryType, Member, damaged
from i2kit.images.locked import Inventory

BUILD_TIME = 1492533000
"""The date of everything that no image dates: 2017-04-18 16:30 UTC, LinuxKit's own choice, so that the trees agree."""

_WHITEOUT = ".wh."
_AUFS = ".wh..wh."
_OPAQUE = ".wh..wh..opq"
_LINKS_AT_MOST = 40
# Written (or, as Dockerfile, left out) by LinuxKit or the runtime, so not part of the inventory: docs/reference/guest.md.
_LEFT_OUT_FOLDERS = ("dev/", "proc/", "sys/", "run/")
_LEFT_OUT_FILES = frozenset({"etc/hosts", "etc/hostname", "etc/resolv.conf", "etc/mtab", ".dockerenv", "Dockerfile"})


@frozen
class Inode:
    """What a name stands for. Hard links are several names of one inode; `layer` and `member` say where its content is."""

    type: EntryType
    mode: int
    uid: int = 0
    gid: int = 0
    mtime: int = BUILD_TIME
    size: int = 0
    target: str = ""
    major: int = 0
    minor: int = 0
    layer: int = -1
    member: int = -1


@frozen
class Entry:
    """A path of the merged tree (relative, without leading slash; the root is the empty string) and its inode."""

    path: str
    inode: Inode


IMPLIED_FOLDER = Inode("directory", 0o755)
"""A folder that no layer has, only something in it."""


def merge(layers: Iterable[tuple[str, tuple[Member, ...]]]) -> tuple[Entry, ...]:
    """Lay layers (name for messages, members) over each other, lowest first.

    The root comes first, folders before what is in them, names in the order of their bytes. Raises `BuildError` for hard links to
    nothing (``layer-damaged``) and for paths that lead out of the image over symbolic links (``layer-unsafe-path``).
    """
    root = _Node(IMPLIED_FOLDER)
    for number, (name, members) in enumerate(layers):
        laying = _Laying(root, number, name)
        # A whiteout hides what lower layers have, wherever it stands in its own layer.
        for member in members:
            laying.remove(member)
        for member in members:
            laying.add(member)
    return tuple(_walk(root))


@define(eq=False)
class _Node:
    inode: Inode
    children: dict[str, _Node] = field(factory=dict)


def _walk(root: _Node) -> Iterator[Entry]:
    todo = [("", root)]
    while todo:
        path, node = todo.pop()
        yield Entry(path, node.inode)
        below = sorted(node.children, key=as_bytes, reverse=True)
        todo += [(f"{path}/{name}" if path else name, node.children[name]) for name in below]


def as_bytes(path: str) -> bytes:
    """Return a path as the bytes it has on disk, UTF-8 or not."""
    return path.encode("utf-8", "surrogateescape")


@frozen
class _Laying:
    """One layer on its way into the tree."""

    root: _Node
    number: int
    name: str

    def remove(self, member: Member) -> None:
        """Do what a whiteout says; anything else is left alone."""
        head, base = _split(member.path)
        if not base.startswith(_WHITEOUT):
            return
        folder = self._folder(head, make=False)
        if folder is None:
            return
        if base == _OPAQUE:
            folder.children.clear()
        elif not base.startswith(_AUFS):
            folder.children.pop(base.removeprefix(_WHITEOUT), None)

    def add(self, member: Member) -> None:
        """Put one member into the tree; a folder over a folder keeps what is in it."""
        head, base = _split(member.path)
        if base.startswith(_WHITEOUT):
            return
        if not member.path:
            if member.type == "directory":
                self.root.inode = self._inode(member)
            return
        folder = self._folder(head, make=True)
        assert folder is not None  # noqa: S101 (made if missing)
        there = folder.children.get(base)
        if member.type == "link":
            folder.children[base] = _Node(self._link_target(member))
        elif member.type == "directory" and there is not None and there.inode.type == "directory":
            there.inode = self._inode(member)
        else:
            folder.children[base] = _Node(self._inode(member))

    def _inode(self, member: Member) -> Inode:
        return Inode(
            member.type,
            member.mode,
            member.uid,
            member.gid,
            member.mtime,
            member.size,
            member.target,
            member.major,
            member.minor,
            self.number,
            member.number,
        )

    def _link_target(self, member: Member) -> Inode:
        head, base = _split(member.target)
        folder = self._folder(head, make=False)
        node = folder.children.get(base) if folder else None
        if node is None or node.inode.type == "directory":
            raise damaged(self.name, f"{member.path!r} is a hard link to {member.target!r}, which is no file of the image")
        return node.inode

    def _folder(self, path: str, *, make: bool) -> _Node | None:
        """Find a folder, over symbolic links as a process inside would; never out of the root.

        Without `make` the result is None where there is no such folder, with it everything missing is made.
        """
        trail = [self.root]
        todo = [part for part in reversed(path.split("/")) if part]
        links = 0
        while todo:
            part = todo.pop()
            if part == "..":
                if len(trail) == 1:
                    raise damaged(self.name, f"{path!r} leads out of the image over a symbolic link", code="layer-unsafe-path")
                trail.pop()
                continue
            node = trail[-1].children.get(part)
            if node is not None and node.inode.type == "symlink":
                links += 1
                if links > _LINKS_AT_MOST:
                    raise damaged(self.name, f"{path!r} goes round in circles over symbolic links", code="layer-unsafe-path")
                target = node.inode.target
                if target.startswith("/"):
                    trail = [self.root]
                todo += [step for step in reversed(target.split("/")) if step not in ("", ".")]
                continue
            if node is None or node.inode.type != "directory":
                if not make:
                    return None
                node = trail[-1].children[part] = _Node(IMPLIED_FOLDER)
            trail.append(node)
        return trail[-1]


def _split(path: str) -> tuple[str, str]:
    head, _, base = path.rpartition("/")
    return head, base


def inventory(entries: Iterable[Entry]) -> Inventory:
    """Return what the guest checks before it starts a container (docs/reference/guest.md, "The inventory")."""
    digest = hashlib.sha256()
    files = total = 0
    regular = sorted(
        (entry for entry in entries if entry.inode.type == "file" and _counts(entry.path)), key=lambda entry: as_bytes(entry.path)
    )
    names = Counter(entry.inode for entry in regular)
    for entry in regular:
        if names[entry.inode] > 1:
            continue
        files += 1
        total += entry.inode.size
        digest.update(as_bytes(entry.path) + b"\t%d\n" % entry.inode.size)
    links = tuple(entry.path for entry in regular if names[entry.inode] > 1)
    return Inventory(files=files, bytes=total, sha256=digest.hexdigest(), links=links)


def _counts(path: str) -> bool:
    return path not in _LEFT_OUT_FILES and not path.startswith(_LEFT_OUT_FOLDERS)


def unpacked(entries: Iterable[Entry]) -> int:
    """Return the bytes of memory that the tree's files take: whole pages, hard links once."""
    inodes = {entry.inode for entry in entries if entry.inode.type == "file"}
    return sum(-(-inode.size // PAGE) * PAGE for inode in inodes)
