"""Whatever goes wrong while images are imported and built, the error is clear and the store is still good."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from i2kit.errors import BuildError, I2kitError
from i2kit.images import folders, rootfs, segments
from i2kit.images.store import ImageStore
from i2kit.paths import cache_home

from . import initramfs, synthetic

DATA = Path(__file__).parents[2] / "data" / "linuxkit"
APP: dict[str, Any] = {"layers": [[{"file": "bin/app", "size": 40_000}], [{"file": "etc/conf", "text": "x"}]]}

# Killed at every place where something becomes visible, and run again.

COMMON = """
import os, shutil, signal, sys
from pathlib import Path
from i2kit.driver import Artefact
from i2kit.images import assembler
from i2kit.images.builder import BuildRequest
from i2kit.images.oci import digest_of
from i2kit.images.store import default_store
from i2kit.resources import Image, Mark
layout, yaml = Path(sys.argv[1]), sys.argv[2]

def image():
    sources = {one.reference: one.digest for one in default_store().images()}
    return Image(name="web", mark=Mark(environment="test"), digest=digest_of(b"x"), format="kernel+initrd", architecture="x86_64",
        builder="assembler", yaml=yaml, sources=sources)

def load():
    default_store().import_path(layout)

def build():
    return dict(assembler.build(BuildRequest(image=image())).files)

def good():
    store = default_store()
    return all(store.has(one.digest) and store.entries(store.manifest(one.digest)) for one in store.images())
"""
KILLED = (
    COMMON
    + """
def killed_at(count, act):
    # Files become what they are by being renamed; before each of it, the process may die.
    pid = os.fork()
    if pid == 0:
        try:
            left = [count]
            def dying(real):
                def renamed(*arguments):
                    left[0] -= 1
                    if left[0] == 0:
                        os.kill(os.getpid(), signal.SIGKILL)
                    return real(*arguments)
                return renamed
            Path.replace, Path.rename = dying(Path.replace), dying(Path.rename)
            act()
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(pid, 0)[1])

def every(act, after, clean):
    count = 1
    while killed_at(count, act):
        assert good(), count
        after()
        clean()
        count += 1
    clean()
    return count - 1

def cleaned():
    for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME"):
        shutil.rmtree(os.environ[name], ignore_errors=True)

def loaded():
    load()
    assert good() and len(default_store().images()) == 3

seen = [every(load, loaded, cleaned)]
load()
right = {role: path.read_bytes() for role, path in build().items()}
def uncached():
    shutil.rmtree(os.environ["XDG_CACHE_HOME"])
def built():
    assert {role: path.read_bytes() for role, path in build().items()} == right
uncached()
seen.append(every(build, built, uncached))
print(seen)
"""
)
YAML = """
kernel: {image: "docker.io/i2kit/kernel:test"}
init: ["docker.io/i2kit/pod:test"]
services: [{name: web, image: "example/app:1", command: ["/bin/app"]}]
"""


def layout(folder: Path, app: dict[str, Any] = APP) -> Path:
    synthetic.Layout({**synthetic.load_images(DATA / "base.yml"), "docker.io/example/app:1": app}).write(folder)
    return folder


def test_killed_at_any_place_the_store_is_good_and_the_next_run_does_it(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(layout(tmp_path / "layout")), YAML]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    imports, builds = json.loads(done.stdout)
    # Layers, what is in them, configurations, manifests and the index; then segments, kernel and the image itself.
    assert imports > 10
    assert builds > 5


def test_what_was_never_finished_goes_after_a_day(store: ImageStore, tmp_path: Path) -> None:
    store.import_path(layout(tmp_path / "layout"))
    blobs = store.root / "blobs" / "sha256"
    cached = cache_home() / "layers"
    old, new, kept = cached / ".aside-old", cached / ".aside-new", cached / "other"
    for path in (old, new, kept, blobs / ".aside-killed", blobs / ("0" * 64)):
        path.write_text("half")
    os.utime(old, (0, 0))
    os.utime(kept, (0, 0))
    folders._sweep.cache_clear()
    with folders.written_aside(cached / "next") as aside:
        aside.write_text("whole")
    assert [path.exists() for path in (old, new, kept)] == [False, True, True]
    # In the store, nobody writes but who holds its lock.
    store.remove("example/app:1")
    assert not (blobs / ".aside-killed").exists()
    assert not (blobs / ("0" * 64)).exists()
    assert len(store.images()) == 2
    assert all(store.has(image.digest) for image in store.images())


# A disk that is full midway.

FULL = (
    COMMON
    + """
import subprocess
from i2kit.errors import I2kitError
data, cache = (Path(os.environ[name]) for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME"))

def mounted(folder, size):
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True)

def room(folder, size):
    subprocess.run(["mount", "-o", f"remount,size={size}", str(folder)], check=True)

def code(act):
    try:
        act()
    except I2kitError as error:
        return error.problems[0].code
    return "done"

def unfinished():
    return [str(path) for folder in (data, cache) for path in folder.rglob(".aside-*")]

mounted(data, "48k")
mounted(cache, "64m")
seen = [code(load), len(default_store().images()), unfinished()]
room(data, "64m")
seen += [code(load), len(default_store().images())]
for folder in ("layers", "trees"):
    shutil.rmtree(cache / "i2kit" / folder, ignore_errors=True)
room(cache, "16k")
seen += [code(build), [path.name for path in (cache / "i2kit" / "images").iterdir() if path.is_dir()], unfinished(), good()]
room(cache, "64m")
seen += [code(build), good()]
import json
print(json.dumps(seen))
"""
)


def test_a_full_disk_is_said_to_be_full_and_nothing_half_done_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = ["unshare", "--user", "--map-root-user", "--mount"]
    possible = subprocess.run([*own, "mount", "-t", "tmpfs", "tmpfs", str(tmp_path)], capture_output=True, text=True, check=False)
    if possible.returncode:
        pytest.skip(f"no file system of one's own can be mounted here: {possible.stderr.strip()}")
    for variable, name in (("XDG_DATA_HOME", "small-data"), ("XDG_CACHE_HOME", "small-cache")):
        monkeypatch.setenv(variable, str(tmp_path / name))
    source = layout(tmp_path / "layout", {"layers": [[{"file": "bin/app", "size": 60_000}]]})
    command = [*own, sys.executable, "-c", FULL, str(source), YAML]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == ["disk-full", 0, [], "done", 3, "disk-full", [], [], True, "done", True]


# Damage.


def test_a_layer_that_cannot_be_used_is_not_kept(store: ImageStore, tmp_path: Path) -> None:
    unsafe = {"layers": [[{"file": "good"}], [{"file": "../../etc/passwd"}]]}
    with pytest.raises(BuildError, match="leads out of the image"):
        store.import_path(layout(tmp_path / "layout", unsafe))
    names = {path.name for path in (store.root / "blobs" / "sha256").iterdir()}
    used = {digest.removeprefix("sha256:") for digest in synthetic.Layout({"a/app:1": unsafe}).blobs}
    assert not names & used
    assert store.find("example/app:1") is None


def test_a_layer_that_changed_in_the_store_is_never_built_in(store: ImageStore, tmp_path: Path) -> None:
    source = layout(tmp_path / "layout", {**APP, "compression": "none"})
    store.import_path(source)
    found = store.find("example/app:1")
    assert found is not None
    manifest = store.manifest(found.digest)
    layer = manifest.layers[0]
    data = bytearray(store.blob(layer.digest).read_bytes())
    data[600] ^= 1
    store.blob(layer.digest).write_bytes(data)
    (segment, *_) = segments.split(rootfs.place(store.entries(manifest), ""), manifest.layers)
    with pytest.raises(BuildError, match="not what its digest says any more") as caught:
        segments.write(segment, store.blob, tmp_path / "segment")
    assert caught.value.problems[0].code == "digest-mismatch"
    # One that is cut is seen without looking into it, and importing again mends both.
    store.import_path(source)
    segments.write(segment, store.blob, tmp_path / "segment")
    store.blob(layer.digest).write_bytes(data[:1000])
    assert not store.has(found.digest)
    store.import_path(source)
    assert store.has(found.digest)


def claim(records: dict[str, str] | None = None, kind: bytes = tarfile.REGTYPE, size: int = 0) -> bytes:
    info = tarfile.TarInfo("x")
    info.type, info.size, info.pax_headers = kind, size, records or {}
    return info.tobuf(tarfile.PAX_FORMAT if records else tarfile.GNU_FORMAT) + bytes(1024)


@pytest.mark.parametrize(
    "data",
    [
        claim(size=1 << 60),
        claim(size=-512),
        claim(kind=tarfile.GNUTYPE_LONGNAME, size=1 << 60),
        claim(kind=tarfile.XHDTYPE, size=1 << 60),
        claim({"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}),
        claim({"mtime": "nan", "size": "-1"}),
        claim()[:700],
        b"",
        bytes(100),
    ],
)
def test_what_the_headers_of_an_archive_claim_costs_nothing(data: bytes, store: ImageStore, tmp_path: Path) -> None:
    (tmp_path / "archive.tar").write_bytes(data)
    with pytest.raises(I2kitError) as caught:
        store.import_path(tmp_path / "archive.tar")
    assert [problem.code for problem in caught.value.problems] == ["image-malformed"]


# What an image may have.


def test_devices_and_rights_of_an_image_are_kept_as_linuxkit_keeps_them(tmp_path: Path) -> None:
    entries = [
        {"file": "bin/su", "mode": "4755", "text": "x"},
        {"file": "bin/wall", "mode": "2755", "text": "x", "gid": 5},
        {"dir": "srv", "mode": "1777"},
        {"char": "srv/zero", "mode": "0666", "device": [1, 5]},
        {"block": "srv/disk", "mode": "0600", "device": [8, 0]},
        {"fifo": "srv/pipe"},
    ]
    store = ImageStore(tmp_path / "store")
    synthetic.Layout({"a/app:1": {"layers": [entries]}}).write(tmp_path / "layout")
    (stored,) = store.import_path(tmp_path / "layout")
    manifest = store.manifest(stored.digest)
    data = io.BytesIO()
    for segment in segments.split(rootfs.place(store.entries(manifest), "lower"), manifest.layers):
        segments.write(segment, store.blob, tmp_path / "segment")
        data.write((tmp_path / "segment").read_bytes())
    tree, lost = initramfs.unpack(initramfs.entries(data.getvalue()))
    assert lost == []
    assert (tree["lower/bin/su"]["mode"], tree["lower/bin/wall"]["mode"], tree["lower/srv"]["mode"]) == ("4755", "2755", "1777")
    assert [tree[f"lower/srv/{name}"]["type"] for name in ("zero", "disk", "pipe")] == ["char", "block", "fifo"]
