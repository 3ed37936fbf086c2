"""The command over the real library and a provider that boots nothing: that the two fit together."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

import pytest

from i2kit import registry
from i2kit.cli.program import run

from .conftest import Ended

Run = Callable[..., Ended]

MANIFEST = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replica: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: web, image: 5}]
"""


@pytest.fixture
def i2kit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command in a folder whose environment.yml names the provider in memory."""
    memory = EntryPoint(name="memory", value="i2kit_memory.plugin", group=registry.GROUP)
    others = [one for one in entry_points(group=registry.GROUP) if one.name != "memory"]
    monkeypatch.setattr(registry, "entry_points", lambda group: [*others, memory] if group == registry.GROUP else [])
    monkeypatch.chdir(tmp_path)
    for variable in ("XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
    Path("environment.yml").write_text(f"name: mem\nprovider: {{type: memory, path: {tmp_path}/cloud.json}}\n")

    def call(*arguments: str) -> Ended:
        code = run(arguments)
        printed = capsys.readouterr()
        return Ended(code, printed.out, printed.err)

    return call


def test_the_provider_is_listed(i2kit: Run) -> None:
    listed = {one["name"]: one for one in json.loads(i2kit("providers", "-o", "json").out)}
    assert listed["memory"]["error"] == ""


def test_nothing_runs_yet(i2kit: Run) -> None:
    assert i2kit("status").out == "nothing of any application runs in environment mem\n"
    assert i2kit("destroy", "-a", "web").out == "web in mem: nothing is there\n"
    assert json.loads(i2kit("status", "-a", "web", "-o", "json").out)["workloads"] == []
    ended = i2kit("logs", "-a", "web")
    assert (ended.code, ended.err.count("\n")) == (1, 1)


@pytest.mark.parametrize("command", ["validate", "plan", "deploy", "build", "graph"])
def test_a_wrong_manifest_is_4_with_a_line_for_each_problem(command: str, i2kit: Run) -> None:
    Path("web.yaml").write_text(MANIFEST)
    ended = i2kit(command, "-f", "web.yaml")
    assert (ended.code, ended.out) == (4, "")
    lines = ended.err.splitlines()
    assert len(lines) == 2
    assert any(line.startswith("error: web.yaml:5 spec.replica: ") for line in lines)
    assert any(line.startswith("error: web.yaml:10 spec.template.spec.containers[0].image: ") for line in lines)
    assert not Path("cloud.json").exists()


def test_a_wrong_environment_is_4(i2kit: Run) -> None:
    Path("environment.yml").write_text("provider: nowhere\n")
    ended = i2kit("status")
    assert ended.code == 4
    assert "no provider 'nowhere' is installed" in ended.err
    assert i2kit("status", "-e", "missing.yml").code == 4


def test_environment_and_manifests_are_found_wrong_in_one_run(i2kit: Run) -> None:
    Path("environment.yml").write_text("nam: x\n")
    Path("web.yaml").write_text(MANIFEST)
    ended = i2kit("deploy", "-f", "web.yaml")
    assert ended.code == 4
    assert ended.err.splitlines()[0].startswith("error: environment.yml:1 nam: ")
    assert len(ended.err.splitlines()) == 3
    assert len(i2kit("status", "-f", "web.yaml").err.splitlines()) == 1


def test_a_manifest_can_come_from_standard_input(i2kit: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO(MANIFEST.replace("replica:", "replicas:").replace("image: 5", "image: hello:1")))
    assert "2 x hello:1" in i2kit("validate", "-f", "-").out


def test_the_image_store_is_empty_and_says_what_is_not_in_it(i2kit: Run) -> None:
    assert i2kit("images", "ls").out.splitlines() == ["NAME  ARCHITECTURE  MB  DIGEST"]
    ended = i2kit("images", "rm", "hello:1", "other:1")
    assert (ended.code, ended.err.count("\n")) == (1, 2)
    assert i2kit("images", "import", "missing.tar").code == 1
