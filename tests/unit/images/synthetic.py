"""Small OCI images made from a description, the same bytes on every machine: the inputs of the differential tests.

A description (``images.yml``) maps a reference to `config` (the image configuration's ``config``), `layers` and `compression` (``gzip``,
``zstd``, ``none``). A layer is a list of entries, each a mapping whose first key is the kind and whose value is the path::

    {dir: etc}  {file: bin/sh, mode: "4755", text: "..."}  {file: big, size: 100000}  {link: bin/ls, to: bin/sh}
    {file: program, base64: ...}
    {symlink: lib64, to: usr/lib64}  {char: dev/null, device: [1, 3]}  {block: ...}  {fifo: ...}
    {tar: kernel.tar, entries: [...]}   # a file that is itself a tar, as LinuxKit's kernel images have it

`mode` is octal text, `uid`, `gid` and `mtime` are numbers, `xattrs` are extended attributes by name. Paths are written into the layer as
they stand, so that ``./etc`` and whiteouts can be tried.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
import zstandard

MTIME = 1_700_000_000
_KINDS = {
    "dir": tarfile.DIRTYPE,
    "file": tarfile.REGTYPE,
    "tar": tarfile.REGTYPE,
    "link": tarfile.LNKTYPE,
    "symlink": tarfile.SYMTYPE,
    "char": tarfile.CHRTYPE,
    "block": tarfile.BLKTYPE,
    "fifo": tarfile.FIFOTYPE,
}
_MODES = {"dir": 0o755, "symlink": 0o777}
_COMPRESSIONS = {
    "gzip": ("application/vnd.oci.image.layer.v1.tar+gzip", lambda data: gzip.compress(data, mtime=0)),
    "zstd": ("application/vnd.oci.image.layer.v1.tar+zstd", lambda data: zstandard.ZstdCompressor().compress(data)),
    "none": ("application/vnd.oci.image.layer.v1.tar", lambda data: data),
}


def load_images(path: Path) -> dict[str, Any]:
    """Read a description."""
    described: dict[str, Any] = yaml.safe_load(path.read_text())
    return described


def layer_tar(entries: Iterable[Mapping[str, Any]]) -> bytes:
    """Return the plain tar of a layer."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for entry in entries:
            kind = next(iter(entry))
            member = tarfile.TarInfo(entry[kind])
            member.type = _KINDS[kind]
            member.mode = int(entry.get("mode", f"{_MODES.get(kind, 0o644):o}"), 8)
            member.uid, member.gid = entry.get("uid", 0), entry.get("gid", 0)
            member.mtime = entry.get("mtime", MTIME)
            member.linkname = entry.get("to", "")
            member.devmajor, member.devminor = entry.get("device", (0, 0))
            member.pax_headers = {f"SCHILY.xattr.{name}": value for name, value in entry.get("xattrs", {}).items()}
            content = _content(kind, entry)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def _content(kind: str, entry: Mapping[str, Any]) -> bytes:
    if kind == "tar":
        return layer_tar(entry["entries"])
    if kind != "file":
        return b""
    if "size" in entry:
        # Bytes that do not compress to nothing and are the same everywhere.
        seed = entry["file"].encode()
        blocks = (hashlib.sha256(seed + str(number).encode()).digest() for number in range(entry["size"] // 32 + 1))
        return b"".join(blocks)[: entry["size"]]
    return base64.b64decode(entry["base64"]) if "base64" in entry else str(entry.get("text", "")).encode()


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


class Layout:
    """An OCI layout in memory: the blobs by digest, and the manifests by reference.

    With `nested`, the layout's index names an index for each image, as multi-platform images have it, and this the manifest.
    """

    def __init__(self, images: Mapping[str, Any], *, nested: bool = False) -> None:
        self.nested = nested
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, dict[str, Any]] = {}
        for reference, image in images.items():
            self._add(reference, image)

    @property
    def digests(self) -> dict[str, str]:
        """The manifest digests by reference."""
        return {reference: descriptor["digest"] for reference, descriptor in self.manifests.items()}

    def _put(self, media_type: str, data: bytes) -> dict[str, Any]:
        digest = _digest(data)
        self.blobs[digest] = data
        return {"mediaType": media_type, "digest": digest, "size": len(data)}

    def _add(self, reference: str, image: Mapping[str, Any]) -> None:
        media_type, compress = _COMPRESSIONS[image.get("compression", "gzip")]
        plain = [layer_tar(entries) for entries in image["layers"]]
        layers = [self._put(media_type, compress(data)) for data in plain]
        config = {
            "architecture": "amd64",
            "os": "linux",
            "config": image.get("config", {}),
            "rootfs": {"type": "layers", "diff_ids": [_digest(data) for data in plain]},
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": self._put("application/vnd.oci.image.config.v1+json", _json(config)),
            "layers": layers,
        }
        self.manifests[reference] = {
            **self._put(manifest["mediaType"], _json(manifest)),
            "platform": {"architecture": "amd64", "os": "linux"},
        }

    def _top(self, descriptor: dict[str, Any]) -> dict[str, Any]:
        if not self.nested:
            return descriptor
        media_type = "application/vnd.oci.image.index.v1+json"
        return self._put(media_type, _json({"schemaVersion": 2, "mediaType": media_type, "manifests": [descriptor]}))

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Yield the layout's files; every image carries its name in both of the annotations that tools look for."""
        yield "oci-layout", _json({"imageLayoutVersion": "1.0.0"})
        names = ("io.containerd.image.name", "org.opencontainers.image.ref.name")
        manifests: Sequence[dict[str, Any]] = [
            {**self._top(descriptor), "annotations": dict.fromkeys(names, reference)} for reference, descriptor in self.manifests.items()
        ]
        yield "index.json", _json({"schemaVersion": 2, "manifests": manifests})
        for digest, data in self.blobs.items():
            yield f"blobs/{digest.replace(':', '/')}", data

    def write(self, folder: Path) -> None:
        """Write the layout as a folder."""
        for name, data in self.files():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

    def tar(self) -> bytes:
        """Return the layout as a tar."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for name, data in self.files():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
        return buffer.getvalue()
