"""Images out of a real registry, Debian's docker-registry: their forms, whose credentials open it, and pulls that go wrong."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from i2kit.environment import Environment
from i2kit.errors import I2kitError, InvalidInput
from i2kit.images import oci, pulls, skopeo
from i2kit.images import resolve as resolving
from i2kit.images.locked import Inventory, LockedBase, LockedImage
from i2kit.images.resolve import resolve
from i2kit.images.store import ImageStore
from i2kit.manifest import loads
from i2kit.manifest.workloads import Workloads
from i2kit.paths import cache_home

from . import synthetic

sys.path.insert(0, str(Path(__file__).parents[2] / "beds"))
from registry import bed

pytestmark = pytest.mark.skipif(bool(bed.missing()), reason=bed.missing() or "everything is there")

NAME = "registry.example.test"
IMAGE: dict[str, Any] = {
    "config": {"Entrypoint": ["/app"]},
    "layers": [[{"file": "base", "size": 30_000}], [{"file": "app", "size": 20_000}]],
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("registry")


@pytest.fixture(scope="module")
def registry(place: Path) -> Iterator[str]:
    with bed.registry(place / "plain", bed.free_port()) as address:
        yield address


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No credentials, mirrors and certificates of whoever runs the tests play a part, and the base is another test's."""
    image = LockedImage(
        reference="docker.io/i2kit/x:1",
        digest="sha256:" + "0" * 64,
        architecture="x86_64",
        layers=(),
        inventory=Inventory(files=0, bytes=0, sha256=""),
        unpacked=0,
    )
    base = LockedBase(name="debian", packages=(), guest="sha256:" + "1" * 64, kernel=image, pod=image, cmdline="")
    monkeypatch.setattr(resolving, "lock_base", lambda *_arguments, **_options: base)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for variable in ("REGISTRY_AUTH_FILE", "DOCKER_CONFIG", "XDG_RUNTIME_DIR", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(variable, raising=False)


def auth(password: str = bed.PASSWORD) -> str:
    return base64.b64encode(f"{bed.USER}:{password}".encode()).decode()


def at_home(name: str, content: str) -> None:
    path = Path(os.environ["HOME"]) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def log_in(*registries: str) -> None:
    at_home(".docker/config.json", json.dumps({"auths": {registry: {"auth": auth()} for registry in registries}}))


def pushed(folder: Path, target: str, image: Mapping[str, Any] = IMAGE, *options: str) -> synthetic.Layout:
    made = synthetic.Layout({"a/app:1": image})
    made.write(folder)
    bed.push(folder, "a/app:1", target, *options)
    return made


def manifest(*images: str, secrets: str = "", pull: str = "") -> Workloads:
    """Return a Deployment for each image."""
    documents = [
        f"""
apiVersion: apps/v1
kind: Deployment
metadata: {{name: app{number}}}
spec:
  selector: {{matchLabels: {{app: a{number}}}}}
  template:
    metadata: {{labels: {{app: a{number}}}}}
    spec:
      {f"imagePullSecrets: [{{name: {pull}}}]" if pull and number == 0 else "securityContext: {}"}
      containers: [{{name: app, image: "{image}"}}]
"""
        for number, image in enumerate(images)
    ]
    return loads("\n---\n".join([*documents, *([secrets] if secrets else [])]))


def resolved(image: str) -> LockedImage:
    return resolve(manifest(image), Environment(), builder_version="1").images[image]


def refused(workloads: Workloads) -> list[str]:
    with pytest.raises(InvalidInput) as caught:
        resolve(workloads, Environment(), builder_version="1")
    assert bed.PASSWORD not in str(caught.value)
    assert auth() not in str(caught.value)
    return [problem.code for problem in caught.value.problems]


def layers_of(made: synthetic.Layout) -> list[str]:
    (digest,) = made.digests.values()
    return [layer["digest"] for layer in json.loads(made.blobs[digest])["layers"]]


# The forms of images.


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
def test_layers_come_as_they_are_whatever_they_are_compressed_with(
    compression: str, store: ImageStore, registry: str, tmp_path: Path
) -> None:
    log_in(registry)
    target = f"{registry}/form/{compression}:1"
    made = pushed(tmp_path / "layout", target, {**IMAGE, "compression": compression}, "--preserve-digests")
    image = resolved(target)
    assert image.digest == made.digests["a/app:1"]
    assert [layer.digest for layer in image.layers] == layers_of(made)
    assert [entry.path for entry in store.entries(store.manifest(image.digest))] == ["", "app", "base"]


def test_a_manifest_of_dockers_own_format_keeps_its_digest(store: ImageStore, registry: str, tmp_path: Path) -> None:
    log_in(registry)
    target = f"{registry}/form/docker:1"
    pushed(tmp_path / "layout", target, IMAGE, "--format=v2s2")
    image = resolved(target)
    document = json.loads(store.read(image.digest))
    assert document["mediaType"] == "application/vnd.docker.distribution.manifest.v2+json"
    assert (image.entrypoint, image.inventory.files) == (("/app",), 2)


def test_plain_layers_under_a_manifest_of_dockers_own_format_come_as_they_are(store: ImageStore, registry: str, tmp_path: Path) -> None:
    """Nobody but skopeo's `dir:` keeps these: everything else compresses them."""
    log_in(registry)
    target = f"{registry}/form/plain:1"
    made = synthetic.Layout({"a/app:1": {**IMAGE, "compression": "none"}})
    document = json.loads(made.blobs[made.digests["a/app:1"]])
    document["mediaType"] = "application/vnd.docker.distribution.manifest.v2+json"
    document["config"]["mediaType"] = "application/vnd.docker.container.image.v1+json"
    for layer in document["layers"]:
        layer["mediaType"] = "application/vnd.docker.image.rootfs.diff.tar"
    folder = tmp_path / "whole"
    folder.mkdir()
    for digest, data in made.blobs.items():
        (folder / digest.removeprefix("sha256:")).write_bytes(data)
    (folder / "manifest.json").write_bytes(oci.dump(document))
    (folder / "version").write_text("Directory Transport Version: 1.1\n")
    bed.push(folder, "dir", target, "--preserve-digests")
    image = resolved(target)
    assert image.digest == oci.digest_of(oci.dump(document))
    assert [layer.digest for layer in image.layers] == layers_of(made)


def index(folder: Path, *platforms: str) -> dict[str, str]:
    """Write a layout with an index of images for several architectures, which differ; return their digests."""
    digests = {}
    descriptors = []
    for name in platforms:
        made = synthetic.Layout({"a/app:1": {"layers": [[{"file": f"for-{name}", "size": 9000}]]}})
        (digest,) = made.digests.values()
        document = json.loads(made.blobs[digest])
        config = json.loads(made.blobs.pop(document["config"]["digest"]))
        architecture, _, variant = name.partition("/")
        data = oci.dump({**config, "architecture": architecture})
        document["config"] |= {"digest": oci.digest_of(data), "size": len(data)}
        manifest = oci.dump(document)
        digests[name] = oci.digest_of(manifest)
        platform = {"architecture": architecture, "os": "linux", **({"variant": variant} if variant else {})}
        descriptors.append({"mediaType": oci.MANIFEST, "digest": digests[name], "size": len(manifest), "platform": platform})
        del made.blobs[digest]
        made.blobs |= {oci.digest_of(data): data, digests[name]: manifest}
        made.write(folder)
    whole = oci.dump({"schemaVersion": 2, "mediaType": oci.INDEX, "manifests": descriptors})
    (folder / "blobs" / "sha256" / oci.digest_of(whole)[7:]).write_bytes(whole)
    top = {"mediaType": oci.INDEX, "digest": oci.digest_of(whole), "size": len(whole)}
    (folder / "index.json").write_bytes(oci.dump({"schemaVersion": 2, "manifests": [top]}))
    return digests


def test_of_an_index_the_image_for_this_kind_of_machine_is_taken(store: ImageStore, registry: str, tmp_path: Path) -> None:
    log_in(registry)
    target = f"{registry}/many/app:1"
    digests = index(tmp_path / "layout", "arm64/v8", "amd64", "s390x")
    bed.push(tmp_path / "layout", "", target, "--all", "--preserve-digests")
    image = resolved(target)
    assert image.digest == digests["amd64"]
    assert [entry.path for entry in store.entries(store.manifest(image.digest)) if entry.path] == ["for-amd64"]
    # Another environment's VMs can be others, of the same name in the same store.
    other = resolve(manifest(target), Environment(architecture="aarch64"), builder_version="1").images[target]
    assert (other.digest, other.architecture) == (digests["arm64/v8"], "aarch64")
    assert resolved(target) == image


def test_an_index_without_this_kind_of_machine_says_what_it_has(store: ImageStore, registry: str, tmp_path: Path) -> None:
    log_in(registry)
    target = f"{registry}/others/app:1"
    index(tmp_path / "layout", "arm64/v8", "s390x")
    bed.push(tmp_path / "layout", "", target, "--all", "--preserve-digests")
    with pytest.raises(InvalidInput, match="not for linux/amd64, but for linux/arm64/v8, linux/s390x") as caught:
        resolve(manifest(target), Environment(), builder_version="1")
    assert [problem.code for problem in caught.value.problems] == ["image-architecture"]


def test_a_single_image_for_another_machine_is_refused_before_its_layers_are_pulled(
    place: Path, store: ImageStore, registry: str, tmp_path: Path
) -> None:
    log_in(registry)
    target = f"{registry}/single/app:1"
    (digest,) = index(tmp_path / "layout", "arm64").values()
    bed.push(tmp_path / "layout", "", target, "--all", "--preserve-digests")
    shutil.copy(bed.blob(place / "plain", digest), tmp_path / "manifest")
    (layer,) = json.loads((tmp_path / "manifest").read_text())["layers"]
    bed.blob(place / "plain", layer["digest"]).unlink()
    assert refused(manifest(f"{registry}/single/app@{digest}")) == ["image-architecture"]


# Mirrors and certificates.


def test_a_mirror_serves_when_the_registry_itself_is_down(store: ImageStore, registry: str, tmp_path: Path) -> None:
    made = pushed(tmp_path / "layout", f"{registry}/copies/team/app:1")
    down = f"127.0.0.1:{bed.free_port()}"
    at_home(
        ".config/containers/registries.conf",
        f'[[registry]]\nlocation = "{down}"\n[[registry.mirror]]\nlocation = "{registry}/copies"\ninsecure = true\n',
    )
    log_in(registry)
    image = resolved(f"{down}/team/app:1")
    assert (image.reference, image.digest) == (f"{down}/team/app:1", made.digests["a/app:1"])


def test_a_ca_that_nobody_knows_is_refused_until_it_is_trusted(
    place: Path, store: ImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = bed.certified(place / "ca", NAME)
    port = bed.free_port()
    with bed.registry(place / "tls", port, certificate), bed.tunnel(port) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy)
        target = f"{NAME}/team/app:1"
        made = pushed(tmp_path / "layout", target)
        log_in(NAME)
        with pytest.raises(InvalidInput, match=f"certs.d/{NAME}/ca.crt") as caught:
            resolve(manifest(target), Environment(), builder_version="1")
        assert [problem.code for problem in caught.value.problems] == ["registry-untrusted"]
        at_home(f".config/containers/certs.d/{NAME}/ca.crt", certificate.ca.read_text())
        assert resolved(target).digest == made.digests["a/app:1"]


# Whose credentials.


class Watched:
    """A skopeo on PATH that notes its arguments, and what its credentials' file is, before it becomes the real one."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        folder.mkdir()
        self.folder = folder
        real = shutil.which("skopeo")
        (folder / "skopeo").write_text(
            f"""#!{sys.executable}
import json, os, sys
files = [sys.argv[at + 1] for at, word in enumerate(sys.argv) if word == "--authfile"]
seen = [(path, os.stat(path).st_mode, os.stat(os.path.dirname(path)).st_mode, open(path).read()) for path in files]
with open({str(folder / "calls")!r}, "a") as stream:
    stream.write(json.dumps([sys.argv, dict(os.environ), seen]) + chr(10))
os.execv({real!r}, sys.argv)
"""
        )
        (folder / "skopeo").chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def calls(self) -> list[tuple[list[str], dict[str, str], list[tuple[str, int, int, str]]]]:
        return [json.loads(line) for line in (self.folder / "calls").read_text().splitlines()]


def pull_secret(registry: str, kind: str) -> str:
    entry = {"username": bed.USER, "password": bed.PASSWORD, "email": "nobody@example.test"}
    document = {registry: entry, "other.example.test": {"auth": "eDp5"}}
    name, content = (".dockercfg", document) if kind == "dockercfg" else (".dockerconfigjson", {"auths": document, "credsStore": "none"})
    data = base64.b64encode(json.dumps(content).encode()).decode()
    return f"apiVersion: v1\nkind: Secret\nmetadata: {{name: pull}}\ntype: kubernetes.io/{kind}\ndata: {{{name}: {data}}}\n"


@pytest.mark.parametrize("kind", ["dockerconfigjson", "dockercfg"])
def test_image_pull_secrets_open_the_registry_for_their_pod_and_are_seen_nowhere(
    kind: str, store: ImageStore, registry: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = f"{registry}/pull/{kind}/one:1", f"{registry}/pull/{kind}/two:1"
    for number, target in enumerate((first, second)):
        pushed(tmp_path / str(number), target)
    watched = Watched(tmp_path / "bin", monkeypatch)
    workloads = manifest(first, second, secrets=pull_secret(registry, kind), pull="pull")
    said: list[str] = []
    with pytest.raises(InvalidInput) as caught:
        resolve(workloads, Environment(), builder_version="1", progress=said.append)
    assert [(problem.code, problem.where.line) for problem in caught.value.problems if problem.where] == [("registry-auth", 24)]
    locked = resolve(manifest(first, secrets=pull_secret(registry, kind), pull="pull"), Environment(), builder_version="1")
    assert store.has(locked.images[first].digest)
    # Nowhere but in a file that only its owner can read, and only for this registry.
    hidden = (bed.PASSWORD, auth())
    assert not any(secret in text for secret in hidden for text in (str(caught.value), repr(workloads), repr(locked), *said))
    seen = [file for _, _, files in watched.calls() for file in files]
    assert seen
    for path, mode, above, content in seen:
        assert (stat.S_IMODE(mode), stat.S_IMODE(above)) == (0o600, 0o700)
        assert json.loads(content) == {"auths": {registry: {"auth": auth()}}}
        assert not Path(path).exists()
    for arguments, environment, _ in watched.calls():
        assert not any(secret in text for secret in hidden for text in (*arguments, *environment.values()))
    left = [path for folder in ("data", "cache") for path in (tmp_path / folder).rglob("*") if path.is_file()]
    assert left
    assert not [path for path in left if any(secret.encode() in path.read_bytes() for secret in hidden)]


def test_a_pods_own_secret_that_is_wrong_leaves_the_users_credentials(store: ImageStore, registry: str, tmp_path: Path) -> None:
    target = f"{registry}/pull/both:1"
    pushed(tmp_path / "layout", target)
    data = base64.b64encode(json.dumps({registry: {"username": bed.USER, "password": "old"}}).encode()).decode()
    wrong = f"apiVersion: v1\nkind: Secret\nmetadata: {{name: pull}}\ndata: {{.dockercfg: {data}}}\n"
    workloads = manifest(target, secrets=wrong, pull="pull")
    assert refused(workloads) == ["registry-auth"]
    log_in(registry)
    assert store.has(resolve(workloads, Environment(), builder_version="1").images[target].digest)


def helper(folder: Path, monkeypatch: pytest.MonkeyPatch, registry: str) -> None:
    """Put a credential helper on PATH that knows one registry, as docker's helpers speak."""
    folder.mkdir()
    program = folder / "docker-credential-keep"
    answer = json.dumps({"ServerURL": registry, "Username": bed.USER, "Secret": bed.PASSWORD})
    program.write_text(
        f"#!/bin/sh\nread server\nif [ \"$1 $server\" = 'get {registry}' ]; then echo '{answer}'; else "
        "echo 'credentials not found in native keychain'; exit 1; fi\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


@pytest.mark.parametrize("way", ["credHelpers", "credsStore"])
@pytest.mark.parametrize("variable", [False, True])
def test_dockers_credential_helpers_are_asked(
    variable: bool, way: str, store: ImageStore, registry: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = f"{registry}/helped/{way.lower()}:1"
    pushed(tmp_path / "layout", target)
    at_home(".docker/config.json", json.dumps({way: {registry: "keep"} if way == "credHelpers" else "keep"}))
    if variable:
        monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "home" / ".docker"))
    assert refused(manifest(target)) == ["registry-failed" if way == "credHelpers" else "registry-auth"]
    helper(tmp_path / "helpers", monkeypatch, registry)
    watched = Watched(tmp_path / "bin", monkeypatch)
    assert store.has(resolved(target).digest)
    for arguments, environment, _ in watched.calls():
        assert not any(secret in text for secret in (bed.PASSWORD, auth()) for text in (*arguments, *environment.values()))


# Pulls that go wrong.


@pytest.fixture
def image(registry: str, place: Path, tmp_path: Path) -> tuple[str, list[Path]]:
    """A new image in the registry: its name, and where the registry keeps its two layers."""
    log_in(registry)
    name = tmp_path.name.replace("_", "-").lower().strip("-")
    made = pushed(
        tmp_path / "layout",
        f"{registry}/wrong/{name}:1",
        {"layers": [[{"file": f"{name}-{number}", "size": 30_000 + number}] for number in range(2)]},
    )
    return f"{registry}/wrong/{name}:1", [bed.blob(place / "plain", digest) for digest in layers_of(made)]


def test_a_pull_that_broke_off_goes_on_without_what_it_has(image: tuple[str, list[Path]], store: ImageStore, tmp_path: Path) -> None:
    name, (first, second) = image
    second.rename(tmp_path / "away")
    assert refused(manifest(name)) == ["registry-failed"]
    assert store.images() == ()
    # Only who has the first already can do without it.
    first.unlink()
    (tmp_path / "away").rename(second)
    assert store.has(resolved(name).digest)
    assert list((cache_home() / "pulls" / "sha256").iterdir()) == []


def test_what_a_pull_left_is_checked_before_it_is_used(image: tuple[str, list[Path]], store: ImageStore, tmp_path: Path) -> None:
    name, (_, second) = image
    second.rename(tmp_path / "away")
    assert refused(manifest(name)) == ["registry-failed"]
    (left,) = (cache_home() / "pulls" / "sha256").iterdir()
    left.write_bytes(left.read_bytes()[:-1] + b"x")
    (tmp_path / "away").rename(second)
    assert store.has(resolved(name).digest)


KILLED = """
import os, signal, sys
from i2kit.images import skopeo
from i2kit.images.reference import parse
from i2kit.images.pulls import pulled
from i2kit.images.store import default_store
real = skopeo.copy
def copy(*arguments, **options):
    real(*arguments, **options)
    os.kill(os.getpid(), signal.SIGKILL)
skopeo.copy = copy
with pulled(skopeo.look_up(parse(sys.argv[1]), "x86_64"), default_store(), "x86_64", None):
    pass
"""


def test_a_pull_that_was_killed_goes_on_without_what_it_has(image: tuple[str, list[Path]], store: ImageStore) -> None:
    name, layers = image
    killed = subprocess.run([sys.executable, "-c", KILLED, name], env=dict(os.environ), check=False, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert store.images() == ()
    for layer in layers:
        layer.unlink()
    assert store.has(resolved(name).digest)
    # What is old goes with the next pull.
    (left,) = (cache_home() / "pulls").glob(".layout-*")
    os.utime(left, (0, 0))
    pulls._forget_old(cache_home() / "pulls")
    assert not left.exists()


FULL = """
import os, subprocess, sys
from pathlib import Path
from i2kit.errors import I2kitError
from i2kit.images import pulls, skopeo
from i2kit.images.reference import parse
from i2kit.images.store import default_store
cache, store, reference = Path(os.environ["XDG_CACHE_HOME"]), default_store(), parse(sys.argv[1])
cache.mkdir()
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48k", "tmpfs", str(cache)], check=True)
for size in ("48k", "4m"):
    subprocess.run(["mount", "-o", f"remount,size={size}", str(cache)], check=True)
    try:
        with pulls.pulled(skopeo.look_up(reference, "x86_64"), store, "x86_64", None) as layout:
            store.import_path(layout, name=str(reference), pulled=True)
        print("done", len(store.images()))
    except I2kitError as error:
        print(error.problems[0].code, len(store.images()))
"""


def test_a_disk_that_is_full_amid_a_pull_is_said_to_be_full(image: tuple[str, list[Path]], store: ImageStore, tmp_path: Path) -> None:
    own = ["unshare", "--user", "--map-root-user", "--mount"]
    possible = subprocess.run([*own, "mount", "-t", "tmpfs", "tmpfs", str(tmp_path)], capture_output=True, text=True, check=False)
    if possible.returncode:
        pytest.skip(f"no file system of one's own can be mounted here: {possible.stderr.strip()}")
    command = [*own, sys.executable, "-c", FULL, image[0]]
    done = subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.splitlines() == ["disk-full 0", "done 1"], done.stderr


AT_ONCE = """
import sys
from i2kit.images import pulls, skopeo
from i2kit.images.reference import parse
from i2kit.images.store import default_store
store = default_store()
reference = parse(sys.argv[1])
sys.stdin.read()
with pulls.pulled(skopeo.look_up(reference, "x86_64"), store, "x86_64", None) as layout:
    store.import_path(layout, name=str(reference), pulled=True)
"""


def test_several_processes_may_pull_the_same_image_at_once(image: tuple[str, list[Path]], store: ImageStore) -> None:
    name, _ = image
    command = [sys.executable, "-c", AT_ONCE, name]
    running = [subprocess.Popen(command, stdin=subprocess.PIPE, env=dict(os.environ)) for _ in range(3)]
    try:
        for process in running:
            assert process.stdin is not None
            process.stdin.close()
        assert [process.wait(60) for process in running] == [0, 0, 0]
    finally:
        for process in running:
            process.kill()
            process.wait()
    (stored,) = store.images()
    assert store.has(stored.digest)
    assert list((cache_home() / "pulls").rglob(".layout-*")) == []


def test_layers_that_the_store_has_are_not_fetched_again(
    image: tuple[str, list[Path]], place: Path, registry: str, store: ImageStore, tmp_path: Path
) -> None:
    name, (first, second) = image
    resolved(name)
    shared = tmp_path.name.replace("_", "-").lower().strip("-")
    described = {"layers": [[{"file": f"{shared}-0", "size": 30_000}], [{"file": "other", "size": 5000}]]}
    pushed(tmp_path / "next", name, described)
    first.unlink()
    second.unlink()
    again = resolved(name)
    assert [entry.path for entry in store.entries(store.manifest(again.digest))] == ["", "other", f"{shared}-0"]
    assert list((cache_home() / "pulls" / "sha256").iterdir()) == []


@pytest.mark.parametrize("damage", [lambda data: data[:-1] + b"x", lambda data: data[:1000], lambda data: data + b"x", lambda _: b""])
def test_a_registry_that_serves_other_content_than_it_says_is_found_out(
    damage: Any, image: tuple[str, list[Path]], store: ImageStore
) -> None:
    name, (_, second) = image
    whole = second.read_bytes()
    second.write_bytes(damage(whole))
    assert refused(manifest(name)) == ["digest-mismatch"]
    assert store.images() == ()
    second.write_bytes(whole)
    assert store.has(resolved(name).digest)


def test_a_manifest_that_is_not_its_digest_is_found_out(place: Path, registry: str, store: ImageStore, tmp_path: Path) -> None:
    log_in(registry)
    (digest,) = pushed(tmp_path / "layout", f"{registry}/forged/app:1").digests.values()
    path = bed.blob(place / "plain", digest)
    path.write_bytes(path.read_bytes() + b" ")
    assert refused(manifest(f"{registry}/forged/app@{digest}")) == ["digest-mismatch"]
    assert store.images() == ()


def test_a_configuration_that_is_not_its_digest_is_found_out(place: Path, registry: str, store: ImageStore, tmp_path: Path) -> None:
    log_in(registry)
    made = pushed(tmp_path / "layout", f"{registry}/forged/config:1", {**IMAGE, "config": {"Entrypoint": ["/forged"]}})
    (digest,) = made.digests.values()
    path = bed.blob(place / "plain", json.loads(made.blobs[digest])["config"]["digest"])
    path.write_bytes(path.read_bytes().replace(b"/forged", b"/FORGED"))
    assert refused(manifest(f"{registry}/forged/config:1")) == ["digest-mismatch"]


def test_nothing_is_asked_twice_of_a_registry_that_is_down(store: ImageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a refused login is a reason to try the next."""
    asked: list[object] = []

    def look_up(*arguments: object) -> None:
        asked.append(arguments[-1])
        raise skopeo.RegistryError(I2kitError.of("registry-unreachable", "down").problems)

    monkeypatch.setattr(skopeo, "look_up", look_up)
    assert refused(manifest(f"{NAME}/app", secrets=pull_secret(NAME, "dockercfg"), pull="pull")) == ["registry-unreachable"]
    assert len(asked) == 1
    assert asked[0] is not None
