from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from i2kit.errors import I2kitError
from i2kit.images.reference import normalise, parse

SHA = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("short", "full"),
    [
        ("nginx", "docker.io/library/nginx:latest"),
        ("nginx:1.25", "docker.io/library/nginx:1.25"),
        ("team/app", "docker.io/team/app:latest"),
        ("docker.io/nginx", "docker.io/library/nginx:latest"),
        ("index.docker.io/team/app:2", "docker.io/team/app:2"),
        ("localhost/app", "localhost/app:latest"),
        ("localhost:5000/app", "localhost:5000/app:latest"),
        ("127.0.0.1:5000/a/b/c:x", "127.0.0.1:5000/a/b/c:x"),
        ("[::1]:5000/app", "[::1]:5000/app:latest"),
        ("i2kit.dev/hello:1", "i2kit.dev/hello:1"),
        (f"nginx@{SHA}", f"docker.io/library/nginx@{SHA}"),
        (f"ghcr.io/o/r:v1@{SHA}", f"ghcr.io/o/r:v1@{SHA}"),
        ("a__b/c-d.e", "docker.io/a__b/c-d.e:latest"),
    ],
)
def test_short_references_are_filled_in(short: str, full: str) -> None:
    assert normalise(short) == full
    assert normalise(full) == full


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        ":",
        "Nginx",
        "nginx:",
        "nginx:a b",
        "nginx@sha256:12",
        f"nginx@{SHA}@{SHA}",
        "a//b",
        "/a",
        "a/",
        "http://a/b",
        "a/../b",
        "-a",
        "é",
    ],
)
def test_what_is_no_reference_is_refused(wrong: str) -> None:
    with pytest.raises(I2kitError) as caught:
        normalise(wrong)
    assert caught.value.problems[0].code == "image-reference-invalid"


@given(st.text(max_size=40))
def test_any_text_is_a_reference_or_refused(text: str) -> None:
    try:
        full = normalise(text)
    except I2kitError:
        return
    assert normalise(full) == full
    assert str(parse(full)) == full
