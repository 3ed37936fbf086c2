"""Public names, as an annotation gives them: ``shop.example.com, www.example.com``."""

from __future__ import annotations

from typing import Any

from yaml.nodes import Node

from i2kit.manifest import syntax
from i2kit.manifest.fieldtypes import Text
from i2kit.manifest.page import INVALID, Page
from i2kit.resources import CLUSTER_DOMAIN

# DNS has room for 253; providers keep things beside it (an owner's record, a file) whose names are a little longer.
_LONGEST = 220


class HostNames:
    """One or more names, with commas between them."""

    name = "DNS names"

    def __init__(self) -> None:
        self._text = Text()

    def __call__(self, node: Node, path: str, page: Page) -> Any:
        """Return a tuple of names; every one that is wrong is a problem of its own."""
        text = self._text(node, path, page)
        if not isinstance(text, str):
            return INVALID
        names = tuple(part.strip() for part in text.split(","))
        wrong = False
        for number, name in enumerate(names):
            expected = host_name(name) if name not in names[:number] else "every name once"
            if expected:
                wrong = True
                message = f"has the name {name[:80]!r}" if name else "has an empty name"
                page.problem("invalid-hostname", message, node.start_mark.line, path, expected=expected, hint=_hint(name))
        return INVALID if wrong else names


def host_name(name: str) -> str:
    """Check a public name; the answer is what is expected, or nothing when all is well.

    >>> host_name("shop.example.com"), host_name("shop")
    ('', 'a domain, such as shop.example.com')
    """
    labels = name.split(".")
    if len(name) > _LONGEST:
        return f"at most {_LONGEST} characters"
    for expected in (syntax.label_name(label) for label in labels):
        if expected:
            return f"parts of {expected}"
    if len(labels) < 2:
        return "a domain, such as shop.example.com"
    if name.endswith(f".{CLUSTER_DOMAIN.split('.', 1)[1]}"):
        return f"no name under {CLUSTER_DOMAIN}, which is the environment's own"
    return ""


def _hint(name: str) -> str:
    if "://" in name:
        return "leave the scheme out"
    if name.startswith("*."):
        return "wildcards are not supported"
    return "leave the final dot out" if name.endswith(".") else ""
