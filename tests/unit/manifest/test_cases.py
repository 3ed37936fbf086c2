"""Each file of tests/cases/manifest: a manifest, and what becomes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from i2kit.errors import InvalidInput
from i2kit.manifest import loads

from .rendering import rendered, rendered_problem

CASES = Path(__file__).parents[2] / "cases" / "manifest"


def read(path: Path) -> dict[str, Any]:
    case: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return case


@pytest.mark.parametrize("path", sorted(CASES.glob("*.yaml")), ids=lambda path: path.stem)
def test_manifest_gives_what_its_case_says(path: Path) -> None:
    case = read(path)
    if "errors" in case:
        with pytest.raises(InvalidInput) as caught:
            loads(case["manifest"])
        assert [rendered_problem(problem) for problem in caught.value.problems] == case["errors"]
    else:
        assert rendered(loads(case["manifest"])) == case["expected"]


def test_every_problem_names_its_file_and_what_was_expected() -> None:
    for path in CASES.glob("*.yaml"):
        case = read(path)
        if "errors" in case:
            with pytest.raises(InvalidInput) as caught:
                loads(case["manifest"], name="given.yaml")
            for problem in caught.value.problems:
                assert problem.where is not None
                assert problem.where.file == "given.yaml"
                assert problem.expected or problem.hint or problem.code == "refused-kind", problem


def test_no_value_of_a_secret_is_shown() -> None:
    case = read(CASES / "secrets-stay-secret.yaml")
    with pytest.raises(InvalidInput) as caught:
        loads(case["manifest"])
    assert "hunter2" not in str(caught.value)
    assert "31337" not in str(caught.value)
    shown = repr(loads(read(CASES / "environment-variables.yaml")["manifest"]))
    assert "hunter2" not in shown
    assert "admin" not in shown
