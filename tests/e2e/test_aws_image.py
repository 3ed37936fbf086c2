"""An image on its way through AWS: built for its platform, uploaded, read back from the snapshot's blocks, and started from that."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import metadata
import pytest
from attrs import evolve, frozen
from conftest import ROOT, Machine
from diskvm import DEVICES, PAGE, started_by
from metadata import ADDRESS, Network

import i2kit
from i2kit import sizing
from i2kit.driver import Artefact
from i2kit.environment import Environment
from i2kit.images import assembler, platforms
from i2kit.images.builder import BuildRequest
from i2kit.images.formats import Firmware
from i2kit.resources import Image
from i2kit.testing.context import SampleContext
from i2kit_aws import images
from i2kit_aws.site import Site

sys.path.insert(0, str(ROOT / "tests" / "beds"))

from aws.bed import REGION, running
from aws.sample import BLOCK, Sample

pytestmark = pytest.mark.e2e

USER_DATA = {"schema": 1, "healthFrom": ["10.88.0.1/32"], "fields": {}, "secrets": {}}
PAGES = {"/latest/meta-data/instance-id": "i-0123456789abcdef0", "/latest/user-data": json.dumps(USER_DATA)}

# QEMU has no Elastic Network Adapter: beside Amazon's own drivers there is one for its card.
AWS = platforms.PLATFORMS["aws"]
IN_QEMU = evolve(AWS, modules=(*AWS.modules, "virtio_pci", "virtio_net", "virtio_rng"))


@frozen(kw_only=True)
class Uploaded:
    """A disk as it was built, and as it came back."""

    built: Path
    read: Path


def read_back(aws: Sample, image_id: str, target: Path) -> None:
    """Write the disk of an AMI: the blocks of its snapshot, and holes."""
    (image,) = aws.ec2.describe_images(ImageIds=[image_id])["Images"]
    (disk,) = image["BlockDeviceMappings"]
    snapshot = disk["Ebs"]["SnapshotId"]
    blocks: list[dict[str, Any]] = aws.ebs.list_snapshot_blocks(SnapshotId=snapshot)["Blocks"]
    with target.open("wb") as stream:
        stream.truncate(disk["Ebs"]["VolumeSize"] << 30)
        for one in blocks:
            wanted = {"SnapshotId": snapshot, "BlockIndex": one["BlockIndex"], "BlockToken": one["BlockToken"]}
            stream.seek(one["BlockIndex"] * BLOCK)
            stream.write(aws.ebs.get_snapshot_block(**wanted)["BlockData"].read())


@pytest.fixture(scope="module")
def here(machine: Machine) -> Iterator[Path]:
    """A folder of the module's own; the library works in the machine's folders, and AWS is on this machine."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME"):
            patch.setenv(name, machine.environment[name])
        patch.setattr(platforms, "PLATFORMS", {**platforms.PLATFORMS, "aws": IN_QEMU})
        # The root file systems lie on the disk too, so that the guest reads and checks it.
        patch.setattr(sizing, "ROOT_IN_MEMORY_MIB", 0)
        folder = machine.home / "aws-image"
        folder.mkdir()
        yield folder


@pytest.fixture(scope="module")
def uploaded(here: Path) -> Uploaded:
    environment = Environment(name="prod", provider="aws", settings={"region": REGION})
    workloads = i2kit.load([ROOT / "examples" / "hello"])
    plan = i2kit.plan(workloads, i2kit.resolve(workloads, environment), environment, application="hello")
    (image,) = (one for one in plan.resources if isinstance(one, Image))

    def build(image: Image, _: Path) -> Artefact:
        return assembler.build(BuildRequest(image=image))

    context = SampleContext(here, make_artefact=build)
    context.offer(image)
    with running() as bed, pytest.MonkeyPatch.context() as patch:
        for name, value in bed.environment.items():
            patch.setenv(name, value)
        site = Site.of(environment)
        images.ensure(site, image, context)
        read_back(Sample(bed), images.ami(site, image.name), here / "disk")
    return Uploaded(built=build(image, here).files["disk"], read=here / "disk")


@pytest.fixture(scope="module")
def network(here: Path) -> Iterator[Network]:
    with metadata.network(here) as network:
        yield network


def page(vm: metadata.VM) -> bytes:
    """What the VM serves, asked from the network that it is in."""
    address = str(vm.event("network")["address"])

    def ask() -> bytes:
        connection = http.client.HTTPConnection(address, 8080, timeout=10)
        try:
            connection.request("GET", "/")
            return connection.getresponse().read()
        finally:
            connection.close()

    return vm.namespace.inside(ask)


def test_what_comes_back_is_what_was_built(uploaded: Uploaded) -> None:
    assert uploaded.read.stat().st_size == 1 << 30
    subprocess.run(["cmp", uploaded.built, uploaded.read], check=True)


@pytest.mark.parametrize("firmware", ["bios", "efi"])
def test_it_starts_from_nvme_asks_amazons_service_and_serves(
    uploaded: Uploaded, network: Network, here: Path, tmp_path: Path, firmware: Firmware
) -> None:
    disk = ("-drive", f"file={uploaded.read},format=raw,if=none,id=disk,snapshot=on", *DEVICES["nvme"])
    boot = metadata.Firmware(drives=disk, options=started_by(firmware, tmp_path))
    with network.service("aws", PAGES) as service, network.vm(boot, here / f"{firmware}.console") as vm:
        assert vm.event("readiness")["ready"]
        assert PAGE in page(vm)
        assert vm.health("/readyz") == (200, "every container is ready")
        assert vm.health("/livez", ADDRESS) == (0, ""), "an address that is not in healthFrom was answered"
        assert not service.refused
        assert set(service.asked) == {"PUT /latest/api/token", *(f"GET {path}" for path in PAGES)}
