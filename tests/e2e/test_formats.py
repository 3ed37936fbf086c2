"""Disks that firmware starts, to an HTTP answer; every other format boots in tests/images."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT, Machine
from diskvm import PAGE, DiskVm, Images, images_of

from i2kit.images.formats import Firmware, Root

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def images(machine: Machine) -> Iterator[Images]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME"):
            patch.setenv(name, machine.environment[name])
        with images_of(ROOT / "examples" / "hello") as images:
            yield images


@pytest.mark.parametrize(
    ("form", "root", "firmware", "device"),
    [
        ("raw-bios", "memory", "bios", "virtio"),
        ("raw-efi", "disk", "efi", "virtio"),
        ("aws", "disk", "bios", "nvme"),
        ("aws", "disk", "efi", "nvme"),
    ],
)
def test_firmware_starts_a_disk_and_its_vm_serves(
    images: Images, tmp_path: Path, form: str, root: Root, firmware: Firmware, device: str
) -> None:
    with DiskVm(images.get(form, root)["disk"], tmp_path, firmware, device) as vm:
        assert PAGE in vm.served("/")


def test_one_flipped_byte_in_the_root_partition_stops_the_guest_with_a_message(images: Images, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    subprocess.run(["cp", "--sparse=always", images.get("raw-bios", "disk")["disk"], disk], check=True)
    listed = subprocess.run(["sfdisk", "--json", disk], check=True, capture_output=True).stdout
    start = json.loads(listed)["partitiontable"]["partitions"][1]["start"] * 512
    with disk.open("r+b") as stream:
        # Within the file system's inodes, which are read before anything starts.
        stream.seek(start + 96)
        byte = stream.read(1)
        stream.seek(start + 96)
        stream.write(bytes([byte[0] ^ 1]))
    with DiskVm(disk, tmp_path / "vm", "bios") as vm:
        vm.ended()
    assert vm.fatal() == "root disk /dev/vda2 is damaged: data block 0 is not what was built"
