"""Documents: places, broken ones, and texts made to hurt."""

from __future__ import annotations

import time

import pytest
import yaml

from i2kit.errors import InvalidInput, Problem
from i2kit.manifest import loads
from i2kit.manifest.documents import documents
from i2kit.manifest.pure import PureParser

WEB = "name: {name}\ncontainers: [{{image: nginx}}]\n"


def problems_of(text: str) -> list[Problem]:
    with pytest.raises(InvalidInput) as caught:
        loads(text)
    return list(caught.value.problems)


def shape(node: yaml.Node) -> object:
    """Everything of a node that the readers look at."""
    pairs = [item for pair in node.value for item in pair] if isinstance(node, yaml.MappingNode) else node.value
    below = pairs if isinstance(pairs, str) else [shape(item) for item in pairs]
    return node.id, node.tag, node.start_mark.line, bool(getattr(node, "style", None)), below


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("a: [", 1, 5),
        ("a:\n\t- b\n", 2, 1),
        ('a: "x\n\n', 2, 1),
        ("a: \x07", 1, 4),
        ("ok: 1\nb: *c\n", 2, 4),
        ("a: &b 1\nc: &b 2\n", 2, 4),
        ("a: 1\r\nb: c: d\r\n", 2, 5),
        ("a: \ud800", 1, 1),
    ],
)
def test_broken_yaml_is_one_error_with_line_and_column(text: str, line: int, column: int) -> None:
    problems: list[Problem] = []
    assert list(documents(text, "x", problems)) == []
    (problem,) = problems
    assert problem.code == "yaml-syntax"
    assert problem.where is not None
    assert problem.where.line == line
    assert f"line {line}, column {column}: " in problem.message


def test_documents_around_a_broken_one_keep_their_places() -> None:
    text = (
        "---\n"
        + WEB.format(name="one")
        + "---\na: [\n---\n"
        + WEB.format(name="Two")
        + "--- # three\nb: }\n---\n"
        + WEB.format(name="Four")
    )
    found = [(problem.code, problem.where.line) for problem in problems_of(text) if problem.where]
    assert found == [("yaml-syntax", 5), ("invalid-name", 7), ("yaml-syntax", 10), ("invalid-name", 12)]


@pytest.mark.parametrize("broken", ["b: }\n", "b: [\n"])
@pytest.mark.parametrize("after", ["", "---\n" + WEB.format(name="two")])
def test_a_broken_document_behind_an_end_marker_is_not_lost(broken: str, after: str) -> None:
    assert [problem.code for problem in problems_of(WEB.format(name="one") + "...\n" + broken + after)] == ["yaml-syntax"]


def test_every_document_is_read_once_though_json_escapes_make_the_parser_start_again() -> None:
    emoji = '{"name": "two", "containers": [{"image": "x", "env": [{"name": "A", "value": "\\ud83d\\ude00"}]}]}\n'
    found = loads(WEB.format(name="one") + "---\n" + emoji + "---\n" + WEB.format(name="three")).workloads
    assert [workload.name for workload in found] == ["one", "two", "three"]
    assert "😀" in repr(found[1].pod.containers[0].env)


@pytest.mark.parametrize("text", ["[" * 100_000, "{a: " * 100_000, "- " * 100_000 + "x", "? " * 50_000, "[" * 120 + "]" * 120])
def test_deep_nesting_is_an_error_and_not_the_end_of_the_process(text: str) -> None:
    assert problems_of(text)[0].code == "yaml-syntax"


def test_what_contains_itself_is_an_error() -> None:
    start = time.monotonic()
    found = problems_of(
        "apiVersion: v1\nkind: List\nitems: &a\n- {apiVersion: v1, kind: Pod, spec: *a}\n- {kind: List, apiVersion: v1, items: *a}\n"
    )
    assert {problem.code for problem in found} >= {"too-large"}
    assert time.monotonic() - start < 10


def test_merge_keys_that_merge_themselves_are_an_error() -> None:
    assert problems_of("name: web\ncontainers: &a [{image: x, <<: *a}]\n")
    assert problems_of("&a {name: web, containers: [{image: x}], <<: *a}\n")[0].code == "too-large"


def test_the_parser_without_libyaml_gives_the_same_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    from i2kit.manifest import documents as module

    class Parser(PureParser):
        resolve = module._Parser.resolve
        descend_resolver = module._Parser.descend_resolver
        ascend_resolver = module._Parser.ascend_resolver
        depth = 0

    text = WEB.format(name="one") + "---\na: &x {b: [1, 'two', !!str 3]}\nc: *x\n---\n" + "d: |\n  text\n"
    here = [shape(document.root) for document in documents(text, "x", [])]
    monkeypatch.setattr(module, "_Parser", Parser)
    assert [shape(document.root) for document in documents(text, "x", [])] == here
    problems: list[Problem] = []
    list(documents("[" * 500, "x", problems))
    assert [problem.code for problem in problems] == ["yaml-syntax"]
