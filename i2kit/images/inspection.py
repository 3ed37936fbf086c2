"""An image of the store as the planner needs it: what runs, what must be there, and how much memory it takes."""

from __future__ import annotations

import hashlib
import json

from i2kit.images import oci, tree
from i2kit.images.folders import written_aside
from i2kit.images.layers import INDEX_SCHEMA
from i2kit.images.locked import Inventory, LockedImage
from i2kit.images.store import ImageStore, StoredImage
from i2kit.paths import cache_home

_SUMMARY_SCHEMA = 1


def chain_id(manifest: oci.Manifest) -> str:
    """Return a name for the stack of an image's layers: equal stacks give equal trees."""
    return hashlib.sha256("\n".join(layer.diff_id for layer in manifest.layers).encode()).hexdigest()


def locked_image(store: ImageStore, stored: StoredImage) -> LockedImage:
    """Return an image of the store by digest, with its inventory. Raises `I2kitError` and `BuildError` for what is damaged."""
    manifest = store.manifest(stored.digest)
    inventory, unpacked = _summary(store, manifest)
    config = manifest.config
    return LockedImage(
        reference=stored.reference,
        digest=stored.digest,
        architecture=stored.architecture,
        layers=manifest.layers,
        inventory=inventory,
        unpacked=unpacked,
        entrypoint=config.entrypoint,
        cmd=config.cmd,
        env=config.env,
        working_dir=config.working_dir,
        user=config.user,
    )


def _summary(store: ImageStore, manifest: oci.Manifest) -> tuple[Inventory, int]:
    cached = cache_home() / "trees" / f"{chain_id(manifest)}.{INDEX_SCHEMA}.{_SUMMARY_SCHEMA}.json"
    try:
        document = json.loads(cached.read_bytes())
        return Inventory(**document["inventory"]), int(document["unpacked"])
    except (OSError, ValueError, TypeError, KeyError):
        pass
    entries = store.entries(manifest)
    inventory, unpacked = tree.inventory(entries), tree.unpacked(entries)
    document = {
        "inventory": {"files": inventory.files, "bytes": inventory.bytes, "sha256": inventory.sha256},
        "unpacked": unpacked,
    }
    with written_aside(cached) as aside:
        aside.write_bytes(oci.dump(document))
    return inventory, unpacked
