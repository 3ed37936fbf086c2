"""Output formats, looked at with the tools of others: partition tables, file systems, disks for clouds, CDs, tars."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import shutil
import struct
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from i2kit.errors import BuildError, MissingRequirement
from i2kit.images import assembler, cpio, holes, packers, uki
from i2kit.images.builder import BuildRequest
from i2kit.images.formats import FORMATS
from i2kit.images.parts import Parts
from i2kit.images.segments import compressor_for
from i2kit.images.store import ImageStore

from . import bootloaders, initramfs
from .test_assembler import image

MIB, GIB = 1 << 20, 1 << 30
DIGEST = "sha256:" + hashlib.sha256(b"an image").hexdigest()
ESP, LINUX = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B", "0FC63DAF-8483-4772-8E79-3D69D8477DE4"
CONVERTED = {"dynamic-vhd": "vpc", "qcow2-bios": "qcow2", "qcow2-efi": "qcow2", "vhd": "vpc", "vmdk": "vmdk"}


def noise(seed: str, size: int) -> bytes:
    return hashlib.shake_128(seed.encode()).digest(size)


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    folder = tmp_path / "parts"
    folder.mkdir()
    for name, size in (("kernel", 300_001), ("one", 70_000), ("two", 100)):
        (folder / name).write_bytes(noise(name, size))
    return Parts(
        architecture="x86_64",
        digest=DIGEST,
        kernel=folder / "kernel",
        initrd=(folder / "one", folder / "two"),
        cmdline="console=ttyS0 quiet",
        loader=bootloaders.written(tmp_path / "loader"),
    )


@pytest.fixture
def with_root(parts: Parts, tmp_path: Path) -> Parts:
    root = tmp_path / "root"
    root.write_bytes(noise("root", 3 * MIB // 2) + b"\0" * MIB + noise("tree", 4096))
    return evolve(parts, root=root)


def pack(name: str, parts: Parts, folder: Path) -> Path:
    """Pack and return the only file."""
    folder.mkdir()
    packers.pack(name, parts, folder)
    (path,) = folder.iterdir()
    return path


def said(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def table(disk: Path) -> dict[str, Any]:
    """Return the partition table as sfdisk reads it, having found nothing wrong with it."""
    assert "No errors detected" in said("sfdisk", "--verify", disk)
    found: dict[str, Any] = json.loads(said("sfdisk", "--json", disk))["partitiontable"]
    return found


def partition(disk: Path, number: int) -> bytes:
    one = table(disk)["partitions"][number]
    with disk.open("rb") as stream:
        stream.seek(one["start"] * 512)
        return stream.read(one["size"] * 512)


def boot_files(disk: Path, folder: Path) -> dict[str, bytes]:
    """Return the files of the boot file system, which is whole."""
    fat, out = folder / "boot.fat", folder / "boot"
    fat.write_bytes(partition(disk, 0))
    said("fsck.vfat", "-n", fat)
    out.mkdir()
    said("mcopy", "-s", "-m", "-i", fat, "::/", out)
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def sections(program: Path, folder: Path) -> dict[str, bytes]:
    """Return the sections of a PE program as binutils read them."""
    found = {}
    for line in said("objdump", "--section-headers", program).splitlines():
        words = line.split()
        if len(words) == 7 and words[1].startswith("."):
            size, offset = int(words[2], 16), int(words[5], 16)
            found[words[1]] = program.read_bytes()[offset : offset + size]
            # Firmware loads sections where memory can be protected page by page.
            assert int(words[3], 16) % 4096 == 0
    return found


def test_a_disk_for_bios_has_an_mbr_and_syslinux(parts: Parts, tmp_path: Path) -> None:
    disk = pack("raw-bios", parts, tmp_path / "out")
    found = table(disk)
    assert found["label"] == "dos"
    assert found["id"] == f"0x{struct.unpack('<I', bytes.fromhex(DIGEST[7:])[:4])[0]:08x}"
    assert [(one["start"], one["type"], one.get("bootable")) for one in found["partitions"]] == [(2048, "e", True)]
    assert disk.read_bytes()[:440] == bootloaders.FILES["mbr.bin"]
    assert partition(disk, 0)[3:11] == b"SYSLINUX"
    files = boot_files(disk, tmp_path)
    assert files.keys() == {"kernel", "initrd", "ldlinux.c32", "syslinux.cfg"}
    assert files["kernel"] == parts.kernel.read_bytes()
    assert files["initrd"] == b"".join(path.read_bytes() for path in parts.initrd)
    assert files["syslinux.cfg"].decode().splitlines()[-1].split(None, 1) == ["APPEND", parts.cmdline]
    assert b"TIMEOUT" not in files["syslinux.cfg"]
    assert b"PROMPT" not in files["syslinux.cfg"]


def test_a_disk_for_uefi_has_a_gpt_and_a_unified_kernel_image(parts: Parts, tmp_path: Path) -> None:
    disk = pack("raw-efi", parts, tmp_path / "out")
    found = table(disk)
    assert (found["label"], [one["type"] for one in found["partitions"]]) == ("gpt", [ESP])
    assert "attrs" not in found["partitions"][0]
    assert disk.read_bytes()[:440] == b"\0" * 440
    files = boot_files(disk, tmp_path)
    assert files.keys() == {"EFI/BOOT/BOOTX64.EFI"}
    found_sections = sections(tmp_path / "boot/EFI/BOOT/BOOTX64.EFI", tmp_path)
    assert found_sections[".text"] == b"\xc3" * 16
    assert found_sections[".linux"] == parts.kernel.read_bytes()
    assert found_sections[".initrd"] == b"".join(path.read_bytes() for path in parts.initrd)
    assert found_sections[".cmdline"].decode() == parts.cmdline


def test_a_disk_for_both_has_kernel_and_initramfs_once(parts: Parts, tmp_path: Path) -> None:
    disk = pack("aws", parts, tmp_path / "out")
    found = table(disk)
    assert (found["label"], [(one["type"], one["attrs"]) for one in found["partitions"]]) == ("gpt", [(ESP, "LegacyBIOSBootable")])
    assert disk.stat().st_size == GIB
    assert disk.stat().st_blocks * 512 < 4 * MIB
    with disk.open("rb") as stream:
        assert stream.read(440) == bootloaders.FILES["gptmbr.bin"]
    files = boot_files(disk, tmp_path)
    # DOS writes short names in capitals, or as mtools show them.
    assert {name.lower() for name in files} == {
        "efi/boot/bootx64.efi",
        "initrd",
        "kernel",
        "ldlinux.c32",
        "loader/entries/i2kit.conf",
        "loader/loader.conf",
        "syslinux.cfg",
    }
    assert files["EFI/BOOT/BOOTX64.EFI"] == bootloaders.FILES["systemd-boot.efi"]
    assert f"options {parts.cmdline}\n" in files["loader/entries/i2kit.conf"].decode()
    assert "timeout 0\n" in files["loader/loader.conf"].decode()


@pytest.mark.parametrize("name", ["raw-bios", "raw-efi", "aws"])
def test_a_root_disk_lies_in_a_partition_of_its_own(name: str, with_root: Parts, tmp_path: Path) -> None:
    assert with_root.root is not None
    disk = pack(name, with_root, tmp_path / "out")
    content = partition(disk, 1)
    root = with_root.root.read_bytes()
    assert content[: len(root)] == root
    assert set(content[len(root) :]) <= {0}
    assert table(disk)["partitions"][1]["type"] == ("83" if name == "raw-bios" else LINUX)


def test_disks_of_other_images_have_other_ids(parts: Parts, tmp_path: Path) -> None:
    def ids(digest: str, name: str) -> list[str]:
        disk = pack(name, evolve(parts, digest=digest), tmp_path / f"{name}{digest[7]}")
        found = table(disk)
        return [found["id"], partition(disk, 0)[39:43].hex(), *(one["uuid"] for one in found["partitions"] if "uuid" in one)]

    for name in ("raw-bios", "raw-efi"):
        ours, theirs = ids("sha256:" + "1" * 64, name), ids("sha256:" + "2" * 64, name)
        assert set(ours).isdisjoint(theirs)
        assert len(set(ours)) == len(ours)


def test_arm_machines_have_uefi_alone(parts: Parts, tmp_path: Path) -> None:
    (tmp_path / "loader" / "stub.efi").write_bytes(bootloaders.stub(0xAA64))
    theirs = evolve(parts, architecture="aarch64", loader={name: parts.loader[name] for name in ("stub.efi", "systemd-boot.efi")})
    disk = pack("aws", theirs, tmp_path / "out")
    assert "attrs" not in table(disk)["partitions"][0]
    assert boot_files(disk, tmp_path).keys() == {"EFI/BOOT/BOOTAA64.EFI"}
    # Other machines' objdump may not know them.
    program = (tmp_path / "boot/EFI/BOOT/BOOTAA64.EFI").read_bytes()
    assert parts.kernel.read_bytes() in program
    assert program[: 0x40 + 6] == bootloaders.stub(0xAA64)[: 0x40 + 6]


@pytest.mark.parametrize("name", [name for name in packers.PACKERS if FORMATS[name].firmware == ("bios",)])
def test_a_format_for_bios_alone_is_refused_for_arm(name: str, store: ImageStore, tmp_path: Path) -> None:
    made = image(store, tmp_path, format=name, architecture="aarch64")
    with pytest.raises(BuildError, match="no aarch64 machine has") as caught:
        assembler.build(BuildRequest(image=made))
    assert [problem.code for problem in caught.value.problems] == ["format-impossible"]


@pytest.mark.parametrize("damaged", [b"", b"MZ", bootloaders.stub()[:200], b"PE\0\0" * 100])
def test_a_stub_that_is_none_is_refused(damaged: bytes, parts: Parts, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="stub for UEFI"):
        uki.write(tmp_path / "x", damaged, kernel=parts.kernel, initrd=parts.initrd, cmdline="")


@pytest.mark.parametrize("name", CONVERTED)
def test_other_disks_have_the_raw_ones_content(name: str, with_root: Parts, tmp_path: Path) -> None:
    raw = pack("raw-efi" if name == "qcow2-efi" else "raw-bios", with_root, tmp_path / "raw")
    disk = pack(name, with_root, tmp_path / "out")
    assert "Images are identical" in said("qemu-img", "compare", "-f", "raw", "-F", CONVERTED[name], raw, disk)
    found = json.loads(said("qemu-img", "info", "--output=json", "-f", CONVERTED[name], disk))
    assert found["virtual-size"] == raw.stat().st_size
    if CONVERTED[name] != "vpc":  # of which qemu-img knows no check
        said("qemu-img", "check", "-f", CONVERTED[name], disk)


@pytest.mark.parametrize("name", ["vhd", "dynamic-vhd"])
def test_vhds_have_a_date_an_id_and_a_sum_that_are_right(name: str, parts: Parts, tmp_path: Path) -> None:
    content = pack(name, parts, tmp_path / "out").read_bytes()
    footers = [content[-512:]] if name == "vhd" else [content[:512], content[-512:]]
    for footer in footers:
        (date,) = struct.unpack_from(">I", footer, 24)
        (total,) = struct.unpack_from(">I", footer, 64)
        assert date + 946684800 == 1492533000
        assert footer[68:84] == bytes.fromhex(DIGEST[7:])[:16]
        assert total == 0xFFFFFFFF - (sum(footer) - sum(footer[64:68]))


def test_vmdks_are_of_the_kind_that_is_streamed_and_have_the_images_id(parts: Parts, tmp_path: Path) -> None:
    disk = pack("vmdk", parts, tmp_path / "out")
    found = json.loads(said("qemu-img", "info", "--output=json", disk))["format-specific"]["data"]
    assert (found["create-type"], found["cid"]) == ("streamOptimized", int(DIGEST[7:15], 16))


def test_the_archive_for_google_is_an_old_gnu_tar_of_a_sparse_disk(with_root: Parts, tmp_path: Path) -> None:
    packed = pack("gcp", with_root, tmp_path / "out")
    assert packed.stat().st_size < 4 * MIB
    assert packed.read_bytes()[:10] == b"\x1f\x8b\x08\0\0\0\0\0\x04\xff"
    with gzip.open(packed) as stream:
        assert stream.read(512)[257:265] == b"ustar  \0"
    said("tar", "--extract", "--file", packed, "--directory", tmp_path)
    disk = tmp_path / "disk.raw"
    assert disk.stat().st_size == GIB
    assert disk.stat().st_blocks * 512 < 8 * MIB
    assert list(holes.extents(disk)) == list(holes.extents(pack("aws", with_root, tmp_path / "aws")))
    assert len(table(disk)["partitions"]) == 2


def test_a_cd_for_bios_starts_isolinux(parts: Parts, tmp_path: Path) -> None:
    disc = pack("iso-bios", parts, tmp_path / "out")
    report = said("xorriso", "-indev", disc, "-report_el_torito", "plain")
    assert "BIOS  y   none" in report
    assert "/isolinux/isolinux.bin" in report
    files = cd_files(disc, tmp_path / "cd")
    assert files["kernel"] == parts.kernel.read_bytes()
    assert files["initrd"] == b"".join(path.read_bytes() for path in parts.initrd)
    assert f"APPEND {parts.cmdline}\n" in files["isolinux/isolinux.cfg"].decode()
    # It is told where it lies on the CD; the base's own file stays what it was.
    assert files["isolinux/isolinux.bin"] != bootloaders.FILES["isolinux.bin"]
    assert parts.loader["isolinux.bin"].read_bytes() == bootloaders.FILES["isolinux.bin"]


def test_a_cd_for_uefi_has_a_file_system_with_a_unified_kernel_image(parts: Parts, tmp_path: Path) -> None:
    disc = pack("iso-efi", parts, tmp_path / "out")
    report = said("xorriso", "-indev", disc, "-report_el_torito", "plain")
    assert "UEFI  y   none" in report
    fat = tmp_path / "efi.img"
    fat.write_bytes(cd_files(disc, tmp_path / "cd")["efi.img"])
    said("fsck.vfat", "-n", fat)
    said("mcopy", "-i", fat, "::/EFI/BOOT/BOOTX64.EFI", tmp_path / "unified")
    assert sections(tmp_path / "unified", tmp_path)[".linux"] == parts.kernel.read_bytes()


def cd_files(disc: Path, out: Path) -> dict[str, bytes]:
    said("xorriso", "-osirrox", "on", "-indev", disc, "-extract", "/", out)
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def test_a_tar_is_the_tree_of_the_vm_with_its_kernel(store: ImageStore, tmp_path: Path) -> None:
    app = {
        "layers": [
            [
                {"dir": "bin"},
                {"file": "bin/app", "text": "app", "mode": "4750", "uid": 3_000_000},
                {"link": "bin/twice", "to": "bin/app"},
                {"symlink": "lib", "to": "usr/lib"},
                {"char": "opt/null", "device": [1, 3]},
                {"file": "/".join(["deep" * 20] * 3), "text": "far"},
            ],
            [{"link": "bin/thrice", "to": "bin/app"}, {"file": "bin/empty", "text": ""}],
        ]
    }
    direct = assembler.build(BuildRequest(image=image(store, tmp_path, app=app)))
    made = image(store, tmp_path, app=app, format="tar", digest="sha256:" + "7" * 64)
    packed = assembler.build(BuildRequest(image=made)).files["tar"]
    tree, lost = initramfs.read_tree(direct.files["initrd"])
    assert lost == []
    found = {}
    with tarfile.open(packed) as archive:
        names = archive.getnames()
        for one in archive:
            stream = archive.extractfile(one) if one.isfile() or one.islnk() else None
            content = stream.read() if stream else b""
            found[one.name] = (f"{one.mode:04o}", one.uid, one.gid, int(one.mtime), one.linkname if one.issym() else "", content)
    assert names[:3] == ["boot", "boot/cmdline", "boot/kernel"]
    assert len(names) == len(set(names))
    assert found.pop("boot/cmdline")[-1] == direct.files["cmdline"].read_bytes()
    assert found.pop("boot/kernel")[-1] == direct.files["kernel"].read_bytes()
    assert found.keys() == tree.keys()
    for path, node in tree.items():
        mode, uid, gid, mtime, target, content = found[path]
        assert (mode, uid, gid, mtime, target) == (node["mode"], node["uid"], node["gid"], node["mtime"], node.get("target", ""))
        assert hashlib.sha256(content).hexdigest() == node["sha256"] if node["type"] == "file" else not content


def archive(*files: tuple[cpio.Header, bytes]) -> bytes:
    plain = io.BytesIO()
    writer = cpio.Writer(plain.write)
    for header, content in files:
        writer.add(evolve(header, size=len(content)), content)
    writer.close()
    return plain.getvalue()


def file(path: str, **more: Any) -> cpio.Header:
    return cpio.Header(path=path, type="file", mode=0o644, **more)


def folder(path: str, mode: int = 0o755) -> cpio.Header:
    return cpio.Header(path=path, type="directory", mode=mode, links=2)


def test_a_tar_has_what_comes_last(parts: Parts, tmp_path: Path) -> None:
    """As the kernel unpacks it: a file that takes the place of one with several names leaves the others their content."""
    linked = {"inode": 5, "links": 3}
    first = [
        (folder("d"), b""),
        (file("d/a", **linked), b"old"),
        (file("d/b", **linked), b""),
        (file("d/c", **linked), b""),
        (file("lost/x"), b"x"),
    ]
    second = [(folder("d", 0o700), b""), (file("d/a"), b"new"), (file("e", **linked), b"other"), (file("f", **linked), b"")]
    (tmp_path / "first").write_bytes(gzip.compress(archive(*first)))
    compressor = compressor_for(1000)
    (tmp_path / "second").write_bytes(compressor.compress(archive(*second)) + compressor.flush())
    packed = pack("tar", evolve(parts, initrd=(tmp_path / "first", tmp_path / "second")), tmp_path / "out")
    with tarfile.open(packed) as tar:
        assert sorted(tar.getnames()) == ["boot", "boot/cmdline", "boot/kernel", "d", "d/a", "d/b", "d/c", "e", "f"]
        contents = {name: stream.read() for name in ("d/a", "d/b", "d/c", "e", "f") if (stream := tar.extractfile(name))}
        assert contents == {"d/a": b"new", "d/b": b"old", "d/c": b"old", "e": b"other", "f": b"other"}
        assert tar.getmember("d").mode == 0o700


@pytest.mark.parametrize("damage", [lambda data: data[:-40], lambda data: b"rubbish", lambda data: gzip.compress(b"07070" * 40)])
def test_a_tar_of_a_damaged_initramfs_is_refused(damage: Any, parts: Parts, tmp_path: Path) -> None:
    (tmp_path / "initrd").write_bytes(damage(gzip.compress(archive((file("a"), noise("a", 999))))))
    with pytest.raises(BuildError, match="the initramfs cannot be read") as caught:
        pack("tar", evolve(parts, initrd=(tmp_path / "initrd",)), tmp_path / "out")
    assert [problem.code for problem in caught.value.problems] == ["initramfs-damaged"]


TOOLS = {
    "aws": {"dosfstools", "mtools"},
    "dynamic-vhd": {"dosfstools", "mtools", "qemu-utils"},
    "gcp": {"dosfstools", "mtools"},
    "iso-bios": {"xorriso"},
    "iso-efi": {"dosfstools", "mtools", "xorriso"},
    "kernel+initrd": set(),
    "kernel+squashfs": set(),
    "qcow2-bios": {"dosfstools", "mtools", "qemu-utils"},
    "qcow2-efi": {"dosfstools", "mtools", "qemu-utils"},
    "raw-bios": {"dosfstools", "mtools"},
    "raw-efi": {"dosfstools", "mtools"},
    "tar": set(),
    "tar-kernel-initrd": set(),
    "vhd": {"dosfstools", "mtools", "qemu-utils"},
    "vmdk": {"dosfstools", "mtools", "qemu-utils"},
}


def test_a_format_asks_for_the_programs_that_it_needs(store: ImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert TOOLS.keys() == packers.PACKERS.keys()
    monkeypatch.setattr(shutil, "which", lambda *_arguments, **_options: None)
    assert assembler.check() == ()
    for number, (name, packages) in enumerate(TOOLS.items()):
        for root in FORMATS[name].roots:
            wanted = packages | ({"squashfs-tools"} if root == "disk" else set())
            made = image(store, tmp_path, format=name, root=root, digest=f"sha256:{number:032x}{root.encode().hex():0>32}")
            if not wanted:
                packers.require(made)
                continue
            with pytest.raises(MissingRequirement) as caught:
                assembler.build(BuildRequest(image=made))
            problems = caught.value.problems
            assert {problem.code for problem in problems} == {"program-missing"}
            said_packages = {word for one in problems for word in (one.hint or "").strip("`").split()[3:]}
            assert said_packages == wanted


PATTERNS = [
    "",
    "0",
    "d",
    "0d",
    "d0",
    "dd00dd",
    "0d" * 4,
    "d0" * 4 + "d",
    "0d" * 5,
    "0d" * 24 + "0",
    "d0" * 25,
    "0d" * 26,
    "d0" * 100 + "t",
    "00t",
    "0z",
]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_gnu_tar_and_python_read_what_has_holes(pattern: str, tmp_path: Path) -> None:
    """Pages of zeros (0) and data (d), and an end of less than a page (t, or z of zeros)."""
    source = tmp_path / "source"
    page = {"0": b"\0" * 4096, "d": noise("d", 4096), "t": b"tail", "z": b"\0" * 100}
    content = b"".join(page[one] for one in pattern)
    source.write_bytes(content)
    with (tmp_path / "out.tar").open("wb") as stream:
        holes.write_tar(source, "disk.raw", stream)
    said("tar", "--extract", "--file", tmp_path / "out.tar", "--directory", tmp_path)
    assert (tmp_path / "disk.raw").read_bytes() == content
    with tarfile.open(tmp_path / "out.tar") as archive:
        (member,) = archive.getmembers()
        extracted = archive.extractfile(member)
        assert member.issparse()
        assert (member.size, extracted.read() if extracted else None) == (len(content), content)
    assert (tmp_path / "out.tar").stat().st_size < len(content.replace(page["0"], b"")) + 4 * 4096


def test_what_is_a_hole_is_no_matter_of_the_file_system(tmp_path: Path) -> None:
    for number, sparse in enumerate((True, False)):
        with (tmp_path / str(number)).open("wb") as stream:
            stream.write(b"x")
            stream.truncate(10 * MIB) if sparse else stream.write(b"\0" * (10 * MIB - 1))
            stream.seek(5 * MIB + 17)
            stream.write(b"y")
    assert list(holes.extents(tmp_path / "0")) == list(holes.extents(tmp_path / "1")) == [(0, 4096), (5 * MIB, 4096)]
