"""`--no-cache` makes everything again but what was downloaded."""

from __future__ import annotations

from pathlib import Path

from conftest import ROOT, Machine

from i2kit.images.folders import file_digest

HELLO = str(ROOT / "examples" / "hello")


def seen(folder: Path) -> dict[str, tuple[int, int]]:
    """Return every file below a folder, by what changes when it is written again."""
    return {
        str(path): (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file() and path.stat().st_size
    }


def test_everything_is_built_again_from_the_packages_that_are_there(machine: Machine) -> None:
    environment = machine.write("nowhere.yml", "base: {mirror: 'http://127.0.0.1:9/debian'}\n")
    cache, packages = machine.home / "cache" / "i2kit", machine.home / "data" / "i2kit" / "store" / "debs"
    machine.run("build", "-f", HELLO)
    built = {path: file_digest(Path(path)) for path in seen(cache / "images")}
    before, downloaded = seen(cache / "images") | seen(cache / "segments"), seen(packages)
    assert before
    assert downloaded
    machine.run("build", "-f", HELLO, "--no-cache", "-e", environment)
    after = seen(cache / "images") | seen(cache / "segments")
    # Of what the build is made of; other tests have built in these folders.
    again = {path for path in before if after[path] != before[path]}
    assert {Path(path).name for path in again} >= {"kernel", "initrd", "cmdline"}
    assert any("/segments/" in path for path in again)
    assert {path: file_digest(Path(path)) for path in built} == built
    assert seen(packages) == downloaded
