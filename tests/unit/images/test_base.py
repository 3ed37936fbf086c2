"""The `debian` base, out of small packages made here; the mirror is faked. The real one is in the rings with network."""

from __future__ import annotations

import ctypes
import hashlib
import io
import json
import platform
import shutil
import struct
import subprocess
import tarfile
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from i2kit.environment import BaseSettings
from i2kit.errors import BuildError, I2kitError, InvalidInput, MissingRequirement
from i2kit.images import apt, authorities, base, base_images, elf, loaders, tars
from i2kit.images.base import BaseLock, Wanted, lock_base, read_lock
from i2kit.images.inspection import read_file
from i2kit.images.locked import LockedImage, Package
from i2kit.images.platforms import PLATFORMS
from i2kit.images.store import ImageStore

needs_dpkg = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="dpkg-deb is not installed (apt-get install dpkg)")


def codes(error: I2kitError) -> list[str]:
    return [problem.code for problem in error.problems]


# The stand-in for a library.


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the stand-in is made for x86_64, and this machine cannot load it")
def test_the_stand_in_loads_and_every_function_answers_that_it_is_not_implemented(tmp_path: Path) -> None:
    names = {f"sd_function_{number}": f"LIBSYSTEMD_{200 + number % 3}" for number in range(40)}
    path = tmp_path / "libstand.so.0"
    path.write_bytes(elf.stand_in("libstand.so.0", names))
    library = ctypes.CDLL(str(path))
    assert {getattr(library, name)() for name in names} == {-38}
    with pytest.raises(AttributeError):
        library.sd_other  # noqa: B018 (looking it up is the test)
    find = ctypes.CDLL(None).dlvsym
    find.restype, find.argtypes = ctypes.c_void_p, (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p)
    for name, version in names.items():
        assert find(library._handle, name.encode(), version.encode())
        assert not find(library._handle, name.encode(), b"LIBSYSTEMD_203")


def test_the_stand_in_is_the_same_bytes_in_any_order() -> None:
    names = {"b": "V_2", "a": "V_1", "c": "V_1"}
    assert elf.stand_in("x.so", names) == elf.stand_in("x.so", dict(reversed(names.items())))
    assert elf.needed("x.so", elf.stand_in("x.so", names)) == ()


def test_the_stand_in_for_arm64_is_of_that_machine_and_says_the_same() -> None:
    names = {"sd_notify": "V_1", "sd_booted": "V_2"}
    library = ELFFile(io.BytesIO(elf.stand_in("x.so", names, "aarch64")))
    assert (library["e_machine"], library["e_type"]) == ("EM_AARCH64", "ET_DYN")
    code = library.get_segment(0).data()[-8:]
    # mov w0, #-38 (of the register's inverse: 37), ret (C6.2 of Arm's architecture manual)
    assert struct.unpack("<II", code) == (0x12800000 | 37 << 5, 0xD65F03C0)
    assert len(elf.stand_in("x.so", names)) == len(elf.stand_in("x.so", names, "aarch64"))


def test_what_is_no_program_is_said_to_be_none() -> None:
    with pytest.raises(BuildError, match="bin/tool is no ELF file"):
        elf.needed("bin/tool", b"#!/bin/sh\n")


# Where packages come from.


def targets(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    monkeypatch.setattr(apt, "_run", lambda *_arguments: "\n".join(lines))


def test_the_machines_own_mirror_is_used_whatever_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    targets(
        monkeypatch,
        "Packages|https://vendor.example/apt/|trixie|main|Vendor",
        "Packages|http://mirror.example/debian-security/|trixie-security|main|Debian",
        "DEP-11|http://wrong.example/|trixie|main|Debian",
        "Packages|http://mirror.example/debian/|trixie|contrib|Debian",
        "Packages|http://mirror.example/debian/|trixie|main|Debian",
    )
    assert [(source.uri, source.suite, source.required) for source in apt.sources(None)] == [
        ("http://mirror.example/debian/", "bookworm", True),
        ("http://mirror.example/debian/", "bookworm-updates", False),
        ("http://mirror.example/debian-security/", "bookworm-security", False),
    ]


def test_the_environments_mirror_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    targets(monkeypatch, "Packages|http://own.example/debian/|bookworm|main|Debian")
    assert {source.uri for source in apt.sources("http://other.example/debian/")} == {
        "http://other.example/debian/",
        "http://other.example/debian-security",
    }


def test_a_machine_without_a_debian_mirror_is_asked_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    targets(monkeypatch, "Packages|http://archive.example/ubuntu/|noble|main|Ubuntu")
    with pytest.raises(MissingRequirement, match=r"base: \{mirror: URI\}") as caught:
        apt.sources(None)
    assert codes(caught.value) == ["mirror-unknown"]


def test_missing_programs_are_named_with_their_packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(apt, "KEYRING", tmp_path / "keyring")
    hints = [problem.hint for problem in base.missing()]
    assert hints == [
        "`sudo apt-get install apt`",
        "`sudo apt-get install apt`",
        "`sudo apt-get install dpkg`",
        "`sudo apt-get install debian-archive-keyring`",
    ]


# The lock.

PACKAGE = Package(name="tool", version="1:2.0-1", architecture="amd64", sha256="0" * 64, filename="tool_2.0-1_amd64.deb", size=3)


def test_a_lock_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "base.lock"
    lock = BaseLock("debian", (PACKAGE,))
    path.write_text(lock.dump())
    assert read_lock(path) == lock


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 9}', '{"schema": 1, "base": "debian", "packages": [{"name": "x"}]}'])
def test_what_is_no_lock_is_refused_by_its_name(text: str, tmp_path: Path) -> None:
    path = tmp_path / "base.lock"
    path.write_text(text)
    with pytest.raises(InvalidInput, match="i2kit base lock") as caught:
        read_lock(path)
    assert codes(caught.value) == ["base-lock-invalid"]
    assert caught.value.problems[0].where is not None
    assert caught.value.problems[0].where.file == str(path)


class Mirror:
    """Stands for apt: packages made here, of which some can be gone."""

    def __init__(self, folder: Path, debs: dict[str, Path]) -> None:
        self.folder = folder
        self.debs = dict(debs)
        self.architecture = "amd64"
        self.gone: set[str] = set()
        self.updates = 0

    def update(self) -> None:
        self.updates += 1

    def depends(self, name: str) -> tuple[str, ...]:
        return {
            "linux-image-cloud-amd64": (KERNEL,),
            "linux-image-amd64": (GENERIC,),
            "linux-image-cloud-arm64": (f"linux-image-{ARM_RELEASE}",),
            "crun": ("libc6", "libsystemd0"),
            "busybox": ("libc6",),
        }[name]

    def alone(self, names: list[str]) -> tuple[Package, ...]:
        return tuple(self.described(name) for name in names)

    def described(self, name: str) -> Package:
        data = self.debs[name].read_bytes()
        sha = hashlib.sha256(data).hexdigest()
        return Package(name=name, version="1", architecture=self.architecture, sha256=sha, filename=f"{name}.deb", size=len(data))

    def download(self, packages: list[Package], _folder: Path) -> dict[str, Path]:
        if lost := [package for package in packages if package.name in self.gone]:
            raise apt.gone(lost, "404")
        return {package.name: self.debs[package.name] for package in packages}


RELEASE = "6.1.0-9-cloud-amd64"
KERNEL = f"linux-image-{RELEASE}"
GENERIC_RELEASE = "6.1.0-9-amd64"
GENERIC = f"linux-image-{GENERIC_RELEASE}"
LOADER = base_images.MACHINES["x86_64"].loader
MODULES = {
    *(module for one in PLATFORMS.values() for module in (*one.modules_for("x86_64"), *one.disk_modules)),
    *("virtio", "reed_solomon", "unused"),
}


def kernel_package(release: str) -> dict[str, bytes]:
    return {
        f"boot/vmlinuz-{release}": f"kernel {release}".encode(),
        f"lib/modules/{release}/modules.builtin": b"kernel/drivers/acpi/button.ko\n",
        **{f"lib/modules/{release}/kernel/{name.replace('_', '-')}.ko": name.encode() for name in MODULES},
    }


ROOTS = ("Amazon_Root_CA_2", "Amazon_Root_CA_1", "Starfield_Class_2_CA", "Starfield_Services_Root_Certificate_Authority_-_G2", "Other")
PACKAGES: dict[str, dict[str, bytes]] = {
    KERNEL: kernel_package(RELEASE),
    GENERIC: kernel_package(GENERIC_RELEASE),
    "busybox": {"bin/busybox": b"busybox"},
    "crun": {"usr/bin/crun": b"crun"},
    "libc6": {"lib/x86_64-linux-gnu/libc.so.6": b"libc", "lib/x86_64-linux-gnu/libm.so.6": b"libm", LOADER: b"loader"},
    "ca-certificates": {f"usr/share/ca-certificates/mozilla/{name}.crt": f"root {name}\n".encode() for name in ROOTS},
    **{
        package: {path: path.encode() for owner, path in loaders._FILES["x86_64"].values() if owner == package}
        for package in loaders.PACKAGES["x86_64"]
    },
}


ARM_RELEASE = "6.1.0-9-cloud-arm64"
ARM_PACKAGES: dict[str, dict[str, bytes]] = {
    f"linux-image-{ARM_RELEASE}": kernel_package(ARM_RELEASE),
    "busybox": {"bin/busybox": b"busybox"},
    "crun": {"usr/bin/crun": b"crun"},
    "libc6": {"lib/aarch64-linux-gnu/libc.so.6": b"libc", base_images.MACHINES["aarch64"].loader: b"loader"},
    "systemd-boot-efi": {path: path.encode() for _owner, path in loaders._FILES["aarch64"].values()},
}


def package(folder: Path, name: str, files: dict[str, bytes]) -> Path:
    root = folder / name
    (root / "DEBIAN").mkdir(parents=True)
    (root / "DEBIAN" / "control").write_text(f"Package: {name}\nVersion: 1\nArchitecture: amd64\nMaintainer: x\nDescription: x\n")
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", str(root), str(folder / f"{name}.deb")], check=True, capture_output=True)
    return folder / f"{name}.deb"


@pytest.fixture(scope="module")
def debs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("debs")
    return {name: package(folder, name, files) for name, files in PACKAGES.items()}


@pytest.fixture
def mirror(tmp_path: Path, debs: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> Mirror:
    """A mirror, and programs whose needs are known without real ELF files."""
    made = Mirror(tmp_path / "mirror", debs)
    needs = {"crun": ("libc.so.6", base_images.STUBBED), "busybox": ("libc.so.6",)}
    dependencies = {
        "virtio_pci": ("virtio",),
        "virtio_net": ("virtio",),
        "virtio_blk": ("virtio",),
        "dm_verity": ("reed-solomon", "dm-mod"),
    }
    monkeypatch.setattr(base._Packages, "apt", lambda _self: made.update() or made)
    monkeypatch.setattr(elf, "needed", lambda _name, data: needs.get(data.decode(errors="replace"), ()))
    monkeypatch.setattr(elf, "imports", lambda *_arguments: {"sd_notify": "LIBSYSTEMD_209"})
    monkeypatch.setattr(elf, "module_dependencies", lambda _name, data: dependencies.get(data.decode(), ()))
    monkeypatch.setattr(base, "guest_binary", lambda _architecture: b"guest")
    return made


@needs_dpkg
def test_the_base_is_two_images_of_what_is_needed(store: ImageStore, mirror: Mirror) -> None:
    locked = lock_base(BaseSettings(), store)
    others = [package.name for package in locked.packages if package.name not in loaders.PACKAGES["x86_64"]]
    assert others == ["busybox", "ca-certificates", "crun", "libc6", KERNEL]
    assert locked.loader is None
    pod = store.manifest(locked.pod.digest)
    files = {entry.path: entry.inode for entry in store.entries(pod) if entry.inode.type != "directory"}
    libraries = {f"lib/x86_64-linux-gnu/{name}" for name in ("libc.so.6", "libsystemd.so.0")}
    programs = {"init", "bin/busybox", "usr/bin/crun", LOADER}
    assert set(files) == {*programs, *libraries, "etc/i2kit/base.json", "usr/share/i2kit/udhcpc"}
    assert {files[name].mode for name in programs} == {0o755}
    assert files["usr/share/i2kit/udhcpc"].target == "/init"
    settings = json.loads(read_file(store, pod, "etc/i2kit/base.json") or b"")
    assert settings["bootConfig"] == "fw_cfg"
    order = settings["modules"]
    assert "button" not in order, "it is built in"
    assert order.index("virtio") < order.index("virtio_pci") < order.index("virtio_net")
    kernel = store.manifest(locked.kernel.digest)
    assert read_file(store, kernel, "kernel") == f"kernel {RELEASE}".encode()
    with tarfile.open(fileobj=io.BytesIO(read_file(store, kernel, "kernel.tar") or b"")) as archive:
        names = archive.getnames()
        dep = archive.extractfile(f"lib/modules/{RELEASE}/modules.dep")
        assert dep is not None
        assert b"kernel/virtio-net.ko: kernel/virtio.ko\n" in dep.read()
    assert f"lib/modules/{RELEASE}/kernel/virtio.ko" in names
    assert not any(name.endswith(("unused.ko", "virtio-blk.ko")) for name in names)


def files_of(store: ImageStore, image: LockedImage | None) -> set[str]:
    assert image is not None
    return {entry.path for entry in store.entries(store.manifest(image.digest)) if entry.inode.type == "file"}


@needs_dpkg
def test_what_a_root_disk_needs_is_laid_over_the_tree(store: ImageStore, mirror: Mirror) -> None:
    locked = lock_base(BaseSettings(), store)
    assert locked.disk is not None
    disk = store.manifest(locked.disk.digest)
    described = json.loads(read_file(store, disk, "etc/i2kit/disk.json") or b"")
    assert described == {"schema": 1, "modules": ["virtio_blk", "dm_mod", "dm_bufio", "reed_solomon", "dm_verity", "squashfs"]}
    folder = f"lib/modules/{RELEASE}"
    added = {f"{folder}/kernel/{name.replace('_', '-')}.ko" for name in described["modules"]}
    assert files_of(store, locked.disk) == {*added, f"{folder}/modules.dep", "etc/i2kit/disk.json"}
    index = (read_file(store, disk, f"{folder}/modules.dep") or b"").decode().splitlines()
    assert "kernel/dm-verity.ko: kernel/reed-solomon.ko kernel/dm-mod.ko" in index
    assert "kernel/virtio-blk.ko: kernel/virtio.ko" in index
    assert "kernel/overlay.ko:" in index, "the index stands for the other image's modules too"


@needs_dpkg
@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_platforms_drivers_are_in_its_images_and_only_there(store: ImageStore, mirror: Mirror, platform: str) -> None:
    locked = lock_base(BaseSettings(), store, Wanted(platform=platform))
    assert locked.platform == platform
    settings = json.loads(read_file(store, store.manifest(locked.pod.digest), "etc/i2kit/base.json") or b"")
    assert settings["bootConfig"] == {"local": "fw_cfg"}.get(platform, platform)
    present = set(settings["modules"])
    drivers = {"local": {"qemu_fw_cfg"}, "aws": {"ena", "softdog"}, "gcp": {"gve"}, "openstack": {"ahci", "ata_piix", "sr_mod"}}
    assert drivers[platform] <= present
    assert not present & {name for other, names in drivers.items() if other != platform for name in names}


@needs_dpkg
@pytest.mark.parametrize("platform", PLATFORMS)
def test_amazons_roots_are_in_its_platforms_images_and_only_there(store: ImageStore, mirror: Mirror, platform: str) -> None:
    if platform != "aws":
        mirror.gone.add("ca-certificates")  # nobody asks for it
    pod = store.manifest(lock_base(BaseSettings(), store, Wanted(platform=platform)).pod.digest)
    amazons = b"root Amazon_Root_CA_1\nroot Amazon_Root_CA_2\nroot Starfield_Services_Root_Certificate_Authority_-_G2\n"
    assert read_file(store, pod, "etc/ssl/certs/ca-certificates.crt") == (amazons if platform == "aws" else None)


@needs_dpkg
def test_a_package_without_one_of_the_roots_is_refused(tmp_path: Path) -> None:
    deb = package(tmp_path, "ca-certificates", {"usr/share/ca-certificates/mozilla/Other.crt": b"root"})
    with pytest.raises(BuildError, match=r"has no usr/share/ca-certificates/mozilla/Amazon_Root_CA_\*\.crt") as caught:
        authorities.roots(deb, PLATFORMS["aws"].roots)
    assert codes(caught.value) == ["base-damaged"]


@needs_dpkg
def test_openstack_has_the_kernel_that_knows_sata(store: ImageStore, mirror: Mirror) -> None:
    locked = lock_base(BaseSettings(), store, Wanted(platform="openstack"))
    kernel = store.manifest(locked.kernel.digest)
    assert read_file(store, kernel, "kernel") == f"kernel {GENERIC_RELEASE}".encode()
    assert [package.name for package in locked.packages if package.name.startswith("linux-image-")] == [GENERIC]


def test_a_platform_that_nobody_knows_is_refused(store: ImageStore) -> None:
    with pytest.raises(InvalidInput, match="one of local, aws, gcp, openstack") as caught:
        lock_base(BaseSettings(), store, Wanted(platform="moon"))
    assert codes(caught.value) == ["platform-unknown"]


@needs_dpkg
def test_boot_loaders_are_fetched_when_a_format_needs_them(store: ImageStore, mirror: Mirror) -> None:
    names = loaders.PACKAGES["x86_64"]
    mirror.gone |= {*names}
    plain = lock_base(BaseSettings(), store)
    assert plain.loader is None
    assert {*names} <= {package.name for package in plain.packages}, "the lock names them all the same"
    mirror.gone.clear()
    firmware = lock_base(BaseSettings(), store, Wanted(loader=True), previous=plain)
    assert files_of(store, firmware.loader) == {*loaders._FILES["x86_64"]}
    assert (firmware.kernel, firmware.pod, firmware.packages) == (plain.kernel, plain.pod, plain.packages)


@needs_dpkg
def test_an_older_lock_is_enough_until_it_is_not(store: ImageStore, mirror: Mirror, tmp_path: Path) -> None:
    path = tmp_path / "base.lock"
    whole = lock_base(BaseSettings(), store)
    older = [package for package in whole.packages if package.name not in loaders.PACKAGES["x86_64"]]
    path.write_text(BaseLock("debian", tuple(older)).dump())
    settings = BaseSettings(lock=str(path))
    assert lock_base(settings, store).pod == whole.pod
    with pytest.raises(I2kitError, match="--update-base") as caught:
        lock_base(settings, store, Wanted(platform="openstack", loader=True))
    assert codes(caught.value) == ["base-lock-incomplete"]
    assert "the generic kernel" in str(caught.value)
    assert "the boot loaders (isolinux, " in str(caught.value)
    assert "root certificates" not in str(caught.value)


@needs_dpkg
def test_a_lock_without_root_certificates_is_enough_but_for_amazon(store: ImageStore, mirror: Mirror, tmp_path: Path) -> None:
    path = tmp_path / "base.lock"
    whole = lock_base(BaseSettings(), store)
    path.write_text(BaseLock("debian", tuple(one for one in whole.packages if one.name != "ca-certificates")).dump())
    settings = BaseSettings(lock=str(path))
    assert lock_base(settings, store).pod == whole.pod
    with pytest.raises(I2kitError, match=r"it lacks the root certificates \(ca-certificates\), which VMs on aws need") as caught:
        lock_base(settings, store, Wanted(platform="aws"))
    assert codes(caught.value) == ["base-lock-incomplete"]


@needs_dpkg
def test_the_stores_own_lock_is_completed_and_nothing_of_it_moves(store: ImageStore, mirror: Mirror) -> None:
    whole = lock_base(BaseSettings(), store)
    older = [package for package in whole.packages if package.name not in loaders.PACKAGES["x86_64"]]
    (store.root / "base" / "debian.json").write_text(BaseLock("debian", tuple(older)).dump())
    mirror.debs["busybox"] = package(mirror.folder / "newer", "busybox", {"bin/busybox": b"newer"})
    seen = mirror.updates
    assert lock_base(BaseSettings(), store).pod == whole.pod
    assert mirror.updates == seen, "the mirror was asked for what nobody needs"
    completed = lock_base(BaseSettings(), store, Wanted(loader=True))
    assert (completed.pod, completed.packages) == (whole.pod, whole.packages)


@needs_dpkg
def test_arm64_has_its_own_packages_loader_and_lock(store: ImageStore, mirror: Mirror, tmp_path: Path) -> None:
    first = lock_base(BaseSettings(), store)
    mirror.architecture = "arm64"
    mirror.debs |= {name: package(tmp_path / "arm64", name, files) for name, files in ARM_PACKAGES.items()}
    wanted = Wanted(architecture="aarch64", loader=True)
    locked = lock_base(BaseSettings(), store, wanted, previous=first)
    assert {one.architecture for one in locked.packages} == {"arm64"}, "the last release's packages are for another machine"
    for image in (locked.kernel, locked.pod, locked.disk, locked.loader):
        assert image is not None
        assert image.architecture == "aarch64"
    libraries = {f"lib/aarch64-linux-gnu/{name}" for name in ("libc.so.6", "libsystemd.so.0")}
    assert {*libraries, "lib/ld-linux-aarch64.so.1"} <= files_of(store, locked.pod)
    assert "console=" not in locked.cmdline, "the firmware names it"
    assert "console=ttyS0" in first.cmdline
    assert files_of(store, locked.loader) == {*loaders._FILES["aarch64"]}
    seen = mirror.updates
    assert lock_base(BaseSettings(), store, wanted) == locked
    assert lock_base(BaseSettings(), store) == first
    assert mirror.updates == seen, "each architecture has its lock"


@needs_dpkg
def test_a_lock_for_another_architecture_is_refused(store: ImageStore, mirror: Mirror, tmp_path: Path) -> None:
    path = tmp_path / "base.lock"
    path.write_text(BaseLock("debian", lock_base(BaseSettings(), store).packages).dump())
    with pytest.raises(InvalidInput, match="for amd64, and the environment's VMs are aarch64") as caught:
        lock_base(BaseSettings(lock=str(path)), store, Wanted(architecture="aarch64"))
    assert codes(caught.value) == ["base-lock-invalid"]


@needs_dpkg
def test_the_base_is_the_same_bytes_in_another_store(store: ImageStore, mirror: Mirror, tmp_path: Path) -> None:
    first, second = lock_base(BaseSettings(), store), lock_base(BaseSettings(), ImageStore(tmp_path / "other"))
    assert first == second


@needs_dpkg
def test_the_base_moves_only_when_it_is_told_to(store: ImageStore, mirror: Mirror) -> None:
    first = lock_base(BaseSettings(), store)
    seen = mirror.updates
    mirror.debs["busybox"] = package(mirror.folder / "newer", "busybox", {"bin/busybox": b"newer"})
    assert lock_base(BaseSettings(), store) == first
    assert lock_base(BaseSettings(), store, previous=first) == first
    assert mirror.updates == seen, "the mirror was asked"
    moved = lock_base(BaseSettings(), store, previous=first, update=True)
    assert moved.pod.digest != first.pod.digest
    assert moved.kernel == first.kernel
    assert lock_base(BaseSettings(), store, previous=first) == first
    assert lock_base(BaseSettings(), store) == moved


@needs_dpkg
def test_a_lock_file_pins_the_base(store: ImageStore, mirror: Mirror, tmp_path: Path) -> None:
    path = tmp_path / "base.lock"
    first = lock_base(BaseSettings(), store)
    path.write_text(BaseLock(first.name, first.packages).dump())
    mirror.debs["busybox"] = package(mirror.folder / "newer", "busybox", {"bin/busybox": b"newer"})
    lock_base(BaseSettings(), store, update=True)
    assert lock_base(BaseSettings(lock=str(path)), store, update=True) == first


@needs_dpkg
def test_a_package_that_is_nowhere_any_more_names_the_way_out(store: ImageStore, mirror: Mirror, tmp_path: Path) -> None:
    first = lock_base(BaseSettings(), store)
    mirror.gone |= {"busybox", "crun"}
    assert lock_base(BaseSettings(), store, previous=first) == first
    with pytest.raises(I2kitError, match="--update-base") as caught:
        lock_base(BaseSettings(), ImageStore(tmp_path / "other"), previous=first)
    assert codes(caught.value) == ["base-package-gone"] * 2


@needs_dpkg
def test_another_guest_is_another_pod_image(store: ImageStore, mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    first = lock_base(BaseSettings(), store)
    monkeypatch.setattr(base, "guest_binary", lambda _architecture: b"another guest")
    second = lock_base(BaseSettings(), store, previous=first)
    assert (second.kernel, second.packages) == (first.kernel, first.packages)
    assert second.pod.reference != first.pod.reference


@needs_dpkg
def test_a_broken_package_is_said_to_be_broken(tmp_path: Path) -> None:
    path = tmp_path / "broken.deb"
    path.write_bytes(b"not a package")
    with pytest.raises(BuildError, match=r"broken\.deb cannot be read") as caught:
        list(tars.package_files(path, lambda _path: True))
    assert codes(caught.value) == ["base-damaged"]


def test_without_a_guest_the_way_to_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingRequirement, match="make setup"):
        base.guest_binary("no-such-machine")
