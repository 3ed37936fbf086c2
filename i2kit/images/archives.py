"""What `i2kit images import` reads: OCI image layouts (folder or tar) and the tars that `docker save` writes."""

from __future__ import annotations

import lzma
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Protocol

from attrs import frozen

from i2kit.errors import I2kitError
from i2kit.images import oci, plaintars

_INDEX_DEPTH = 4
_DOCUMENT_LIMIT = 32 << 20


class Archive(Protocol):
    """A set of files by name, wherever they are."""

    def open(self, name: str) -> IO[bytes] | None:
        """Open a file; None when it is not there."""
        ...


@frozen
class _Folder:
    root: Path

    def open(self, name: str) -> IO[bytes] | None:
        path = self.root / name
        # Names come from documents that somebody else wrote.
        if not path.is_file() or not path.resolve().is_relative_to(self.root.resolve()):
            return None
        return path.open("rb")


@frozen
class _Tar:
    tar: tarfile.TarFile
    members: dict[str, tarfile.TarInfo]

    def open(self, name: str) -> IO[bytes] | None:
        info = self.members.get(name)
        try:
            return self.tar.extractfile(info) if info is not None else None
        except KeyError:
            return None


@contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
    """Open a folder or a tar (compressed or not). Raises `I2kitError` (``image-not-found``, ``image-malformed``)."""
    if path.is_dir():
        yield _Folder(path)
        return
    if not path.exists():
        raise I2kitError.of("image-not-found", f"{path} does not exist", expected="a folder or a tar with images")
    try:
        with tarfile.open(path, tarinfo=plaintars.WholeHeader) as tar:
            yield _Tar(tar, _members(tar))
    except (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        raise oci.malformed(str(path), f"it cannot be read ({error})") from error


def _members(tar: tarfile.TarFile) -> dict[str, tarfile.TarInfo]:
    try:
        return {info.name.removeprefix("./"): info for info in tar}
    except plaintars.STUMBLES as error:
        raise tarfile.ReadError(f"a header makes no sense: {error}") from error


@frozen(kw_only=True)
class Candidate:
    """One image of an archive: its documents, the names it has there, and under which file name each blob lies."""

    manifest: bytes
    config: bytes
    names: tuple[str, ...]
    files: dict[str, str]


def candidates(archive: Archive, what: str, architecture: str) -> Iterator[Candidate]:
    """Yield the images for `architecture` (``x86_64``). Raises `I2kitError`, with code ``image-architecture`` when there is none."""
    if (index := _read(archive, what, "index.json")) is not None:
        found = list(_from_index(archive, what, oci.load(f"{what}: index.json", index), architecture, (), 0))
    elif (listing := _read(archive, what, "manifest.json")) is not None:
        found = [_from_docker(archive, what, item) for item in _docker_items(what, listing)]
    else:
        raise oci.malformed(what, "neither index.json nor manifest.json is in it")
    if not found:
        raise I2kitError.of(
            "image-architecture", f"{what}: no image for linux/{oci.ARCHITECTURES.get(architecture, architecture)} is in it"
        )
    yield from found


def _read(archive: Archive, what: str, name: str) -> bytes | None:
    stream = archive.open(name)
    if stream is None:
        return None
    with stream:
        data = stream.read(_DOCUMENT_LIMIT + 1)
    if len(data) > _DOCUMENT_LIMIT:
        raise oci.malformed(what, f"{name} is too large for what it is")
    return data


def _blob(archive: Archive, what: str, digest: str) -> bytes:
    data = _read(archive, what, blob_name(digest))
    if data is None:
        raise I2kitError.of("blob-missing", f"{what}: {digest} is not in it")
    if oci.digest_of(data) != digest:
        raise I2kitError.of("digest-mismatch", f"{what}: {digest} has other content, {oci.digest_of(data)}")
    return data


def blob_name(digest: str) -> str:
    """Return where an image layout keeps a blob."""
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"


def _from_index(
    archive: Archive, what: str, index: dict[str, Any], architecture: str, names: tuple[str, ...], depth: int
) -> Iterator[Candidate]:
    if depth > _INDEX_DEPTH:
        raise oci.malformed(what, "its indexes are nested too deeply")
    descriptors = index.get("manifests")
    if not isinstance(descriptors, list):
        raise oci.malformed(what, "`manifests` is not a list")
    for descriptor in descriptors:
        digest = oci.descriptor_digest(what, descriptor)
        own = _names(descriptor) or names
        if not _may_fit(descriptor, architecture):
            continue
        data = _blob(archive, what, digest)
        document = oci.load(f"{what}: {digest}", data)
        if descriptor.get("mediaType") in oci.INDEX_TYPES or "manifests" in document:
            yield from _from_index(archive, what, document, architecture, own, depth + 1)
            continue
        config_digest = oci.descriptor_digest(what, document.get("config"))
        config = _blob(archive, what, config_digest)
        if not fits(oci.configuration(what, config), architecture):
            continue
        layers = [oci.descriptor_digest(what, layer) for layer in document.get("layers") or ()]
        yield Candidate(manifest=data, config=config, names=own, files={layer: blob_name(layer) for layer in layers})


def _names(descriptor: dict[str, Any]) -> tuple[str, ...]:
    annotations = descriptor.get("annotations") or {}
    name = annotations.get(oci.IMAGE_NAME) or annotations.get(oci.REF_NAME)
    return (name,) if isinstance(name, str) and name else ()


def _may_fit(descriptor: dict[str, Any], architecture: str) -> bool:
    platform = descriptor.get("platform") or {}
    named = platform.get("architecture")
    return named is None or (named == oci.ARCHITECTURES.get(architecture) and platform.get("os", "linux") == "linux")


def fits(config: oci.Configuration, architecture: str) -> bool:
    """Whether an image runs on such a machine."""
    return config.architecture == oci.ARCHITECTURES.get(architecture) and config.os in ("", "linux")


def _docker_items(what: str, listing: bytes) -> list[dict[str, Any]]:
    items = oci.load(f"{what}: manifest.json", b'{"items":' + listing + b"}")["items"]
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise oci.malformed(what, "manifest.json is not a list of objects")
    return items


def _from_docker(archive: Archive, what: str, item: dict[str, Any]) -> Candidate:
    """Make a manifest for what `docker save` wrote without one: its layers are plain tars, named by the configuration."""
    config_data = _read(archive, what, str(item.get("Config")))
    if config_data is None:
        raise I2kitError.of("blob-missing", f"{what}: {item.get('Config')!r} is not in it")
    config = oci.configuration(what, config_data)
    files = item.get("Layers") or []
    if not isinstance(files, list) or len(files) != len(config.diff_ids):
        raise oci.malformed(what, f"manifest.json does not name as many layers as {item.get('Config')!r} has")
    layers = []
    for name, diff_id in zip(files, config.diff_ids, strict=True):
        stream = archive.open(str(name))
        if stream is None:
            raise I2kitError.of("blob-missing", f"{what}: {name!r} is not in it")
        with stream:
            layers.append({"mediaType": oci.LAYER, "digest": diff_id, "size": stream.seek(0, 2)})
    document = {
        "schemaVersion": 2,
        "mediaType": oci.MANIFEST,
        "config": {"mediaType": oci.CONFIG, "digest": oci.digest_of(config_data), "size": len(config_data)},
        "layers": layers,
    }
    return Candidate(
        manifest=oci.dump(document),
        config=config_data,
        names=tuple(str(tag) for tag in item.get("RepoTags") or ()),
        files=dict(zip(config.diff_ids, map(str, files), strict=True)),
    )
