"""Images with a disk for the containers' root file systems: their files here, and how QEMU is told of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from i2kit.driver import Artefact
from i2kit.errors import ProviderError
from i2kit.testing.samples import Samples
from i2kit_local.folders import Folders
from i2kit_local.image_files import FORMATS, Images
from i2kit_local.machine import Machine
from i2kit_local.plugin import PROVIDER
from i2kit_local.state import State

from .conftest import BedContext

WITH_DISK = Samples(format="kernel+squashfs").image()


@pytest.fixture
def images(tmp_path: Path) -> Images:
    return Images(state=State(folders=Folders(state=tmp_path / "state", runtime=tmp_path / "run")))


def artefact(tmp_path: Path, form: str, *roles: str) -> BedContext:
    files = {role: tmp_path / role for role in roles}
    for role, path in files.items():
        path.write_text(role)
    return BedContext({WITH_DISK.name: Artefact(format=form, files=files)})


def command(tmp_path: Path, root: Path | None) -> list[str]:
    machine = Machine(
        name="web-0",
        kernel=tmp_path / "kernel",
        initrd=tmp_path / "initrd",
        cmdline="quiet",
        boot=tmp_path / "boot.json",
        control=tmp_path / "control",
        memory_mib=128,
        cpus=1,
        mac="52:54:00:88:00:01",
        root=root,
    )
    return machine.command(())


def test_the_provider_takes_the_formats_whose_files_it_knows() -> None:
    assert tuple(FORMATS) == PROVIDER.formats


def test_an_image_with_a_disk_is_here_with_its_disk(images: Images, tmp_path: Path) -> None:
    images.ensure(WITH_DISK, artefact(tmp_path, "kernel+squashfs", "kernel", "initrd", "cmdline", "root"))
    folder = images.state.image_folder(WITH_DISK.name)
    # The same file as in the builder's cache: a large disk is there once.
    assert (folder / "root").stat().st_ino == (tmp_path / "root").stat().st_ino
    assert images.faults(WITH_DISK) == ()
    (folder / "root").unlink()
    assert images.faults(WITH_DISK) == ("its root is missing",)


@pytest.mark.parametrize(
    ("form", "roles"),
    [
        ("kernel+squashfs", ("kernel", "initrd", "cmdline")),
        ("kernel+initrd", ("kernel", "initrd", "cmdline")),
        ("qcow2-bios", ("disk",)),
    ],
)
def test_files_of_another_format_are_refused(form: str, roles: tuple[str, ...], images: Images, tmp_path: Path) -> None:
    with pytest.raises(ProviderError, match=f"is {form.replace('+', '.')} with"):
        images.ensure(WITH_DISK, artefact(tmp_path, form, *roles))
    assert images.faults(WITH_DISK)


def test_qemu_reads_the_disk_and_never_writes_to_it(tmp_path: Path) -> None:
    words = command(tmp_path, Path("/images/a,b/root"))
    source = words[words.index("-blockdev") + 1]
    assert "read-only=on" in source.split(",")
    assert source.endswith("file.filename=/images/a,,b/root")
    assert words[words.index("-blockdev") + 2 :][:2] == ["-device", "virtio-blk-pci,drive=root"]


def test_a_vm_without_a_disk_has_no_drive(tmp_path: Path) -> None:
    words = command(tmp_path, None)
    assert not [word for word in words if "blk" in word or word in ("-blockdev", "-drive")]
