from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from i2kit.errors import BuildError, I2kitError
from i2kit.images import oci
from i2kit.images.store import ImageStore

from . import synthetic

APP = {
    "config": {"Entrypoint": ["/bin/app"], "Cmd": ["run"], "Env": ["A=b"], "WorkingDir": "/srv", "User": "9"},
    "layers": [[{"dir": "bin"}, {"file": "bin/app", "text": "app"}], [{"file": "bin/.wh.app"}, {"file": "bin/other", "text": "x"}]],
}
SHARED = {"layers": [APP["layers"][0], [{"file": "more"}]]}


def layout(folder: Path, images: dict[str, Any], **options: Any) -> Path:
    synthetic.Layout(images, **options).write(folder)
    return folder


def codes(error: I2kitError) -> list[str]:
    return [problem.code for problem in error.problems]


def blobs(store: ImageStore) -> set[str]:
    return {path.name for path in (store.root / "blobs" / "sha256").iterdir()}


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("packed", [False, True])
def test_an_oci_layout_is_imported_folder_or_tar(packed: bool, nested: bool, store: ImageStore, tmp_path: Path) -> None:
    images = synthetic.Layout({"example/app:1": APP}, nested=nested)
    source = tmp_path / "source"
    if packed:
        source.write_bytes(images.tar())
    else:
        images.write(source)
    (stored,) = store.import_path(source)
    assert stored.reference == "docker.io/example/app:1"
    assert stored.digest == images.digests["example/app:1"]
    assert store.images() == (stored,)
    assert store.find("docker.io/example/app:1") == stored
    assert store.find(f"example/app@{stored.digest}") == stored
    assert store.find("example/app:2") is None
    config = store.manifest(stored.digest).config
    assert (config.entrypoint, config.cmd, config.env, config.working_dir, config.user) == (("/bin/app",), ("run",), ("A=b",), "/srv", "9")


def test_what_docker_save_wrote_is_imported(store: ImageStore, tmp_path: Path) -> None:
    plain = [synthetic.layer_tar(entries) for entries in APP["layers"]]
    config = json.dumps(
        {"architecture": "amd64", "os": "linux", "rootfs": {"diff_ids": [oci.digest_of(layer) for layer in plain]}}
    ).encode()
    listing = [{"Config": "config.json", "RepoTags": ["example/app:1", "example/app:2"], "Layers": ["0/layer.tar", "1/layer.tar"]}]
    source = tmp_path / "saved.tar"
    files = {"manifest.json": json.dumps(listing).encode(), "config.json": config, "0/layer.tar": plain[0], "1/layer.tar": plain[1]}
    write_tar(source, files)
    first, second = store.import_path(source)
    assert (first.reference, second.reference) == ("docker.io/example/app:1", "docker.io/example/app:2")
    assert first.digest == second.digest
    assert [entry.path for entry in store.entries(store.manifest(first.digest))] == ["", "bin", "bin/other"]
    write_tar(source, {**files, "1/layer.tar": plain[0]})
    with pytest.raises(I2kitError) as caught:
        ImageStore(tmp_path / "other").import_path(source)
    assert codes(caught.value) == ["digest-mismatch"]


def write_tar(path: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            scratch = path.with_name("member")
            scratch.write_bytes(data)
            with scratch.open("rb") as stream:
                archive.addfile(info, stream)


def test_a_name_may_be_given_and_has_to_be_where_the_archive_has_none(store: ImageStore, tmp_path: Path) -> None:
    source = layout(tmp_path / "source", {"1.0": SHARED})
    with pytest.raises(I2kitError, match="no full name") as caught:
        store.import_path(source)
    assert codes(caught.value) == ["image-name"]
    assert store.images() == ()
    assert store.import_path(source, name="mine:3")[0].reference == "docker.io/library/mine:3"
    both = layout(tmp_path / "both", {"a/a:1": APP, "a/b:1": SHARED})
    with pytest.raises(I2kitError, match="2 images"):
        store.import_path(both, name="mine")


def test_removing_keeps_the_blobs_that_others_use(store: ImageStore, tmp_path: Path) -> None:
    store.import_path(layout(tmp_path / "one", {"a/app:1": APP}))
    alone = blobs(store)
    store.import_path(layout(tmp_path / "two", {"a/shared:1": SHARED}))
    store.remove("a/shared:1")
    assert blobs(store) == alone
    store.remove("a/app:1")
    assert blobs(store) == set()
    with pytest.raises(I2kitError) as caught:
        store.remove("a/app:1")
    assert codes(caught.value) == ["image-not-found"]


def test_when_a_name_moves_the_old_image_stays_by_its_digest(store: ImageStore, tmp_path: Path) -> None:
    (first,) = store.import_path(layout(tmp_path / "one", {"a/app:1": APP}))
    (second,) = store.import_path(layout(tmp_path / "two", {"a/app:1": SHARED}))
    assert store.find("a/app:1") == second
    old = f"docker.io/a/app@{first.digest}"
    assert [image.reference for image in store.images()] == ["docker.io/a/app:1", old]
    assert store.has(first.digest)
    store.import_path(tmp_path / "one")
    assert {image.reference: image.digest for image in store.images()} == {
        "docker.io/a/app:1": first.digest,
        f"docker.io/a/app@{second.digest}": second.digest,
    }
    store.remove(f"a/app@{second.digest}")
    assert not store.has(second.digest)
    assert store.has(first.digest)


def test_other_content_than_the_digest_says_is_refused_and_nothing_stays(store: ImageStore, tmp_path: Path) -> None:
    source = layout(tmp_path / "source", {"a/app:1": APP})
    layer = synthetic.Layout({"a/app:1": APP})
    for digest, data in layer.blobs.items():
        path = source / "blobs" / digest.replace(":", "/")
        path.write_bytes(data + b" ")
        with pytest.raises((I2kitError, BuildError), match=digest[7:20]) as caught:
            store.import_path(source)
        assert codes(caught.value) == ["digest-mismatch"]
        assert store.images() == ()
        path.unlink()
        with pytest.raises(I2kitError) as caught:
            ImageStore(tmp_path / "fresh").import_path(source)
        assert codes(caught.value) == ["blob-missing"]
        path.write_bytes(data)
    assert len(store.import_path(source)) == 1


def test_an_image_with_a_path_out_of_it_is_refused_on_import(store: ImageStore, tmp_path: Path) -> None:
    source = layout(tmp_path / "source", {"a/app:1": {"layers": [[{"file": "../../etc/passwd", "text": "x"}]]}})
    with pytest.raises(BuildError, match="leads out of the image") as caught:
        store.import_path(source)
    assert codes(caught.value) == ["layer-unsafe-path"]
    assert store.images() == ()


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("index.json", "{", "image-malformed"),
        ("index.json", "[]", "image-malformed"),
        ("index.json", '{"manifests": 3}', "image-malformed"),
        ("index.json", '{"manifests": [{"digest": "sha256:../../etc/passwd"}]}', "image-malformed"),
        ("index.json", '{"manifests": []}', "image-architecture"),
        ("manifest.json", "[3]", "image-malformed"),
        ("manifest.json", '[{"Config": "../../../etc/passwd", "Layers": []}]', "blob-missing"),
        ("else", "", "image-malformed"),
    ],
)
def test_what_is_no_archive_of_images_is_refused(name: str, content: str, code: str, store: ImageStore, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / name).write_text(content)
    with pytest.raises(I2kitError, match=str(source)) as caught:
        store.import_path(source)
    assert codes(caught.value) == [code]


def test_another_architecture_is_refused(store: ImageStore, tmp_path: Path) -> None:
    source = layout(tmp_path / "source", {"a/app:1": APP})
    with pytest.raises(I2kitError, match="no image for linux/arm64") as caught:
        store.import_path(source, architecture="aarch64")
    assert codes(caught.value) == ["image-architecture"]


def test_the_index_is_only_written_under_the_lock(store: ImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    real = ImageStore._write_index

    def watched(self: ImageStore, descriptors: list[dict[str, Any]]) -> None:
        with (self.root / "lock").open() as lock, pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        written.append(len(descriptors))
        real(self, descriptors)

    monkeypatch.setattr(ImageStore, "_write_index", watched)
    store.import_path(layout(tmp_path / "one", {"a/app:1": APP}))
    (tmp_path / "layer.tar").write_bytes(synthetic.layer_tar([{"file": "x"}]))
    store.add("a/other:1", [tmp_path / "layer.tar"])
    store.remove("a/app:1")
    assert written == [1, 2, 1]


IMPORTER = """
import sys
from pathlib import Path
from i2kit.images.store import default_store
sys.stdin.read()
default_store().import_path(Path(sys.argv[1]))
"""


def test_processes_that_import_at_once_lose_nothing(store: ImageStore, tmp_path: Path) -> None:
    sources = [layout(tmp_path / str(number), {f"a/app:{number}": {"layers": [[{"file": str(number)}]]}}) for number in range(4)]
    running = [
        subprocess.Popen([sys.executable, "-c", IMPORTER, str(source)], stdin=subprocess.PIPE, env=dict(os.environ)) for source in sources
    ]
    try:
        for process in running:
            assert process.stdin is not None
            process.stdin.close()
        assert [process.wait(60) for process in running] == [0, 0, 0, 0]
    finally:
        for process in running:
            process.kill()
            process.wait()
    assert len(store.images()) == 4
    assert [path.name for path in store.root.rglob(".aside-*")] == []
