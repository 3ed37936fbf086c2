"""Every problem's code has its entry in the reference, and every entry stands for a code that is still used."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/reference/errors.md"
SOURCES = sorted(path for folder in ("i2kit", "providers") for path in (ROOT / folder).rglob("*.py"))
CODE = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
# The functions that make a problem of a code, which is their first argument.
MAKERS = {"of", "problem", "_error"}


def codes(tree: ast.AST) -> Iterator[str]:
    """Yield the codes that a module gives to problems."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id if isinstance(node.func, ast.Name) else ""
        given = [keyword.value for keyword in node.keywords if keyword.arg == "code"]
        given += node.args[:1] if name in MAKERS else []
        for part in given:
            # A conditional expression gives one of two codes.
            for value in (part.body, part.orelse) if isinstance(part, ast.IfExp) else (part,):
                if isinstance(value, ast.Constant) and isinstance(value.value, str) and CODE.fullmatch(value.value):
                    yield value.value


def explained() -> set[str]:
    """Return the codes that have a heading; one heading may be for several."""
    headings = re.findall(r"^### (.+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return {code.strip(" `") for heading in headings for code in heading.split(",")}


def test_codes_are_found_however_they_are_given() -> None:
    text = (
        'I2kitError.of("one", "x")\nProblem(code="two" if x == "six" else "three", message="y")\npage.problem("four", "z")\nother("five")'
    )
    assert set(codes(ast.parse(text))) == {"one", "two", "three", "four"}


def test_every_code_has_its_entry() -> None:
    used = {code for path in SOURCES for code in codes(ast.parse(path.read_text(encoding="utf-8")))}
    assert len(used) > 80
    assert used - explained() == set()


def test_every_entry_stands_for_a_code_that_is_used() -> None:
    nodes = (node for path in SOURCES for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    strings = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    assert explained() - strings == set()
