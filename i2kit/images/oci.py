"""The parts of the OCI image format that i2kit reads and writes (image-spec: manifest, index, configuration, image layout)."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from attrs import frozen

from i2kit.errors import I2kitError
from i2kit.images.locked import Layer

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
INDEX_TYPES = frozenset({INDEX, "application/vnd.docker.distribution.manifest.list.v2+json"})
MANIFEST_TYPES = frozenset({MANIFEST, "application/vnd.docker.distribution.manifest.v2+json"})
REF_NAME = "org.opencontainers.image.ref.name"
IMAGE_NAME = "io.containerd.image.name"
LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")

# Go's names, which the OCI formats use, by the machine's own.
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def digest_of(data: bytes) -> str:
    """Return the digest of some bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def dump(document: Mapping[str, Any]) -> bytes:
    """Write a document always in the same way."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


@frozen(kw_only=True)
class Configuration:
    """What an image's configuration says of running it."""

    architecture: str
    os: str
    diff_ids: tuple[str, ...]
    entrypoint: tuple[str, ...]
    cmd: tuple[str, ...]
    env: tuple[str, ...]
    working_dir: str
    user: str
    labels: dict[str, str]


@frozen(kw_only=True)
class Manifest:
    """One image: the digest of its manifest, its configuration's, and its layers, lowest first."""

    digest: str
    config_digest: str
    layers: tuple[Layer, ...]
    config: Configuration


def malformed(what: str, reason: str) -> I2kitError:
    """Make the error for a document that is not what the format says."""
    return I2kitError.of(
        "image-malformed", f"{what}: {reason}", expected="an OCI image layout, an OCI archive or what `docker save` writes"
    )


def load(what: str, data: bytes) -> dict[str, Any]:
    """Read a JSON object; `what` names it in errors (`I2kitError`, ``image-malformed``)."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise malformed(what, f"it is not JSON ({error})") from error
    if not isinstance(document, dict):
        raise malformed(what, "it is not a JSON object")
    return document


def descriptor_digest(what: str, descriptor: object) -> str:
    """Return a descriptor's digest, checked for its form."""
    digest = descriptor.get("digest") if isinstance(descriptor, dict) else None
    if not isinstance(digest, str) or not DIGEST.fullmatch(digest):
        raise malformed(what, f"{digest!r} is not a sha256 digest")
    return digest


def configuration(what: str, data: bytes) -> Configuration:
    """Read an image's configuration. Raises `I2kitError` (``image-malformed``)."""
    document = load(what, data)
    run = document.get("config") or {}
    rootfs = document.get("rootfs") or {}
    if not isinstance(run, dict) or not isinstance(rootfs, dict):
        raise malformed(what, "`config` and `rootfs` have to be objects")
    diff_ids = _texts(what, rootfs, "diff_ids")
    if not all(DIGEST.fullmatch(diff_id) for diff_id in diff_ids):
        raise malformed(what, "`rootfs.diff_ids` has something that is not a sha256 digest")
    labels = run.get("Labels") or {}
    return Configuration(
        architecture=str(document.get("architecture", "")),
        os=str(document.get("os", "")),
        diff_ids=diff_ids,
        entrypoint=_texts(what, run, "Entrypoint"),
        cmd=_texts(what, run, "Cmd"),
        env=_texts(what, run, "Env"),
        working_dir=str(run.get("WorkingDir") or ""),
        user=str(run.get("User") or ""),
        labels={str(name): str(value) for name, value in labels.items()} if isinstance(labels, dict) else {},
    )


def _texts(what: str, document: dict[str, Any], name: str) -> tuple[str, ...]:
    value = document.get(name) or []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise malformed(what, f"`{name}` is not a list of texts")
    return tuple(value)


def manifest(what: str, digest: str, document: dict[str, Any], config: Configuration) -> Manifest:
    """Combine a manifest and its configuration. Raises `I2kitError` (``image-malformed``)."""
    descriptors = document.get("layers")
    if not isinstance(descriptors, list):
        raise malformed(what, "`layers` is not a list")
    if len(descriptors) != len(config.diff_ids):
        raise malformed(what, f"it has {len(descriptors)} layers, its configuration {len(config.diff_ids)}")
    layers = []
    for descriptor, diff_id in zip(descriptors, config.diff_ids, strict=True):
        layer = descriptor_digest(what, descriptor)
        size = descriptor.get("size")
        if not isinstance(size, int) or size < 0:
            raise malformed(what, f"layer {layer} has no size")
        layers.append(Layer(digest=layer, diff_id=diff_id, size=size))
    return Manifest(digest=digest, config_digest=descriptor_digest(what, document.get("config")), layers=tuple(layers), config=config)
