"""Numbers of replicas that may be given as a share, as Kubernetes' IntOrString has them."""

from __future__ import annotations

import re
from typing import Any

from yaml.nodes import Node, ScalarNode

from i2kit.manifest import scalars
from i2kit.manifest.fieldtypes import Integer
from i2kit.manifest.page import INVALID, STRING_TAG, Page
from i2kit.strategy import Amount

_SHARE = re.compile(r"([0-9]{1,9})%")


class NumberOrShare:
    """A number of replicas, or a percentage; `most_percent` bounds the latter."""

    name = "number or percentage"

    def __init__(self, most_percent: int | None = None) -> None:
        self._number = Integer(0)
        self._most_percent = most_percent
        shares = "25%" if most_percent is None else f"25% (at most {most_percent}%)"
        self._expected = f"a number from 0, or a percentage such as {shares}"

    def __call__(self, node: Node, path: str, page: Page) -> Any:
        """Return an `Amount`."""
        if node.__class__ is not ScalarNode:
            return page.wrong_type(node, path, self._expected)
        text: str = node.value
        quoted = bool(node.style) or node.tag == STRING_TAG
        if not quoted and scalars.plain_kind(text) != "string":
            value = self._number(node, path, page)
            return Amount(value=value) if isinstance(value, int) else value
        if node.tag and not page.known_tag(node, path):
            return INVALID
        share = _SHARE.fullmatch(text)
        if share is None:
            hint = f"remove the quotes, or write {text}% for a share" if re.fullmatch("[0-9]+", text) else ""
            return page.problem(
                "invalid-value", f"{text[:40]!r} is not valid", node.start_mark.line, path, expected=self._expected, hint=hint
            )
        if self._most_percent is not None and int(share[1]) > self._most_percent:
            return page.problem("out-of-range", f"is {text}", node.start_mark.line, path, expected=self._expected)
        return Amount(value=int(share[1]), percent=True)
