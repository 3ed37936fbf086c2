"""What may import what: the library knows no provider and no SDK; providers know the library's public side only."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "i2kit"
PROVIDERS = sorted(path.parent for path in (ROOT / "providers").glob("i2kit_*/__init__.py"))
PLUGINS = [*PROVIDERS, ROOT / "tests" / "downstream" / "i2kit_memory"]
SDKS = {"libcloud", "boto3", "botocore", "google", "googleapiclient", "openstack", "keystoneauth1", "supervisor"}


def imports(path: Path, package: str) -> Iterator[tuple[int, str]]:
    """Yield the line and the full name of everything that a module imports, relative imports made absolute."""
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            base = [*package.split(".")[: len(package.split(".")) - node.level + 1]] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "import_module":
            yield from ((node.lineno, str(one.value)) for one in node.args if isinstance(one, ast.Constant))


def found(folder: Path) -> list[tuple[Path, int, str]]:
    return [
        (path, line, name)
        for path in sorted(folder.rglob("*.py"))
        for line, name in imports(path, ".".join(path.relative_to(folder.parent).parent.parts))
    ]


def shown(path: Path, line: int, name: str) -> str:
    return f"{path.relative_to(ROOT) if path.is_relative_to(ROOT) else path}:{line} imports {name}"


def broken_library(folder: Path) -> list[str]:
    """The library imports neither an SDK nor any provider."""
    return [shown(*one) for one in found(folder) if (top := one[2].split(".")[0]) in SDKS or top.startswith("i2kit_")]


def broken_plugin(folder: Path) -> list[str]:
    """A plug-in imports nothing private of the library, and an SDK in gateway.py and that one's private modules (_*.py) only."""
    broken = []
    for path, line, name in found(folder):
        parts = name.split(".")
        private = parts[0] == "i2kit" and any(part.startswith("_") and part != "__version__" for part in parts)
        foreign = parts[0].startswith("i2kit_") and parts[0] != folder.name
        behind = path.name == "gateway.py" or (path.name.startswith("_") and path.name != "__init__.py")
        sdk = not behind and (parts[0] in SDKS or (parts[0] == folder.name and any(part.startswith("_") for part in parts)))
        if private or foreign or sdk:
            broken.append(shown(path, line, name))
    return broken


def test_the_library_imports_no_sdk_and_no_provider() -> None:
    assert broken_library(LIBRARY) == []


@pytest.mark.parametrize("folder", PLUGINS, ids=lambda folder: folder.name)
def test_a_plugin_imports_the_public_side_only_and_its_sdk_in_its_gateway(folder: Path) -> None:
    assert found(folder), "there is nothing to look at"
    assert broken_plugin(folder) == []


def test_plugins_use_what_the_documented_api_has() -> None:
    """The model imports from the modules that docs/plugin-authors names, and from no other."""
    documented = (ROOT / "docs" / "plugin-authors" / "hooks.md").read_text()
    used = {".".join(name.split(".")[:2]) for _, _, name in found(PLUGINS[-1]) if name.startswith("i2kit.")}
    assert {module for module in used if f"`{module}`" not in documented} == set()


@pytest.mark.parametrize(
    ("text", "broken"),
    [
        ("import libcloud.compute", True),
        ("from libcloud import compute", True),
        ("def f():\n    import i2kit_local", True),
        ("import importlib\nimportlib.import_module('i2kit_aws.plugin')", True),
        ("from i2kit.driver import Driver", False),
    ],
)
def test_a_breach_in_the_library_is_found(tmp_path: Path, text: str, broken: bool) -> None:
    (tmp_path / "i2kit").mkdir()
    (tmp_path / "i2kit" / "module.py").write_text(text)
    assert bool(broken_library(tmp_path / "i2kit")) is broken


@pytest.mark.parametrize(
    ("file", "text", "broken"),
    [
        ("driver.py", "from i2kit._version import __version__", True),
        ("driver.py", "from i2kit import __version__", False),
        ("driver.py", "from i2kit.records import _boot_id", True),
        ("driver.py", "from i2kit_local import netns", True),
        ("driver.py", "import boto3", True),
        ("gateway.py", "import boto3", False),
        ("__init__.py", "import boto3", True),
        ("_clients.py", "import boto3", False),
        ("gateway.py", "from i2kit_x._clients import Session", False),
        ("driver.py", "from i2kit_x._clients import Session", True),
        ("driver.py", "from . import _clients", True),
        ("driver.py", "from . import gateway\nfrom .gateway import call\nfrom i2kit_x.gateway import call", False),
    ],
)
def test_a_breach_in_a_plugin_is_found(tmp_path: Path, file: str, text: str, broken: bool) -> None:
    (tmp_path / "i2kit_x").mkdir()
    (tmp_path / "i2kit_x" / file).write_text(text)
    assert bool(broken_plugin(tmp_path / "i2kit_x")) is broken
