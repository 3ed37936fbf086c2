"""A document that is being read: what was found wrong in it, and at which place."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable
from typing import Any, Final

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from i2kit.errors import Problem, Where
from i2kit.manifest.scalars import NULLS, integer, plain_kind
from i2kit.manifest.workloads import Notice

_KNOWN_TAGS = frozenset(f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "map", "seq", "timestamp"))
STRING_TAG = "tag:yaml.org,2002:str"
_MOST_CHOICES = 300
_SPARE_VISITS = 1_000_000
DEEPEST = 100
"""How deep mappings and lists may be nested; only aliases that contain themselves, and attacks, go beyond."""


class _Invalid:
    """The type of `INVALID`."""


INVALID: Final = _Invalid()
"""Stands for a value that was wrong; the problem is noted already."""


class TooLarge(Exception):
    """Aliases blow the document up beyond any honest use, or contain themselves."""


class Page:
    """One file, or one part of it: collects problems and notices with their places.

    `offset` is added to line numbers; `budget` bounds how many nodes are visited (`size`, the length of the text, and then some), so that
    aliases of aliases end in an error. Without `merges` no merge key is looked for. With `secret`, values never appear in messages.
    """

    __slots__ = ("budget", "file", "merges", "notices", "offset", "problems", "secret")

    def __init__(
        self, file: str, size: int, problems: list[Problem], notices: list[Notice], *, offset: int = 0, merges: bool = True
    ) -> None:
        self.file = file
        self.problems = problems
        self.notices = notices
        self.offset = offset
        self.budget = size + _SPARE_VISITS
        self.merges = merges
        self.secret = False

    def where(self, line: int, path: str) -> Where:
        """Return the place; `line` counts from 0 as YAML marks do."""
        return Where(file=self.file, line=line + 1 + self.offset, path=path)

    def problem(self, code: str, message: str, line: int, path: str, *, expected: str = "", hint: str = "") -> _Invalid:
        """Note a problem and return `INVALID`."""
        self.problems.append(Problem(code=code, message=message, where=self.where(line, path), expected=expected, hint=hint))
        return INVALID

    def notice(self, line: int, path: str, message: str) -> None:
        """Note something that was read and has no effect."""
        self.notices.append(Notice(where=self.where(line, path), message=message))

    def visit(self, count: int) -> None:
        """Count visited nodes; raises `TooLarge` when there are too many."""
        self.budget -= count
        if self.budget < 0:
            raise TooLarge

    def wrong_type(self, node: Node, path: str, expected: str, hint: str = "") -> _Invalid:
        """Note that the node is of another type than expected."""
        if not self.known_tag(node, path):
            return INVALID
        return self.problem("wrong-type", f"is {self.describe(node)}", node.start_mark.line, path, expected=expected, hint=hint)

    def describe(self, node: Node) -> str:
        """Say what the node is, with its value where that may be shown."""
        if node.__class__ is MappingNode:
            return "a mapping"
        if node.__class__ is SequenceNode:
            return "a list"
        kind = "string" if getattr(node, "style", None) or node.tag == STRING_TAG else plain_kind(node.value)
        article = "an" if kind == "integer" else "a"
        if kind == "null":
            return "empty"
        if self.secret:
            return f"{article} {kind}"
        value = node.value if len(node.value) <= 40 else node.value[:37] + "..."
        return f"the {kind} {value}" if kind != "string" else f"the string {value!r}"

    def known_tag(self, node: Node, path: str) -> bool:
        """Note a problem if the node bears a tag that Kubernetes' YAML does not have."""
        if not node.tag or node.tag in _KNOWN_TAGS:
            return True
        tag = node.tag.replace("tag:yaml.org,2002:", "!!")
        self.problem("yaml-tag", f"bears the YAML tag {tag}", node.start_mark.line, path, expected="plain YAML", hint="remove the tag")
        return False

    def is_null(self, node: Node) -> bool:
        """Whether the node is an empty or null scalar."""
        return node.__class__ is ScalarNode and not node.style and node.value in NULLS and node.tag != STRING_TAG

    def pairs(self, node: MappingNode, path: str, depth: int = 0) -> list[tuple[Node, Node]]:
        """Return the mapping's pairs, merge keys (``<<``) resolved: what is said here goes before what is merged in."""
        pairs: list[tuple[Node, Node]] = node.value
        self.visit(len(pairs) + 1)
        if depth > DEEPEST:
            raise TooLarge
        if not self.merges or not any(_is_merge(key) for key, _ in pairs):
            return pairs
        found = [pair for pair in pairs if not _is_merge(pair[0])]
        names = {key.value for key, _ in found if key.__class__ is ScalarNode}
        for _, source in (pair for pair in pairs if _is_merge(pair[0])):
            for mapping in source.value if source.__class__ is SequenceNode else [source]:
                if mapping.__class__ is not MappingNode:
                    self.wrong_type(mapping, f"{path}.<<".lstrip("."), "a mapping to merge in")
                    continue
                merged = self.pairs(mapping, path, depth + 1)
                new = [(key, value) for key, value in merged if key.__class__ is not ScalarNode or key.value not in names]
                names.update(key.value for key, _ in new if key.__class__ is ScalarNode)
                found += new
        return found

    def key(self, node: Node, path: str) -> str | None:
        """Return the key of a free mapping as a string, or note why it is none."""
        if node.__class__ is not ScalarNode:
            self.problem("yaml-key", "has a key that is not a string", node.start_mark.line, path, expected="a string as key")
            return None
        text: str = node.value
        if node.style or node.tag == STRING_TAG:
            return text
        kind = plain_kind(text)
        # Kubernetes takes numbers as keys; the ones whose text would change on the way are refused.
        if kind == "string" or (kind == "integer" and str(integer(text)) == text):
            return text
        self.problem(
            "yaml-key",
            f"has the key {text!r}, which YAML reads as {'an' if kind == 'integer' else 'a'} {kind}",
            node.start_mark.line,
            path,
            expected="a string as key",
            hint=f'write "{text}" in quotes',
        )
        return None

    def duplicate_key(self, node: Node, path: str, first: int) -> None:
        """Note that a key stands twice in its mapping; `first` is the line of the first one."""
        self.problem(
            "yaml-duplicate-key",
            f"the key {node.value!r} stands here twice, first on line {first + 1 + self.offset}",
            node.start_mark.line,
            path,
            expected="every key once",
        )

    def sweep(self, root: Node, path: str) -> None:
        """Look through a part that nothing else reads, for duplicate keys."""
        waiting: list[tuple[Node, str, int]] = [(root, path, 0)]
        while waiting:
            node, at, depth = waiting.pop()
            if depth > DEEPEST:
                raise TooLarge
            if node.__class__ is SequenceNode:
                self.visit(len(node.value) + 1)
                waiting += [(item, f"{at}[{index}]", depth + 1) for index, item in enumerate(node.value)]
            elif node.__class__ is MappingNode:
                seen: dict[Any, int] = {}
                for key, value in self.pairs(node, at):
                    name = key.value if key.__class__ is ScalarNode else id(key)
                    below = f"{at}.{name}" if at else str(name)
                    if name in seen:
                        self.duplicate_key(key, below, seen[name])
                    seen[name] = key.start_mark.line
                    waiting.append((value, below, depth + 1))


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """Return a hint that names the nearest choice; nothing where none is near, or where comparing them all would take long."""
    known = list(itertools.islice(choices, _MOST_CHOICES + 1))
    if len(known) > _MOST_CHOICES:
        return ""
    lowered = {choice.lower(): choice for choice in known}
    near = difflib.get_close_matches(word.lower(), lowered, n=1, cutoff=0.6)
    return f"did you mean {lowered[near[0]]!r}?" if near else ""


def _is_merge(node: Node) -> bool:
    return node.__class__ is ScalarNode and node.value == "<<" and not node.style
