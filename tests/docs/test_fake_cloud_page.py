"""The examples on the page about the fake cloud are true."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import attrs

from i2kit.testing.cloud import Faults

PAGE = Path(__file__).resolve().parents[2] / "docs" / "plugin-authors" / "fake-cloud.md"


def test_the_page_works_as_it_is_written() -> None:
    blocks = re.findall(r"^```pycon\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    test = doctest.DocTestParser().get_doctest("".join(blocks), {}, PAGE.name, str(PAGE), 0)
    assert len(test.examples) > 15
    assert doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test).failed == 0


def test_every_fault_is_documented() -> None:
    documented = set(re.findall(r"^\| `(\w+)` \|", PAGE.read_text(), re.MULTILINE))
    # When to come back belongs to what is throttled.
    assert documented | {"retry_after"} == {one.name for one in attrs.fields(Faults)}
