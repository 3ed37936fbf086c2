"""Root disks, at a length that `make test` has no time for: a gigabyte served by a VM with a quarter of that."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from imagevm import ImageVm

from i2kit.images.store import ImageStore

ROOT = Path(__file__).parents[2]
FILES, FILE_MIB = 32, 32
MEMORY_MIB = 256
SCRIPT = "busybox cat /data/* | busybox sha256sum; exec httpd -f -p 8080 -h /www"


@pytest.fixture
def scratch() -> Iterator[Path]:
    # pytest would keep gigabytes for the next runs.
    with tempfile.TemporaryDirectory(prefix="i2kit-") as folder:
        yield Path(folder)


@pytest.fixture
def environment(scratch: Path) -> dict[str, str]:
    # The store is the machine's, where the base lies and `make images` has put hello; the gigabyte stays out of it.
    store = scratch / "data" / "i2kit" / "store"
    store.parent.mkdir(parents=True)
    kept = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "i2kit" / "store"
    subprocess.run(["cp", "--archive", "--reflink=auto", str(kept), str(store)], check=True)
    return {**os.environ, "XDG_DATA_HOME": str(scratch / "data"), "XDG_CACHE_HOME": str(scratch / "cache")}


def data(folder: Path) -> tuple[Path, str]:
    """Write a layer of a gigabyte that does not compress; return it, and the digest of all its files in a row."""
    noise, digest = random.Random(1), hashlib.sha256()
    layer, file = folder / "data.tar", folder / "file"
    with tarfile.open(layer, "w") as archive:
        for number in range(FILES):
            with file.open("wb") as stream:
                for _ in range(FILE_MIB):
                    piece = noise.randbytes(1 << 20)
                    digest.update(piece)
                    stream.write(piece)
            archive.add(file, f"data/{number:02}")
    return layer, digest.hexdigest()


def test_an_image_of_a_gigabyte_is_read_to_its_end_in_a_vm_of_256_mib(scratch: Path, environment: dict[str, str]) -> None:
    def i2kit(*arguments: str) -> str:
        command = [sys.executable, "-m", "i2kit.cli", *arguments]
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout

    hello = ImageStore(ROOT / "out" / "images" / "hello")
    small = hello.blob(hello.manifest(hello.images()[0].digest).layers[0].digest)
    large, expected = data(scratch)
    config = {"Entrypoint": ["/bin/busybox", "sh", "-c", SCRIPT], "Env": ["PATH=/bin"], "WorkingDir": "/"}
    ImageStore(scratch / "layout").add("large:1", [small, large], config)
    large.unlink()
    i2kit("images", "import", str(scratch / "layout"))
    limits = {"limits": {"memory": f"{MEMORY_MIB - 68}Mi"}}
    labels = {"app": "large"}
    spec = {
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "web", "image": "large:1", "resources": limits}]}},
    }
    manifest = scratch / "large.yaml"
    manifest.write_text(json.dumps({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "large"}, "spec": spec}))
    planned = json.loads(i2kit("plan", "-f", str(manifest), "-o", "json"))["resources"]
    assert [one["memory_mib"] for one in planned if one["kind"] == "InstanceGroup"] == [MEMORY_MIB]
    i2kit("build", "-f", str(manifest), "--out", str(scratch / "image"))
    assert (scratch / "image" / "root").stat().st_size > 1 << 30
    with ImageVm(scratch / "image", scratch / "vm", MEMORY_MIB) as vm:
        assert b"Hello" in vm.served("/", seconds=900)
        assert f"[web] {expected}  -" in vm.console().splitlines()
