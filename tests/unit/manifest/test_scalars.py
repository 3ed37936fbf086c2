"""Scalars as Kubernetes' YAML and quantities mean them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from i2kit.manifest.scalars import integer, plain_kind, quantity


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("", "null"),
        ("~", "null"),
        ("Null", "null"),
        ("nil", "string"),
        ("y", "boolean"),
        ("No", "boolean"),
        ("on", "boolean"),
        ("yEs", "string"),
        ("0", "integer"),
        ("-12", "integer"),
        ("1_000", "integer"),
        ("010", "integer"),
        ("0o17", "integer"),
        ("0x1F", "integer"),
        ("0b11", "integer"),
        ("089", "number"),
        ("1.10", "number"),
        (".5", "number"),
        ("1e3", "number"),
        ("-.inf", "number"),
        (".NaN", "number"),
        ("1.2.3", "string"),
        ("12:30", "string"),
        ("2024-01-31", "string"),
        ("8080:80", "string"),
        ("100m", "string"),
        ("-", "string"),
        (".", "string"),
        ("0x", "string"),
    ],
)
def test_plain_scalars_are_what_go_yaml_takes_them_for(text: str, kind: str) -> None:
    assert plain_kind(text) == kind


@pytest.mark.parametrize(
    ("text", "value"), [("010", 8), ("0o17", 15), ("0x1f", 31), ("0b11", 3), ("-0x10", -16), ("1_000", 1000), ("0", 0), ("00", 0)]
)
def test_integers_have_their_bases(text: str, value: int) -> None:
    assert integer(text) == value


def test_an_integer_of_thousands_of_digits_is_none() -> None:
    assert integer("9" * 5000) is None


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("64Mi", 64 << 20),
        ("1.5Gi", 3 << 29),
        ("1G", 10**9),
        ("1k", 1000),
        ("1e3", 1000),
        ("1E3", 1000),
        ("2E", 2 * 10**18),
        ("1.5", 2),
        ("1e-1", 1),
        ("-1", -1),
        ("+5", 5),
        ("5.", 5),
    ],
)
def test_quantities_of_bytes(text: str, size: int) -> None:
    assert quantity(text, unit="bytes") == size


@pytest.mark.parametrize(("text", "millis"), [("100m", 100), ("0.1", 100), ("2", 2000), (".5", 500), ("1u", 1), ("1n", 1), ("1k", 10**6)])
def test_quantities_of_cores_round_up(text: str, millis: int) -> None:
    assert quantity(text, unit="millis") == millis


@pytest.mark.parametrize("text", ["", "m", "1mi", "64MB", "1 Gi", "0x10", "1e100", "9E99", "10Ei", "one", "1e", ".", "9" * 100])
def test_what_is_no_quantity(text: str) -> None:
    assert quantity(text, unit="bytes") is None


@given(st.text(max_size=20), st.sampled_from(["bytes", "millis"]))
def test_no_text_breaks_them(text: str, unit: str) -> None:
    quantity(text, unit=unit)  # type: ignore[arg-type]
    if plain_kind(text) == "integer":
        assert integer(text) is not None
