"""Names: readable, unique, within limits."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from i2kit import names
from i2kit.resources import Mark

texts = st.text(max_size=80)


@given(texts, st.lists(texts, max_size=4), st.integers(min_value=10, max_value=80))
def test_a_name_keeps_to_its_limit_and_alphabet(readable: str, identity: list[str], limit: int) -> None:
    name = names.resource_name(readable, *identity, limit=limit)
    assert len(name) <= limit
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", name)


@given(texts)
def test_every_text_becomes_a_valid_mark_value(text: str) -> None:
    Mark(environment="e", workload=names.mark_value(text))


def test_names_differ_when_any_part_of_the_identity_differs() -> None:
    assert names.resource_name("web", "a", "bc") != names.resource_name("web", "ab", "c")


def test_long_texts_that_share_their_beginning_get_different_mark_values() -> None:
    assert names.mark_value("x" * 50 + "1") != names.mark_value("x" * 50 + "2")


def test_a_limit_without_room_is_an_error() -> None:
    with pytest.raises(ValueError, match="leaves no room"):
        names.resource_name("web", limit=9)
