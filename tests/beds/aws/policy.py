"""Whether the policies that i2kit publishes allow a request of the journal, as far as actions and marks go."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from aws.marks import MARK
from i2kit_aws.permissions import MADE, OURS, Condition, statements


def refused(entry: dict[str, Any]) -> list[str]:
    """Return the permissions that a request needs and the policies do not give."""
    return [one for one in entry["permissions"] if not _allowed(one, entry)]


def _allowed(permission: str, entry: dict[str, Any]) -> bool:
    """A permission that asks for a mark somewhere is given only with one, though another statement lets it have what is there already."""
    conditions = [statement.condition for statement in statements() if permission in statement.actions]
    asked = [one for one in conditions if one] or conditions
    return any(_holds(one, entry) for one in asked)


def _holds(condition: Condition, entry: dict[str, Any]) -> bool:
    # What was refused anyway, for what is not there, has no marks to speak of.
    if condition == MADE:
        return MARK in _given(entry["parameters"]) or entry["status"] >= 400
    if condition == OURS:
        return not entry["unmarked"] or entry["status"] >= 400
    name = entry["action"].partition(":")[2]
    return all(name in one for key, one in condition.get("StringEquals", {}).items() if key.endswith(":CreateAction"))


def _given(parameters: dict[str, Any]) -> set[str]:
    """Return the keys of the tags that a request gives."""
    return {str(one["Key"]) for one in _tags(parameters)}


def _tags(parameters: dict[str, Any]) -> Iterable[dict[str, Any]]:
    yield from parameters.get("Tags", [])
    for specification in parameters.get("TagSpecifications", []):
        yield from specification.get("Tags", [])
