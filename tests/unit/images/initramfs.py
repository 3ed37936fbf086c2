"""What the kernel makes of an initramfs: its archives read and unpacked by the kernel's own rules (``init/initramfs.c``), in memory.

An entry whose folder is not there yet is lost without an error, a later entry replaces an earlier one of the same path, and a path may lead
through a symbolic link. So two archives that differ byte by byte can mean one tree, and it is the trees that are compared.
"""

from __future__ import annotations

import hashlib
import posixpath
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import zstandard

Tree = dict[str, dict[str, Any]]

_TRAILER = "TRAILER!!!"
_GZIP, _ZSTD, _NEWC = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"07070"
_TYPES = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "dir",
    stat.S_IFLNK: "symlink",
    stat.S_IFCHR: "char",
    stat.S_IFBLK: "block",
    stat.S_IFIFO: "fifo",
}


class Entry(NamedTuple):
    """One entry of a newc archive."""

    path: str
    mode: int
    uid: int
    gid: int
    mtime: int
    links: int
    inode: int
    device: tuple[int, int]
    data: bytes


def segments(data: bytes) -> list[bytes]:
    """Return the plain archives that compressed and uncompressed segments, padded by zeros or not, hold."""
    found: list[bytes] = []
    while data := data.lstrip(b"\0"):
        if data.startswith(_GZIP):
            gunzip = zlib.decompressobj(wbits=31)
            found.append(gunzip.decompress(data))
            data = gunzip.unused_data
        elif data.startswith(_ZSTD):
            unzstd = zstandard.ZstdDecompressor().decompressobj()
            found.append(unzstd.decompress(data))
            data = unzstd.unused_data
        elif data.startswith(_NEWC):
            end = _archive_end(data)
            found.append(data[:end])
            data = data[end:]
        else:
            raise ValueError(f"not a segment of an initramfs: {data[:8]!r}")
    return found


def _archive_end(data: bytes) -> int:
    offset = 0
    for entry, end in _entries_at(data, 0):
        offset = end
        if entry.path == _TRAILER:
            break
    return offset


def _entries_at(data: bytes, offset: int) -> Iterator[tuple[Entry, int]]:
    while offset < len(data):
        if data[offset] == 0:
            offset += 1
            continue
        header = data[offset : offset + 110]
        if not header.startswith(_NEWC):
            raise ValueError(f"not a cpio header at {offset}: {header[:16]!r}")
        number = [int(header[6 + 8 * field : 14 + 8 * field], 16) for field in range(13)]
        inode, mode, uid, gid, links, mtime, size, _, _, major, minor, name_size, _ = number
        name = data[offset + 110 : offset + 110 + name_size - 1].decode()
        start = (offset + 110 + name_size + 3) & ~3
        offset = (start + size + 3) & ~3
        yield Entry(name, mode, uid, gid, mtime, links, inode, (major, minor), data[start : start + size]), offset


def entries(data: bytes) -> list[Entry]:
    """Return the entries of an initramfs in order, the archives' trailers among them."""
    return [entry for segment in segments(data) for entry, _ in _entries_at(segment, 0)]


def unpack(found: list[Entry]) -> tuple[Tree, list[str]]:
    """Return the tree that the kernel unpacks, by path, and the paths that it loses, in order."""
    tree: Tree = {"": {"type": "dir", "mode": "0755", "uid": 0, "gid": 0}}
    lost: list[str] = []
    inodes: dict[tuple[int, int, int], dict[str, Any]] = {}
    for entry in found:
        if entry.path == _TRAILER:
            # Hard links never reach from one archive into the next.
            inodes.clear()
            continue
        path = _resolve(tree, entry.path)
        if path is None or not _make_way(tree, path, entry.mode):
            lost.append(entry.path)
            continue
        tree[path] = _described(entry)
        identity = (entry.inode, *entry.device)
        if stat.S_ISREG(entry.mode) and entry.links > 1:
            # Hard links of the archive: the content comes with the last of them.
            tree[path] = inodes.setdefault(identity, tree[path])
            if entry.data:
                inodes[identity].update(_content(entry.data))
    return {path: node for path, node in sorted(tree.items()) if path}, lost


def _resolve(tree: Tree, name: str) -> str | None:
    """Return where `name` really lies, its folder's symbolic links followed; None when its folder is not there."""
    here: list[str] = []
    parts = [part for part in name.split("/") if part not in ("", ".")]
    hops = 0
    while len(parts) > 1:
        part = parts.pop(0)
        if part == "..":
            here = here[:-1]
            continue
        node = tree.get("/".join([*here, part]))
        if node is None or node["type"] not in ("dir", "symlink") or hops > 40:
            return None
        if node["type"] == "dir":
            here.append(part)
            continue
        hops += 1
        target = node["target"]
        here = [] if target.startswith("/") else here
        parts = [piece for piece in target.split("/") if piece not in ("", ".")] + parts
    return "/".join([*here, *parts])


def _make_way(tree: Tree, path: str, mode: int) -> bool:
    """Remove what stands at `path` where the kernel does; False when it cannot, because it is a folder that is not empty."""
    node = tree.get(path)
    if node is None or (node["type"] == _TYPES[stat.S_IFMT(mode)] and not stat.S_ISLNK(mode)):
        return True
    if node["type"] == "dir" and any(other.startswith(path + "/") for other in tree):
        return False
    del tree[path]
    return True


def _described(entry: Entry) -> dict[str, Any]:
    kind = _TYPES[stat.S_IFMT(entry.mode)]
    node: dict[str, Any] = {
        "type": kind,
        "mode": f"{stat.S_IMODE(entry.mode):04o}",
        "uid": entry.uid,
        "gid": entry.gid,
        "mtime": entry.mtime,
    }
    if kind == "file":
        node.update(_content(entry.data))
    elif kind == "symlink":
        node["target"] = entry.data.rstrip(b"\0").decode()
        # The kernel gives every symbolic link this mode, whatever the archive says.
        node["mode"] = "0777"
    elif kind in ("char", "block"):
        node["device"] = list(entry.device)
    return node


def _content(data: bytes) -> dict[str, Any]:
    return {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def read_tree(path: Path) -> tuple[Tree, list[str]]:
    """Return the tree and the lost paths of an initramfs file."""
    return unpack(entries(path.read_bytes()))


def texts(path: Path, *names: str) -> dict[str, str]:
    """Return the content of the regular files of these base names, by path; of a path that stands twice the last counts."""
    return {
        posixpath.normpath(entry.path): entry.data.decode()
        for entry in entries(path.read_bytes())
        if stat.S_ISREG(entry.mode) and posixpath.basename(entry.path) in names
    }
