"""The examples in the public docstrings are true, and every stage has one."""

from __future__ import annotations

import doctest
import importlib
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

import pytest

import i2kit
from i2kit import registry

ROOT = Path(i2kit.__file__).parent
EXAMPLES = [
    (module, example)
    for path in sorted(ROOT.rglob("*.py"))
    if ">>> " in path.read_text()
    for module in [importlib.import_module(".".join(path.relative_to(ROOT.parent).with_suffix("").parts))]
    for example in doctest.DocTestFinder(exclude_empty=True).find(module)
    if example.examples
]
STAGES = ("load", "resolve", "plan", "observe", "diff", "apply", "deploy", "destroy", "status", "logs", "build", "graph", "providers")


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> i2kit.Environment:
    """An environment that the examples can use as they like: in memory, new for each."""
    memory = EntryPoint(name="memory", value="i2kit_memory.plugin", group=registry.GROUP)
    monkeypatch.setattr(
        registry, "entry_points", lambda group: [*entry_points(group=group), *([memory] if group == registry.GROUP else [])]
    )
    monkeypatch.chdir(ROOT.parent)
    return i2kit.Environment(name="docs", provider="memory", settings={"path": str(tmp_path / "cloud.json")})


@pytest.mark.parametrize("example", [pytest.param(example, id=example.name) for _, example in EXAMPLES])
def test_examples_are_true(example: doctest.DocTest, environment: i2kit.Environment) -> None:
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    example.globs["environment"] = environment
    assert runner.run(example).failed == 0


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_has_an_example(stage: str) -> None:
    assert ">>> " in (getattr(i2kit, stage).__doc__ or "")
