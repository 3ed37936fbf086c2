"""The image store: an OCI image layout that is looked into before any registry."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from attrs import frozen

from i2kit.errors import I2kitError
from i2kit.images import archives, layers, oci, tree
from i2kit.images.folders import file_digest, locked, written_aside
from i2kit.images.locked import Layer
from i2kit.images.reference import Reference, normalise, parse
from i2kit.paths import data_home

_CHUNK = 1 << 20
_PULLED = "dev.i2kit.pulled"


@frozen(kw_only=True)
class StoredImage:
    """An image of the store: its full reference, manifest digest, architecture, and the bytes of its layers.

    `pulled` says that it came from a registry, which may have another one under the same tag by now.
    """

    reference: str
    digest: str
    architecture: str
    size: int
    pulled: bool = False


@frozen
class ImageStore:
    """An OCI image layout at `root`, safe to use from several processes: blobs and index are written aside and renamed.

    When a name moves to another image, the old one stays under its digest (``name@sha256:...``) until it is removed.
    """

    root: Path

    def import_path(
        self, path: Path, *, name: str | None = None, architecture: str = "x86_64", pulled: bool = False
    ) -> tuple[StoredImage, ...]:
        """Import the images of an OCI layout (folder or tar) or a ``docker save`` tar; digests and layers are verified first.

        `name` is what the image is to be called, needed where the archive gives it no full name. Raises `I2kitError`; an image
        comes in whole or not at all.
        """
        with archives.open_archive(path) as archive:
            found = list(archives.candidates(archive, str(path), architecture))
            if name is not None and len(found) > 1:
                raise I2kitError.of("image-name", f"{path} has {len(found)} images, so one name is not enough", hint="leave out --name")
            with locked(self._lock):
                names = [self._names(str(path), candidate, name) for candidate in found]
                manifests = [self._import(archive, str(path), candidate) for candidate in found]
                return tuple(
                    self._named(reference, manifest, pulled=pulled)
                    for references, manifest in zip(names, manifests, strict=True)
                    for reference in references
                )

    def add(
        self, name: str, layer_files: Sequence[Path], run: Mapping[str, Any] | None = None, *, architecture: str = "x86_64"
    ) -> StoredImage:
        """Make an image of plain layer tars and put it into the store as `name`; `run` is the ``config`` of its configuration."""
        config = oci.dump(
            {
                "architecture": oci.ARCHITECTURES[architecture],
                "os": "linux",
                "config": dict(run or {}),
                "rootfs": {"type": "layers", "diff_ids": [file_digest(path) for path in layer_files]},
            }
        )
        with locked(self._lock):
            described = [{"mediaType": oci.LAYER, "digest": self._put_file(path), "size": path.stat().st_size} for path in layer_files]
            document = {
                "schemaVersion": 2,
                "mediaType": oci.MANIFEST,
                "config": {"mediaType": oci.CONFIG, "digest": self._put(config), "size": len(config)},
                "layers": described,
            }
            return self._named(normalise(name), self.manifest(self._put(oci.dump(document))))

    def images(self) -> tuple[StoredImage, ...]:
        """Return the images of the store in the order of their names."""
        stored = [self._stored(descriptor) for descriptor in self._descriptors()]
        return tuple(sorted(stored, key=lambda image: image.reference))

    def find(self, reference: str) -> StoredImage | None:
        """Look an image up; ``name@sha256:...`` is found by its digest, whatever its tag."""
        wanted = parse(reference)
        for descriptor in self._descriptors():
            if _answers(parse(_name_of(descriptor)), descriptor["digest"], wanted):
                return self._stored(descriptor)
        return None

    def remove(self, reference: str) -> StoredImage:
        """Remove an image, and everything that no other image uses, also what imports that were killed have left.

        Raises `I2kitError` (``image-not-found``) when it is not there.
        """
        with locked(self._lock):
            found = self.find(reference)
            if found is None:
                raise I2kitError.of(
                    "image-not-found",
                    f"{normalise(reference)} is not in the store",
                    hint="`i2kit images ls` lists what is",
                )
            self._write_index([item for item in self._descriptors() if _name_of(item) != found.reference])
            self._sweep()
            return found

    def has(self, digest: str) -> bool:
        """Whether an image with this manifest digest is in the store with all its blobs, each as long as it should be."""
        try:
            return all(self.has_layer(layer) for layer in self.manifest(digest).layers)
        except I2kitError:
            return False

    def has_layer(self, layer: Layer) -> bool:
        """Whether a layer is in the store, as long as it should be."""
        try:
            return self.blob(layer.digest).stat().st_size == layer.size
        except FileNotFoundError:
            return False

    def manifest(self, digest: str) -> oci.Manifest:
        """Return the image with this manifest digest. Raises `I2kitError` (``blob-missing``, ``digest-mismatch``, ``image-malformed``)."""
        document = oci.load(digest, self.read(digest))
        config = oci.configuration(digest, self.read(oci.descriptor_digest(digest, document.get("config"))))
        return oci.manifest(digest, digest, document, config)

    def read(self, digest: str) -> bytes:
        """Return a small blob, verified."""
        try:
            data = self.blob(digest).read_bytes()
        except FileNotFoundError as error:
            raise I2kitError.of("blob-missing", f"{digest} is not in the image store", hint="import or pull the image again") from error
        if oci.digest_of(data) != digest:
            raise I2kitError.of("digest-mismatch", f"{digest} in the image store has other content", hint="import or pull the image again")
        return data

    def blob(self, digest: str) -> Path:
        """Return where a blob lies or would lie."""
        return self.root / archives.blob_name(digest)

    def entries(self, manifest: oci.Manifest) -> tuple[tree.Entry, ...]:
        """Return an image's merged file tree. Raises `BuildError` for layers that cannot be used."""
        return tree.merge((layer.digest, layers.members(layer, self.blob(layer.digest))) for layer in manifest.layers)

    @property
    def _lock(self) -> Path:
        return self.root / "lock"

    def _names(self, what: str, candidate: archives.Candidate, name: str | None) -> list[str]:
        if name is not None:
            return [normalise(name)]
        # Tags alone ("1", "latest") are what other tools leave in a layout; they name no image.
        full = [given for given in candidate.names if "/" in given or ":" in given]
        if not full:
            raise I2kitError.of("image-name", f"{what}: an image in it has no full name", hint="say --name NAME")
        return [normalise(given) for given in full]

    def _import(self, archive: archives.Archive, what: str, candidate: archives.Candidate) -> oci.Manifest:
        document = oci.load(what, candidate.manifest)
        config = oci.configuration(what, candidate.config)
        manifest = oci.manifest(what, oci.digest_of(candidate.manifest), document, config)
        new = [layer for layer in manifest.layers if self._put_from(archive, what, layer, candidate.files[layer.digest])]
        try:
            # A layer that cannot be used is found now, not when the image is built.
            self.entries(manifest)
        except I2kitError:
            for layer in new:
                self.blob(layer.digest).unlink(missing_ok=True)
            raise
        self._put(candidate.config)
        self._put(candidate.manifest)
        return manifest

    def _put_from(self, archive: archives.Archive, what: str, layer: Layer, name: str) -> bool:
        """Take a layer out of an archive, unless it is in the store, whole; say whether it is new."""
        blob = self.blob(layer.digest)
        stream = archive.open(name)
        if stream is None and self.has_layer(layer):
            return False
        if stream is None:
            raise I2kitError.of("blob-missing", f"{what}: layer {layer.digest} is not in it")
        with stream:
            if self.has_layer(layer) and file_digest(blob) == layer.digest:
                return False
            with written_aside(blob) as aside:
                actual = _copy(stream, aside)
                if actual != layer.digest:
                    raise I2kitError.of("digest-mismatch", f"{what}: layer {layer.digest} has other content, {actual}")
                if aside.stat().st_size != layer.size:
                    raise oci.malformed(what, f"layer {layer.digest} is not of the size that its manifest says")
        return True

    def _put(self, data: bytes) -> str:
        digest = oci.digest_of(data)
        blob = self.blob(digest)
        if not blob.exists() or file_digest(blob) != digest:
            with written_aside(blob) as aside:
                aside.write_bytes(data)
        return digest

    def _put_file(self, path: Path) -> str:
        digest = file_digest(path)
        if not self.blob(digest).exists():
            with written_aside(self.blob(digest)) as aside:
                shutil.copyfile(path, aside)
        return digest

    def _named(self, reference: str, manifest: oci.Manifest, *, pulled: bool = False) -> StoredImage:
        own = {
            "mediaType": oci.MANIFEST,
            "digest": manifest.digest,
            "size": self.blob(manifest.digest).stat().st_size,
            "platform": {"architecture": manifest.config.architecture, "os": "linux"},
            "annotations": {oci.IMAGE_NAME: reference, oci.REF_NAME: reference, **({_PULLED: "true"} if pulled else {})},
        }
        by_digest = f"{parse(reference).name}@{manifest.digest}"
        kept = [own]
        for item in self._descriptors():
            if _name_of(item) == reference and item["digest"] != manifest.digest:
                # What runs already may have to be built again: the old image stays, by its digest.
                kept.append(_renamed(item, f"{parse(reference).name}@{item['digest']}"))
            elif _name_of(item) not in (reference, by_digest):
                kept.append(item)
        self._write_index(kept)
        return self._stored(own)

    def _stored(self, descriptor: dict[str, Any]) -> StoredImage:
        digest = descriptor["digest"]
        manifest = self.manifest(digest)
        return StoredImage(
            reference=_name_of(descriptor),
            digest=digest,
            architecture=_machine(manifest.config.architecture),
            size=sum(layer.size for layer in manifest.layers),
            pulled=_PULLED in descriptor["annotations"],
        )

    def _sweep(self) -> None:
        """Remove the blobs that no image uses; under the lock, so that nobody is just about to use them."""
        used = {self.blob(digest) for item in self._descriptors() for digest in self._blobs_of(item["digest"])}
        for path in (self.root / "blobs" / "sha256").iterdir():
            if path not in used:
                path.unlink(missing_ok=True)

    def _blobs_of(self, digest: str) -> list[str]:
        try:
            manifest = self.manifest(digest)
        except I2kitError:
            return [digest]
        return [digest, manifest.config_digest, *(layer.digest for layer in manifest.layers)]

    def _descriptors(self) -> list[dict[str, Any]]:
        try:
            index = oci.load(str(self.root / "index.json"), (self.root / "index.json").read_bytes())
        except FileNotFoundError:
            return []
        return [item for item in index.get("manifests", ()) if oci.IMAGE_NAME in item.get("annotations", {})]

    def _write_index(self, descriptors: list[dict[str, Any]]) -> None:
        with written_aside(self.root / "oci-layout") as aside:
            aside.write_bytes(oci.LAYOUT)
        document = {"schemaVersion": 2, "mediaType": oci.INDEX, "manifests": sorted(descriptors, key=_name_of)}
        with written_aside(self.root / "index.json") as aside:
            aside.write_text(json.dumps(document, indent=1))


def default_store() -> ImageStore:
    """Return the user's store, ``$XDG_DATA_HOME/i2kit/store``."""
    return ImageStore(data_home() / "store")


def _renamed(descriptor: dict[str, Any], name: str) -> dict[str, Any]:
    return {**descriptor, "annotations": {**descriptor["annotations"], oci.IMAGE_NAME: name, oci.REF_NAME: name}}


def _answers(name: Reference, digest: str, wanted: Reference) -> bool:
    if wanted.digest:
        return name.name == wanted.name and wanted.digest in (digest, name.digest)
    return str(name) == str(wanted)


def _name_of(descriptor: dict[str, Any]) -> str:
    return str(descriptor["annotations"][oci.IMAGE_NAME])


def _machine(architecture: str) -> str:
    return next((machine for machine, name in oci.ARCHITECTURES.items() if name == architecture), architecture)


def _copy(stream: IO[bytes], path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("wb") as target:
        while data := stream.read(_CHUNK):
            digest.update(data)
            target.write(data)
    return f"sha256:{digest.hexdigest()}"
