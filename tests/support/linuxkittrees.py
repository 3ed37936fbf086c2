"""Trees that the real LinuxKit made: how they are kept, and where the assembler's may be another."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterator, Sequence
from typing import Any

import yaml
from attrs import frozen

from i2kit.images import oci
from i2kit.images.layers import Member, members
from i2kit.images.linuxkit_layers import unpacked
from i2kit.images.store import ImageStore
from i2kit.resources import Image

Tree = dict[str, dict[str, Any]]

EXCEPTIONS = {
    "implied folders": "LinuxKit writes upper layers first and no folder that a layer implies: the kernel loses what is in it",
    "paths through links": "the image specification has a path lead through a lower layer's symbolic link; LinuxKit writes the link last",
    "opaque whiteouts": "an opaque whiteout hides what lower layers have in the folder; LinuxKit does not know opaque whiteouts",
    "folders made again": "a folder that one layer removes and a later one makes again is empty; LinuxKit forgets that it was removed",
    "hard links": "hard links stay hard links; LinuxKit makes symbolic links of them, which follow a name that an upper layer replaced",
    "files in dev/pts": "LinuxKit leaves out dev/pts before what is in it, so the kernel loses the files; every container mounts over it",
}
"""Where the assembler knows better than LinuxKit 1.8, by name; docs/explanation/builders.md lists them too. Nothing else may differ."""

_COLUMNS = ("type", "mode", "uid", "gid", "mtime", "size", "sha256", "target", "device")


def dump(tree: Tree) -> str:
    """Return a tree as a text with a line for each path: what it is, a column for each property, and the path as JSON."""
    lines = []
    for path, node in tree.items():
        told = [
            json.dumps(node[name], ensure_ascii=False) if name in ("target", "device") else str(node[name])
            for name in _COLUMNS
            if name in node
        ]
        lines.append("\t".join([*told, json.dumps(path, ensure_ascii=False)]))
    return "\n".join(lines) + "\n"


_MORE = {"file": ("size", "sha256"), "symlink": ("target",), "char": ("device",), "block": ("device",)}


def load(text: str) -> Tree:
    """Read what `dump` wrote."""
    tree: Tree = {}
    for line in text.splitlines():
        kind, mode, uid, gid, mtime, *more, path = line.split("\t")
        node: dict[str, Any] = {"type": kind, "mode": mode, "uid": int(uid), "gid": int(gid), "mtime": int(mtime)}
        for name, value in zip(_MORE.get(kind, ()), more, strict=True):
            node[name] = value if name == "sha256" else json.loads(value)
        tree[json.loads(path)] = node
    return tree


def differences(theirs: Tree, ours: Tree) -> dict[str, tuple[Any, Any]]:
    """Return what is different, by path: LinuxKit's and ours."""
    paths = sorted(theirs.keys() | ours.keys())
    return {path: (theirs.get(path), ours.get(path)) for path in paths if theirs.get(path) != ours.get(path)}


def explained(image: Image, store: ImageStore, different: dict[str, tuple[Any, Any]]) -> dict[str, str]:
    """Return which of `EXCEPTIONS` each difference is, by path; the empty text for those that are none."""
    roots = [_Root.read(folder, store.manifest(image.sources[reference]), store) for folder, reference in _folders(image.yaml)]
    return {path: next((root.why(path, *pair) for root in roots if root.has(path)), "") for path, pair in different.items()}


def _folders(text: str) -> Iterator[tuple[str, str]]:
    """Yield where the services' root file systems can lie, and of which image they are."""
    document = yaml.safe_load(text)
    for section in ("onboot", "services"):
        for number, service in enumerate(document.get(section) or ()):
            name = f"{number:03d}-{service['name']}" if section == "onboot" else service["name"]
            yield f"containers/{section}/{name}", service["image"]


@frozen
class _Root:
    """One root file system, with what is known of LinuxKit's way with its layers."""

    folder: str
    layers: Sequence[Sequence[Member]]
    lost: frozenset[str]
    returned: frozenset[str]

    @classmethod
    def read(cls, folder: str, manifest: oci.Manifest, store: ImageStore) -> _Root:
        layers = [members(layer, store.blob(layer.digest)) for layer in manifest.layers]
        theirs, merged = unpacked(layers), {entry.path for entry in store.entries(manifest)}
        return cls(folder, layers, frozenset(merged - theirs), frozenset(theirs - merged))

    def has(self, path: str) -> bool:
        return self._inside(path) is not None

    def _inside(self, path: str) -> str | None:
        for kind in ("lower", "rootfs"):
            if path.startswith(f"{self.folder}/{kind}/"):
                return path.removeprefix(f"{self.folder}/{kind}/")
        return None

    def why(self, path: str, theirs: Any, ours: Any) -> str:
        name = self._inside(path) or ""
        named = [member for layer in self.layers for member in layer if member.path == name]
        if theirs is None:
            if name.startswith("dev/pts/"):
                return "files in dev/pts"
            if name not in self.lost:
                return ""
            implied = any(member.path.startswith(f"{name}/") for layer in self.layers for member in layer)
            return "implied folders" if named or implied else "paths through links"
        if ours is None:
            if name not in self.returned:
                return ""
            return "opaque whiteouts" if self._opaque(name) else "folders made again"
        linked = theirs["type"] == "symlink" and ours["type"] != "symlink"
        return "hard links" if linked and any(member.type == "link" for member in named) else ""

    def _opaque(self, name: str) -> bool:
        folders = {posixpath.dirname(member.path) for layer in self.layers for member in layer if member.path.endswith("/.wh..wh..opq")}
        return any(name.startswith(f"{folder}/") for folder in folders)
