"""Root disks: the same tree as in memory, the same bytes everywhere, a hash tree that others accept, and clear refusals."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest

from i2kit.errors import BuildError, I2kitError, MissingRequirement
from i2kit.images import assembler, packers, rootdisk
from i2kit.images.builder import BuildRequest
from i2kit.images.store import ImageStore
from i2kit.paths import cache_home
from i2kit.resources import Image

from . import initramfs
from .test_assembler import APP, YAML, codes, image

LOWER = "containers/services/web/lower"
MANY: dict[str, Any] = {
    "layers": [
        [
            {"dir": "bin", "mode": "0750", "uid": 1000, "gid": 3_000_000},
            {"file": "bin/base", "size": 90_000},
            {"file": "bin/su", "text": "root", "mode": "4755"},
            {"link": "bin/twice", "to": "bin/base"},
            {"file": "bin/gone", "text": "gone"},
            {"file": "bin/later", "text": "old", "mtime": 1},
            {"symlink": "lib64", "to": "usr/lib64/" + "x" * 150},
            {"char": "opt/null", "device": [1, 3], "mode": "0666"},
            {"block": "opt/disk", "device": [259, 7]},
            {"fifo": "opt/pipe"},
            {"file": "empty", "text": ""},
            {"file": "/".join(["deep" * 20] * 4), "text": "a long way"},
        ],
        [
            {"file": "bin/.wh.gone", "text": ""},
            {"file": "bin/later", "text": "new", "uid": 7, "mtime": 4_000_000_000},
            {"link": "opt/thrice", "to": "bin/later"},
        ],
    ]
}
TWO_SERVICES = YAML.replace(
    "files:", '  - {name: sidecar, image: "docker.io/example/side:1", command: ["/bin/side"], net: host, uts: host}\nfiles:'
)


def parts(made: Image, store: ImageStore) -> Any:
    return assembler.Assembly(image=made, store=store).parts()


def on_disk(store: ImageStore, tmp_path: Path, **options: Any) -> Image:
    return image(store, tmp_path, format="kernel+squashfs", root="disk", **options)


def unsquashed(disk: Path, folder: Path) -> initramfs.Tree:
    """Return what is on a root disk, described as `initramfs.unpack` describes it."""
    subprocess.run(["unsquashfs", "-quiet", "-no-progress", "-dest", folder, disk], check=True, capture_output=True)
    return {str(path.relative_to(folder)): described(path) for path in sorted(folder.rglob("*"))}


def described(path: Path) -> dict[str, Any]:
    found = path.lstat()
    kind = next(name for bits, name in initramfs._TYPES.items() if bits == stat.S_IFMT(found.st_mode))
    node: dict[str, Any] = {
        "type": kind,
        "mode": f"{stat.S_IMODE(found.st_mode):04o}",
        "uid": found.st_uid,
        "gid": found.st_gid,
        "mtime": int(found.st_mtime),
    }
    if kind == "file":
        data = path.read_bytes()
        node.update(size=len(data), sha256=hashlib.sha256(data).hexdigest())
    elif kind == "symlink":
        node["target"] = os.readlink(path)  # noqa: PTH115 (compared as text)
    elif kind in ("char", "block"):
        node["device"] = [os.major(found.st_rdev), os.minor(found.st_rdev)]
    return node


def verified(disk: rootdisk.RootDisk, root_hash: str = "") -> bool:
    """Whether veritysetup, which has its own code for it, takes file system and hash tree for intact."""
    options = ["--no-superblock", "--hash=sha256", "--salt=-", "--data-block-size=4096", "--hash-block-size=4096"]
    places = [f"--data-blocks={disk.data_blocks}", f"--hash-offset={disk.data_blocks * rootdisk.BLOCK}"]
    command = ["veritysetup", "verify", *options, *places, disk.path, disk.path, root_hash or disk.root_hash]
    return subprocess.run(command, capture_output=True, check=False, env={"PATH": f"{os.environ['PATH']}:/usr/sbin"}).returncode == 0


def tar_of_one_file(size: int) -> rootdisk.WriteTar:
    """Return what writes a tar of one file that does not compress."""
    content = b"".join(hashlib.sha256(str(number).encode()).digest() for number in range(size // 32))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo("file")
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))

    def write(stream: IO[bytes]) -> None:
        stream.write(buffer.getvalue())

    return write


@pytest.mark.skipif(os.geteuid() != 0, reason="unpacking device nodes and owners needs root")
@pytest.mark.parametrize(("text", "extra"), [(YAML, {}), (TWO_SERVICES, {"docker.io/example/side:1": APP})])
def test_disk_and_initramfs_together_hold_what_the_initramfs_holds_alone(
    text: str, extra: dict[str, Any], store: ImageStore, tmp_path: Path
) -> None:
    in_memory = parts(image(store, tmp_path, app=MANY, text=text, extra=extra), store)
    made = parts(on_disk(store, tmp_path, app=MANY, text=text, extra=extra), store)
    initrd = tmp_path / "initrd"
    trees = []
    for one in (in_memory, made):
        initrd.write_bytes(b"".join(path.read_bytes() for path in one.initrd))
        tree, lost = initramfs.read_tree(initrd)
        assert lost == []
        trees.append(tree)
    whole, rest = trees
    disk = unsquashed(made.root, tmp_path / "unpacked")
    assert not [path for path in rest if "/lower" in path]
    assert {**rest, **disk} == whole
    links = [(tmp_path / "unpacked" / LOWER / name).stat().st_ino for name in ("bin/base", "bin/twice", "bin/later", "opt/thrice")]
    assert links[0] == links[1] != links[2] == links[3]


def test_the_command_line_names_the_disk_and_the_image_carries_it(store: ImageStore, tmp_path: Path) -> None:
    made = on_disk(store, tmp_path)
    files = dict(assembler.build(BuildRequest(image=made)).files)
    assert sorted(files) == ["cmdline", "initrd", "kernel", "root"]
    disk = rootdisk.read(files["root"])
    assert files["cmdline"].read_text() == f"console=ttyS0 i2kit.root={disk.data_blocks}:{disk.root_hash}"
    assert verified(disk)


@pytest.mark.parametrize("size", [0, 4096 * 127, 4096 * 200])
def test_veritysetup_accepts_the_hash_tree_and_finds_a_flipped_byte(size: int, tmp_path: Path) -> None:
    path = tmp_path / "disk"
    rootdisk.make(tar_of_one_file(size), path)
    disk = rootdisk.read(path)
    assert path.stat().st_size % rootdisk.BLOCK == 0
    assert verified(disk)
    assert not verified(disk, root_hash="0" * 64)
    data = bytearray(path.read_bytes())
    data[disk.data_blocks * rootdisk.BLOCK // 2] ^= 1
    path.write_bytes(data)
    assert not verified(disk)


def test_the_bytes_do_not_depend_on_the_number_of_processors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = set()
    for processors in (1, 4):
        monkeypatch.setattr(os, "cpu_count", lambda processors=processors: processors)
        rootdisk.make(tar_of_one_file(3_000_000), tmp_path / "disk")
        found.add(hashlib.sha256((tmp_path / "disk").read_bytes()).hexdigest())
    assert len(found) == 1


def test_the_bytes_do_not_depend_on_the_time_of_the_build(tmp_path: Path) -> None:
    """Nothing on the disk has it: no tar can name the root, which mksquashfs dates itself."""
    rootdisk.make(tar_of_one_file(10_000), tmp_path / "disk")
    listed = subprocess.run(
        ["unsquashfs", "-lls", str(tmp_path / "disk")], env={**os.environ, "TZ": "UTC"}, check=True, capture_output=True, text=True
    )
    root, *_ = listed.stdout.splitlines()
    assert root.split() == ["drwxr-xr-x", "root/root", root.split()[2], "1970-01-01", "00:00", "squashfs-root"]


def test_a_changed_file_keeps_the_disk_and_a_changed_app_makes_another(store: ImageStore, tmp_path: Path) -> None:
    first = parts(on_disk(store, tmp_path), store)
    written = first.root.stat().st_mtime_ns
    config = parts(on_disk(store, tmp_path, text=YAML.replace('"{}"', '"{\\"a\\": 1}"')), store)
    assert (config.root, config.root.stat().st_mtime_ns, config.cmdline) == (first.root, written, first.cmdline)
    assert config.initrd[:-1] == first.initrd[:-1]
    assert config.initrd[-1] != first.initrd[-1]
    changed = {"layers": [APP["layers"][0], [{"file": "bin/app", "text": "two"}]]}
    app = parts(on_disk(store, tmp_path, app=changed), store)
    assert app.root != first.root
    assert app.initrd == first.initrd


def test_without_mksquashfs_the_builder_says_what_installs_it(store: ImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = on_disk(store, tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    # Asked for when an image has a root disk, and told before that by `i2kit doctor`.
    assert assembler.check() == packers.missing(["kernel+initrd"]) == ()
    lacking = packers.missing(["kernel+initrd", "kernel+squashfs"])
    assert [(problem.code, problem.hint) for problem in lacking] == [("program-missing", "`sudo apt-get install squashfs-tools`")]
    with pytest.raises(MissingRequirement, match="mksquashfs is not installed"):
        assembler.build(BuildRequest(image=made))


@pytest.fixture
def mksquashfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Give a command of this name that does what a script says."""
    folder = tmp_path / "fake"
    folder.mkdir()

    def fake(script: str) -> None:
        (folder / "mksquashfs").write_text(f"#!/bin/sh\n{script}\n")
        (folder / "mksquashfs").chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    return fake


@pytest.mark.parametrize(
    ("script", "code", "text"),
    [
        ("echo 'FATAL ERROR: no such option' >&2; exit 1", "root-disk-failed", r"exit code 1\): FATAL ERROR: no such option"),
        ("cat >/dev/null; echo 'Write failed because No space left on device' >&2; exit 1", "disk-full", "no space left"),
        ("kill -9 $$", "root-disk-failed", r"exit code -9\): it said nothing"),
        ("cat >/dev/null; echo nonsense >$2", "root-disk-failed", "is no squashfs"),
    ],
)
def test_a_failure_of_mksquashfs_leaves_no_half_disk(
    script: str, code: str, text: str, mksquashfs: Callable[[str], None], store: ImageStore, tmp_path: Path
) -> None:
    made = on_disk(store, tmp_path)
    mksquashfs(script)
    with pytest.raises(BuildError, match=text) as caught:
        assembler.build(BuildRequest(image=made))
    assert codes(caught.value) == [code]
    assert list((cache_home() / "roots").iterdir()) == []
    assert not [path for path in (cache_home() / "images").iterdir() if path.is_dir()]


def test_a_damaged_layer_is_told_and_leaves_no_half_disk(store: ImageStore, tmp_path: Path) -> None:
    made = on_disk(store, tmp_path)
    manifest = store.manifest(made.sources["docker.io/example/app:1"])
    blob = store.blob(manifest.layers[0].digest)
    blob.chmod(0o644)
    data = bytearray(blob.read_bytes())
    data[len(data) // 2] ^= 0xFF
    blob.write_bytes(data)
    with pytest.raises(I2kitError, match="layer") as caught:
        assembler.build(BuildRequest(image=made))
    assert codes(caught.value)[0] in ("digest-mismatch", "layer-damaged")
    assert list((cache_home() / "roots").iterdir()) == []


def test_a_kill_while_the_tar_is_written_ends_mksquashfs(tmp_path: Path) -> None:
    def killed(_stream: IO[bytes]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rootdisk.RootDisks(tmp_path / "roots").get("one", killed)
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    assert not [pid for pid in children if "squashfs" in Path(f"/proc/{pid}/comm").read_text()]
    assert list((tmp_path / "roots").iterdir()) == []
