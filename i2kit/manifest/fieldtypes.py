"""Types of fields: each reads a YAML node and returns a value, or notes what is wrong and returns `INVALID`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from i2kit.manifest import scalars, syntax
from i2kit.manifest.page import INVALID, STRING_TAG, Page, did_you_mean


class FieldType(Protocol):
    """Reads one node."""

    @property
    def name(self) -> str:
        """What the reference calls the type."""
        ...

    def __call__(self, node: Node, path: str, page: Page) -> Any:
        """Return the value of `node`, or note problems on `page` and return `INVALID`."""
        ...


Check = Callable[[str], str]
"""Looks at a string and says what would have been right; an empty answer means it is."""


class Text:
    """A string; `check` says what is expected of it beyond that."""

    def __init__(self, name: str = "string", check: Check | None = syntax.no_nul, code: str = "invalid-value") -> None:
        self.name = name
        self.check = check
        self.code = code

    def __call__(self, node: Node, path: str, page: Page) -> Any:
        """Return the string."""
        if node.__class__ is not ScalarNode:
            return page.wrong_type(node, path, "a string")
        text: str = node.value
        if not node.style and text[:1] in scalars.SPECIAL_FIRST and node.tag != STRING_TAG:
            kind = scalars.plain_kind(text)
            if kind != "string":
                hint = "put the value in quotes" if page.secret else f'write "{text}" in quotes'
                return page.wrong_type(node, path, "a string", hint)
        if node.tag and not page.known_tag(node, path):
            return INVALID
        if self.check is not None:
            expected = self.check(text)
            if expected:
                shown = "this value" if page.secret else repr(text if len(text) <= 80 else text[:77] + "...")
                return page.problem(self.code, f"{shown} is not valid", node.start_mark.line, path, expected=expected)
        return text


class Integer:
    """An integer within bounds."""

    def __init__(self, low: int, high: int = (1 << 31) - 1, name: str = "integer") -> None:
        self.name = name
        self.low = low
        self.high = high

    def __call__(self, node: Node, path: str, page: Page) -> Any:
        """Return the integer."""
        expected = f"an integer from {self.low} to {self.high}"
        if node.__class__ is not ScalarNode:
            return page.wrong_type(node, path, expected)
        if node.style or node.tag == STRING_TAG:
            hint = "remove the quotes" if scalars.plain_kind(node.value) == "integer" else ""
            return page.wrong_type(node, path, expected, hint)
        if scalars.plain_kind(node.value) != "integer":
            return page.wrong_type(node, path, expected)
        value = scalars.integer(node.value)
        if value is None or not self.low <= value <= self.high:
            return page.problem(
                "out-of-range", f"is {node.value[:40]}", node.start_mark.line, path, expected=expected, hint=self.hint(node.value)
            )
        return value

    def hint(self, _text: str) -> str:
        """Return what may have been meant."""
        return ""


class FileMode(Integer):
    """A file mode, octal as a rule."""

    def __init__(self) -> None:
        super().__init__(0, 0o777, "file mode")

    def hint(self, text: str) -> str:
        """Return what may have been meant: ``644`` is decimal to YAML."""
        return f"write 0{text} for octal" if re.fullmatch("[0-7]{3}", text) else "modes go up to 0777"


class Boolean:
    """True or false, in YAML 1.1's many spellings."""

    name = "boolean"

    def __call__(self, node: Node, path: str, page: Page) -> Any:
        """Return the boolean."""
        if node.__class__ is ScalarNode and not node.style and node.tag != STRING_TAG:
            if node.value in scalars.TRUES:
                return True
            if node.value in scalars.FALSES:
                return False
        return page.wrong_type(node, path, "true or false")


class Quantity:
    """A Kubernetes quantity, in `unit`."""

    def __init__(self, unit: Literal["bytes", "millis"], name: str) -> None:
        self.unit: Literal["bytes", "millis"] = unit
        self.name = name
        self.expected = "a quantity of bytes such as 64Mi, 1Gi or 500M" if unit == "bytes" else "a quantity of cores such as 100m, 0.5 or 2"

    def __call__(self, node: Node, path: str, page: Page) -> Any:
        """Return the quantity as an integer, rounded up."""
        if node.__class__ is not ScalarNode:
            return page.wrong_type(node, path, self.expected)
        text: str = node.value
        if not node.style and text[:1] == "0" and scalars.plain_kind(text) == "integer":
            text = str(scalars.integer(text))
        value = scalars.quantity(text, unit=self.unit)
        if value is None or value < 0:
            return page.problem(
                "invalid-quantity", f"{node.value[:40]!r} is no quantity", node.start_mark.line, path, expected=self.expected
            )
        if self.unit == "bytes" and text.endswith(("m", "u", "n")):
            return page.problem(
                "invalid-quantity",
                f"{text!r} is a fraction of a byte",
                node.start_mark.line,
                path,
                expected=self.expected,
                hint=f"did you mean {text[:-1]}Mi?",
            )
        return value


class Choice:
    """One of a few strings; `refused` holds further ones that Kubernetes knows, each with the reason why it is refused here."""

    def __init__(self, *values: str, refused: Mapping[str, str] | None = None) -> None:
        self.values = values
        self.refused = dict(refused or {})
        self.name = " or ".join(f"`{value}`" if value else '`""`' for value in values)

    def __call__(self, node: Node, path: str, page: Page) -> Any:
        """Return the string."""
        if node.__class__ is not ScalarNode:
            return page.wrong_type(node, path, self.expected)
        if node.value in self.values:
            return node.value
        if node.value in self.refused:
            return page.problem(
                "refused-value", f"{node.value} is refused: {self.refused[node.value]}", node.start_mark.line, path, expected=self.expected
            )
        return page.problem(
            "invalid-value",
            f"{node.value[:40]!r} is not valid",
            node.start_mark.line,
            path,
            expected=self.expected,
            hint=did_you_mean(node.value[:40], (value for value in self.values if value)),
        )

    @property
    def expected(self) -> str:
        """The choices in words."""
        return " or ".join(value or '""' for value in self.values)


class PortReference:
    """A port by number or by the name of a container's port."""

    name = "port number or name"

    def __init__(self, name_check: Check) -> None:
        self._number = Integer(1, 65535)
        self._name = Text("port name", name_check, "invalid-name")

    def __call__(self, node: Node, path: str, page: Page) -> Any:
        """Return an int or a str."""
        if node.__class__ is ScalarNode and not node.style and node.tag != STRING_TAG:
            kind = scalars.plain_kind(node.value)
            if kind != "string":
                return self._number(node, path, page)
        return self._name(node, path, page)


class ListOf:
    """A list; what is wrong in it is left out of the value."""

    def __init__(self, item: FieldType) -> None:
        self.item = item
        self.name = f"list of {item.name}"

    def __call__(self, node: Node, path: str, page: Page) -> Any:
        """Return the list."""
        if node.__class__ is not SequenceNode:
            return page.wrong_type(node, path, f"a {self.name}")
        if node.tag and not page.known_tag(node, path):
            return INVALID
        nodes = node.value
        page.visit(len(nodes) + 1)
        item = self.item
        values = [item(child, f"{path}[{index}]", page) for index, child in enumerate(nodes)]
        return [value for value in values if value is not INVALID] if INVALID in values else values


class MapOf:
    """A free mapping of strings; `check_key` is asked about every key. With `secret`, messages never show a value."""

    def __init__(self, value: FieldType, name: str, check_key: Check | None = None, *, secret: bool = False) -> None:
        self.value = value
        self.name = name
        self.check_key = check_key
        self.secret = secret

    def __call__(self, node: Node, path: str, page: Page) -> Any:
        """Return the mapping."""
        before, page.secret = page.secret, page.secret or self.secret
        try:
            return self._read(node, path, page)
        finally:
            page.secret = before

    def _read(self, node: Node, path: str, page: Page) -> Any:
        if node.__class__ is not MappingNode:
            return page.wrong_type(node, path, f"a {self.name}")
        if node.tag and not page.known_tag(node, path):
            return INVALID
        return self.read_pairs(page.pairs(node, path), node, path, page)

    def read_pairs(self, pairs: list[tuple[Node, Node]], _node: MappingNode, path: str, page: Page) -> Any:
        """Read what is in the mapping."""
        values: dict[str, Any] = {}
        lines: dict[str, int] = {}
        before = len(page.problems)
        for key_node, value_node in pairs:
            key = page.key(key_node, path)
            if key is None:
                continue
            at = f"{path}[{key}]" if "." in key or "/" in key else f"{path}.{key}"
            if key in lines:
                page.duplicate_key(key_node, at, lines[key])
                continue
            line = lines[key] = key_node.start_mark.line
            expected = self.check_key(key) if self.check_key else ""
            if expected:
                page.problem("invalid-name", f"{key[:80]!r} is not valid as a key", line, at, expected=expected)
                continue
            values[key] = self.item(key, value_node, at, page)
        # Half a mapping would only lead to problems that are none, such as labels that do not match.
        return values if len(page.problems) == before else INVALID

    def item(self, _key: str, node: Node, path: str, page: Page) -> Any:
        """Read one value."""
        return self.value(node, path, page)
