"""The examples in the public docstrings are true, and every stage has one."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

import i2kit

ROOT = Path(i2kit.__file__).parent
MODULES = sorted(".".join(path.relative_to(ROOT.parent).with_suffix("").parts) for path in ROOT.rglob("*.py") if ">>>" in path.read_text())
STAGES = ("load", "resolve", "plan", "observe", "diff", "apply", "deploy", "destroy", "status", "logs", "build", "graph", "providers")


@pytest.mark.parametrize("module", MODULES)
def test_examples_are_true(module: str) -> None:
    results = doctest.testmod(importlib.import_module(module), raise_on_error=False, optionflags=doctest.ELLIPSIS)
    assert results.failed == 0
    assert results.attempted > 0


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_has_an_example(stage: str) -> None:
    assert ">>> " in (getattr(i2kit, stage).__doc__ or "")
