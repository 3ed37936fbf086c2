"""Layers, at a length that `make test` has no time for: many broken ones, and one of a hundred thousand files."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from brokentars import broken, check, laid
from hypothesis import HealthCheck, given, settings

FILES = 100_000
MEMORY = 1 << 30


@settings(max_examples=20_000, suppress_health_check=list(HealthCheck))
@given(broken())
def test_no_broken_layer_of_many_is_anything_but_a_tree_or_a_clear_error(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, tar: tuple[bytes, bytes]
) -> None:
    base = tmp_path_factory.getbasetemp()
    monkeypatch.setenv("XDG_CACHE_HOME", str(base / "cache"))
    check(*laid(base, *tar))


BOUNDED = """
import resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[2]), int(sys.argv[2])))
from i2kit.images.inspection import locked_image
from i2kit.images.rootfs import place
from i2kit.images.segments import split, write
from i2kit.images.store import default_store
store = default_store()
image = locked_image(store, store.add("many:1", [Path(sys.argv[1])]))
manifest = store.manifest(image.digest)
for segment in split(place(store.entries(manifest), "rootfs"), manifest.layers):
    write(segment, store.blob, Path(sys.argv[1] + ".segment"))
print(image.inventory.files)
"""


def test_a_hundred_thousand_files_are_imported_and_built_within_a_gigabyte(tmp_path: Path) -> None:
    path = tmp_path / "layer.tar"
    with tarfile.open(path, "w") as archive:
        for number in range(FILES):
            archive.addfile(tarfile.TarInfo(f"usr/share/{number // 1000}/a-file-with-a-name-{number}"))
    environment = {**os.environ, "XDG_DATA_HOME": str(tmp_path / "data"), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    command = [sys.executable, "-c", BOUNDED, str(path), str(MEMORY)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == FILES
