"""Images of a manifest for a cloud's platform, in VMs that QEMU starts: its metadata, but QEMU's devices."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from attrs import evolve
from metadata import Boot

import i2kit
from i2kit.environment import Environment
from i2kit.images import cpio, platforms
from i2kit.images.base import Wanted, lock_base
from i2kit.images.builder import BuildRequest
from i2kit.images.inspection import read_file
from i2kit.images.store import default_store
from i2kit.resources import Image
from i2kit.stages import ready_builder

Change = Callable[[Image], Mapping[str, str | bytes]]
"""Which files are laid over an image's own."""

# QEMU has no Elastic Network Adapter.
AMAZON = evolve(platforms.PLATFORMS["aws"], modules=("virtio_pci", "virtio_net", "virtio_rng", *platforms.PLATFORMS["aws"].modules))
"""Amazon's platform, with QEMU's network card besides."""


def build(folder: Path, manifest: str, platform: str, change: Change | None = None) -> Boot:
    """Build the image of a manifest with one Pod, in the default store; files of its own lie in `folder`."""
    source = folder / "manifest.yaml"
    source.write_text(manifest)
    environment = Environment()
    workloads = i2kit.load([source])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(platforms, "PLATFORMS", {**platforms.PLATFORMS, "aws": AMAZON})
        base = lock_base(environment.base, default_store(), Wanted(platform=platform))
    locked = evolve(i2kit.resolve(workloads, environment), base=base)
    plan = i2kit.plan(workloads, locked, environment, application="metadata")
    (image,) = (one for one in plan.resources if isinstance(one, Image))
    files = ready_builder("assembler").build(BuildRequest(image=image)).files
    boot = Boot(kernel=files["kernel"], initrd=files["initrd"], cmdline=files["cmdline"].read_text().strip())
    return boot if change is None else laid_over(boot, change(image), folder / f"{platform}.initrd")


def laid_over(boot: Boot, files: Mapping[str, str | bytes], initrd: Path) -> Boot:
    """Lay files over those of an image; the new initramfs is written to `initrd`."""
    # The kernel looks for the next archive at multiples of four.
    old = boot.initrd.read_bytes()
    initrd.write_bytes(old + bytes(-len(old) % 4) + archive(files))
    return evolve(boot, initrd=initrd)


def archive(files: Mapping[str, str | bytes]) -> bytes:
    """Make an archive that the kernel unpacks over what came before."""
    data = bytearray()
    writer = cpio.Writer(data.extend)
    for path, text in files.items():
        content = text.encode() if isinstance(text, str) else text
        writer.add(cpio.Header(path=path, type="file", mode=0o700, size=len(content)), content)
    writer.close()
    return bytes(data)


def reading_from(place: str) -> Change:
    """Make the base say that the boot configuration lies elsewhere."""

    def change(image: Image) -> dict[str, str]:
        store = default_store()
        (pod,) = (digest for reference, digest in image.sources.items() if "i2kit/pod" in reference)
        base = json.loads(read_file(store, store.manifest(pod), "etc/i2kit/base.json") or b"")
        return {"etc/i2kit/base.json": json.dumps({**base, "bootConfig": place})}

    return change
