"""What a case file compares: Workloads and problems as plain data, defaults and places left out where they say nothing."""

from __future__ import annotations

from typing import Any

import attrs

from i2kit.errors import Problem, Where
from i2kit.manifest.workloads import SecretValue, Workloads


def rendered(workloads: Workloads) -> dict[str, Any]:
    data = _plain(workloads)
    data.pop("sources", None)
    return data


def rendered_problem(problem: Problem) -> dict[str, Any]:
    where = problem.where
    place = f"{where.line or ''} {where.path}".strip() if where else ""
    return {problem.code: place, "says": problem.message} | ({"hint": problem.hint} if problem.hint else {})


def _plain(value: Any) -> Any:
    if isinstance(value, Where):
        return f"{value.line} {value.path}".strip()
    if isinstance(value, SecretValue):
        return value.reveal().decode()
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if not attrs.has(type(value)):
        return value
    fields = {field.name: (getattr(value, field.name), field.default) for field in attrs.fields(type(value))}
    said = {name: pair for name, pair in fields.items() if not name.endswith("_where")}
    shown = {name: _plain(item) for name, (item, default) in said.items() if item != default and item not in ((), {}, None)}
    return {type(value).__name__: shown} if type(value).__name__.startswith(("Env", "Http", "Tcp", "Exec", "Config", "Secret")) else shown
