"""Everything that is wrong is said in one run, although later stages need what earlier ones refuse."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from runs import memory

import i2kit
from i2kit import operations, stages
from i2kit.environment import Environment
from i2kit.errors import InvalidInput, Problem
from i2kit.images import pulls, resolve, skopeo

DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      containers:
      - name: web
        image: {image}
{more}"""

ENOUGH = {
    "broken.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: [a\n",
    "duplicate.yaml": DEPLOYMENT.format(name="huge", image="nowhere:1", more=""),
    "huge.yaml": DEPLOYMENT.format(name="huge", image="nowhere:1", more="        resources: {limits: {memory: 1Ti}}\n"),
    "nothing.yaml": "apiVersion: v1\nkind: Service\nmetadata: {name: nothing}\nspec: {selector: {app: none}, ports: [{port: 80}]}\n",
    "secret.yaml": DEPLOYMENT.format(name="secret", image="nowhere:2", more="        envFrom: [{secretRef: {name: gone}}]\n"),
    "types.yaml": DEPLOYMENT.format(name="types", image="nowhere:3", more="        tty: 'perhaps'\n").replace(
        "spec:\n", "spec:\n  replicas: two\n", 1
    ),
    "unknown.yaml": DEPLOYMENT.format(name="unknown", image="nowhere:4", more="        comand: [x]\n"),
}


@pytest.fixture(autouse=True)
def _no_images(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(skopeo, "installed", lambda: False)


def problems_of(folder: Path, texts: dict[str, str]) -> list[Problem]:
    folder.mkdir()
    for name, text in texts.items():
        (folder / name).write_text(text)
    with pytest.raises(InvalidInput) as caught:
        i2kit.deploy([folder], environment=Environment())
    return list(caught.value.problems)


def test_every_kind_of_mistake_is_reported_in_one_run_with_its_place(tmp_path: Path) -> None:
    found = problems_of(tmp_path / "app", ENOUGH)
    places = {(one.code, Path(one.where.file).name, one.where.line, one.where.path) for one in found if one.where}
    image = "spec.template.spec.containers[0].image"
    assert places >= {
        ("yaml-syntax", "broken.yaml", 3, ""),
        ("duplicate-object", "huge.yaml", 3, "metadata.name"),
        ("memory-too-large", "huge.yaml", 12, "spec.template.spec.containers[0].resources.limits.memory"),
        ("image-not-found", "huge.yaml", 11, image),
        ("selects-nothing", "nothing.yaml", 4, "spec.selector"),
        ("missing-secret", "secret.yaml", 12, "spec.template.spec.containers[0].envFrom[0].secretRef.name"),
        ("image-not-found", "secret.yaml", 11, image),
        ("wrong-type", "types.yaml", 5, "spec.replicas"),
        ("unknown-field", "unknown.yaml", 12, "spec.template.spec.containers[0].comand"),
    }
    files = [Path(one.where.file).name for one in found if one.where]
    assert files == sorted(files)
    assert not (tmp_path / "data" / "i2kit" / "secret.key").exists()


def test_a_pod_that_does_not_fit_is_reported_beside_an_image_that_is_nowhere(tmp_path: Path) -> None:
    (tmp_path / "huge.yaml").write_text(ENOUGH["huge.yaml"])
    (tmp_path / "nowhere.yaml").write_text(DEPLOYMENT.format(name="web", image="nowhere:2", more=""))
    with pytest.raises(InvalidInput) as caught:
        stages.resolve(i2kit.load([tmp_path]), Environment())
    assert [one.code for one in caught.value.problems] == ["image-not-found", "memory-too-large", "image-not-found"]


def test_an_unknown_provider_is_reported_beside_what_is_wrong_with_the_manifests(tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text(ENOUGH["broken.yaml"])
    with pytest.raises(InvalidInput) as caught:
        stages.load_for(Environment(provider="nobody"), [tmp_path])
    assert [one.code for one in caught.value.problems] == ["unknown-provider", "yaml-syntax"]


def test_looking_for_what_is_wrong_pulls_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def pulled(*_arguments: object) -> None:
        raise AssertionError("it was pulled")

    monkeypatch.setattr(skopeo, "installed", lambda: True)
    monkeypatch.setattr(
        skopeo, "look_up", lambda reference, _architecture, _login: skopeo.RemoteImage(reference=reference, digest="sha256:" + "0" * 64)
    )
    monkeypatch.setattr(pulls, "pulled", pulled)
    (tmp_path / "huge.yaml").write_text(ENOUGH["huge.yaml"])
    assert resolve.examine(i2kit.load([tmp_path]), "x86_64") == ({}, ())


def test_destroy_by_broken_manifests_says_that_the_name_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shop.yaml").write_text(ENOUGH["broken.yaml"])
    monkeypatch.setattr(operations, "connect", lambda _environment: memory())
    with pytest.raises(InvalidInput) as caught:
        i2kit.destroy([tmp_path / "shop.yaml"], environment=Environment())
    assert [one.code for one in caught.value.problems] == ["yaml-syntax", "unchecked-application"]
    assert "i2kit destroy -a shop" in caught.value.problems[-1].hint


def test_destroy_reads_manifests_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "connect", lambda _environment: memory())
    paper = io.StringIO("{name: web, containers: [{image: 'web:1'}]}")
    assert i2kit.destroy(["-"], environment=Environment(), stdin=paper).ok
    assert paper.read() == ""
