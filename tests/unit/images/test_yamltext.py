"""YAML text: any YAML parser reads back what was written, and the bytes are pinned."""

from __future__ import annotations

from typing import Any

import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from i2kit.images import yamltext

scalars = st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    scalars | st.lists(st.text(st.characters(exclude_categories=["Cs"]))),
    lambda inner: st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), inner, max_size=4),
    max_leaves=10,
)
documents = st.dictionaries(
    st.from_regex(r"[a-z]{1,8}", fullmatch=True), values | st.lists(st.dictionaries(st.just("k"), scalars, min_size=1))
)


@given(documents)
@example({"contents": "a: b\n  c\n\n# no comment\n---\nend\n"})
@example({"contents": " leading\n"})
@example({"contents": "two at the end\n\n"})
@example({"contents": "\u2028\x85\x00\U0001f600\n"})
@example({"contents": "%TAG\n"})
@example({"contents": "a\n\n\n b \nc\n"})
@example({"a": "0\x08\n"})
def test_what_is_written_is_read_back(document: dict[str, Any]) -> None:
    assert (yaml.safe_load(yamltext.block(document)) or {}) == document


def test_the_bytes_are_pinned() -> None:
    document = {"kernel": {"image": "k:1"}, "init": ["a", "b"], "files": [{"path": "etc/x", "contents": "one\ntwo\n", "mode": "0600"}]}
    assert yamltext.block(document) == (
        'kernel:\n  image: "k:1"\ninit: ["a", "b"]\nfiles:\n  - path: "etc/x"\n    contents: |\n      one\n      two\n    mode: "0600"\n'
    )
