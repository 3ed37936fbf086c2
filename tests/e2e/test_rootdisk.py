"""Root file systems on a disk: a real application of a hundred megabytes, and a disk on which one byte is not what was built."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT, Machine, fetch
from imagevm import ImageVm

from i2kit.images.rootdisk import BLOCK, read
from i2kit.images.store import ImageStore

pytestmark = pytest.mark.e2e

DICTIONARY = ROOT / "examples" / "dictionary"
NOISE = {name: random.Random(name).randbytes(400_000) for name in ("good", "bad")}
"""Does not compress, so that it lies on the disk as it is."""


@pytest.fixture(scope="module")
def dictionary(machine: Machine) -> Iterator[str]:
    """The dictionary, deployed; its image is the one that `make images` has made."""
    subprocess.run([sys.executable, str(DICTIONARY / "image" / "build.py")], check=True, stdout=subprocess.DEVNULL)
    machine.run("images", "import", str(ROOT / "out" / "images" / "dictionary"))
    path = machine.write("dictionary.yaml", (DICTIONARY / "dictionary.yaml").read_text())
    machine.run("deploy", "-f", path)
    yield path
    machine.run("destroy", "-f", path)


def test_an_application_of_a_hundred_megabytes_answers_from_its_disk(machine: Machine, dictionary: str) -> None:
    (workload,) = machine.data("status", "-f", dictionary)["workloads"]
    assert workload["ready"] == 2
    url = workload["endpoints"][0]
    answers = [json.loads(fetch(f"{url}/define/whale", timeout=30)) for _ in range(6)]
    assert len({answer["from"] for answer in answers}) == 2
    for answer in answers:
        assert "cetacean" in answer["meanings"]["noun"][1]
        assert answer["meanings"]["verb"] == ["hunt for whales"]


def test_its_vms_are_far_smaller_than_their_files_and_share_one_disk(machine: Machine, dictionary: str) -> None:
    lines = subprocess.run(["ps", "-ww", "-eo", "args"], check=True, capture_output=True, text=True).stdout.splitlines()
    ours = [line for line in lines if "qemu-system" in line.split()[0] and str(machine.home) in line and "-name dictionary-" in line]
    # 96 MiB of it are the container's limit.
    assert [re.findall(r"-m (\d+)M", line) for line in ours] == [["164"], ["164"]]
    disks = {path for line in ours for path in re.findall(r"file\.filename=(\S+/root)", line)}
    assert len(disks) == 1


@pytest.fixture(scope="module")
def image(machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """hello with two files of noise, built with a root disk although it is small."""
    scratch = tmp_path_factory.mktemp("rootdisk")
    store = ImageStore(machine.home / "hello")
    hello = store.images()[0].digest
    layer = store.blob(store.manifest(hello).layers[0].digest)
    noise = scratch / "noise.tar"
    with tarfile.open(noise, "w") as archive:
        for name, content in NOISE.items():
            (scratch / name).write_bytes(content)
            archive.add(scratch / name, f"www/{name}")
    command = ["/bin/httpd", "-f", "-p", "8080", "-h", "/www"]
    ImageStore(scratch / "layout").add("noisy:1", [layer, noise], {"Entrypoint": command, "Env": ["PATH=/bin"], "WorkingDir": "/www"})
    machine.run("images", "import", str(scratch / "layout"))
    pod = {"containers": [{"name": "web", "image": "noisy:1"}]}
    labels = {"app": "noisy"}
    spec = {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}}
    manifest = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "noisy"}, "spec": spec}
    path = machine.write("noisy.yaml", json.dumps(manifest))
    machine.run("build", "-f", path, "--format", "kernel+squashfs", "--out", str(scratch / "image"))
    return scratch / "image"


def with_a_flipped_byte(disk: Path, position: int, target: Path) -> Path:
    data = bytearray(disk.read_bytes())
    data[position] ^= 1
    target.write_bytes(data)
    return target


def test_a_byte_that_changed_ends_the_vm_when_it_is_read(image: Path, tmp_path: Path) -> None:
    position = (image / "root").read_bytes().find(NOISE["bad"][200_000:200_100])
    assert position > 0
    disk = with_a_flipped_byte(image / "root", position, tmp_path / "root")
    with ImageVm(image, tmp_path / "vm", 128, root=disk) as vm:
        assert vm.served("/good") == NOISE["good"]
        assert vm.get("/bad") is None
        vm.ended()
        assert vm.fatal() == f"root disk /dev/vda is damaged: data block {position // BLOCK} is not what was built"


def test_a_disk_that_is_damaged_from_the_start_or_another_ends_the_vm_before_a_container_starts(image: Path, tmp_path: Path) -> None:
    built = read(image / "root")
    top = with_a_flipped_byte(built.path, built.data_blocks * BLOCK, tmp_path / "top")
    first = with_a_flipped_byte(built.path, 30, tmp_path / "first")
    with ImageVm(image, tmp_path / "one", 128, root=top) as other, ImageVm(image, tmp_path / "two", 128, root=first) as damaged:
        other.ended()
        damaged.ended()
        assert damaged.fatal() == "root disk /dev/vda is damaged: data block 0 is not what was built"
        reason = other.fatal()
        assert f"no disk has the root file systems (root hash {built.root_hash[:12]}...)" in reason
        assert f"vda of {built.path.stat().st_size} bytes (other content)" in reason
        assert '"state": "started"' not in other.console() + damaged.console()
