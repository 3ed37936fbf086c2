"""What authors of plug-ins are told is true: hooks and methods with their signatures, and the tutorial as it is written."""

from __future__ import annotations

import inspect
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from i2kit import driver, hookspecs
from i2kit.capabilities import Capability

DOCS = Path(__file__).resolve().parents[2] / "docs" / "plugin-authors"
HOOKS = [one for name, one in vars(hookspecs).items() if name.startswith("i2kit_")]
METHODS = [
    one
    for protocol in (driver.Driver, driver.Context)
    for name, one in vars(protocol).items()
    if not name.startswith("_") and inspect.isfunction(one)
]


def signature(function: Callable[..., Any]) -> str:
    """The signature as it stands in the source, where annotations are text."""
    return function.__name__ + re.sub(r"'([^']*)'", r"\1", str(inspect.signature(function)))


@pytest.mark.parametrize("function", [*HOOKS, *METHODS], ids=lambda one: one.__qualname__)
def test_every_hook_and_method_is_documented_with_its_signature(function: Callable[..., Any]) -> None:
    assert f"### `{signature(function)}`" in (DOCS / "hooks.md").read_text()


def test_no_hook_is_documented_that_does_not_exist() -> None:
    documented = re.findall(r"^### `(\w+)\(", (DOCS / "hooks.md").read_text(), re.MULTILINE)
    assert set(documented) == {function.__name__ for function in (*HOOKS, *METHODS)}


@pytest.mark.parametrize("capability", Capability, ids=lambda one: one.name)
def test_every_capability_is_documented(capability: Capability) -> None:
    assert f"| `{capability.name}` | {capability.value} |" in (DOCS / "hooks.md").read_text()


# A file is named on the line before its block; a command and its output share one.
STEPS = re.compile(
    r"^`(?P<file>[\w./]+)`:\n\n```\w+\n(?P<text>.*?)^```|^```console\n\$ (?P<command>[^\n]*)\n(?P<output>.*?)^```", re.M | re.S
)
DIST_INFO = "i2kit_paper-0.1.dist-info"


def test_the_tutorial_works_as_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "i2kit_paper").mkdir()
    (tmp_path / "i2kit_paper" / "__init__.py").touch()
    ran = []
    for step in STEPS.finditer((DOCS / "tutorial.md").read_text()):
        if step["file"]:
            (tmp_path / step["file"]).write_text(step["text"])
            if step["file"].endswith("policy.py"):
                install(tmp_path)
            continue
        install(tmp_path)
        output = shell(step["command"], tmp_path)
        ran.append(step["command"])
        assert words(output) == words(step["output"]), f"$ {step['command']}\n{output}"
    assert len(ran) == 4


def words(text: str) -> list[str]:
    """The text without what differs from run to run: the time that tests took, the width of columns."""
    return re.sub(r" in \d+\.\d+s", "", text).split()


def install(folder: Path) -> None:
    """Do as `pip install -e .` does, as far as Python's own look at installed distributions goes."""
    info = folder / DIST_INFO
    shutil.rmtree(info, ignore_errors=True)
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: i2kit-paper\nVersion: 0.1\n")
    groups = "[i2kit.providers]\npaper = i2kit_paper.plugin\n"
    if (folder / "i2kit_paper" / "policy.py").exists():
        groups += "[i2kit.plugins]\npaper-policy = i2kit_paper.policy\n"
    (info / "entry_points.txt").write_text(groups)


def shell(command: str, folder: Path) -> str:
    done = subprocess.run(
        command,
        shell=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout or done.stderr
