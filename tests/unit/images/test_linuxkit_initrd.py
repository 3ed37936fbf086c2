"""LinuxKit's initramfs divided into the root file systems of a root disk and the rest."""

from __future__ import annotations

import gzip
import io
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import generatedpods
import pytest
from attrs import evolve
from linuxkitcases import GENERATED, imported, of_generated
from linuxkittrees import Tree, differences, explained

from i2kit.errors import BuildError
from i2kit.images import assembler, cpio, linuxkit, rootdisk
from i2kit.images.builder import BuildRequest
from i2kit.images.layers import EntryType
from i2kit.images.linuxkit_initrd import Divided, divide
from i2kit.images.store import default_store
from i2kit.resources import Image

from . import initramfs

real_linuxkit = pytest.mark.skipif(shutil.which("linuxkit") is None, reason="the real linuxkit is not on PATH")
squashfs = pytest.mark.skipif(shutil.which("unsquashfs") is None, reason="unsquashfs (squashfs-tools) is not on PATH")

WEB = "containers/services/web"
OTHER = "containers/services/other"


def entry(path: str, kind: EntryType = "directory", content: bytes = b"", **more: Any) -> tuple[cpio.Header, bytes]:
    return cpio.Header(path=path, type=kind, mode=more.pop("mode", 0o755), size=len(content), mtime=7, **more), content


def archive(folder: Path, *entries: tuple[cpio.Header, bytes]) -> Path:
    """Write an initramfs as LinuxKit does: one archive, compressed by gzip."""
    buffer = io.BytesIO()
    writer = cpio.Writer(buffer.write)
    for header, content in entries:
        writer.add(header, content)
    writer.close()
    path = folder / "initrd"
    path.write_bytes(gzip.compress(buffer.getvalue()))
    return path


def bundles(*more: tuple[cpio.Header, bytes]) -> tuple[tuple[cpio.Header, bytes], ...]:
    """Return a VM with two containers, of which the second shares the first's root file system."""
    return (
        entry("init", "file", b"init"),
        entry("containers"),
        entry("containers/services"),
        entry(WEB),
        entry(f"{WEB}/lower", mode=0o711),
        entry(f"{WEB}/lower/./bin"),
        entry(f"{WEB}/lower/bin/web", "file", b"program", mode=0o4755, uid=5, gid=6),
        entry(f"{WEB}/lower/bin/sh", "symlink", b"web", mode=0o777),
        entry(f"{WEB}/lower/bin/null", "char", major=1, minor=3),
        entry(f"{WEB}/config.json", "file", b"{}"),
        entry(f"{WEB}/rootfs"),
        entry(f"{WEB}/tmp"),
        entry(OTHER),
        entry(f"{OTHER}/config.json", "file", b"{}"),
        entry(f"{OTHER}/rootfs"),
        *more,
    )


def parts(whole: Divided, folder: Path) -> tuple[dict[str, tarfile.TarInfo], dict[str, bytes], Tree]:
    """Return the tar of the roots as members and contents, and the tree of the rest."""
    stream, rest = io.BytesIO(), folder / "rest"
    whole.write_roots(stream)
    stream.seek(0)
    with tarfile.open(fileobj=stream) as opened:
        members = opened.getmembers()
        contents = {member.name: opened.extractfile(member).read() for member in members if member.isreg()}  # type: ignore[union-attr]
    assert len({member.name for member in members}) == len(members)
    with rest.open("wb") as target:
        whole.write_rest(target)
    tree, lost = initramfs.read_tree(rest)
    assert lost == []
    return {member.name: member for member in members}, contents, tree


def test_root_file_systems_go_to_the_disk_and_the_rest_stays(tmp_path: Path) -> None:
    whole = divide(archive(tmp_path, *bundles()))
    members, contents, tree = parts(whole, tmp_path)
    assert whole.roots == {f"{WEB}/lower"}
    below = {f"{WEB}/lower/{name}" for name in ("bin", "bin/web", "bin/sh", "bin/null")}
    assert members.keys() == {"containers", "containers/services", WEB, f"{WEB}/lower", *below}
    assert contents == {f"{WEB}/lower/bin/web": b"program"}
    web, link, null = (members[f"{WEB}/lower/bin/{name}"] for name in ("web", "sh", "null"))
    assert (web.mode, web.uid, web.gid, web.mtime) == (0o4755, 5, 6, 7)
    assert (link.linkname, null.devmajor, null.devminor, null.ischr()) == ("web", 1, 3, True)
    assert tree.keys() == {
        *("init", "containers", "containers/services", WEB, f"{WEB}/config.json", f"{WEB}/rootfs", f"{WEB}/tmp"),
        *(OTHER, f"{OTHER}/config.json", f"{OTHER}/rootfs"),
    }


def test_a_read_only_containers_root_is_its_rootfs(tmp_path: Path) -> None:
    more = [entry("containers/onboot"), entry("containers/onboot/000-first"), entry("containers/onboot/000-first/rootfs")]
    whole = divide(archive(tmp_path, *bundles(*more, entry("containers/onboot/000-first/rootfs/file", "file", b"x"))))
    assert whole.roots == {f"{WEB}/lower", "containers/onboot/000-first/rootfs"}


def test_what_the_kernel_loses_or_replaces_is_lost_and_replaced(tmp_path: Path) -> None:
    more = [
        entry(f"{WEB}/lower/srv/early", "file", b"lost"),
        entry(f"{WEB}/lower/srv", mode=0o700),
        entry(f"{WEB}/lower/srv/late", "file", b"old"),
        entry(f"{WEB}/lower/srv/late", "file", b"newer"),
        entry(f"{WEB}/lower/srv", mode=0o750, uid=9),
        entry("etc/early", "file", b"lost"),
    ]
    members, contents, tree = parts(divide(archive(tmp_path, *bundles(*more))), tmp_path)
    assert contents[f"{WEB}/lower/srv/late"] == b"newer"
    assert f"{WEB}/lower/srv/early" not in members
    assert (members[f"{WEB}/lower/srv"].mode, members[f"{WEB}/lower/srv"].uid) == (0o750, 9)
    assert list(members).index(f"{WEB}/lower/srv") < list(members).index(f"{WEB}/lower/srv/late")
    assert "etc/early" not in tree


@pytest.mark.parametrize("damage", ["not gzip", "short", "other format"])
def test_a_damaged_initramfs_is_an_error(tmp_path: Path, damage: str) -> None:
    path = archive(tmp_path, *bundles())
    plain = gzip.decompress(path.read_bytes())
    path.write_bytes({"not gzip": plain, "short": gzip.compress(plain[:500]), "other format": gzip.compress(b"0707" + plain)}[damage])
    with pytest.raises(BuildError, match="LinuxKit's initramfs cannot be read") as caught:
        divide(path)
    assert [problem.code for problem in caught.value.problems] == ["linuxkit-failed"]


def disks(made: Image, tmp_path: Path) -> dict[str, tuple[Tree, Path]]:
    """Build an image with a root disk by both builders: the trees of their initramfs, and their disks unpacked."""
    found = {}
    for builder in (assembler, linuxkit):
        image = evolve(made, builder=builder.NAME, format="kernel+squashfs", root="disk", digest=f"sha256:{len(builder.NAME):064x}")
        artefact = builder.build(BuildRequest(image=image))
        unpacked = tmp_path / f"disk-{builder.NAME}"
        subprocess.run(["unsquashfs", "-q", "-n", "-d", str(unpacked), str(artefact.files["root"])], check=True, capture_output=True)
        word = rootdisk.read(artefact.files["root"]).word
        assert word in artefact.files["cmdline"].read_text().split()
        found[builder.NAME] = (initramfs.read_tree(artefact.files["initrd"])[0], unpacked)
    return found


@real_linuxkit
@squashfs
@pytest.mark.parametrize("seed", [0, 12])
def test_both_builders_make_one_root_disk(seed: int, tmp_path: Path) -> None:
    pod = generatedpods.generated(seed)
    made = imported(pod.name, of_generated(pod), (GENERATED / pod.name / "build.yml").read_text())
    found = disks(made, tmp_path)
    (ours, our_disk), (theirs, their_disk) = found["assembler"], found["linuxkit"]
    assert differences(theirs, ours) == {}
    different = differences(on_disk(their_disk), on_disk(our_disk))
    assert set(explained(made, default_store(), different).values()) <= {"hard links"}


def on_disk(folder: Path) -> Tree:
    """Return the tree of a folder as `initramfs` describes one."""
    tree: Tree = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        kind = initramfs._TYPES[status.st_mode & 0o170000]
        node: dict[str, Any] = {"type": kind, "mode": f"{status.st_mode & 0o7777:04o}", "uid": status.st_uid, "gid": status.st_gid}
        if kind == "file":
            node |= initramfs._content(path.read_bytes())
        elif kind == "symlink":
            node["target"] = str(path.readlink())
        elif kind in ("char", "block"):
            node["device"] = [status.st_rdev]
        tree[str(path.relative_to(folder))] = {**node, "mtime": int(status.st_mtime)}
    return tree
