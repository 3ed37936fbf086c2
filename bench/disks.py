"""A disk for a machine with UEFI out of examples/dictionary (108 MB), beside Debian's tools that make disks of a tree, in turns in one run.

    python bench/disks.py [rounds]

Ours starts by itself: kernel, initramfs and boot loader, root partition with dm-verity, the containers' settings. The peers put the same
tree (the image's only layer, a tar) into a partition and nothing else: `virt-make-fs` in a VM of its own (guestfs-tools), and mke2fs with
sfdisk by hand, which needs root to keep owners. `make image-dictionary` makes the example's image.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from i2kit.images.store import ImageStore

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "dictionary"
LAYOUT = EXAMPLE.parents[1] / "out" / "images" / "dictionary"
FORM = "raw-efi"
MIB = 1 << 20


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    if not LAYOUT.is_dir():
        print("the example's image is not there (make image-dictionary): not measured")
        return
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        os.environ.update(XDG_DATA_HOME=f"{folder}/data", XDG_CACHE_HOME=f"{folder}/cache")
        i2kit("images", "import", str(LAYOUT))
        layout = ImageStore(LAYOUT)
        (layer,) = layout.manifest(layout.images()[0].digest).layers
        tree = layout.blob(layer.digest)
        manifest = scratch / "dictionary.yaml"
        manifest.write_text((EXAMPLE / "dictionary.yaml").read_text())
        # The base is fetched once, before anything is measured.
        ours(manifest, scratch / "disk")
        times: dict[str, list[float]] = {}
        worked: dict[str, list[float]] = {}
        sizes: dict[str, int] = {}
        for number in range(rounds):
            for name, make in steps(scratch, manifest, tree, number).items():
                disk = scratch / "disk"
                disk.unlink(missing_ok=True)
                start, started = time.perf_counter(), processor_seconds()
                make(disk)
                times.setdefault(name, []).append(time.perf_counter() - start)
                worked.setdefault(name, []).append(processor_seconds() - started)
                sizes[name] = disk.stat().st_blocks * 512
    least, least_worked = (statistics.median(found["i2kit, empty caches"]) for found in (times, worked))
    for name, values in times.items():
        median, processor = statistics.median(values), statistics.median(worked[name])
        clock = f"{median:.2f} s ({median / least:.2f} times i2kit's with empty caches)"
        print(f"{name}: {clock}, {processor:.2f} s of processor time ({processor / least_worked:.2f} times), {sizes[name]:,} bytes")
    print(f"medians of {rounds}")


def processor_seconds() -> float:
    """Return the processor time of this process and its children: what a busy machine changes less than the time on the clock."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def steps(scratch: Path, manifest: Path, tree: Path, number: int) -> Mapping[str, Callable[[Path], None]]:
    """Return what is measured, in its order."""

    def cold(disk: Path) -> None:
        shutil.rmtree(scratch / "cache")
        ours(manifest, disk)

    def configured(disk: Path) -> None:
        greeting = json.dumps([{"name": "GREETING", "value": str(number)}])
        manifest.write_text(
            (EXAMPLE / "dictionary.yaml").read_text().replace("image: dictionary:1", f"image: dictionary:1\n          env: {greeting}")
        )
        ours(manifest, disk)
        manifest.write_text((EXAMPLE / "dictionary.yaml").read_text())

    found: dict[str, Callable[[Path], None]] = {"i2kit, empty caches": cold, "i2kit, configuration changed": configured}
    if shutil.which("virt-make-fs"):
        found["virt-make-fs, ext4"] = lambda disk: virt_make_fs(tree, disk)
    elif number == 0:
        print("virt-make-fs is not on PATH: measured without it")
    found["mke2fs and sfdisk, ext4"] = lambda disk: by_hand(tree, disk, scratch / "tree")
    return found


def i2kit(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "i2kit", *arguments], check=True, capture_output=True)


def ours(manifest: Path, disk: Path) -> None:
    i2kit("build", "-f", str(manifest), "--format", FORM, "--out", str(disk))


def virt_make_fs(tree: Path, disk: Path) -> None:
    # Without a libvirt that would be asked to run its VM.
    environment = {**os.environ, "LIBGUESTFS_BACKEND": "direct"}
    named = disk.with_name("tree.tar")
    named.unlink(missing_ok=True)
    named.symlink_to(tree)
    command = ["virt-make-fs", "--partition=gpt", "--type=ext4", "--size=+20%", str(named), str(disk)]
    subprocess.run(command, env=environment, check=True, capture_output=True)


def by_hand(tree: Path, disk: Path, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    with tarfile.open(tree) as archive:
        archive.extractall(folder, filter="fully_trusted")
    mib = tree.stat().st_size * 12 // 10 // MIB
    with disk.open("wb") as file:
        file.truncate((mib + 2) * MIB)
    subprocess.run(["sfdisk", "--quiet", str(disk)], input=f"label: gpt\nstart=1MiB, size={mib}MiB, type=L\n", text=True, check=True)
    command = ["mke2fs", "-q", "-t", "ext4", "-d", str(folder), "-E", f"offset={MIB}", str(disk), f"{mib}M"]
    subprocess.run(command, check=True, capture_output=True)


if __name__ == "__main__":
    main()
