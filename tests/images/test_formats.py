"""Every output format, started by every kind of firmware from every kind of drive that it is made for, to an HTTP answer."""

from __future__ import annotations

import gzip
import json
import random
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from diskvm import PAGE, DiskVm, Images, images_of
from images.test_assembler import data_digest
from imagevm import ImageVm

from i2kit.images import assembler, cpio
from i2kit.images.formats import FORMATS, Firmware, Root
from i2kit.images.layers import EntryType
from i2kit.images.store import ImageStore, default_store
from i2kit.paths import cache_home

ROOT = Path(__file__).parents[2]
HELLO = ROOT / "examples" / "hello"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A store of this module's own, with hello's image."""
    home = tmp_path_factory.mktemp("formats")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(home / "data"))
        patch.setenv("XDG_CACHE_HOME", str(home / "cache"))
        script = [sys.executable, str(HELLO / "image" / "build.py"), "--out", str(home / "hello")]
        subprocess.run(script, check=True, stdout=subprocess.DEVNULL)
        default_store().import_path(home / "hello")
        yield home
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="module")
def images(home: Path) -> Iterator[Images]:
    with images_of(HELLO) as images:
        yield images


def raw_of_google(packed: Path, folder: Path) -> Path:
    subprocess.run(["tar", "--extract", "--file", packed, "--directory", folder], check=True)
    return folder / "disk.raw"


# What QEMU calls the file, the firmware, the drive.
DISKS: list[tuple[str, str, Firmware, str]] = [
    ("raw-bios", "raw", "bios", "virtio"),
    ("raw-efi", "raw", "efi", "virtio"),
    ("raw-efi", "raw", "efi", "nvme"),
    ("qcow2-bios", "qcow2", "bios", "virtio"),
    ("qcow2-efi", "qcow2", "efi", "virtio"),
    ("aws", "raw", "bios", "nvme"),
    ("aws", "raw", "efi", "nvme"),
    ("aws", "raw", "bios", "virtio"),
    ("gcp", "raw", "bios", "scsi"),
    ("gcp", "raw", "efi", "scsi"),
    ("gcp", "raw", "efi", "nvme"),
    ("vhd", "vpc", "bios", "virtio"),
    ("dynamic-vhd", "vpc", "bios", "virtio"),
    ("vmdk", "vmdk", "bios", "virtio"),
]


@pytest.mark.parametrize("root", ["memory", "disk"])
@pytest.mark.parametrize(("form", "kind", "firmware", "device"), DISKS)
def test_a_disk_starts_and_serves(
    images: Images, tmp_path: Path, form: str, kind: str, firmware: Firmware, device: str, root: Root
) -> None:
    disk = images.get(form, root)["disk"]
    if form == "gcp":
        disk = raw_of_google(disk, tmp_path)
    with DiskVm(disk, tmp_path / "vm", firmware, device, form=kind) as vm:
        assert PAGE in vm.served("/")


CDS: list[tuple[str, Firmware, str]] = [
    # The CD of a q35 is on SATA, that of a pc on IDE.
    ("iso-bios", "bios", "pc"),
    ("iso-bios", "bios", "q35"),
    ("iso-efi", "efi", "pc"),
    ("iso-efi", "efi", "q35"),
]


@pytest.mark.parametrize(("form", "firmware", "machine"), CDS)
def test_a_cd_starts_and_serves(images: Images, tmp_path: Path, form: str, firmware: Firmware, machine: str) -> None:
    with DiskVm(images.get(form, "memory")["disk"], tmp_path, firmware, "ide-cd", machine=machine) as vm:
        assert PAGE in vm.served("/")


@pytest.mark.parametrize("root", ["memory", "disk"])
def test_a_vm_that_qemu_loads_serves(images: Images, tmp_path: Path, root: Root) -> None:
    files = images.get("kernel+initrd" if root == "memory" else "kernel+squashfs", root)
    with ImageVm(files["kernel"].parent, tmp_path, 256, root=files.get("root", files["kernel"])) as vm:
        assert PAGE in vm.served("/")


def test_the_tar_of_three_files_has_what_boots(images: Images, tmp_path: Path) -> None:
    with tarfile.open(images.get("tar-kernel-initrd", "memory")["tar"]) as archive:
        archive.extractall(tmp_path, filter="data")
    (tmp_path / "initrd.img").rename(tmp_path / "initrd")
    with ImageVm(tmp_path, tmp_path / "vm", 256, root=tmp_path / "cmdline") as vm:
        assert PAGE in vm.served("/")


TYPES: dict[bytes, EntryType] = {tarfile.REGTYPE: "file", tarfile.DIRTYPE: "directory", tarfile.SYMTYPE: "symlink"}


def test_the_tar_of_the_whole_tree_has_what_boots(images: Images, tmp_path: Path) -> None:
    with tarfile.open(images.get("tar", "memory")["tar"]) as archive, gzip.open(tmp_path / "initrd", "wb", compresslevel=1) as initrd:
        writer = cpio.Writer(initrd.write)
        for member in archive:
            stream = archive.extractfile(member) if member.isfile() else None
            content = stream.read() if stream else member.linkname.encode()
            if member.name in ("boot/kernel", "boot/cmdline"):
                (tmp_path / Path(member.name).name).write_bytes(content)
            else:
                header = cpio.Header(path=member.name, type=TYPES[member.type], mode=member.mode, size=len(content))
                writer.add(header, content)
        writer.close()
    with ImageVm(tmp_path, tmp_path / "vm", 256, root=tmp_path / "cmdline") as vm:
        assert PAGE in vm.served("/")


def test_every_format_is_tried(images: Images) -> None:
    """Of those that the assembler makes."""
    tried = {form for form, *_ in (*DISKS, *CDS)} | {"kernel+initrd", "kernel+squashfs", "tar", "tar-kernel-initrd"}
    assert tried == set(assembler.FORMATS)
    # With both, where both are on one disk.
    assert {(form, one) for form, _, one, _ in DISKS} == {(form, one) for form, *_ in DISKS for one in FORMATS[form].firmware}


LARGE = 45_000_000


@pytest.fixture(scope="module")
def large(home: Path) -> Iterator[tuple[Images, bytes]]:
    """hello with what neither compresses nor fits into a tenth of a gigabyte by much."""
    content = random.Random("large").randbytes(LARGE)
    store = ImageStore(home / "hello")
    layer = store.blob(store.manifest(store.images()[0].digest).layers[0].digest)
    noise = home / "noise.tar"
    (home / "noise").write_bytes(content)
    with tarfile.open(noise, "w") as archive:
        archive.add(home / "noise", "www/noise")
    settings = {"Entrypoint": ["/bin/httpd", "-f", "-p", "8080", "-h", "/www"], "Env": ["PATH=/bin"], "WorkingDir": "/www"}
    ImageStore(home / "large").add("large:1", [layer, noise], settings)
    default_store().import_path(home / "large")
    labels = {"app": "large"}
    pod = {"containers": [{"name": "web", "image": "large:1"}]}
    spec = {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}}
    manifest = home / "large.yaml"
    manifest.write_text(json.dumps({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "large"}, "spec": spec}))
    with images_of(manifest) as images:
        yield images, content


@pytest.mark.parametrize(
    ("form", "root", "firmware", "device"),
    [
        # More than the 32 MB that the head of a CD can say.
        ("iso-efi", "memory", "efi", "ide-cd"),
        ("iso-bios", "memory", "bios", "ide-cd"),
        ("raw-bios", "memory", "bios", "virtio"),
        ("raw-efi", "memory", "efi", "virtio"),
        ("aws", "disk", "efi", "nvme"),
    ],
)
def test_a_large_image_starts_and_serves(
    large: tuple[Images, bytes], tmp_path: Path, form: str, root: Root, firmware: Firmware, device: str
) -> None:
    images, content = large
    with DiskVm(images.get(form, root)["disk"], tmp_path, firmware, device, memory_mib=512) as vm:
        assert vm.served("/noise") == content


@pytest.mark.parametrize("form", [name for name in assembler.FORMATS if FORMATS[name].firmware])
def test_real_images_repeat_from_an_empty_cache(images: Images, form: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for root in FORMATS[form].roots:
        first = {role: data_digest(path) for role, path in images.get(form, root).items()}
        with monkeypatch.context() as patch:
            patch.setenv("XDG_CACHE_HOME", str(tmp_path / root))
            patch.setenv("TZ", "Asia/Kathmandu")
            assert cache_home().is_relative_to(tmp_path)
            again = Images(images.workloads, images.locked).get(form, root)
            assert {role: data_digest(path) for role, path in again.items()} == first
    shutil.rmtree(tmp_path)
