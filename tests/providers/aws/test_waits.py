"""Waits: asked at once, again and again, never for ever, and stopped with the run."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

from i2kit.errors import Interrupted, ProviderError
from i2kit.testing.context import SampleContext
from i2kit_aws import waits


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long it would have been waited."""
    seconds: list[float] = []
    monkeypatch.setattr(waits, "sleep", seconds.append)
    return seconds


@pytest.fixture
def context(tmp_path: Path) -> SampleContext:
    return SampleContext(tmp_path)


def test_what_is_there_is_not_waited_for(slept: list[float], context: SampleContext) -> None:
    assert waits.until(lambda: "there", context, seconds=60, otherwise="it is not there") == "there"
    assert slept == []


def test_it_is_asked_until_it_is_there(slept: list[float], context: SampleContext) -> None:
    answers = iter([None, None, 0])
    assert waits.until(lambda: next(answers), context, seconds=60, otherwise="it is not there") == 0
    assert sum(slept) == pytest.approx(0.5 + 0.75)


def test_it_is_not_waited_for_ever(slept: list[float], context: SampleContext) -> None:
    with pytest.raises(ProviderError, match=r"snapshot snap-1 is pending after 60 s; run the same command again.*\[aws-slow\]"):
        waits.until(lambda: None, context, seconds=60, otherwise="snapshot snap-1 is pending")
    assert sum(slept) == pytest.approx(60)


def test_a_run_that_is_to_stop_does(slept: list[float], context: SampleContext) -> None:
    def look() -> None:
        context.cancelled = True

    with pytest.raises(Interrupted):
        waits.until(look, context, seconds=60, otherwise="it is not there")
    assert slept == []


def test_the_examples_are_true() -> None:
    assert doctest.testmod(waits).failed == 0
