"""Fields of any type, for settings that only a plug-in knows."""

from __future__ import annotations

import re
from typing import Any

from yaml.nodes import MappingNode, Node, ScalarNode

from i2kit.manifest import scalars
from i2kit.manifest.page import INVALID, STRING_TAG, Page, TooLarge

_DEEPEST = 20


class AnyValue:
    """A scalar, list or mapping of strings to any value, as plain Python data."""

    name = "any value"

    def __call__(self, node: Node, path: str, page: Page) -> Any:
        """Return the value; raises `TooLarge` when it is nested deeper than settings ever are."""
        return self._read(node, path, page, 0)

    def _read(self, node: Node, path: str, page: Page, depth: int) -> Any:
        if depth > _DEEPEST:
            raise TooLarge
        if node.tag and not page.known_tag(node, path):
            return INVALID
        if node.__class__ is ScalarNode:
            return _scalar(node)
        if node.__class__ is MappingNode:
            return self._mapping(node, path, page, depth)
        page.visit(len(node.value) + 1)
        items = [self._read(item, f"{path}[{index}]", page, depth + 1) for index, item in enumerate(node.value)]
        return [item for item in items if item is not INVALID]

    def _mapping(self, node: MappingNode, path: str, page: Page, depth: int) -> dict[str, Any]:
        values: dict[str, Any] = {}
        lines: dict[str, int] = {}
        for key_node, value_node in page.pairs(node, path):
            key = page.key(key_node, path)
            if key is None:
                continue
            at = f"{path}.{key}"
            if key in lines:
                page.duplicate_key(key_node, at, lines[key])
                continue
            lines[key] = key_node.start_mark.line
            value = self._read(value_node, at, page, depth + 1)
            if value is not INVALID:
                values[key] = value
        return values


def _scalar(node: Node) -> Any:
    text: str = node.value
    if getattr(node, "style", None) or node.tag == STRING_TAG:
        return text
    kind = scalars.plain_kind(text)
    if kind == "null":
        return None
    if kind == "boolean":
        return text in scalars.TRUES
    if kind == "integer":
        value = scalars.integer(text)
        return text if value is None else value
    if kind == "number":
        return float(re.sub(r"[_.](?=inf|nan)|_", "", text, flags=re.IGNORECASE))
    return text
