"""The `linuxkit` builder: kernel and initramfs by the real LinuxKit, without Docker and network; the output format by our own packers."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from attrs import evolve

from i2kit.driver import Artefact
from i2kit.errors import BuildError, MissingRequirement, Problem
from i2kit.images import packers, rootdisk
from i2kit.images.artefacts import kept
from i2kit.images.builder import Builder, BuildRequest
from i2kit.images.formats import FORMATS as KNOWN
from i2kit.images.formats import check_format
from i2kit.images.layers import members
from i2kit.images.linuxkit_command import Run, version
from i2kit.images.linuxkit_initrd import divide
from i2kit.images.linuxkit_layers import Difference, difference
from i2kit.images.loaders import loader_files
from i2kit.images.parts import Parts
from i2kit.images.store import ImageStore, default_store
from i2kit.paths import cache_home
from i2kit.resources import Image

NAME = "linuxkit"
FORMATS = tuple(packers.PACKERS)

_OUTPUTS = {"kernel": "-kernel", "initrd": "-initrd.img", "cmdline": "-cmdline"}
_SECTIONS = ("onboot", "onshutdown", "services")


def builder() -> Builder:
    """Return the record of the `linuxkit` builder."""
    return Builder(
        name=NAME,
        summary="the LinuxKit command of this machine, without Docker",
        version=identity,
        formats=FORMATS,
        build=build,
        check=check,
    )


def identity() -> str:
    """Return LinuxKit's version and that of what we make of its files. Raises `MissingRequirement` without a usable command."""
    return f"{version()}.{rootdisk.SCHEMA}.{packers.SCHEMA}+{rootdisk.COMPRESSION}"


def check() -> Sequence[Problem]:
    """Return what is missing on this machine."""
    try:
        version()
    except MissingRequirement as error:
        return error.problems
    return ()


def build(request: BuildRequest) -> Artefact:
    """Build an image with LinuxKit, or return it from the cache.

    Raises `MissingRequirement` without a usable command, `BuildError` when the image cannot be built.
    """
    image = request.image
    check_format(image.format, NAME, FORMATS)

    def make(folder: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="linuxkit-", dir=cache_home()) as work:
            packers.pack(image.format, _parts(request, default_store(), Path(work)), folder)

    return kept(request, KNOWN[image.format].roles, make)


def _parts(request: BuildRequest, store: ImageStore, work: Path) -> Parts:
    image = request.image
    packers.require(image)
    ready(image, store)
    made = Run(work, request.progress).build(image, store, "kernel+initrd", _OUTPUTS)
    parts = Parts(
        architecture=image.architecture,
        digest=image.digest,
        kernel=made["kernel"],
        initrd=(made["initrd"],),
        cmdline=made["cmdline"].read_text(),
        loader=loader_files(store, image.sources[image.loader], image.architecture) if image.loader else {},
    )
    return parts if image.root == "memory" else _divided(parts, made["initrd"], work)


def _divided(parts: Parts, initrd: Path, work: Path) -> Parts:
    """Move the containers' root file systems to a root disk, as the assembler has them there."""
    whole, rest, root = divide(initrd), work / "rest", work / "root"
    with rest.open("wb") as stream:
        whole.write_rest(stream)
    rootdisk.make(whole.write_roots, root)
    return evolve(parts, initrd=(rest,), root=root, cmdline=f"{parts.cmdline} {rootdisk.read(root).word}")


def ready(image: Image, store: ImageStore) -> None:
    """Raise what stands in the way of building `image` with LinuxKit: `MissingRequirement`, or `BuildError`."""
    version()
    _refuse_strangers(image)
    _refuse_absent(image, store)
    _refuse_other_trees(image, store)


def _refuse_strangers(image: Image) -> None:
    """Refuse a YAML that names images which are not among the request's: LinuxKit would ask a registry for them."""
    problems = [
        Problem(
            code="image-not-resolved",
            message=f"image {image.name}: nobody resolved {reference} to a digest",
            hint="plan again, so that every image is resolved",
        )
        for reference in sorted({*_kernel(image.yaml), *_roots(image.yaml)} - image.sources.keys())
    ]
    if problems:
        raise BuildError(problems)


def _refuse_absent(image: Image, store: ImageStore) -> None:
    problems = [
        Problem(
            code="image-missing",
            message=f"{reference} ({digest}) is not in the image store",
            hint="plan again, or import it with `i2kit images import`",
        )
        for reference, digest in sorted(image.sources.items())
        if not store.has(digest)
    ]
    if problems:
        raise BuildError(problems)


def _refuse_other_trees(image: Image, store: ImageStore) -> None:
    """Refuse images of which LinuxKit would make something else without a word; the guest would refuse to start them."""
    problems = []
    for reference in sorted(_roots(image.yaml)):
        manifest = store.manifest(image.sources[reference])
        found = difference(
            [members(layer, store.blob(layer.digest)) for layer in manifest.layers],
            [entry.path for entry in store.entries(manifest)],
        )
        if found:
            problems.append(
                Problem(
                    code="linuxkit-other-tree",
                    message=f"LinuxKit would not build {reference} as it is: {_told(found)}",
                    hint="use the builder `assembler`, or make the image's layers with an entry for every folder and no opaque whiteouts",
                )
            )
    if problems:
        raise BuildError(problems)


def _told(found: Difference) -> str:
    told = []
    for paths, what in ((found.lost, "loses"), (found.returned, "brings back removed")):
        if paths:
            more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
            told.append(f"it {what} {', '.join(paths[:3])}{more}")
    return "; ".join(told)


def _kernel(text: str) -> set[str]:
    document = _document(text)
    return {document["kernel"]["image"]} if "kernel" in document else set()


def _roots(text: str) -> set[str]:
    """Return the images whose file trees LinuxKit unpacks."""
    document = _document(text)
    return {*(document.get("init") or ()), *(item["image"] for section in _SECTIONS for item in document.get(section) or ())}


def _document(text: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    return document
