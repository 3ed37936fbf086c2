"""Each platform's drivers, in Debian's real kernels: what QEMU cannot model is held here, the rest boots in other rings."""

from __future__ import annotations

import shutil
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import modules as kernel_modules
import pytest
from modules import DEVICES, DISK_DEVICES, NVME_DEVICES, PC_DEVICES, Tree

import i2kit
from i2kit import stages
from i2kit.environment import BaseSettings, Environment
from i2kit.images import authorities, base
from i2kit.images.base import Wanted, current_lock
from i2kit.images.formats import FORMATS
from i2kit.images.kernels import Kernel, kernel
from i2kit.images.locked import Locked
from i2kit.images.platforms import PLATFORMS, platform_of
from i2kit.images.store import ImageStore, default_store

USER_STORE = default_store()
"""The store of whoever runs the tests: what has been downloaded once is not downloaded again."""


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Kernel]]:
    """The newest kernels of the mirror, by their kinds."""
    if base.missing():
        pytest.skip(f"Debian's packages cannot be read here: {base.missing()[0].message}")
    store = ImageStore(tmp_path_factory.mktemp("kernels"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(store.root / "cache"))
        found = base._Packages(store, BaseSettings(), lambda _message: None, "x86_64")
        lock = current_lock(BaseSettings(), store, Wanted())
        for package in lock.packages:
            known = USER_STORE.root / "debs" / f"{package.sha256}.deb"
            if package.name.startswith("linux-image-") and known.exists():
                (store.root / "debs").mkdir(exist_ok=True)
                shutil.copyfile(known, store.root / "debs" / known.name)
        chosen = {kind: base._kernels(lock, kind)[0] for kind in ("cloud", "generic")}
        debs = found.files(list(chosen.values()))
    with kernel(debs[chosen["cloud"].name]) as cloud, kernel(debs[chosen["generic"].name]) as generic:
        yield {"cloud": cloud, "generic": generic}


def trees(kernels: dict[str, Kernel], platform: str) -> tuple[Kernel, Any, Tree, Tree]:
    opened = kernels[PLATFORMS[platform].kernel_for("x86_64")]
    return opened, *kernel_modules.trees(opened, platform, "x86_64")


@pytest.mark.parametrize("platform", PLATFORMS)
def test_every_device_has_a_driver(kernels: dict[str, Kernel], platform: str) -> None:
    _opened, _modules, always, disk = trees(kernels, platform)
    assert kernel_modules.unmatched(always.files.values(), {**DEVICES[platform], **PC_DEVICES.get(platform, {})}) == []
    assert kernel_modules.unmatched(disk.files.values(), DISK_DEVICES.get(platform, {})) == []


def test_the_disks_of_amazon_and_google_have_a_driver(kernels: dict[str, Kernel]) -> None:
    for platform in ("aws", "gcp"):
        assert "nvme" in PLATFORMS[platform].disk_modules
        assert "nvme" in kernels[PLATFORMS[platform].kernel_for("x86_64")].builtin, "what it depends on is to be tested too"
    # The same driver as a module says which devices it is for.
    generic = kernels["generic"]
    assert kernel_modules.unmatched([generic.read(generic.paths["nvme"])], NVME_DEVICES) == []


@pytest.mark.parametrize("platform", PLATFORMS)
def test_modules_load_in_their_order_and_the_index_is_complete(kernels: dict[str, Kernel], platform: str) -> None:
    opened, modules, always, disk = trees(kernels, platform)
    for tree, loaded in ((always, modules.always), (disk, (*modules.always, *modules.disk))):
        assert set(loaded) == set(tree.files) == set(tree.index), "what is there, what loads and what the index names are one"
        assert all(set(others) <= set(loaded[: loaded.index(name)]) for name, others in tree.index.items())
        assert kernel_modules.unresolved(opened, tree, loaded) == []


def test_a_module_that_is_left_out_is_missed(kernels: dict[str, Kernel]) -> None:
    opened, modules, always, _disk = trees(kernels, "openstack")
    assert "cdrom" in modules.always
    without = [name for name in modules.always if name != "cdrom"]
    missed = kernel_modules.unresolved(opened, always, without)
    assert {"sr_mod needs cdrom_open", "isofs needs cdrom_multisession"} <= set(missed)


def test_drivers_are_in_their_platforms_images_and_only_there(kernels: dict[str, Kernel]) -> None:
    found = {platform: trees(kernels, platform)[3] for platform in PLATFORMS}
    drivers = {"ena": "aws", "softdog": "aws", "gve": "gcp", "qemu_fw_cfg": "local", "ahci": "openstack", "sr_mod": "openstack"}
    for name, platform in drivers.items():
        assert [other for other, tree in found.items() if name in tree.files] == [platform]
    assert not any(name.startswith("virtio") for name in found["aws"].files), "Nitro has no virtio"


def test_what_only_root_disks_need_is_not_in_small_vms(kernels: dict[str, Kernel]) -> None:
    for platform in PLATFORMS:
        _opened, modules, always, _disk = trees(kernels, platform)
        assert {"dm_verity", "squashfs"} <= set(modules.disk)
        assert not {"dm_mod", "dm_verity", "squashfs"} & set(always.files)
    assert "virtio_blk" not in trees(kernels, "local")[2].files


def test_debians_package_has_the_roots_of_amazon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if base.missing():
        pytest.skip(f"Debian's packages cannot be read here: {base.missing()[0].message}")
    store = ImageStore(tmp_path / "store")
    found = base._Packages(store, BaseSettings(), lambda _message: None, "x86_64")
    lock = current_lock(BaseSettings(), store, Wanted(platform="aws"))
    (package,) = (one for one in lock.packages if one.name == authorities.PACKAGE)
    roots = authorities.roots(found.files([package])[package.name], PLATFORMS["aws"].roots)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=roots.decode())
    names = {value for root in context.get_ca_certs() for ((name, value),) in root["subject"] if name == "commonName"}
    assert names == {*(f"Amazon Root CA {number}" for number in range(1, 5)), "Starfield Services Root Certificate Authority - G2"}
    assert len(roots) < 8 << 10, "bytes of every VM's memory"


# Which platform an image is for.


@pytest.mark.parametrize(
    ("provider", "format_name", "platform"),
    [("local", None, "local"), ("openstack", "qcow2-bios", "openstack"), ("local", "aws", "aws"), ("openstack", "gcp", "gcp")],
)
def test_a_format_made_for_a_cloud_decides_before_the_provider(provider: str, format_name: str | None, platform: str) -> None:
    assert platform_of(provider, format_name) == platform


def test_every_platform_that_a_format_decides_exists() -> None:
    assert {platform_of("local", name) for name in FORMATS} == {"local", "aws", "gcp"} <= set(PLATFORMS)


@pytest.mark.parametrize(
    ("format_name", "platform", "formats"),
    [(None, "local", ("kernel+initrd",)), ("kernel+squashfs", "local", ("kernel+squashfs",))],
)
def test_the_base_is_asked_for_where_images_run(
    monkeypatch: pytest.MonkeyPatch, format_name: str | None, platform: str, formats: tuple[str, ...]
) -> None:
    asked: dict[str, Any] = {}

    def resolve(*_arguments: object, **options: object) -> Locked:
        asked.update(options)
        raise KeyboardInterrupt

    monkeypatch.setattr(stages, "resolve_images", resolve)
    with pytest.raises(KeyboardInterrupt):
        stages.resolve(i2kit.load([Path(__file__).parents[3] / "examples" / "hello"]), Environment(), format=format_name)
    assert asked["platform"] == platform
    assert set(formats) <= set(asked["formats"])
