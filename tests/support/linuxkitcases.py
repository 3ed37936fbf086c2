"""Images to build from descriptions and LinuxKit YAML, for either builder and for the real command alone."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import yaml
from generatedpods import Generated
from images import synthetic

from i2kit.images.inspection import locked_image
from i2kit.images.linuxkit_yaml import linuxkit_yaml
from i2kit.images.locked import LockedBase, LockedImage
from i2kit.images.store import ImageStore, default_store
from i2kit.resources import Image, Mark

DATA = Path(__file__).parents[1] / "data" / "linuxkit"
GENERATED = DATA / "generated"
CASES = sorted(path.parent.name for path in DATA.glob("*/images.yml"))
_KERNEL, _POD = "docker.io/i2kit/kernel:test", "docker.io/i2kit/pod:test"


def descriptions(case: str) -> dict[str, Any]:
    """Return the descriptions of all images that a recorded case may name."""
    return {**synthetic.load_images(DATA / "base.yml"), **synthetic.load_images(DATA / case / "images.yml")}


def of_generated(pod: Generated) -> dict[str, Any]:
    """Return the descriptions of all images that a generated Pod's YAML names."""
    return {**synthetic.load_images(DATA / "base.yml"), **pod.images}


def imported(name: str, described: dict[str, Any], text: str, *, digest: str = "ab" * 32) -> Image:
    """Put images into the default store and return the `Image` that the YAML describes."""
    layout = synthetic.Layout(described)
    _put(layout)
    named = references(text)
    return Image(
        name=f"{name}-image",
        mark=Mark(environment="test"),
        digest=digest,
        format="kernel+initrd",
        architecture="x86_64",
        builder="linuxkit",
        yaml=text,
        sources={reference: digest for reference, digest in layout.digests.items() if reference in named},
    )


def _put(layout: synthetic.Layout) -> None:
    with tempfile.TemporaryDirectory() as folder:
        layout.write(Path(folder))
        default_store().import_path(Path(folder))


def references(text: str) -> set[str]:
    """Return the images that a LinuxKit YAML names."""
    document = yaml.safe_load(text)
    services = [*(document.get("onboot") or ()), *(document.get("services") or ())]
    return {document["kernel"]["image"], *document["init"], *(service["image"] for service in services)}


def yaml_of(pod: Generated) -> str:
    """Return the LinuxKit YAML that i2kit makes of a generated Pod today, with what else LinuxKit's YAML may have."""
    _put(synthetic.Layout(of_generated(pod)))
    store = default_store()
    locked = {reference: _locked(store, reference) for reference in (_KERNEL, _POD, *pod.images)}
    base = LockedBase(
        name="test",
        packages=(),
        guest="sha256:" + "0" * 64,
        kernel=locked[_KERNEL],
        pod=locked[_POD],
        cmdline="console=ttyS0 quiet",
    )
    document = yaml.safe_load(linuxkit_yaml(pod.pod, locked, base))
    for section, items in pod.extra.items():
        document[section] = [*document.get(section, []), *items]
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=1000)


def _locked(store: ImageStore, reference: str) -> LockedImage:
    stored = store.find(reference)
    assert stored is not None
    return locked_image(store, stored)
