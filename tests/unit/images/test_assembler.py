"""The assembler: same bytes everywhere, rebuilds that cost what changed, and refusals. Its trees are compared in test_linuxkit.py."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from i2kit.errors import BuildError, I2kitError
from i2kit.images import assembler, document, segments
from i2kit.images.builder import BuildRequest
from i2kit.images.formats import FORMATS
from i2kit.images.holes import extents
from i2kit.images.oci import digest_of
from i2kit.images.store import ImageStore
from i2kit.paths import cache_home
from i2kit.resources import Image, Mark

from . import bootloaders, initramfs, synthetic

DATA = Path(__file__).parents[2] / "data" / "linuxkit"
APP: dict[str, Any] = {"layers": [[{"dir": "bin"}, {"file": "bin/base", "size": 90_000}], [{"file": "bin/app", "text": "one"}]]}
YAML = """
kernel: {image: "docker.io/i2kit/kernel:test", cmdline: "console=ttyS0"}
init: ["docker.io/i2kit/pod:test"]
services:
  - {name: web, image: "example/app:1", command: ["/bin/app"], cwd: /, capabilities: [CAP_CHOWN], net: host, uts: host}
files:
  - {path: etc/i2kit/pod.json, contents: "{}", mode: "0600"}
"""


def image(
    store: ImageStore, tmp_path: Path, *, app: dict[str, Any] = APP, text: str = YAML, extra: dict[str, Any] | None = None, **changes: Any
) -> Image:
    described = {**synthetic.load_images(DATA / "base.yml"), "docker.io/example/app:1": app, **(extra or {})}
    folder = tmp_path / "layout"
    layout = synthetic.Layout(described)
    layout.write(folder)
    store.import_path(folder)
    identity = digest_of("\n".join([text, *map(str, sorted(layout.digests.items())), str(changes)]).encode())
    made = Image(
        name="web",
        mark=Mark(environment="test"),
        digest=identity,
        format="kernel+initrd",
        architecture="x86_64",
        builder="assembler",
        yaml=text,
        sources=layout.digests,
    )
    return evolve(made, **changes)


def build(made: Image, **options: Any) -> dict[str, Path]:
    return dict(assembler.build(BuildRequest(image=made, **options)).files)


def codes(error: I2kitError) -> list[str]:
    return [problem.code for problem in error.problems]


def cached() -> set[str]:
    return {path.name for path in (cache_home() / "segments").glob("*.zst")}


ELSEWHERE = """
import os, sys
from pathlib import Path
os.umask(int(sys.argv[2], 8))
from i2kit.images import assembler
from i2kit.images.builder import BuildRequest
from i2kit.images.store import default_store
from i2kit.resources import Image, Mark
default_store().import_path(Path(sys.argv[1]))
sources = {image.reference: image.digest for image in default_store().images()}
yaml = sys.stdin.read()
for number, name in enumerate(sys.argv[3:]):
    form, root = name.split()
    made = Image(name="web", mark=Mark(environment="test"), digest=f"sha256:{number:064x}", format=form, architecture="x86_64",
                 builder="assembler", yaml=yaml, sources=sources, root=root, loader="docker.io/i2kit/loader:test")
    for role, path in sorted(assembler.build(BuildRequest(image=made)).files.items()):
        print(form, root, role, path)
"""
EVERY_FORMAT = [f"{name} {root}" for name in assembler.FORMATS for root in FORMATS[name].roots]


def data_digest(path: Path) -> str:
    """Return a digest of a file that does not read a gigabyte of zeros."""
    digest = hashlib.sha256(f"{path.stat().st_size}".encode())
    with path.open("rb") as stream:
        for start, length in extents(path):
            stream.seek(start)
            digest.update(f"{start} {length} ".encode() + stream.read(length))
    return digest.hexdigest()


def test_images_are_the_same_bytes_from_empty_caches_wherever_they_are_built(store: ImageStore, tmp_path: Path) -> None:
    image(store, tmp_path, extra=bootloaders.description())
    results = []
    for folder, umask, zone, user in (("one", "0022", "UTC", "alice"), ("two/deep er", "0077", "Asia/Kathmandu", "bob")):
        home = tmp_path / folder
        home.mkdir(parents=True)
        environment = {
            **os.environ,
            "HOME": str(home),
            "XDG_DATA_HOME": str(home / "data"),
            "XDG_CACHE_HOME": str(home / "cache"),
            "TZ": zone,
            "USER": user,
            "LOGNAME": user,
            "PYTHONHASHSEED": str(len(user)),
            "LC_ALL": "C",
        }
        command = [sys.executable, "-c", ELSEWHERE, str(tmp_path / "layout"), umask, *EVERY_FORMAT]
        done = subprocess.run(command, input=YAML, env=environment, cwd=home, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        files = {" ".join(line.split(" ")[:3]): Path(line.split(" ", 3)[3]) for line in done.stdout.splitlines()}
        results.append({name: (data_digest(path), path.stat().st_mode & 0o777) for name, path in files.items()})
    assert results[0] == results[1]
    assert {name.rsplit(" ", 1)[0] for name in results[0]} == set(EVERY_FORMAT)
    assert all(mode == 0o644 for _, mode in results[0].values())


def test_building_again_gives_the_same_files_and_touches_nothing(store: ImageStore, tmp_path: Path) -> None:
    made = image(store, tmp_path)
    first = build(made)
    seen = {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in first.values()}
    assert build(made) == first
    assert {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in first.values()} == seen


def test_without_cache_the_same_bytes_are_made_again(store: ImageStore, tmp_path: Path) -> None:
    made = image(store, tmp_path)
    files = build(made)
    right = {role: path.read_bytes() for role, path in files.items()}
    for path in files.values():
        path.unlink()
        path.write_bytes(b"damaged")
    for segment in (cache_home() / "segments").glob("*.zst"):
        segment.write_bytes(b"damaged")
    assert build(made)["initrd"].read_bytes() == b"damaged"
    assert {role: path.read_bytes() for role, path in build(made, no_cache=True).items()} == right
    assert sorted(path.name for path in (cache_home() / "images").iterdir()) == [made.digest[7:], f"{made.digest[7:]}.lock"]


def test_a_rebuild_compresses_what_changed_and_nothing_else(store: ImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(image(store, tmp_path))
    before = cached()
    written: list[segments.Segment] = []
    real = segments.write
    monkeypatch.setattr(segments, "write", lambda segment, *rest: (written.append(segment), real(segment, *rest)))
    build(image(store, tmp_path, text=YAML.replace('"{}"', '"{\\"a\\": 1}"')))
    assert len(written) == len(cached() - before) == 1
    assert "etc/i2kit/pod.json" in [item.path for item in written.pop().items]
    changed = {"layers": [APP["layers"][0], [{"file": "bin/app", "text": "two"}]]}
    build(image(store, tmp_path, app=changed))
    assert [item.path for segment in written for item in segment.items if item.inode.type == "file" and item.content is None] == [
        "containers/services/web/lower/bin/app"
    ]


def test_no_half_image_is_left_when_a_build_fails(store: ImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = image(store, tmp_path)

    def killed(*_arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(segments, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            build(made)
    assert not (cache_home() / "images" / made.digest[7:]).exists()
    tree, lost = initramfs.read_tree(build(made)["initrd"])
    assert lost == []
    assert tree["containers/services/web/lower/bin/app"]["size"] == 3


def test_two_processes_may_build_the_same_image_at_once(store: ImageStore, tmp_path: Path) -> None:
    image(store, tmp_path, extra=bootloaders.description())
    command = [sys.executable, "-c", ELSEWHERE, str(tmp_path / "layout"), "0022", "kernel+initrd memory"]
    running = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    try:
        answers = [process.communicate(YAML, timeout=60)[0] for process in running]
        assert [process.returncode for process in running] == [0, 0, 0]
    finally:
        for process in running:
            process.kill()
            process.wait()
    assert len(set(answers)) == 1
    (initrd,) = (line.split(" ", 3)[3] for line in answers[0].splitlines() if " initrd " in line)
    assert initramfs.read_tree(Path(initrd))[1] == []
    assert list((cache_home() / "images").glob(".aside-*")) == []


def test_one_tar_holds_the_three_files(store: ImageStore, tmp_path: Path) -> None:
    files = build(image(store, tmp_path))
    packed = build(image(store, tmp_path, format="tar-kernel-initrd", digest="sha256:" + "1" * 64))
    with tarfile.open(packed["tar"]) as archive:
        assert archive.getnames() == ["kernel", "initrd.img", "cmdline"]
        for name, role in (("kernel", "kernel"), ("initrd.img", "initrd"), ("cmdline", "cmdline")):
            member = archive.extractfile(name)
            assert member is not None
            assert member.read() == files[role].read_bytes()


@pytest.mark.parametrize(("name", "code"), [("docker", "format-unsupported"), ("floppy", "format-unknown")])
def test_other_formats_are_refused_with_those_there_are(name: str, code: str, store: ImageStore, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"one of aws, .*, kernel\+initrd, kernel\+squashfs, .*, vmdk") as caught:
        build(image(store, tmp_path, format=name))
    assert codes(caught.value) == [code]


def test_an_image_that_left_the_store_is_missed_by_name(store: ImageStore, tmp_path: Path) -> None:
    made = image(store, tmp_path)
    store.remove("example/app:1")
    with pytest.raises(I2kitError, match="not in the image store") as caught:
        build(made)
    assert codes(caught.value) == ["blob-missing"]


def test_an_image_that_nobody_resolved_is_refused(store: ImageStore, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="nobody resolved example/app:1") as caught:
        build(evolve(image(store, tmp_path), sources={}, yaml=YAML.replace('"docker.io/i2kit/kernel:test"', "example/app:1")))
    assert codes(caught.value) == ["image-not-resolved"]


def test_a_kernel_image_without_a_kernel_is_refused(store: ImageStore, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="has no /kernel") as caught:
        build(image(store, tmp_path, text=YAML.replace("docker.io/i2kit/kernel:test", "example/app:1")))
    assert codes(caught.value) == ["kernel-missing"]


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("services: [", "cannot be read"),
        ("3", "is not a mapping"),
        ("{}", "kernel.image: is missing"),
        ("kernel: {image: k}\nvolumes: []", "volumes: the assembler does not support it"),
        ("kernel: {image: k, ucode: x}", "kernel.ucode: the assembler does not support it"),
        ("kernel: {image: k}\nservices: [{name: a, image: b, devices: []}]", "services[0].devices: the assembler does not support it"),
        ("kernel: {image: k}\nservices: [{name: ../a, image: b}]", "services[0].name: '../a' is not a name"),
        ("kernel: {image: k}\nservices: [{name: a, image: b}, {name: a, image: c}]", "two have the same name"),
        ("kernel: {image: k}\nservices: [{name: a, image: b, command: x}]", "services[0].command: is not a list of texts"),
        ("kernel: {image: k}\nservices: [{name: a, image: b, readonly: 1}]", "services[0].readonly: is neither true nor false"),
        ("kernel: {image: k}\nfiles: [{path: ../x, contents: a}]", "files[0].path: '../x' is not a path of a file"),
        ("kernel: {image: k}\nfiles: [{path: x, source: /etc/passwd}]", "files[0].source: the assembler does not support it"),
        ("kernel: {image: k}\nfiles: [{path: x, contents: a, mode: 644}]", "files[0].mode: 644 is not a mode"),
        ("kernel: {image: k}\nfiles: [{path: x, contents: a, directory: true}]", "exactly one of contents, directory and symlink"),
    ],
)
def test_what_the_assembler_does_not_do_is_refused_by_its_place(text: str, wrong: str) -> None:
    with pytest.raises(BuildError) as caught:
        document.parse(text)
    assert any(wrong in str(problem) for problem in caught.value.problems), caught.value.problems


def test_everything_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(BuildError) as caught:
        document.parse("volumes: []\nfiles: [{path: ''}, {path: a, contents: b, optional: true}]")
    assert len(caught.value.problems) == 5
