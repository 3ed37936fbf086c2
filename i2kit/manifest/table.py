"""Tables of fields: what i2kit does with each field of a kind, in a form that code, reference page and tests share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from attrs import field, frozen
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from i2kit.errors import Where
from i2kit.manifest import scalars
from i2kit.manifest.fieldtypes import FieldType, ListOf
from i2kit.manifest.page import INVALID, Page, did_you_mean
from i2kit.manifest.workloads import Notice

Verdict = Literal["supported", "ignored", "refused"]


@frozen(kw_only=True)
class Row:
    """One field.

    `reason` says why it is ignored or refused, or what is special about it; `harmless` are values, as written, that mean nothing here and
    pass without a word, as empty lists do.
    """

    name: str
    verdict: Verdict
    reason: str = ""
    type: FieldType | None = None
    required: bool = False
    harmless: tuple[str, ...] = ()

    def read(self, node: Node, path: str, page: Page) -> Any:
        """Read the field as its verdict says."""
        if self.verdict == "supported":
            assert self.type is not None  # noqa: S101 (guaranteed by `supported`)
            return self.type(node, path, page)
        page.sweep(node, path)
        if self._is_harmless(node):
            return INVALID
        line = node.start_mark.line
        if self.verdict == "ignored":
            page.notice(line, path, f"ignored: {self.reason}")
            return INVALID
        return page.problem("refused-field", f"is refused: {self.reason}", line, path, hint=self._way_out())

    def _is_harmless(self, node: Node) -> bool:
        if node.__class__ is ScalarNode:
            text = node.value
            if not node.style and scalars.plain_kind(text) == "boolean":
                text = "true" if text in scalars.TRUES else "false"
            return text in self.harmless
        empty_mapping_counts = node.__class__ is MappingNode and (self.verdict == "ignored" or "{}" in self.harmless)
        if not node.value and (node.__class__ is SequenceNode or empty_mapping_counts):
            return True
        return node.__class__ is SequenceNode and all(item.__class__ is ScalarNode and item.value in self.harmless for item in node.value)

    def _way_out(self) -> str:
        return f"remove it, or write {' or '.join(value or repr('') for value in self.harmless)}" if self.harmless else "remove it"


def supported(name: str, kind: FieldType, reason: str = "", *, required: bool = False) -> Row:
    """Make the row of a field that is read; `kind` is its type."""
    return Row(name=name, verdict="supported", type=kind, reason=reason, required=required)


def ignored(name: str, reason: str, *, harmless: tuple[str, ...] = ()) -> Row:
    """Make the row of a field that has no effect here and gives a notice."""
    return Row(name=name, verdict="ignored", reason=reason, harmless=harmless)


def refused(name: str, reason: str, *, harmless: tuple[str, ...] = ()) -> Row:
    """Make the row of a field that is an error."""
    return Row(name=name, verdict="refused", reason=reason, harmless=harmless)


class Tree(dict[str, Any]):
    """The fields of one mapping that could be read, and where each of them stands."""

    __slots__ = ("failed", "line", "lines", "page", "path")

    def __init__(self, page: Page, path: str, line: int) -> None:
        self.page = page
        self.path = path
        self.line = line
        self.lines: dict[str, int] = {}
        self.failed = False

    def at(self, name: str) -> str:
        """Return the path of one of its fields."""
        return f"{self.path}.{name}" if self.path else name

    def where(self, name: str = "") -> Where:
        """Return the place of a field, or of the mapping itself."""
        if not name:
            return self.page.where(self.line, self.path)
        return self.page.where(self.lines.get(name, self.line), self.at(name))

    def sub(self, name: str) -> Tree:
        """Return the mapping below, or an empty one in its place."""
        value = self.get(name)
        return value if isinstance(value, Tree) else Tree(self.page, self.at(name), self.lines.get(name, self.line))

    def problem(self, code: str, message: str, name: str = "", *, expected: str = "", hint: str = "") -> None:
        """Note a problem at a field, or at the mapping itself."""
        line = self.lines.get(name, self.line) if name else self.line
        self.page.problem(code, message, line, self.at(name) if name else self.path, expected=expected, hint=hint)

    def notice(self, message: str, name: str = "") -> None:
        """Note something that was read and has no effect."""
        self.page.notices.append(Notice(where=self.where(name), message=message))

    def broken(self, name: str) -> bool:
        """Whether the field was given but could not be read, which is noted already."""
        return self.failed and name in self.lines and name not in self

    def only(self, *names: str) -> str | None:
        """Return which one of the fields is there; none or several are a problem."""
        given = [name for name in names if name in self]
        if len(given) == 1:
            return given[0]
        if given or not self.failed:
            self.problem(
                "conflicting-fields",
                f"has {' and '.join(given) if given else 'none of them'}",
                expected=f"exactly one of {', '.join(names)}",
            )
        return None


@frozen(eq=False)
class Struct:
    """A mapping with known fields."""

    name: str
    rows: tuple[Row, ...]
    _by_name: dict[str, Row] = field(init=False, repr=False)
    _required: tuple[str, ...] = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "_by_name", {row.name: row for row in self.rows})
        object.__setattr__(self, "_required", tuple(row.name for row in self.rows if row.required))

    def __call__(self, node: Node, path: str, page: Page) -> Any:
        """Return a `Tree` of the supported fields; unknown ones, duplicates and missing ones are problems."""
        if node.__class__ is not MappingNode:
            return page.wrong_type(node, path, f"a mapping ({self.name})")
        if node.tag and not page.known_tag(node, path):
            return INVALID
        tree = Tree(page, path, node.start_mark.line)
        before = len(page.problems)
        lines, rows = tree.lines, self._by_name
        prefix = f"{path}." if path else ""
        for key_node, value_node in page.pairs(node, path):
            key = key_node.value
            row = rows.get(key) if key_node.__class__ is ScalarNode else None
            if row is None or key in lines:
                self._stray(key_node, value_node, prefix, tree)
                continue
            lines[key] = value_node.start_mark.line
            if value_node.__class__ is ScalarNode and not value_node.style and page.is_null(value_node):
                continue  # Kubernetes takes null as absent
            value = row.type(value_node, prefix + key, page) if row.type else row.read(value_node, prefix + key, page)
            if value is not INVALID:
                tree[key] = value
        for name in self._required:
            if name not in tree:
                self._missing(name, node, tree)
        tree.failed = len(page.problems) > before
        return tree

    def _stray(self, key_node: Node, value_node: Node, prefix: str, tree: Tree) -> None:
        """Note an unknown or duplicate field."""
        page = tree.page
        page.sweep(value_node, prefix + str(key_node.value) if key_node.__class__ is ScalarNode else prefix)
        key = page.key(key_node, tree.path)
        if key is None:
            return
        if key in tree.lines:
            page.duplicate_key(key_node, prefix + key, tree.lines[key])
            return
        tree.lines[key] = key_node.start_mark.line
        if key not in self._by_name:
            page.problem(
                "unknown-field",
                f"{self.name} has no field {key[:80]!r}",
                key_node.start_mark.line,
                prefix + key,
                expected=f"one of {', '.join(sorted(self._by_name))}",
                hint=did_you_mean(key[:80], self._by_name),
            )

    def _missing(self, name: str, node: MappingNode, tree: Tree) -> None:
        given = next((value for key, value in tree.page.pairs(node, tree.path) if key.value == name), None)
        if given is None or tree.page.is_null(given):
            tree.problem("missing-field", f"{self.name} needs the field {name!r}", hint=f"add {name}:")

    def fields(self, prefix: str = "") -> Iterator[tuple[str, Row]]:
        """Yield every field below, dotted, lists marked with ``[]``."""
        for row in self.rows:
            at = f"{prefix}{row.name}"
            inner = row.type
            while isinstance(inner, ListOf):
                at += "[]"
                inner = inner.item
            # A type that also takes something shorter than a mapping says which mapping it is short for.
            inner = getattr(inner, "long_form", inner)
            yield at, row
            if isinstance(inner, Struct):
                yield from inner.fields(f"{at}.")
