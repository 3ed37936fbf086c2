"""Text -> YAML documents as nodes that know their places; a broken document does not hide the others."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import Any

import yaml
from attrs import frozen
from yaml.nodes import Node

from i2kit.errors import Problem, Where
from i2kit.manifest.page import DEEPEST

try:
    from yaml._yaml import CParser as _Composer
except ImportError:  # PyYAML without libyaml: slower, otherwise the same
    from i2kit.manifest.pure import PureParser as _Composer  # type: ignore[assignment]

_START = re.compile(r"^---(?=\s|$)", re.MULTILINE)
_SURROGATES = re.compile(r"(?<!\\)((?:\\\\)*)\\u(d[89ab][0-9a-f]{2})\\u(d[c-f][0-9a-f]{2})", re.IGNORECASE)


class _TooDeep(Exception):
    pass


_BROKEN = (yaml.YAMLError, _TooDeep, UnicodeError)


class _Parser(_Composer):
    """PyYAML's parser, composing nodes without resolving tags: the readers know what type they want.

    That makes it more than twice as fast as a loader, and nodes come with their places.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.depth = 0

    def resolve(self, kind: Any, value: Any, implicit: Any) -> str:
        return ""

    def descend_resolver(self, parent: Any, index: Any) -> None:
        # The C composer recurses without a guard of its own and would end the process.
        self.depth += 1
        if self.depth > DEEPEST:
            raise _TooDeep

    def ascend_resolver(self) -> None:
        self.depth -= 1


@frozen
class Document:
    """One document: its root node, and what is to be added to its line numbers."""

    root: Node
    offset: int


def documents(text: str, file: str, problems: list[Problem]) -> Iterator[Document]:
    """Yield the documents of a YAML or JSON text; what cannot be read becomes one problem per document."""
    if text.startswith("\ufeff"):
        text = text[1:]
    last = -1
    try:
        for root in _compose(text):
            last = root.start_mark.line
            yield Document(root, 0)
        return
    except _BROKEN as error:
        first = _problem(error, text, file, 0)
    before, recovered = len(problems), False
    for offset, part in _parts(text):
        if offset + part.count("\n") < last:
            continue
        try:
            roots = _compose_json(part)
        except _BROKEN as error:
            problems.append(_problem(error, part, file, offset))
            continue
        for root in roots:
            if offset + root.start_mark.line > last:
                recovered = True
                yield Document(root, offset)
    if len(problems) == before and not recovered:
        problems.append(first)


def _compose(text: str) -> Iterator[Node]:
    parser = _Parser(text)
    while parser.check_node():
        root = parser.get_node()
        if root is not None:
            yield root


def _compose_json(text: str) -> list[Node]:
    """Compose a document in which characters beyond 16 bits may be written as JSON does it, in two escapes that YAML does not know."""
    try:
        return list(_compose(text))
    except yaml.YAMLError:
        joined = _SURROGATES.sub(_join_surrogates, text)
        if joined == text:
            raise
        return list(_compose(joined))


def _parts(text: str) -> Iterator[tuple[int, str]]:
    """Cut where a line starts with ``---``, which no document can contain; yield each part with its first line's number from 0."""
    starts = [0, *(match.start() for match in _START.finditer(text) if match.start()), len(text)]
    line = 0
    for start, end in itertools.pairwise(starts):
        yield line, text[start:end]
        line += text.count("\n", start, end)


def _problem(error: Exception, text: str, file: str, offset: int) -> Problem:
    line, column, message = 0, 0, "cannot be read"
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        if mark is not None:
            line, column = mark.line, mark.column
        message = " ".join(filter(None, (error.problem, error.context)))
    elif isinstance(error, yaml.reader.ReaderError):
        # The bytes or characters before the position; close enough where some take more than one byte.
        before = text[: error.position]
        line, column = before.count("\n"), len(before) - before.rfind("\n") - 1
        message = str(error.reason)
    elif isinstance(error, _TooDeep):
        message = f"mappings and lists are nested more than {DEEPEST} deep"
    lines = text.splitlines() or [""]
    if line >= len(lines):  # the end of the text counts as a line of its own
        line, column = len(lines) - 1, len(lines[-1])
    return Problem(
        code="yaml-syntax",
        message=f"broken YAML at line {line + offset + 1}, column {column + 1}: {message}",
        where=Where(file=file, line=line + offset + 1),
        expected="a YAML or JSON document",
    )


def _join_surrogates(match: re.Match[str]) -> str:
    pair = int(match[2], 16), int(match[3], 16)
    return match[1] + chr(0x10000 + ((pair[0] - 0xD800) << 10) + (pair[1] - 0xDC00))
