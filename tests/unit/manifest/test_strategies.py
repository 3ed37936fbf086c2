"""Annotations under ``i2kit.dev/`` and shares of replicas, for any value that can be written."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from i2kit.errors import InvalidInput, Problem
from i2kit.manifest import loads
from i2kit.manifest.canaries import canary_steps
from i2kit.manifest.workloads import InvalidManifests
from i2kit.strategy import Amount, CanaryStep, Strategy

UNITS = {"s": 1, "m": 60, "h": 3600}
WEIGHTS = st.sets(st.integers(1, 99), min_size=1, max_size=8).map(sorted)
NUMBERS = st.integers(0, 500_000)
DURATIONS = st.one_of(
    NUMBERS.map(lambda seconds: (str(seconds), seconds)),
    st.tuples(NUMBERS, st.sampled_from("sm")).map(lambda pair: (f"{pair[0]}{pair[1]}", pair[0] * UNITS[pair[1]])),
    st.tuples(*[st.integers(0, 999)] * 3).map(lambda of: (f"{of[0]}h{of[1]}m{of[2]}s", of[0] * 3600 + of[1] * 60 + of[2])),
)
PAUSES: st.SearchStrategy[tuple[str | None, int | None]] = st.just((None, 0)) | st.just(("pause", None)) | DURATIONS


@st.composite
def written_steps(draw: st.DrawFn) -> tuple[list[str], tuple[CanaryStep, ...]]:
    """The items of an annotation, and the steps that they mean."""
    items, steps = list[str](), list[CanaryStep]()
    for weight in draw(WEIGHTS):
        text, seconds = draw(PAUSES)
        items += [f"{weight}%", *([] if text is None else [text])]
        steps.append(CanaryStep(weight=weight, pause_seconds=seconds))
    return items, tuple(steps)


def web(annotations: dict[str, str] | None = None, **spec: object) -> str:
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "web", "image": "nginx"}]}}
    return json.dumps(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "web", "annotations": annotations or {}},
            "spec": {"selector": {"matchLabels": labels}, "template": template} | spec,
        }
    )


def canary(steps: str) -> str:
    return web({"i2kit.dev/strategy": "canary", "i2kit.dev/canary-steps": steps})


def outcome(text: str) -> Strategy | list[Problem]:
    try:
        return loads(text).workloads[0].strategy
    except InvalidInput as error:
        return list(error.problems)


@given(written_steps(), st.lists(st.sampled_from(["", " ", "  ", "\t"]), min_size=32, max_size=32))
def test_steps_mean_what_they_were_written_from(given: tuple[list[str], tuple[CanaryStep, ...]], spaces: list[str]) -> None:
    items, steps = given
    text = ",".join(f"{spaces[2 * at % 32]}{item}{spaces[(2 * at + 1) % 32]}" for at, item in enumerate(items))
    assert outcome(canary(text)) == Strategy(type="canary", steps=steps)


@given(written_steps(), st.data())
def test_one_wrong_item_is_one_problem_that_shows_it(given: tuple[list[str], tuple[CanaryStep, ...]], data: st.DataObject) -> None:
    items, _ = given
    at = data.draw(st.integers(0, len(items)))
    wrong = data.draw(st.sampled_from(["", "soon", "5d", "-1", "1.5%", "%", "10 %", "1h30", "5 m", "m", "PAUSE", "٣%", "٣"]))
    found = outcome(canary(",".join([*items[:at], wrong, *items[at:]])))
    assert isinstance(found, list)
    mistakes = [problem.message for problem in found]
    assert any(repr(wrong) in message if wrong else "empty item" in message for message in mistakes), mistakes
    # The pause behind it has lost its percentage; nothing else may follow from one mistake.
    assert len(found) <= 2
    assert {problem.code for problem in found} == {"invalid-canary-steps"}


@given(st.text(max_size=40) | st.text("0123456789%,hms paue", max_size=24))
def test_any_text_is_steps_that_fit_or_a_mistake(text: str) -> None:
    steps, mistakes = canary_steps(text)
    if not mistakes:
        weights = [step.weight for step in steps]
        assert weights
        assert weights == sorted(set(weights))
        assert weights[0] >= 1
        assert weights[-1] <= 99
        assert all(step.pause_seconds is None or 0 <= step.pause_seconds < 1 << 31 for step in steps)


@given(st.lists(st.integers(1, 99), min_size=2, max_size=6).filter(lambda weights: weights != sorted(set(weights))))
def test_shares_that_do_not_grow_are_refused(weights: list[int]) -> None:
    found = outcome(canary(", ".join(f"{weight}%" for weight in weights)))
    assert isinstance(found, list)
    falls = sum(later <= earlier for earlier, later in pairwise(weights))
    assert len(found) == falls


@given(st.integers(-3, 300), st.booleans(), st.integers(-3, 300), st.booleans())
def test_bounds_are_read_or_refused_by_kubernetes_rules(surge: int, surge_share: bool, down: int, down_share: bool) -> None:
    def written(value: int, share: bool) -> object:
        return f"{value}%" if share else value

    found = outcome(web(strategy={"rollingUpdate": {"maxSurge": written(surge, surge_share), "maxUnavailable": written(down, down_share)}}))
    right = surge >= 0 and down >= 0 and (surge, down) != (0, 0) and not (down_share and down > 100)
    if right:
        expected = Strategy(max_surge=Amount(value=surge, percent=surge_share), max_unavailable=Amount(value=down, percent=down_share))
        assert found == expected
    else:
        assert isinstance(found, list)


@given(st.from_regex(r"[a-z](?:[a-z-]{0,20}[a-z])?", fullmatch=True))
def test_no_other_annotation_under_the_prefix_passes(name: str) -> None:
    known = {"strategy", "canary-steps", "promotion"}
    found = outcome(web({f"i2kit.dev/{name}": "x"}))
    assert isinstance(found, list)
    if name not in known:
        assert [problem.code for problem in found] == ["unknown-annotation"]
        assert all(f"i2kit.dev/{one}" in found[0].expected for one in known)
        assert found[0].where is not None
        assert found[0].where.path == f"metadata.annotations[i2kit.dev/{name}]"
    assert isinstance(outcome(web({f"example.org/{name}": "x"})), Strategy)


def test_a_budget_whose_workload_may_be_in_broken_yaml_is_not_said_to_match_nothing() -> None:
    def budget(name: str) -> str:
        bound = {"minAvailable": 1, "selector": {"matchLabels": {"app": name}}}
        return json.dumps({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": name}, "spec": bound})

    with pytest.raises(InvalidManifests) as caught:
        loads("\n---\n".join([web(), budget("hidden"), budget("gone"), "metadata: {name: hidden"]))
    assert [notice.message for notice in caught.value.readable.notices] == [
        "PodDisruptionBudget gone (minAvailable 1) matches no workload in namespace default"
    ]
