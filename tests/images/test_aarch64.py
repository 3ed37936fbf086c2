"""Images for aarch64, booted: directly, by EDK2 from disks, with a root disk; and the modules of every platform."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tarfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import modules as kernel_modules
import pytest
from attrs import frozen
from modules import DEVICES, DISK_DEVICES, NVME_DEVICES

import i2kit
from i2kit.environment import BaseSettings, Environment
from i2kit.errors import I2kitError, InvalidInput
from i2kit.images import base
from i2kit.images.base import Wanted, current_lock
from i2kit.images.kernels import kernel
from i2kit.images.platforms import PLATFORMS
from i2kit.images.store import default_store

ROOT = Path(__file__).parents[2]
HELLO = ROOT / "examples" / "hello"
QEMU = "qemu-system-aarch64"
EDK2 = Path("/usr/share/qemu-efi-aarch64/QEMU_EFI.fd")
ENVIRONMENT = Environment(architecture="aarch64")
# All on a machine that may be busy with other things.
_SECONDS = 120.0

needs_qemu = pytest.mark.skipif(
    shutil.which(QEMU) is None or not EDK2.exists(),
    reason=f"{QEMU} or its firmware is not installed (apt-get install qemu-system-arm qemu-efi-aarch64)",
)

Files = dict[str, Path]


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Files]]:
    """Build hello in a format, in a store of this module's own."""
    home = tmp_path_factory.mktemp("aarch64")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(home / "data"))
        patch.setenv("XDG_CACHE_HOME", str(home / "cache"))
        script = [sys.executable, str(HELLO / "image" / "build.py"), "--architecture", "aarch64", "--out", str(home / "hello")]
        subprocess.run(script, check=True, stdout=subprocess.DEVNULL)
        default_store().import_path(home / "hello", architecture="aarch64")

        def build(format_name: str) -> Files:
            (image,) = i2kit.build([HELLO], environment=ENVIRONMENT, format=format_name)
            return dict(image.files)

        yield build
    shutil.rmtree(home, ignore_errors=True)


@frozen
class Guest:
    """A VM that runs."""

    process: subprocess.Popen[bytes]
    folder: Path

    def tell(self, command: str) -> None:
        """Tell QEMU's monitor something."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{command}\n".encode())
        self.process.stdin.flush()

    def said(self, pattern: str, file: str = "console") -> re.Match[str]:
        """Wait until the console (or the monitor) has said something. Raises `AssertionError` when it does not."""
        deadline = time.monotonic() + _SECONDS
        while True:
            ended = self.process.poll() is not None
            text = (self.folder / file).read_text(errors="replace")
            if match := re.search(pattern, text):
                return match
            assert not ended, f"the VM has ended without saying {pattern!r}:\n{text}"
            assert time.monotonic() < deadline, f"nothing says {pattern!r}:\n{text}"
            time.sleep(0.05)

    def page(self) -> str:
        """Return hello's page, once the VM is ready."""
        self.said('"event": "readiness".*"ready": true')
        self.tell("info usernet")
        port = self.said(r"HOST_FORWARD\]\s+\d+\s+127\.0\.0\.1\s+(\d+)", "monitor")[1]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30) as answer:
            assert answer.status == 200
            return str(answer.read().decode())


@contextmanager
def running(folder: Path, options: Sequence[str]) -> Iterator[Guest]:
    """Run a VM while the context lasts; it is ended in any case."""
    (folder / "boot.json").write_text(json.dumps({"schema": 1, "instance": "hello-0", "fields": {}, "secrets": {}}))
    command = [
        *(QEMU, "-machine", "virt", "-cpu", "cortex-a57", "-accel", "tcg,tb-size=64", "-m", "256M", "-nodefaults", "-no-user-config"),
        *("-display", "none", "-no-reboot", "-serial", f"file:{folder / 'console'}", "-monitor", "stdio"),
        *("-netdev", "user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:0-:8080", "-device", "virtio-net-pci,netdev=net,romfile="),
        *("-device", "virtio-rng-pci", "-fw_cfg", f"name=opt/i2kit/boot,file={folder / 'boot.json'}"),
        *options,
    ]
    (folder / "console").touch()
    with (folder / "monitor").open("wb") as monitor:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=monitor, stderr=subprocess.STDOUT)
    try:
        yield Guest(process, folder)
    finally:
        process.kill()
        process.communicate()


def directly(files: Files) -> list[str]:
    """QEMU's options for an image that it loads itself; without firmware the devices are told by a device tree."""
    options = ["-kernel", str(files["kernel"]), "-initrd", str(files["initrd"]), "-append", files["cmdline"].read_text()]
    if "root" in files:
        options += ["-drive", f"file={files['root']},if=none,id=root,format=raw,readonly=on", "-device", "virtio-blk-pci,drive=root"]
    return options


def from_disk(disk: Path, form: str, *devices: str) -> list[str]:
    """QEMU's options for a disk that EDK2 starts; the devices are told by ACPI."""
    drive = ("-drive", f"file={disk},if=none,id=disk,format={form},snapshot=on")
    return ["-bios", str(EDK2), *drive, *(word for device in devices for word in ("-device", device))]


@needs_qemu
@pytest.mark.parametrize("format_name", ["kernel+initrd", "kernel+squashfs"])
def test_a_vm_that_is_loaded_directly_serves(build: Callable[[str], Files], tmp_path: Path, format_name: str) -> None:
    with running(tmp_path, directly(build(format_name))) as guest:
        assert "Hello from a virtual machine" in guest.page()


@needs_qemu
@pytest.mark.parametrize(("format_name", "form"), [("raw-efi", "raw"), ("qcow2-efi", "qcow2")])
def test_a_vm_that_edk2_starts_serves_and_hears_the_power_button(
    build: Callable[[str], Files], tmp_path: Path, format_name: str, form: str
) -> None:
    with running(tmp_path, from_disk(build(format_name)["disk"], form, "virtio-blk-pci,drive=disk")) as guest:
        assert "Hello from a virtual machine" in guest.page()
        guest.tell("system_powerdown")
        assert guest.process.wait(timeout=_SECONDS) == 0
        guest.said('"event": "shutdown".*"power button"')


@needs_qemu
def test_amazons_disk_boots_from_nvme(build: Callable[[str], Files], tmp_path: Path) -> None:
    with running(tmp_path, from_disk(build("aws")["disk"], "raw", "nvme,drive=disk,serial=vol0")) as guest:
        guest.said('"event": "start"')


@needs_qemu
def test_googles_disk_boots_from_virtio_scsi_and_asks_googles_service(build: Callable[[str], Files], tmp_path: Path) -> None:
    (path,) = build("gcp").values()
    with tarfile.open(path) as archive, (tmp_path / "disk.raw").open("wb") as disk:
        copied(archive.extractfile("disk.raw"), disk)
    devices = ("virtio-scsi-pci", "scsi-hd,drive=disk")
    with running(tmp_path, from_disk(tmp_path / "disk.raw", "raw", *devices)) as guest:
        guest.said(r'"event": "boot".*169\.254\.169\.254')
    (tmp_path / "disk.raw").unlink()


def copied(source: IO[bytes] | None, target: IO[bytes]) -> None:
    """Copy a file, its empty blocks as holes."""
    assert source is not None
    while block := source.read(1 << 20):
        if block.strip(b"\0"):
            target.write(block)
        else:
            target.seek(len(block), 1)
    target.truncate()


def test_what_only_a_bios_starts_is_refused(build: Callable[[str], Files]) -> None:
    with pytest.raises(I2kitError, match="aarch64") as caught:
        build("qcow2-bios")
    assert [problem.code for problem in caught.value.problems] == ["format-impossible"]


def test_an_image_for_another_architecture_is_refused(build: Callable[[str], Files]) -> None:
    build("kernel+initrd")
    with pytest.raises(InvalidInput, match="not for linux/amd64, but for aarch64") as caught:
        i2kit.build([HELLO], environment=Environment())
    assert [problem.code for problem in caught.value.problems] == ["image-architecture"]


@pytest.fixture(scope="module")
def opened(build: Callable[[str], Files]) -> Iterator[Any]:
    store, wanted = default_store(), Wanted(architecture="aarch64")
    build("kernel+initrd")
    (package,) = (one for one in current_lock(BaseSettings(), store, wanted).packages if one.name.startswith("linux-image-"))
    with kernel(store.root / "debs" / f"{package.sha256}.deb") as opened:
        yield opened


@pytest.mark.parametrize("platform", PLATFORMS)
def test_every_device_of_a_platform_has_a_driver_that_loads(opened: Any, platform: str) -> None:
    modules, always, disk = kernel_modules.trees(opened, platform, "aarch64")
    loaded = (*modules.always, *modules.disk)
    assert kernel_modules.unmatched(always.files.values(), DEVICES[platform]) == []
    assert kernel_modules.unmatched(disk.files.values(), DISK_DEVICES.get(platform, {})) == []
    assert set(loaded) == set(disk.files) == set(disk.index)
    assert kernel_modules.unresolved(opened, disk, loaded) == []


def test_the_disks_of_amazon_and_google_have_a_driver(opened: Any) -> None:
    assert NVME_DEVICES
    assert "nvme" in opened.builtin
    assert base.guest_binary("aarch64")[18:20] == (183).to_bytes(2, "little")
