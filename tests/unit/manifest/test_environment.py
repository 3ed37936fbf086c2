"""environment.yml."""

from __future__ import annotations

from pathlib import Path

import pytest

from i2kit.environment import BaseSettings, Environment, load_environment
from i2kit.errors import InvalidInput


def problems(path: Path, text: str) -> list[tuple[str, int | None, str]]:
    path.write_text(text)
    with pytest.raises(InvalidInput) as caught:
        load_environment(path)
    return [(problem.code, problem.where.line, problem.where.path) for problem in caught.value.problems if problem.where]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "environment.yml"


def test_without_a_file_it_is_the_local_region(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_environment(None) == Environment()
    (tmp_path / "environment.yml").write_text("name: here\n")
    assert load_environment().name == "here"


def test_a_named_file_must_be_there(file: Path) -> None:
    with pytest.raises(InvalidInput, match=r"cannot be read: there is no such file.*\[unreadable\]"):
        load_environment(file)
    with pytest.raises(InvalidInput, match="Is a directory"):
        load_environment(file.parent)
    file.write_bytes(b"name: \xff\n")
    with pytest.raises(InvalidInput, match="not UTF-8"):
        load_environment(str(file))


def test_everything_it_may_say(file: Path) -> None:
    file.write_text(
        """\
name: staging
application: shop
provider: {type: aws, region: eu-west-1, retries: 3, 'on': [1.5, yes, ~, {a: b}]}
dns: {zone: staging.example}
network: {private: yes, subnets: [a, 1]}
builder: linuxkit
architecture: aarch64
base: {lock: base.lock, mirror: 'http://mirror.example/debian'}
secrets: {keyFile: /etc/i2kit/key}
"""
    )
    assert load_environment(file) == Environment(
        name="staging",
        application="shop",
        provider="aws",
        settings={"region": "eu-west-1", "retries": 3, "on": [1.5, True, None, {"a": "b"}]},
        dns_zone="staging.example",
        network={"private": True, "subnets": ["a", 1]},
        builder="linuxkit",
        architecture="aarch64",
        base=BaseSettings(lock=str(file.parent / "base.lock"), mirror="http://mirror.example/debian"),
        secret_key_file="/etc/i2kit/key",
        source=str(file),
    )


@pytest.mark.parametrize(("written", "meant"), [("amd64", "x86_64"), ("arm64", "aarch64"), ("x86_64", "x86_64")])
def test_architectures_have_the_names_of_images_too(file: Path, written: str, meant: str) -> None:
    file.write_text(f"architecture: {written}\n")
    assert load_environment(file).architecture == meant


def test_an_architecture_that_nobody_builds_for_is_refused(file: Path) -> None:
    assert problems(file, "architecture: riscv64\n") == [("invalid-value", 1, "architecture")]


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "{}", "provider: local\nbase: debian\n"])
def test_short_forms_and_nothing_mean_the_defaults(file: Path, text: str) -> None:
    file.write_text(text)
    assert load_environment(file) == Environment(source=str(file))


def test_every_problem_is_reported_at_its_place(file: Path) -> None:
    text = "nmae: x\nname: Foo\nprovider: {region: 3, region: 4}\nnetwork: x\nbase: linuxkit\ndns: example.org\nbuilder: 1\nname: bar\n"
    assert problems(file, text) == [
        ("unknown-field", 1, "nmae"),
        ("invalid-name", 2, "name"),
        ("yaml-duplicate-key", 3, "provider.region"),
        ("missing-field", 3, "provider.type"),
        ("wrong-type", 4, "network"),
        ("refused-value", 5, "base"),
        ("wrong-type", 6, "dns"),
        ("wrong-type", 7, "builder"),
        ("yaml-duplicate-key", 8, "name"),
    ]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a: [", ("yaml-syntax", 1, "")),
        ("[]", ("wrong-type", 1, "")),
        ("name: a\n---\nname: b\n", ("wrong-type", 2 + 1, "")),
        ("provider: {type: 1}", ("wrong-type", 1, "provider.type")),
        ("provider: [aws]", ("wrong-type", 1, "provider")),
        ("provider: ''", ("invalid-value", 1, "provider")),
        ("provider: &a {type: x, more: *a}", ("too-large", 1, "")),
        (f"name: {'a' * 41}", ("invalid-name", 1, "name")),
    ],
)
def test_mistakes_one_by_one(file: Path, text: str, found: tuple[str, int, str]) -> None:
    assert problems(file, text) == [found]
