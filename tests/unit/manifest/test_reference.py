"""The reference pages say what the reader does: their tables are its tables, and each row is tried."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from i2kit.errors import InvalidInput, Problem
from i2kit.manifest import loads, reference
from i2kit.manifest.kinds import KINDS
from i2kit.manifest.table import Row

ROOT = Path(__file__).parents[3]
PAGES = ROOT / "docs" / "reference"

LABELS = {"app": "web"}
CONTAINER: dict[str, Any] = {"name": "web", "image": "nginx"}
BASES: dict[str, dict[str, Any]] = {
    "Deployment": {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "selector": {"matchLabels": LABELS},
            "template": {"metadata": {"labels": LABELS}, "spec": {"containers": [CONTAINER], "volumes": [{"name": "v"}]}},
        },
    },
    "Service": {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {"selector": LABELS, "ports": [{"port": 80}]},
    },
    "ConfigMap": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "conf"}},
    "Secret": {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}},
    "HorizontalPodAutoscaler": {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web"},
        "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "web"}, "maxReplicas": 3},
    },
    "PodDisruptionBudget": {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "web"},
        "spec": {"selector": {"matchLabels": LABELS}},
    },
    "simplified form": {"name": "web", "containers": [CONTAINER]},
}
NEEDED: dict[str, dict[str, Any]] = {
    "volumeMounts": {"name": "v", "mountPath": "/v"},
    "seccompProfile": {"type": "Unconfined"},
    "volumes": {"name": "v"},
    "ports": {"containerPort": 81, "port": 81},
}
"""What a mapping needs besides the field that is tried."""

ROWS = [
    pytest.param(kind, name, row, id=f"{kind}-{name}")
    for kind, table in reference.tables().items()
    if kind in BASES
    for name, row in table.fields()
]


def with_field(base: dict[str, Any], name: str, value: Any) -> tuple[dict[str, Any], str]:
    """Set a field given as ``spec.ports[].port``, with what lies above it; return the object and the path in Kubernetes' notation."""
    given = copy.deepcopy(base)
    *parents, last = re.findall(r"\[[^\]]+\]|(?:nvidia\.com/|amd\.com/)?[^.\[\]]+(?:\[\])?", name)
    at: Any = given
    path = ""
    for part in parents:
        key, listed = part.removesuffix("[]"), part.endswith("[]")
        path += f".{key}[0]" if listed else f".{key}"
        known = {field for field in NEEDED.get(key, {}) if key != "ports" or ("containers" in path) == (field == "containerPort")}
        new = {field: NEEDED[key][field] for field in known}
        at = at.setdefault(key, [new] if listed else new)
        at = at[0] if listed else at
    if last.startswith("["):
        at[last[1:-1]] = value
        return given, f"{path}{last}".removeprefix(".")
    at[last.removesuffix("[]")] = value
    return given, f"{path}.{last.removesuffix('[]')}".removeprefix(".")


def outcome(given: dict[str, Any]) -> tuple[list[Problem], dict[str, str]]:
    """Return the problems, and the notices by path."""
    try:
        return [], {notice.where.path: notice.message for notice in loads(yaml.safe_dump(given)).notices}
    except InvalidInput as error:
        return list(error.problems), {}


def test_the_pages_tables_are_the_readers_tables() -> None:
    for name in ("manifest.md", "environment.md"):
        page = (PAGES / name).read_text(encoding="utf-8")
        assert page == reference.renewed(page), f"python -m i2kit.manifest.reference {PAGES.relative_to(ROOT)}"


def test_every_table_stands_on_a_page() -> None:
    text = "".join((PAGES / name).read_text(encoding="utf-8") for name in ("manifest.md", "environment.md"))
    for name in (*reference.tables(), reference.KINDS_TABLE):
        assert f"<!-- table: {name} -->" in text


@pytest.mark.parametrize(("kind", "name", "row"), [param for param in ROWS if param.values[2].verdict == "refused"])
def test_a_refused_field_is_an_error_with_its_reason(kind: str, name: str, row: Row) -> None:
    given, path = with_field(BASES[kind], name, {"given": "x"})
    found = [problem for problem in outcome(given)[0] if problem.where and problem.where.path == path]
    assert [problem.code for problem in found] == ["refused-field"]
    assert row.reason in found[0].message
    for value in row.harmless:
        given, path = with_field(BASES[kind], name, yaml.safe_load(value) if value == "{}" else value)
        assert not [problem for problem in outcome(given)[0] if problem.where and problem.where.path == path]


@pytest.mark.parametrize(("kind", "name", "row"), [param for param in ROWS if param.values[2].verdict == "ignored"])
def test_an_ignored_field_is_a_notice_with_its_reason(kind: str, name: str, row: Row) -> None:
    given, path = with_field(BASES[kind], name, {"given": "x"})
    neighbours = [BASES["Deployment"]] if kind in ("Service", "HorizontalPodAutoscaler") else []
    notices = loads(yaml.safe_dump_all([given, *neighbours])).notices
    assert f"ignored: {row.reason}" in [notice.message for notice in notices if notice.where.path == path]


@pytest.mark.parametrize(("kind", "name", "row"), [param for param in ROWS if param.values[2].verdict == "supported"])
def test_a_supported_field_is_known_and_its_type_is_checked(kind: str, name: str, row: Row) -> None:
    value = {"-": []} if "mapping" in reference.type_name(row) else [["x"]]
    given, path = with_field(BASES[kind], name, value)
    found = [problem for problem in outcome(given)[0] if problem.where and problem.where.path.startswith(path)]
    assert found, f"{path} takes anything"
    assert not any(problem.code in ("refused-field",) for problem in found if problem.where and problem.where.path == path)


@pytest.mark.parametrize("name", [kind.name for kind in KINDS.values() if kind.verdict != "supported"])
def test_other_kinds_are_ignored_or_refused_with_their_reason(name: str) -> None:
    problems, notices = outcome({"apiVersion": "x/v1", "kind": name, "metadata": {"name": "x"}})
    kind = KINDS[name]
    if kind.verdict == "refused":
        assert [(problem.code, kind.reason in problem.message) for problem in problems] == [("refused-kind", True)]
    else:
        assert kind.reason in notices[""]


def test_every_code_stands_in_the_errors_page() -> None:
    page = (PAGES / "errors.md").read_text(encoding="utf-8")
    sources = [*(ROOT / "i2kit" / "manifest").glob("*.py"), ROOT / "i2kit" / "environment.py"]
    codes = {
        code
        for source in sources
        for code in re.findall(r'(?:\.problem\(|Problem\(|code=)\s*(?:code=)?"([a-z][a-z0-9-]+)"', source.read_text(encoding="utf-8"))
    }
    codes |= {"invalid-name", "invalid-value", "invalid-base64"}
    assert "selects-nothing" in codes
    assert sorted(code for code in codes if f"\n### {code}\n" not in page) == []
