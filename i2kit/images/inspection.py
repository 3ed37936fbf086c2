"""An image of the store as the planner needs it: what runs, what must be there, and how much memory it takes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from i2kit.errors import BuildError
from i2kit.images import oci, tree
from i2kit.images.folders import written_aside
from i2kit.images.layers import INDEX_SCHEMA, contents, damaged
from i2kit.images.locked import Inventory, LockedImage
from i2kit.images.store import ImageStore, StoredImage
from i2kit.paths import cache_home
from i2kit.wire import from_data, to_data

_SUMMARY_SCHEMA = 3
_HIGHEST_ID = 0xFFFFFFFE
_LARGEST_READ = 512 << 20
"""Bytes of what is read whole: accounts, kernels and their modules. A sparse file may claim anything."""


def chain_id(manifest: oci.Manifest) -> str:
    """Return a name for the stack of an image's layers: equal stacks give equal trees."""
    return hashlib.sha256("\n".join(layer.diff_id for layer in manifest.layers).encode()).hexdigest()


def locked_image(store: ImageStore, stored: StoredImage) -> LockedImage:
    """Return an image of the store by digest, with its inventory. Raises `I2kitError` and `BuildError` for what is damaged."""
    manifest = store.manifest(stored.digest)
    summary = _summary(store, manifest)
    config = manifest.config
    return LockedImage(
        reference=stored.reference,
        digest=stored.digest,
        architecture=stored.architecture,
        layers=manifest.layers,
        inventory=from_data(summary["inventory"], Inventory),
        unpacked=summary["unpacked"],
        entrypoint=config.entrypoint,
        cmd=config.cmd,
        env=config.env,
        working_dir=config.working_dir,
        user=config.user,
        uid=summary["uid"],
        gid=summary["gid"],
    )


def _summary(store: ImageStore, manifest: oci.Manifest) -> dict[str, Any]:
    user = hashlib.sha256(manifest.config.user.encode()).hexdigest()[:8]
    cached = cache_home() / "trees" / f"{chain_id(manifest)}-{user}.{INDEX_SCHEMA}.{_SUMMARY_SCHEMA}.json"
    try:
        document: dict[str, Any] = json.loads(cached.read_bytes())
        return document
    except (OSError, ValueError):
        pass
    entries = store.entries(manifest)
    uid, gid = user_ids(manifest.config.user, *(read_file(store, manifest, path, entries) or b"" for path in ("etc/passwd", "etc/group")))
    document = {
        "inventory": to_data(tree.inventory(entries)),
        "unpacked": tree.unpacked(entries),
        "uid": uid,
        "gid": gid,
    }
    with written_aside(cached) as aside:
        aside.write_bytes(oci.dump(document))
    return document


def user_ids(user: str, passwd: bytes, group: bytes) -> tuple[int, int]:
    """Return user and group of an image's ``User`` as numbers, as the OCI image specification has it: ``user[:group]``, names or numbers.

    >>> user_ids("web", b"web:x:33:34::/:/bin/sh", b"")
    (33, 34)

    Raises `BuildError` (``image-user-unknown``) for a name that the image does not know.
    """
    name, _, group_name = user.partition(":")
    if not name:
        return 0, 0
    accounts = [line.split(":") for line in passwd.decode(errors="replace").splitlines() if line.count(":") >= 3]
    account = next((fields for fields in accounts if name in (fields[0], fields[2])), None)
    uid = _number(name if name.isdecimal() else account[2] if account else "", user)
    if not group_name:
        return uid, _number(account[3], user) if account else 0
    groups = [line.split(":") for line in group.decode(errors="replace").splitlines() if line.count(":") >= 2]
    number = next((fields[2] for fields in groups if fields[0] == group_name), group_name)
    return uid, _number(number, user)


def _number(text: str, user: str) -> int:
    if not text.isascii() or not text.isdecimal() or int(text) > _HIGHEST_ID:
        raise BuildError.of("image-user-unknown", f"the image is to run as {user!r}, which its /etc/passwd and /etc/group do not know")
    return int(text)


def read_file(store: ImageStore, manifest: oci.Manifest, path: str, entries: Collection[tree.Entry] | None = None) -> bytes | None:
    """Return a file's content; None when the image has no such file. Raises `BuildError` for what is damaged or cannot be meant."""
    found = store.entries(manifest) if entries is None else entries
    inode = next((entry.inode for entry in found if entry.path == path and entry.inode.type == "file"), None)
    if inode is None:
        return None
    layer = manifest.layers[inode.layer]
    return layer_contents(layer.digest, store.blob(layer.digest), {inode.member}).get(inode.member)


def layer_contents(name: str, blob: Path, numbers: Collection[int]) -> dict[int, bytes]:
    """Return the content of some files of a layer by their numbers. Raises `BuildError` for what is damaged or too large to be meant."""
    found = {}
    for number, size, pieces in contents(name, blob, numbers, trusted=True):
        if size > _LARGEST_READ:
            raise damaged(name, f"its member {number} has {size} bytes, more than a file of its name can have")
        found[number] = b"".join(pieces)
    return found
