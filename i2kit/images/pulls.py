"""Pulling an image: what was fetched before a pull broke off is kept, checked, and not fetched again."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from i2kit.images import archives, oci, skopeo
from i2kit.images.folders import ample, file_digest
from i2kit.images.locked import Layer
from i2kit.images.logins import Login
from i2kit.images.skopeo import RemoteImage
from i2kit.images.store import ImageStore
from i2kit.paths import cache_home

_KEPT_SECONDS = 14 * 24 * 3600
_LAYOUT = ".layout-"
_LAYOUT_SECONDS = 24 * 3600


@contextmanager
def pulled(image: RemoteImage, store: ImageStore, architecture: str, login: Login) -> Iterator[Path]:
    """Yield a folder with an OCI layout of the image, bytes as the registry has them, without the layers that the store has.

    When the block ends well the layers are in the store, and what was kept of them goes. Raises `RegistryError` (``digest-mismatch``,
    ``image-architecture``, and what `skopeo.look_up` raises), and `I2kitError` (``image-malformed``, ``disk-full``).
    """
    cache = cache_home() / "pulls"
    with ample(cache):
        (cache / "sha256").mkdir(parents=True, exist_ok=True)
        _forget_old(cache)
        with tempfile.TemporaryDirectory(dir=cache, prefix=_LAYOUT, ignore_cleanup_errors=True) as scratch:
            document = image.manifest or skopeo.manifest(image, login)
            config = skopeo.configuration(image, login)
            layers = _layers(image, document, config, architecture)
            wanted = [layer for layer in layers if not store.has_layer(layer)]
            for layer in layers:
                _prepare(cache, layer, None if layer in wanted else store.blob(layer.digest))
            if wanted:
                _fetch(image, login, Path(scratch), cache, wanted, docker=_is_dockers(document))
            kept = [_kept(cache, layer.digest) for layer in wanted]
            yield _layout(Path(scratch) / "layout", image.digest, document, config, kept)
        for digest in (image.digest, oci.digest_of(config), *(layer.digest for layer in layers)):
            _kept(cache, digest).unlink(missing_ok=True)


def _is_dockers(document: bytes) -> bool:
    return oci.load("manifest", document).get("mediaType") not in (None, oci.MANIFEST)


def _fetch(image: RemoteImage, login: Login, scratch: Path, cache: Path, wanted: list[Layer], *, docker: bool) -> None:
    skopeo.copy(image, login, scratch / "skopeo", cache, docker=docker)
    if docker and not all(_kept(cache, layer.digest).exists() for layer in wanted):
        skopeo.copy_whole(image, login, scratch / "whole")
        for layer in wanted:
            kept = _kept(cache, layer.digest)
            with contextlib.suppress(FileNotFoundError):
                (scratch / "whole" / kept.name).replace(kept)


def _layers(image: RemoteImage, document: bytes, config: bytes, architecture: str) -> tuple[Layer, ...]:
    what = str(image.reference)
    configuration = oci.configuration(what, config)
    manifest = oci.manifest(what, image.digest, oci.load(what, document), configuration)
    if manifest.config_digest != oci.digest_of(config):
        raise skopeo.wrong_content(image.reference, manifest.config_digest)
    if not archives.fits(configuration, architecture):
        raise skopeo.wrong_architecture(image.reference, architecture, [configuration.architecture])
    return manifest.layers


def _kept(cache: Path, digest: str) -> Path:
    return cache / "sha256" / digest.removeprefix("sha256:")


def _prepare(cache: Path, layer: Layer, stored: Path | None) -> None:
    """See to it that what lies there under the layer's digest is the layer; skopeo looks only whether there is something."""
    kept = _kept(cache, layer.digest)
    if stored is not None:
        with contextlib.suppress(FileExistsError):
            kept.symlink_to(stored)
    elif kept.is_symlink() or (kept.exists() and file_digest(kept) != layer.digest):
        kept.unlink(missing_ok=True)


def _layout(layout: Path, digest: str, document: bytes, config: bytes, kept: list[Path]) -> Path:
    blobs = layout / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    for path in kept:
        # Gone means that another pull of the same layer has put it into the store meanwhile.
        with contextlib.suppress(FileNotFoundError):
            _linked(path, blobs / path.name)
    for content in (document, config):
        (layout / archives.blob_name(oci.digest_of(content))).write_bytes(content)
    descriptor = {"mediaType": oci.MANIFEST, "digest": digest, "size": len(document)}
    (layout / "index.json").write_bytes(oci.dump({"schemaVersion": 2, "manifests": [descriptor]}))
    return layout


def _linked(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except PermissionError:
        # Some file systems have no hard links.
        shutil.copyfile(source, target)


def _forget_old(cache: Path) -> None:
    """Remove what killed pulls left, and layers that nobody has come back for."""
    now = time.time()
    for path, seconds in [
        *((path, _LAYOUT_SECONDS) for path in cache.glob(f"{_LAYOUT}*")),
        *((path, _KEPT_SECONDS) for path in (cache / "sha256").iterdir()),
    ]:
        with contextlib.suppress(FileNotFoundError):
            if now - path.lstat().st_mtime > seconds:
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink()
