"""The wheel holds all that a machine without this clone needs, and a plug-in installed beside it is found and used."""

from __future__ import annotations

import configparser
import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MACHINES = {"x86_64": 62, "aarch64": 183}
"""ELF's numbers of the architectures (elf.h, e_machine)."""

pytestmark = pytest.mark.packaging


def call(*command: str | Path, cwd: Path | None = None, **environment: str) -> str:
    # What pytest or this venv set is not what a user's shell has.
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(command, cwd=cwd, env=clean | environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def copy(source: Path, target: Path) -> Path:
    """Copy a source folder without what builds and tests have left in it: a wheel of it is a wheel of a clean clone."""
    leftovers = (".*", "__pycache__", "build", "dist", "out", "*.egg-info", "tests")
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(*leftovers), dirs_exist_ok=True)
    shutil.rmtree(target / "i2kit" / "guest", ignore_errors=True)
    return target


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    # Compiling Go's own library takes most of the time; its cache is keyed by content, and shared with `go test` by hand.
    cache = os.environ.get("GOCACHE", str(Path.home() / ".cache" / "go-build"))
    source = copy(ROOT, folder / "source")
    call(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, source, GOCACHE=cache)
    (made,) = folder.glob("i2kit-*.whl")
    return made


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of a fresh venv with the wheel, and with the plug-in installed from its folder."""
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, with_pip=True)
    plugin = copy(ROOT / "tests" / "downstream", folder / "plugin")
    call(folder / "bin" / "pip", "install", "--quiet", f"{wheel}[local]", plugin)
    return folder / "bin"


@pytest.mark.parametrize("architecture", MACHINES)
def test_the_guest_is_in_the_wheel_for(architecture: str, wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        header = archive.read(f"i2kit/guest/{architecture}/init")[:20]
    assert header[:4] == b"\x7fELF"
    assert int.from_bytes(header[18:20], "little") == MACHINES[architecture]


def test_the_wheel_has_every_module_type_marker_and_entry_point_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (entry_points,) = [archive.read(name).decode() for name in names if name.endswith("/entry_points.txt")]
    source = wheel.parent / "source"
    folders = [(source / "i2kit", "i2kit"), *((path, path.name) for path in (source / "providers").glob("i2kit_*"))]
    sources = {f"{name}/{path.relative_to(root)}" for root, name in folders for path in (*root.rglob("*.py"), *root.rglob("py.typed"))}
    guests = {f"i2kit/guest/{architecture}/init" for architecture in MACHINES}
    assert {name for name in names if ".dist-info/" not in name} == sources | guests
    parser = configparser.ConfigParser()
    parser.read_string(entry_points)
    assert parser["console_scripts"]["i2kit"] == "i2kit.cli:main"
    assert parser["i2kit.providers"]["local"] == "i2kit_local.plugin"


def test_a_plugin_installed_from_its_folder_is_listed(installed: Path, tmp_path: Path) -> None:
    listed = {one["name"]: one for one in json.loads(call(installed / "i2kit", "providers", "-o", "json", cwd=tmp_path))}
    assert set(listed) == {"aws", "local", "memory"}
    assert {one["error"] for one in listed.values()} == {""}
    assert listed["memory"]["source"] == "i2kit-memory 0.1"


def test_hellos_plan_applies_on_the_plugin(installed: Path, tmp_path: Path) -> None:
    # The image store is the machine's, where `make image-hello` has put hello's; here it may have to be made first.
    if "hello:1" not in call(installed / "i2kit", "images", "ls", cwd=tmp_path):
        call(installed / "python", ROOT / "examples" / "hello" / "image" / "build.py", "--out", tmp_path / "layout", cwd=tmp_path)
    cloud, environment = tmp_path / "cloud.json", tmp_path / "environment.yml"
    environment.write_text(f"name: downstream\nprovider: {{type: memory, path: {cloud}}}\n")
    hello = ("-f", str(ROOT / "examples" / "hello"), "-e", str(environment))
    call(installed / "i2kit", "deploy", *hello, cwd=tmp_path)
    status = json.loads(call(installed / "i2kit", "status", *hello, "-o", "json", cwd=tmp_path))
    (workload,) = status["workloads"]
    assert (status["provider"], workload["desired"], workload["ready"]) == ("memory", 2, 2)
    plan = json.loads(call(installed / "i2kit", "plan", *hello, "-o", "json", cwd=tmp_path))
    assert {change["action"] for change in plan["changes"]} == {"no-op"}
    call(installed / "i2kit", "destroy", *hello, cwd=tmp_path)
    state = json.loads(cloud.read_text())["downstream"]
    assert {part: there for part, there in state.items() if there} == {}
