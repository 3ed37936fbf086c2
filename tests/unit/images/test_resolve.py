"""References become digests: the store first, then registries, by a faked skopeo and by a real registry with a password."""

from __future__ import annotations

import base64
import json
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from i2kit.environment import Environment
from i2kit.errors import I2kitError, InvalidInput, Where
from i2kit.images import resolve as resolving
from i2kit.images import skopeo
from i2kit.images.inspection import user_ids
from i2kit.images.locked import Inventory, LockedBase, LockedImage
from i2kit.images.resolve import resolve
from i2kit.images.store import ImageStore
from i2kit.manifest.workloads import Container, Pod, Workload, Workloads

from . import synthetic

sys.path.insert(0, str(Path(__file__).parents[2] / "beds"))
from registry import bed

APP: dict[str, Any] = {
    "config": {"Entrypoint": ["/bin/app"], "User": "web"},
    "layers": [[{"file": "bin/app", "size": 5000}, {"file": "etc/passwd", "text": "root:x:0:0::/:/bin/sh\nweb:x:33:34::/:/bin/sh\n"}]],
}


@pytest.fixture(autouse=True)
def base(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The base is another test's; no credentials of whoever runs the tests may play a part."""

    def fake(*_arguments: object, **options: Any) -> LockedBase:
        image = LockedImage(
            reference="docker.io/i2kit/x:1",
            digest="sha256:" + "0" * 64,
            architecture="x86_64",
            layers=(),
            inventory=Inventory(files=0, bytes=0, sha256=""),
            unpacked=0,
        )
        name = "moved" if options["update"] else options["previous"].name if options["previous"] else "debian"
        return LockedBase(name=name, packages=(), guest="sha256:" + "1" * 64, kernel=image, pod=image, cmdline="")

    monkeypatch.setattr(resolving, "lock_base", fake)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for variable in ("REGISTRY_AUTH_FILE", "DOCKER_CONFIG", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(variable, raising=False)


def workloads(*images: str) -> Workloads:
    containers = tuple(
        Container(name=f"c{number}", image=image, where=Where(file="app.yaml", line=number + 1, path=f"spec.containers[{number}].image"))
        for number, image in enumerate(images)
    )
    return Workloads(
        workloads=(Workload(name="app", namespace="default", replicas=1, pod=Pod(containers=containers), where=Where(file="a")),)
    )


def layout(folder: Path, image: dict[str, Any] = APP, name: str = "example/app:1", **options: Any) -> synthetic.Layout:
    made = synthetic.Layout({name: image}, **options)
    made.write(folder)
    return made


def problems(error: I2kitError) -> list[tuple[str, int | None]]:
    return [(problem.code, problem.where.line if problem.where else None) for problem in error.problems]


class Skopeo:
    """A skopeo on PATH that notes its arguments and says what it was told to say."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        folder.mkdir()
        self._folder = folder
        monkeypatch.setenv("PATH", str(folder))
        self.fails("manifest unknown")

    def fails(self, said: str) -> None:
        self._write(f"print({said!r}, file=sys.stderr); sys.exit(1)")

    def says(self, text: str) -> None:
        self._write(f"sys.stdout.write({text!r})")

    def _write(self, code: str) -> None:
        program = self._folder / "skopeo"
        note = f"open({str(self._folder / 'calls')!r}, 'a').write(json.dumps(sys.argv[1:]) + chr(10))"
        program.write_text(f"#!{sys.executable}\nimport json, sys\n{note}\n{code}\n")
        program.chmod(0o755)

    @property
    def calls(self) -> list[list[str]]:
        path = self._folder / "calls"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Skopeo:
    return Skopeo(tmp_path / "bin", monkeypatch)


def test_what_is_in_the_store_needs_no_registry(store: ImageStore, fake: Skopeo, tmp_path: Path) -> None:
    made = layout(tmp_path / "layout")
    store.import_path(tmp_path / "layout")
    locked = resolve(workloads("example/app:1", f"example/app@{made.digests['example/app:1']}"), Environment(), builder_version="7")
    assert fake.calls == []
    image = locked.images["example/app:1"]
    assert (image.reference, image.digest, image.entrypoint) == ("docker.io/example/app:1", made.digests["example/app:1"], ("/bin/app",))
    assert (image.inventory.files, image.unpacked, image.uid, image.gid) == (2, 3 * 4096, 33, 34)
    assert (locked.builder, locked.builder_version, locked.base.name) == ("assembler", "7", "debian")


def test_previous_keeps_the_base_until_it_is_to_move(store: ImageStore, fake: Skopeo) -> None:
    first = resolve(workloads(), Environment(), builder_version="1")
    previous = evolve(first, base=evolve(first.base, name="kept"))
    assert resolve(workloads(), Environment(), previous=previous, builder_version="1").base.name == "kept"
    assert resolve(workloads(), Environment(), previous=previous, update_base=True, builder_version="1").base.name == "moved"


def test_every_miss_is_a_problem_of_its_container(store: ImageStore, fake: Skopeo) -> None:
    with pytest.raises(InvalidInput) as caught:
        resolve(workloads("nowhere:1", "Not/A:reference", "nowhere:1"), Environment(), builder_version="1")
    assert problems(caught.value) == [("image-not-found", 1), ("image-not-found", 3), ("image-reference-invalid", 2)]
    assert "docker.io/library/nowhere:1" in str(caught.value)
    assert len([call for call in fake.calls if "inspect" in call]) == 1


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("reading manifest 1 in docker.io/x/y: manifest unknown: manifest unknown", "image-not-found"),
        ("errors: name unknown: repository name not known to registry", "image-not-found"),
        ("unauthorized: authentication required", "registry-auth"),
        ("denied: requested access to the resource is denied", "registry-auth"),
        ('pinging container registry x: Get "https://x/v2/": dial tcp: lookup x: no such host', "registry-unreachable"),
        ('Get "https://x/v2/": x509: certificate signed by unknown authority', "registry-untrusted"),
        ("writing blob: happened during read: Digest did not match, expected sha256:1, got sha256:2", "digest-mismatch"),
        ("reading blob sha256:1: Error fetching blob: invalid status code from registry 404 (Not Found)", "registry-failed"),
        ("writing blob: write /x/oci-put-blob1: no space left on device", "disk-full"),
        ("received unexpected HTTP status: 500 Internal Server Error", "registry-failed"),
    ],
)
def test_what_a_registry_says_gets_a_code(said: str, code: str, store: ImageStore, fake: Skopeo) -> None:
    fake.fails(f'time="2026" level=fatal msg="{said}"')
    with pytest.raises(InvalidInput) as caught:
        resolve(workloads("private/app:1"), Environment(), builder_version="1")
    assert problems(caught.value) == [(code, 1)]
    assert caught.value.problems[0].hint


def test_no_credential_gets_into_an_error(store: ImageStore, fake: Skopeo) -> None:
    fake.fails('level=fatal msg="Get \\"https://bob:canary@x/v2/?token=canary\\": Authorization: Bearer canary: 500 Internal Server Error"')
    with pytest.raises(InvalidInput) as caught:
        resolve(workloads("private/app:1"), Environment(), builder_version="1")
    assert "canary" not in str(caught.value)
    assert "500 Internal Server Error" in str(caught.value)


def test_an_image_for_another_architecture_is_refused(store: ImageStore, fake: Skopeo) -> None:
    fake.says(json.dumps({"manifests": [{"digest": "sha256:" + "0" * 64, "platform": {"architecture": "arm64", "os": "linux"}}]}))
    with pytest.raises(InvalidInput, match="not for linux/amd64, but for linux/arm64") as caught:
        resolve(workloads("arm:1"), Environment(), builder_version="1")
    assert problems(caught.value) == [("image-architecture", 1)]


def test_without_skopeo_its_package_is_named(store: ImageStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InvalidInput, match="apt-get install skopeo") as caught:
        resolve(workloads("nowhere:1"), Environment(), builder_version="1")
    assert problems(caught.value) == [("image-not-found", 1)]


def test_dockers_own_configuration_folder_is_handed_on(
    store: ImageStore, fake: Skopeo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InvalidInput):
        resolve(workloads("private/app:1"), Environment(), builder_version="1")
    (call,) = fake.calls
    assert call[call.index("--authfile") + 1] == str(tmp_path / "config.json")


@pytest.mark.parametrize("registry", ["localhost", "localhost:5000", "127.0.0.1:5000", "127.9.9.9", "[::1]:5000"])
def test_this_machines_own_registries_may_do_without_tls(registry: str) -> None:
    assert skopeo.is_loopback(registry)


@pytest.mark.parametrize("registry", ["docker.io", "10.0.0.1:5000", "127.0.0.1.example.org", "localhost.example.org:5000"])
def test_no_other_registry_may_do_without_tls(registry: str) -> None:
    assert not skopeo.is_loopback(registry)


@pytest.mark.parametrize(
    ("user", "ids"),
    [
        ("", (0, 0)),
        (":", (0, 0)),
        ("0", (0, 0)),
        ("7", (7, 0)),
        ("33", (33, 34)),
        ("web", (33, 34)),
        ("web:9", (33, 9)),
        ("7:staff", (7, 50)),
        ("7:50", (7, 50)),
    ],
)
def test_a_user_is_looked_up_in_the_image(user: str, ids: tuple[int, int]) -> None:
    assert user_ids(user, b"broken\nweb:x:33:34::/:/bin/sh\n", b"staff:x:50:\n") == ids


@pytest.mark.parametrize("user", ["nobody", "web:nogroup", "-1", "4294967295", "9 9"])
def test_a_user_that_the_image_does_not_know_is_refused(user: str) -> None:
    with pytest.raises(I2kitError) as caught:
        user_ids(user, b"web:x:33:34::/:/bin/sh\n", b"")
    assert caught.value.problems[0].code == "image-user-unknown"


# Against a real registry.

needs_registry = pytest.mark.skipif(bool(bed.missing()), reason=bed.missing() or "the registry is there")


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with bed.registry(tmp_path / "registry", port) as address:
        yield address


def log_in(registry: str, tmp_path: Path, password: str = bed.PASSWORD) -> None:
    config = tmp_path / "home" / ".docker" / "config.json"
    config.parent.mkdir(parents=True, exist_ok=True)
    auth = base64.b64encode(f"{bed.USER}:{password}".encode()).decode()
    config.write_text(json.dumps({"auths": {registry: {"auth": auth}}}))


@needs_registry
def test_a_registry_with_a_password_gives_what_it_has_to_those_who_know_it(store: ImageStore, registry: str, tmp_path: Path) -> None:
    made = layout(tmp_path / "one")
    bed.push(tmp_path / "one", "example/app:1", f"{registry}/team/app:1")
    name = f"{registry}/team/app:1"
    for password in (None, "wrong-canary"):
        if password:
            log_in(registry, tmp_path, password)
        with pytest.raises(InvalidInput, match="docker login") as caught:
            resolve(workloads(name), Environment(), builder_version="1")
        assert problems(caught.value) == [("registry-auth", 1)]
        assert "canary" not in str(caught.value)
    log_in(registry, tmp_path)
    said: list[str] = []
    image = resolve(workloads(name), Environment(), builder_version="1", progress=said.append).images[name]
    assert (image.reference, image.digest) == (name, made.digests["example/app:1"])
    assert said == [f"pulling {name}"]
    assert store.has(image.digest)
    with pytest.raises(InvalidInput) as caught:
        resolve(workloads(f"{registry}/team/app:2", f"{registry}/nobody/nothing:1"), Environment(), builder_version="1")
    assert problems(caught.value) == [("image-not-found", 1), ("image-not-found", 2)]


@needs_registry
def test_a_tag_that_moves_is_followed_and_nothing_is_pulled_twice(store: ImageStore, registry: str, tmp_path: Path) -> None:
    log_in(registry, tmp_path)
    name = f"{registry}/team/app:1"
    layout(tmp_path / "one")
    bed.push(tmp_path / "one", "example/app:1", name)
    said: list[str] = []
    first = resolve(workloads(name), Environment(), builder_version="1", progress=said.append).images[name]
    assert resolve(workloads(name), Environment(), builder_version="1", progress=said.append).images[name] == first
    layout(tmp_path / "two", {"layers": [[{"file": "other"}]]})
    bed.push(tmp_path / "two", "example/app:1", name)
    second = resolve(workloads(name), Environment(), builder_version="1", progress=said.append).images[name]
    assert second.digest != first.digest
    assert said == [f"pulling {name}"] * 2


@needs_registry
def test_what_was_pulled_serves_while_the_registry_is_away(store: ImageStore, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    layout(tmp_path / "one")
    with bed.registry(tmp_path / "registry", port) as registry:
        log_in(registry, tmp_path)
        name = f"{registry}/team/app:1"
        bed.push(tmp_path / "one", "example/app:1", name)
        first = resolve(workloads(name), Environment(), builder_version="1").images[name]
    said: list[str] = []
    assert resolve(workloads(name), Environment(), builder_version="1", progress=said.append).images[name] == first
    assert "as it was pulled before" in said[0]
    with pytest.raises(InvalidInput) as caught:
        resolve(workloads(f"{registry}/other:1"), Environment(), builder_version="1")
    assert problems(caught.value) == [("registry-unreachable", 1)]
