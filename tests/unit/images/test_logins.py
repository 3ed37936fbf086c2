"""Which credentials are for which registry, and what of a docker configuration counts."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from i2kit.images.logins import logins
from i2kit.images.reference import parse
from i2kit.manifest.pullsecrets import NotCredentials, basic, credentials
from i2kit.manifest.workloads import SecretData, SecretValue


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for variable in ("REGISTRY_AUTH_FILE", "DOCKER_CONFIG"):
        monkeypatch.delenv(variable, raising=False)


def secret(key: str = ".dockerconfigjson", **registries: str) -> SecretData:
    """Return a Secret with a user for each registry."""
    document = {name: {"username": user, "password": "p"} for name, user in registries.items()}
    return raw(key, json.dumps({"auths": document} if key == ".dockerconfigjson" else document))


def raw(key: str, text: str) -> SecretData:
    return SecretData(name="pull", namespace="default", data={key: SecretValue(text.encode())})


def users(image: str, *secrets: SecretData) -> list[str]:
    """Return whose credentials are tried for an image, the user's own as a dash."""
    found = []
    names = {basic(user, "p"): user for user in ("one", "two", "three")}
    with logins(parse(image), secrets) as tried:
        for login in tried:
            if login is None:
                found.append("-")
                continue
            assert stat.S_IMODE(login.stat().st_mode) == 0o600
            ((registry, entry),) = json.loads(login.read_text())["auths"].items()
            assert registry == parse(image).registry
            found.append(names[entry["auth"]])
    assert not any(login and login.exists() for login in tried)
    return found


@pytest.mark.parametrize(
    ("image", "name", "fits"),
    [
        ("registry.example.com/a/b:1", "registry.example.com", True),
        ("registry.example.com/a/b:1", "https://registry.example.com", True),
        ("registry.example.com/a/b:1", "https://registry.example.com/v2/", True),
        ("registry.example.com/a/b:1", "registry.example.com/a", True),
        ("registry.example.com/a/b:1", "registry.example.com/a/b", True),
        ("registry.example.com/a/b:1", "*.example.com", True),
        ("registry.example.com/a/b:1", "reg*.example.com/a", True),
        ("registry.example.com/a/b:1", "registry.example.com/ab", False),
        ("registry.example.com/ab:1", "registry.example.com/a", False),
        ("registry.example.com/a/b:1", "*.com", False),
        ("registry.example.com/a/b:1", "registry.example.com:5000", False),
        ("registry.example.com:5000/a:1", "registry.example.com:5000", True),
        ("registry.example.com/a/b:1", "example.com", False),
        ("evil.test/registry.example.com:1", "registry.example.com", False),
        ("nginx", "https://index.docker.io/v1/", True),
        ("nginx", "docker.io", True),
        ("team/app", "docker.io/team", True),
        ("nginx", "docker.io/team", False),
        ("nginx", "registry.example.com", False),
    ],
)
def test_credentials_are_for_the_registry_that_they_name(image: str, name: str, fits: bool) -> None:
    assert users(image, secret(**{name: "one"})) == (["one", "-"] if fits else ["-"])


def test_secrets_come_in_their_order_and_the_longest_path_within_one() -> None:
    first = secret(**{"registry.example.com": "one", "registry.example.com/a": "two"})
    second = secret(".dockercfg", **{"registry.example.com": "three", "other.example.com": "one"})
    assert users("registry.example.com/a/b", first, second) == ["two", "three", "-"]
    assert users("registry.example.com/c", first, second) == ["one", "three", "-"]


def helper(folder: Path, monkeypatch: pytest.MonkeyPatch, answer: str, code: int = 0) -> Path:
    """Put docker-credential-keep on PATH, which notes what it is asked."""
    folder.mkdir()
    program = folder / "docker-credential-keep"
    program.write_text(f"#!/bin/sh\ncat > {folder}/asked\ncat <<'END'\n{answer}\nEND\nexit {code}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder / "asked"


def configure(tmp_path: Path, document: object) -> None:
    path = tmp_path / "home" / ".docker" / "config.json"
    path.parent.mkdir(parents=True)
    path.write_text(document if isinstance(document, str) else json.dumps(document))


ANSWER = json.dumps({"ServerURL": "x", "Username": "one", "Secret": "p"})


@pytest.mark.parametrize(
    ("image", "asked"), [("nginx", "https://index.docker.io/v1/"), ("registry.example.com:5000/a", "registry.example.com:5000")]
)
def test_the_credential_store_is_asked_by_dockers_names(image: str, asked: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(tmp_path, {"credsStore": "keep"})
    note = helper(tmp_path / "bin", monkeypatch, ANSWER)
    assert users(image) == ["one", "-"]
    assert note.read_text() == asked


def test_a_token_of_the_credential_store_is_no_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(tmp_path, {"credsStore": "keep"})
    helper(tmp_path / "bin", monkeypatch, json.dumps({"Username": "<token>", "Secret": "t"}))
    with logins(parse("nginx"), ()) as (login, last):
        assert login is not None
        assert json.loads(login.read_text()) == {"auths": {"docker.io": {"identitytoken": "t"}}}
        assert last is None


@pytest.mark.parametrize(("answer", "code"), [("credentials not found", 1), ("not JSON", 0), ("[]", 0), ('{"Username": "one"}', 0)])
def test_a_credential_store_that_has_nothing_leaves_the_rest(
    answer: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(tmp_path, {"credsStore": "keep"})
    helper(tmp_path / "bin", monkeypatch, answer, code)
    assert users("nginx") == ["-"]


@pytest.mark.parametrize(
    "document",
    [
        "{",
        "[]",
        {},
        {"credsStore": "gone"},
        {"credsStore": "../keep"},
        {"credsStore": ["keep"], "credHelpers": 3},
        {"credsStore": "keep", "credHelpers": {"docker.io": "other"}},
    ],
)
def test_no_other_program_is_run(document: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(tmp_path, document)
    note = helper(tmp_path / "bin", monkeypatch, ANSWER)
    assert users("nginx") == ["-"]
    assert not note.exists()


def test_a_manifest_names_no_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    note = helper(tmp_path / "bin", monkeypatch, ANSWER)
    given = raw(".dockerconfigjson", json.dumps({"auths": {"docker.io": {"auth": basic("two", "p")}}, "credsStore": "keep"}))
    assert users("nginx", given) == ["two", "-"]
    assert not note.exists()


@pytest.mark.parametrize("text", ["hunter2", '{"auths": "hunter2"}', '{"auths": {"hunter2": 1}}', '{"auths": {"hunter2": {"auth": ""}}}'])
def test_what_holds_no_credentials_is_not_shown(text: str) -> None:
    with pytest.raises(NotCredentials) as caught:
        credentials(raw(".dockerconfigjson", text))
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None
