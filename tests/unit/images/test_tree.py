"""Layers over each other: against a model, and what is not to be trusted."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from i2kit.errors import BuildError
from i2kit.images import layers, rootfs, segments, tree
from i2kit.images.layers import Member
from i2kit.images.locked import Layer

from . import initramfs, synthetic

Model = dict[str, tuple[str, int]]


def merged(*described: list[dict[str, Any]], tmp_path: Path) -> tuple[tree.Entry, ...]:
    found = []
    for number, entries in enumerate(described):
        blob, layer = blob_of(synthetic.layer_tar(entries), tmp_path / f"{number}.tar")
        found.append((layer.digest, layers.members(layer, blob)))
    return tree.merge(found)


def blob_of(plain: bytes, path: Path, packed: bytes | None = None) -> tuple[Path, Layer]:
    data = plain if packed is None else packed
    path.write_bytes(data)
    return path, Layer(digest=digest(data), diff_id=digest(plain), size=len(data))


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def paths(entries: tuple[tree.Entry, ...]) -> dict[str, str]:
    return {entry.path: entry.inode.type for entry in entries if entry.path}


# Against a model that is too simple to be wrong.

NAMES = st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map("/".join)
STEPS = st.lists(st.tuples(st.sampled_from(["file", "directory", "whiteout", "opaque"]), NAMES), max_size=8)


def as_members(steps: list[tuple[str, str]]) -> tuple[Member, ...]:
    found = []
    for number, (kind, path) in enumerate(steps):
        head, _, base = path.rpartition("/")
        folder = f"{head}/" if head else ""
        match kind:
            case "whiteout":
                found.append(Member(number, f"{folder}.wh.{base}", "file"))
            case "opaque":
                found.append(Member(number, f"{path}/.wh..wh..opq", "file"))
            case _:
                found.append(Member(number, path, "file" if kind == "file" else "directory"))
    return tuple(found)


def below(model: Model, path: str) -> list[str]:
    return [other for other in model if other.startswith(f"{path}/")]


def lay(model: Model, number: int, steps: list[tuple[str, str]]) -> None:
    for kind, path in steps:
        if kind == "whiteout":
            for gone in [*below(model, path), path]:
                model.pop(gone, None)
        elif kind == "opaque" and model.get(path, ("",))[0] == "directory":
            for gone in below(model, path):
                del model[gone]
    for kind, path in steps:
        if kind in ("whiteout", "opaque"):
            continue
        for above in rootfs.ancestors(path):
            if model.get(above, ("",))[0] != "directory":
                model[above] = ("directory", -1)
        if kind == "file":
            for gone in below(model, path):
                del model[gone]
        model[path] = (kind, number)


@given(st.lists(STEPS, max_size=4))
def test_layers_merge_as_the_image_specification_says(stack: list[list[tuple[str, str]]]) -> None:
    model: Model = {}
    for number, steps in enumerate(stack):
        lay(model, number, steps)
    entries = tree.merge((str(number), as_members(steps)) for number, steps in enumerate(stack))
    assert {entry.path: (entry.inode.type, entry.inode.layer) for entry in entries if entry.path} == model
    order = [entry.path for entry in entries]
    assert all(order.index(above) < order.index(path) for path in order for above in rootfs.ancestors(path))


@settings(deadline=None, max_examples=40)
@given(st.lists(STEPS, min_size=1, max_size=3))
def test_segments_unpack_to_the_merged_tree(tmp_path_factory: pytest.TempPathFactory, stack: list[list[tuple[str, str]]]) -> None:
    folder = tmp_path_factory.mktemp("layers")
    found, known = [], []
    for number, steps in enumerate(stack):
        described: list[dict[str, Any]] = []
        for member in as_members(steps):
            kind = "dir" if member.type == "directory" else "file"
            described.append({kind: member.path} if kind == "dir" else {kind: member.path, "text": f"{number} {member.path}"})
        blob, layer = blob_of(synthetic.layer_tar(described), folder / f"{number}.tar")
        found.append((layer.digest, layers.members(layer, blob)))
        known.append((layer, blob))
    entries = tree.merge(found)
    items = rootfs.place(entries, "containers/services/x/lower")
    blobs = {layer.digest: blob for layer, blob in known}
    data = b""
    for segment in segments.split(items, [layer for layer, _ in known]):
        segments.write(segment, blobs.__getitem__, folder / "segment")
        data += (folder / "segment").read_bytes()
    unpacked, lost = initramfs.unpack(initramfs.entries(data))
    assert lost == []
    assert {path: node["type"][:3] for path, node in unpacked.items()} == {item.path: item.inode.type[:3] for item in items}
    for entry in entries:
        if entry.inode.type == "file":
            text = f"{entry.inode.layer} {entry.path}".encode()
            assert unpacked[f"containers/services/x/lower/{entry.path}"]["sha256"] == hashlib.sha256(text).hexdigest()


# Links.


def test_a_file_laid_through_a_lower_layers_link_lies_where_the_link_leads(tmp_path: Path) -> None:
    lower = [{"dir": "usr/lib"}, {"symlink": "lib", "to": "usr/lib"}, {"symlink": "abs", "to": "/usr"}]
    upper = [{"file": "lib/one"}, {"file": "abs/lib/two"}]
    found = paths(merged(lower, upper, tmp_path=tmp_path))
    assert found == {
        "usr": "directory",
        "usr/lib": "directory",
        "lib": "symlink",
        "abs": "symlink",
        "usr/lib/one": "file",
        "usr/lib/two": "file",
    }


def test_hard_links_are_one_inode_across_layers_and_count_once(tmp_path: Path) -> None:
    lower = [{"file": "a", "size": 5000}]
    upper = [{"link": "b", "to": "a"}, {"file": "a", "text": "new"}]
    entries = {entry.path: entry.inode for entry in merged(lower, upper, tmp_path=tmp_path)}
    assert (entries["b"].layer, entries["b"].size) == (0, 5000)
    assert (entries["a"].layer, entries["a"].size) == (1, 3)
    linked = merged(lower, [{"link": "b", "to": "a"}], tmp_path=tmp_path)
    assert tree.unpacked(linked) == 2 * layers.PAGE
    assert (tree.inventory(linked).files, tree.inventory(linked).links) == (0, ("a", "b"))


def test_inventory_is_the_one_of_the_contract(tmp_path: Path) -> None:
    described = [
        *({"file": path, "text": "12345"} for path in ("b", "a/b", "a-b", "etc/passwd", "etc/hosts", "etc/hostname", "dev/x", "run/x")),
        *({"file": path, "text": "x"} for path in ("sys/x", "proc/x", ".dockerenv", "Dockerfile", "etc/resolv.conf", "etc/mtab", "ü")),
        {"symlink": "link", "to": "b"},
    ]
    found = tree.inventory(merged(described, tmp_path=tmp_path))
    lines = "a-b\t5\na/b\t5\nb\t5\netc/passwd\t5\nü\t1\n"
    assert (found.files, found.bytes, found.sha256) == (5, 21, hashlib.sha256(lines.encode()).hexdigest())


# What is not to be trusted.


@pytest.mark.parametrize("path", ["../etc/passwd", "a/../../b", "/etc/passwd", "a/b/.."])
def test_a_path_that_leads_out_of_the_image_is_refused(path: str, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="layer sha256:") as caught:
        merged([{"file": path}], tmp_path=tmp_path)
    assert caught.value.problems[0].code == "layer-unsafe-path"


@pytest.mark.parametrize("target", ["../../outside", "/../outside"])
def test_a_link_that_leads_out_of_the_image_is_not_followed(target: str, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="leads out of the image over a symbolic link") as caught:
        merged([{"symlink": "way", "to": target}], [{"file": "way/passwd"}], tmp_path=tmp_path)
    assert caught.value.problems[0].code == "layer-unsafe-path"


def test_links_in_circles_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="round in circles"):
        merged([{"symlink": "a", "to": "b"}, {"symlink": "b", "to": "a"}, {"file": "a/x"}], tmp_path=tmp_path)


@pytest.mark.parametrize("target", ["nothing", "folder", "../../etc/passwd", "/etc/passwd"])
def test_a_hard_link_to_no_file_of_the_image_is_refused(target: str, tmp_path: Path) -> None:
    with pytest.raises(BuildError) as caught:
        merged([{"dir": "folder"}, {"link": "way", "to": target}], tmp_path=tmp_path)
    assert caught.value.problems[0].code in ("layer-damaged", "layer-unsafe-path")


PLAIN = synthetic.layer_tar([{"file": "large", "size": 200_000}, {"file": "last", "text": "x"}])


@pytest.mark.parametrize(
    "damage",
    [
        lambda: gzip.compress(PLAIN, mtime=0)[:-2000],
        lambda: zstandard.compress(PLAIN)[:-2000],
        lambda: gzip.compress(PLAIN, mtime=0)[:50_000] + bytes(100) + gzip.compress(PLAIN, mtime=0)[50_100:],
        lambda: PLAIN[:100_000],
        lambda: b"\x1f\x8bnot really",
        lambda: b"neither a tar nor compressed",
        lambda: b"",
    ],
)
def test_a_damaged_layer_is_said_to_be_damaged(damage: Any, tmp_path: Path) -> None:
    blob, layer = blob_of(PLAIN, tmp_path / "layer", damage())
    with pytest.raises(BuildError, match=layer.digest) as caught:
        layers.members(layer, blob)
    assert caught.value.problems[0].code in ("layer-damaged", "digest-mismatch")


def test_another_tar_than_the_configuration_names_is_refused(tmp_path: Path) -> None:
    other = synthetic.layer_tar([{"file": "other"}])
    blob, layer = blob_of(PLAIN, tmp_path / "layer", gzip.compress(other, mtime=0))
    with pytest.raises(BuildError, match="the image's configuration says") as caught:
        layers.members(layer, blob)
    assert caught.value.problems[0].code == "digest-mismatch"


@settings(deadline=None)
@given(st.binary(max_size=3000))
def test_no_bytes_make_anything_but_a_layer_or_a_clear_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    blob, layer = blob_of(data, tmp_path_factory.getbasetemp() / "random")
    try:
        tree.merge([(layer.digest, layers.members(layer, blob))])
    except BuildError as error:
        assert layer.digest in str(error)  # noqa: PT017 (both outcomes are right)
