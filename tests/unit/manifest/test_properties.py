"""Whatever is done to a manifest, it is read or refused; no other exception, and no value lost on the way."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from i2kit.errors import InvalidInput, Problem
from i2kit.manifest import loads
from i2kit.manifest.workloads import EnvValue, Workloads

CASES = Path(__file__).parents[2] / "cases" / "manifest"
READ = {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(CASES.glob("*.yaml"))}
TEXTS = [case["manifest"] for name, case in READ.items() if name != "alias-bomb"]
# PyYAML cannot read tabs as libyaml can.
OBJECTS = [list(yaml.safe_load_all(case["manifest"])) for name, case in READ.items() if "expected" in case and "tabs" not in name]
WORDS = sorted({token for text in TEXTS for token in text.replace("{", " ").replace("}", " ").replace(",", " ").split()})

quick = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(WORDS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.sampled_from(WORDS), inner, max_size=3),
    max_leaves=5,
)


def outcome(text: str) -> Workloads | list[Problem]:
    """Read the text; every problem must have a place in it."""
    try:
        return loads(text)
    except InvalidInput as error:
        lines = text.count("\n") + 1
        for problem in error.problems:
            assert problem.where is not None
            assert problem.where.line is None or 1 <= problem.where.line <= lines + 1
        return list(error.problems)


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(place for key, item in below for place in places(item, (*at, key)))]


@quick
@given(st.data())
def test_any_value_anywhere(data: st.DataObject) -> None:
    objects = copy.deepcopy(data.draw(st.sampled_from(OBJECTS)))
    for _ in range(data.draw(st.integers(1, 3))):
        *above, last = data.draw(st.sampled_from([place for place in places(objects) if place]))
        parent: Any = objects
        for key in above:
            parent = parent[key]
        change = data.draw(st.sampled_from(["replace", "remove", "add"]))
        if change == "remove":
            del parent[last]
        elif change == "add" and isinstance(parent, dict):
            parent[data.draw(st.text(max_size=8) | st.sampled_from(WORDS))] = data.draw(junk)
        else:
            parent[last] = data.draw(junk)
        if not objects:
            break
    outcome(yaml.safe_dump_all(objects, allow_unicode=True))


@quick
@given(st.sampled_from(TEXTS), st.data())
def test_any_cut_or_insertion_in_the_text(text: str, data: st.DataObject) -> None:
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        end = min(len(text), start + data.draw(st.integers(0, 12)))
        insert = data.draw(
            st.text(max_size=4) | st.sampled_from([*WORDS, "---\n", "\n", " ", "\t", "{", "]", ": ", "- ", "&a ", "*a", "<<: ", "!x "])
        )
        text = text[:start] + insert + text[end:]
    outcome(text)


@quick
@given(st.text(max_size=200))
def test_any_text_at_all(text: str) -> None:
    outcome(text)


@quick
@given(
    st.dictionaries(
        st.from_regex(r"[A-Z_]{1,8}", fullmatch=True),
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20),
    )
)
def test_json_strings_arrive_as_they_were(values: dict[str, str]) -> None:
    env = [{"name": name, "value": value} for name, value in values.items()]
    read = loads(json.dumps({"name": "web", "containers": [{"image": "nginx", "env": env}]}))
    assert read.workloads[0].pod.containers[0].env == tuple(EnvValue(name=name, value=value) for name, value in values.items())


@quick
@given(st.sampled_from(OBJECTS), st.randoms(use_true_random=False))
def test_the_order_of_documents_and_keys_does_not_matter(objects: list[Any], random: Any) -> None:
    def shuffled(value: Any) -> Any:
        if isinstance(value, dict):
            keys = list(value)
            random.shuffle(keys)
            return {key: shuffled(value[key]) for key in keys}
        return [shuffled(item) for item in value] if isinstance(value, list) else value

    def essence(found: Workloads | list[Problem]) -> Any:
        if isinstance(found, list):
            return sorted((problem.code, problem.where.path if problem.where else "") for problem in found)
        return sorted((w.name, w.replicas, len(w.pod.containers)) for w in found.workloads), sorted(
            (s.name, s.ports, s.workloads) for s in found.services
        )

    mixed = [shuffled(item) for item in objects]
    random.shuffle(mixed)
    assert essence(outcome(yaml.safe_dump_all(mixed, sort_keys=False))) == essence(outcome(yaml.safe_dump_all(objects, sort_keys=False)))
