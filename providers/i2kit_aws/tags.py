"""Marks and other facts as tags, and back. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from i2kit.resources import Mark

PREFIX = "i2kit:"
ENVIRONMENT = f"{PREFIX}environment"
_FIELDS = ("environment", "application", "namespace", "workload", "revision")


def tags_of(mark: Mark, name: str, **more: str) -> dict[str, str]:
    """Return the tags that a resource called `name` is created with; `more` are facts of its kind (``i2kit:<fact>``).

    >>> tags_of(Mark(environment="prod"), "net", zone="shop.internal")
    {'Name': 'net', 'i2kit:schema': '1', 'i2kit:environment': 'prod', 'i2kit:zone': 'shop.internal'}
    """
    facts = {one: getattr(mark, one) for one in _FIELDS} | more
    return {"Name": name, f"{PREFIX}schema": str(mark.schema), **{f"{PREFIX}{one}": value for one, value in facts.items() if value}}


def mark_of(tags: Mapping[str, str]) -> Mark | None:
    """Return the mark that tags carry; None when they carry none."""
    if not tags.get(ENVIRONMENT):
        return None
    return Mark(schema=int(tags.get(f"{PREFIX}schema", "1")), **{one: tags.get(f"{PREFIX}{one}", "") for one in _FIELDS})


def fact(tags: Mapping[str, str], name: str, default: str = "") -> str:
    """Return a fact of a resource's kind.

    >>> fact({"i2kit:zone": "shop.internal"}, "zone")
    'shop.internal'
    """
    return tags.get(f"{PREFIX}{name}", default)


def listed(tags: Mapping[str, str], **beside: Any) -> list[dict[str, Any]]:
    """Return tags as most of AWS's requests take them; `beside` goes into each (``PropagateAtLaunch=True``)."""
    return [{"Key": name, "Value": value, **beside} for name, value in tags.items()]


def unlisted(tags: Iterable[Mapping[str, Any]] | None) -> dict[str, str]:
    """Return tags out of an answer as a mapping."""
    return {str(one["Key"]): str(one["Value"]) for one in tags or ()}


def changes(held: Mapping[str, str], wanted: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Return which tags to set, and the names of i2kit's own to remove, so that those that are held become those wanted; others' stay.

    >>> changes({"team": "shop", "i2kit:port": "80", "Name": "a"}, {"Name": "b"})
    ({'Name': 'b'}, ['i2kit:port'])
    """
    stale = sorted(name for name in held if name.startswith(PREFIX) and name not in wanted)
    return {name: value for name, value in wanted.items() if held.get(name) != value}, stale


def specification(tags: Mapping[str, str], *kinds: str) -> list[dict[str, Any]]:
    """Return the ``TagSpecifications`` of an EC2 request that makes these kinds of resources."""
    return [{"ResourceType": kind, "Tags": listed(tags)} for kind in kinds]


def having(tags: Mapping[str, str | Sequence[str]]) -> list[dict[str, Any]]:
    """Return the ``Filters`` of an EC2 request for resources that have these tags."""
    return [{"Name": f"tag:{name}", "Values": [value] if isinstance(value, str) else list(value)} for name, value in tags.items()]
