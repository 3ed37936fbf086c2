"""The assembler beside the real LinuxKit, at a length that `make test` has no time for: every Pod and example built anew by both."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import generatedpods
import pytest
from attrs import evolve
from images import initramfs
from linuxkitcases import CASES, DATA, descriptions, imported, of_generated, yaml_of
from linuxkittrees import Tree, differences, explained

import i2kit
from i2kit.environment import Environment
from i2kit.errors import BuildError
from i2kit.images import assembler, linuxkit
from i2kit.images.builder import BuildRequest
from i2kit.images.folders import file_digest
from i2kit.images.store import default_store
from i2kit.paths import data_home
from i2kit.resources import Image

pytestmark = pytest.mark.skipif(shutil.which("linuxkit") is None, reason="the real linuxkit is not on PATH")

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted(path.parent.parent.name for path in (ROOT / "examples").glob("*/image/build.py"))
USER_STORE = data_home() / "store"
# Beyond those that are recorded.
MORE = range(1000, 1060)


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield
    # An example's trees are large, and pytest keeps folders.
    shutil.rmtree(tmp_path, ignore_errors=True)


def by_both(image: Image) -> dict[str, dict[str, Path]]:
    """Build an image by both builders and return the files of each."""
    found = {}
    for number, builder in enumerate((assembler, linuxkit)):
        made = builder.build(BuildRequest(image=evolve(image, builder=builder.NAME, digest=f"sha256:{number:064x}")))
        found[builder.NAME] = dict(made.files)
    return found


def command_alone(described: dict[str, Any], text: str, folder: Path) -> Tree:
    """Build by the command without our builder, which refuses what LinuxKit is known to lose."""
    sys.path.insert(0, str(DATA))
    try:
        from record import build
    finally:
        sys.path.remove(str(DATA))
    folder.mkdir()
    tree: Tree = build(described, text, folder)["tree"]
    return tree


@pytest.mark.parametrize("seed", [*generatedpods.SEEDS, *MORE])
def test_both_make_one_tree_of_a_generated_pod(seed: int, tmp_path: Path) -> None:
    pod = generatedpods.generated(seed)
    text = yaml_of(pod)
    image = imported(pod.name, of_generated(pod), text)
    ours, lost = initramfs.read_tree(assembler.build(BuildRequest(image=evolve(image, builder="assembler"))).files["initrd"])
    theirs = command_alone(of_generated(pod), text, tmp_path / "linuxkit")
    different = explained(image, default_store(), differences(theirs, ours))
    assert [path for path, name in different.items() if not name] == []
    assert lost == []
    losses = {name for path, name in different.items() if name not in ("hard links", "files in dev/pts") and not its_own(path)}
    request = BuildRequest(image=evolve(image, digest=f"sha256:{1:064x}"))
    if losses:
        with pytest.raises(BuildError, match="LinuxKit would not build"):
            linuxkit.build(request)
    else:
        assert initramfs.read_tree(linuxkit.build(request).files["initrd"])[0] == theirs


def its_own(path: str) -> bool:
    """Whether a path lies where every container mounts something else over it, so that the builder lets it pass."""
    return any(f"/{root}/{folder}/" in path for root in ("lower", "rootfs") for folder in ("dev", "proc", "sys"))


@pytest.mark.parametrize("case", CASES)
def test_the_command_makes_what_is_recorded(case: str, tmp_path: Path) -> None:
    recorded = json.loads((DATA / case / "tree.json").read_text())
    assert command_alone(descriptions(case), (DATA / case / "build.yml").read_text(), tmp_path / "linuxkit") == recorded["tree"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield a folder for `XDG_DATA_HOME` with every example and a base that has boot loaders, shared because it takes a while."""
    home = tmp_path_factory.mktemp("examples")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("XDG_DATA_HOME", str(home / "data"))
        patched.setenv("XDG_CACHE_HOME", str(home / "cache"))
        if USER_STORE.is_dir():
            shutil.copytree(USER_STORE, default_store().root, dirs_exist_ok=True)
        for example in EXAMPLES:
            layout = ROOT / "out" / "images" / example
            if not layout.is_dir():
                layout = home / example
                script = ROOT / "examples" / example / "image" / "build.py"
                subprocess.run([sys.executable, str(script), "--out", str(layout)], check=True, stdout=subprocess.DEVNULL)
            default_store().import_path(layout)
        i2kit.resolve(i2kit.load([ROOT / "examples" / "hello"]), Environment(), format="aws", update_base=True)
        i2kit.resolve(i2kit.load([ROOT / "examples" / "hello"]), Environment(), format="qcow2-bios", update_base=True)
    yield home / "data"
    shutil.rmtree(home, ignore_errors=True)


def images_of(example: str, form: str | None = None) -> list[Image]:
    """Return the images of an example as a deployment has them."""
    workloads, environment = i2kit.load([ROOT / "examples" / example]), Environment()
    locked = i2kit.resolve(workloads, environment, format=form)
    planned = i2kit.plan(workloads, locked, environment, application=example, format=form)
    return [resource for resource in planned.resources if isinstance(resource, Image)]


@pytest.mark.parametrize("example", EXAMPLES)
def test_both_make_one_image_of_an_example(example: str, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(store))
    for image in images_of(example):
        found = by_both(image)
        (ours, our_lost), (theirs, their_lost) = (initramfs.read_tree(found[name]["initrd"]) for name in ("assembler", "linuxkit"))
        different = explained(image, default_store(), differences(theirs, ours))
        assert set(different.values()) <= {"hard links"}
        assert our_lost == their_lost == []
        assert found["assembler"]["kernel"].read_bytes() == found["linuxkit"]["kernel"].read_bytes()
        if image.root == "disk":
            trees = [unpacked(files["root"], tmp_path / name) for name, files in found.items()]
            assert set(explained(image, default_store(), differences(trees[1], trees[0])).values()) <= {"hard links"}


def unpacked(disk: Path, folder: Path) -> Tree:
    """Return the tree on a root disk."""
    from images.test_linuxkit_initrd import on_disk

    subprocess.run(["unsquashfs", "-q", "-n", "-d", str(folder), str(disk)], check=True, capture_output=True)
    return on_disk(folder)


@pytest.mark.parametrize("form", linuxkit.FORMATS)
def test_every_format_repeats_bit_for_bit_from_empty_caches(
    form: str, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(store))
    made = []
    for zone in ("UTC", "Asia/Kathmandu"):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / zone))
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        (image,) = images_of("hello", form)
        files = linuxkit.build(BuildRequest(image=evolve(image, builder="linuxkit"))).files
        made.append({role: file_digest(path) for role, path in files.items()})
    monkeypatch.undo()
    time.tzset()
    assert made[0] == made[1]
