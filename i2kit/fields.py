"""What differs between two states of a resource, field by field, in the words of the manifests. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs

from i2kit.differences import boot_differences
from i2kit.resources import Backend, BalancerPort, Resource
from i2kit.strategy import Scaling

# A mark says who made a resource, not what it is; the others are in an image's digest.
_NOT_COMPARED = frozenset({"mark", "kind", "yaml", "sources"})
_LABELS = {
    "memory_mib": "memory in MiB",
    "cpu_millis": "cpu in thousandths of a core",
    "grace_seconds": "terminationGracePeriodSeconds",
    "min_ready_seconds": "minReadySeconds",
    "progress_deadline_seconds": "progressDeadlineSeconds",
    "dns_zone": "DNS zone",
}


def field_differences(desired: Resource, seen: Resource) -> tuple[str, ...]:
    """Return how `seen` has to change to be `desired`, a sentence part each (``"replicas 2 -> 3"``); empty when it is as it should be.

    Both are of one kind. Their marks are not compared.
    """
    return tuple(
        difference
        for attribute in attrs.fields(type(desired))
        if attribute.name not in _NOT_COMPARED
        for before, after in [(getattr(seen, attribute.name), getattr(desired, attribute.name))]
        if before != after
        for difference in _field(attribute.name, before, after)
    )


def _field(name: str, before: Any, after: Any) -> Iterator[str]:
    match name:
        case "ports":
            yield from _ports(before, after)
        case "backends":
            yield f"groups {_text(before) or 'none'} -> {_text(after) or 'none'}"
        case "boot":
            yield from map(str, boot_differences(after, before))
        case _:
            label = _LABELS.get(name, name.replace("_", " "))
            yield f"{label} {_text(before) or 'none'} -> {_text(after) or 'none'}"


def _ports(before: tuple[BalancerPort, ...], after: tuple[BalancerPort, ...]) -> Iterator[str]:
    was, now = ({(port.port, port.protocol): port for port in ports} for ports in (before, after))
    told = False
    for number, protocol in sorted({*was, *now}):
        old, new = was.get((number, protocol)), now.get((number, protocol))
        if old == new:
            continue
        told = True
        label = f"port {number}" if protocol == "TCP" else f"port {number}/{protocol}"
        if old is None or new is None:
            yield f"{label} {'removed' if new is None else 'added'}"
            continue
        if old.target_port != new.target_port:
            yield f"{label}: target {old.target_port} -> {new.target_port}"
        if old.name != new.name:
            yield f"{label}: name {old.name or 'none'} -> {new.name or 'none'}"
    if not told:
        yield "ports in another order"


def _text(value: Any) -> str:
    match value:
        case None:
            return ""
        case Backend(group=group, weight=weight):
            return f"{group} ({weight})"
        case Scaling(minimum=minimum, maximum=maximum, cpu_percent=percent):
            return f"{minimum} to {maximum} at {percent}% cpu"
        case tuple() | list():
            return ", ".join(map(_text, value))
        case _:
            return str(value)
