"""The `linuxkit` builder: its command line against a faked command, its results against the real one where it is installed."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import generatedpods
import pytest
import yaml
from attrs import evolve
from fakelinuxkit import BUILDS, Fake
from linuxkitcases import CASES, DATA, GENERATED, descriptions, imported, of_generated
from linuxkittrees import EXCEPTIONS, differences, explained, load

from i2kit.errors import BuildError, I2kitError, MissingRequirement
from i2kit.images import assembler, linuxkit, linuxkit_command, packers, rootdisk
from i2kit.images.builder import BuildRequest
from i2kit.images.layers import members
from i2kit.images.linuxkit_layers import unpacked
from i2kit.images.store import default_store
from i2kit.paths import data_home
from i2kit.resources import Image

from . import hello, initramfs, synthetic

ROOT = Path(__file__).parents[3]
USER_STORE = data_home() / "store"
real_linuxkit = pytest.mark.skipif(shutil.which("linuxkit") is None, reason="the real linuxkit is not on PATH")


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let store and cache lie in the test's own folder."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    return Fake(tmp_path / "bin", monkeypatch)


def image(case: str) -> Image:
    """Import a case's images into the store and return the `Image` of its YAML."""
    return imported(case, descriptions(case), (DATA / case / "build.yml").read_text())


def request(case: str, **how: Any) -> BuildRequest:
    return BuildRequest(image=image(case), **how)


def codes(error: I2kitError) -> list[str]:
    return [problem.code for problem in error.problems]


# The command line, held by the fake.


def test_build_runs_linuxkit_offline_and_without_anything_of_the_users(fake: Fake, tmp_path: Path) -> None:
    asked = request("plain")
    linuxkit.build(asked)
    assert [call["arguments"][0] for call in fake.calls] == ["version", "cache", "build"]
    build = fake.call("build")
    arguments = build["arguments"]
    cache, out = arguments[arguments.index("--cache") + 1], arguments[arguments.index("--dir") + 1]
    assert arguments == [
        *["build", "--no-sbom", "--docker=false", "--pull=false", "--format", "kernel+initrd", "--arch", "amd64"],
        *["--cache", cache, "--dir", out, "--name", "image", "-"],
    ]
    assert build["stdin"] == asked.image.yaml
    assert set(build["environment"]) <= {
        *("PATH", "HOME", "TMPDIR", "DOCKER_CONFIG", "LC_ALL", "TZ", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"),
        *("LC_CTYPE", "PWD", "SHLVL", "_"),
    }
    assert build["environment"]["HTTPS_PROXY"] == "http://127.0.0.1:9"
    assert build["environment"]["HOME"] == build["folder"]
    assert Path(cache).is_relative_to(build["folder"])
    assert not Path(build["folder"]).exists()


def test_build_returns_what_linuxkit_wrote(fake: Fake, tmp_path: Path) -> None:
    artefact = linuxkit.build(request("plain"))
    assert artefact.format == "kernel+initrd"
    assert {role: path.read_text() for role, path in artefact.files.items()} == {
        "kernel": "kernel",
        "initrd": "initrd",
        "cmdline": "quiet",
    }
    assert {path.parent for path in artefact.files.values()} == {tmp_path / "cache" / "i2kit" / "images" / ("ab" * 32)}
    assert sorted(path.name for path in (tmp_path / "cache" / "i2kit").iterdir() if path.name.startswith("linuxkit")) == []


def test_an_empty_command_line_is_an_empty_file(fake: Fake, tmp_path: Path) -> None:
    fake.does(BUILDS + '    (out / "image-cmdline").unlink()\n')
    assert linuxkit.build(request("plain")).files["cmdline"].read_bytes() == b""


def test_an_image_that_was_built_is_not_built_again(fake: Fake, tmp_path: Path) -> None:
    asked = request("plain")
    first = linuxkit.build(asked)
    again = linuxkit.build(asked)
    assert again == first
    assert len([call for call in fake.calls if call["arguments"][0] == "build"]) == 1


def test_without_the_cache_an_image_is_built_again_in_its_place(fake: Fake, tmp_path: Path) -> None:
    first = linuxkit.build(request("plain"))
    fake.does(BUILDS.replace('"initrd"', '"other initrd"'))
    again = linuxkit.build(request("plain", no_cache=True))
    assert again == first
    assert again.files["initrd"].read_text() == "other initrd"


def test_a_cached_image_that_lost_a_file_is_built_again(fake: Fake, tmp_path: Path) -> None:
    asked = request("plain")
    linuxkit.build(asked).files["kernel"].unlink()
    assert linuxkit.build(asked).files["kernel"].read_text() == "kernel"


def test_progress_hears_each_line_that_linuxkit_says(fake: Fake, tmp_path: Path) -> None:
    heard: list[str] = []
    linuxkit.build(request("plain", progress=heard.append))
    assert heard == ["Extract kernel image: docker.io/i2kit/kernel:test", "Create outputs:"]


def test_linuxkit_gets_each_image_by_name_behind_an_index(fake: Fake, tmp_path: Path) -> None:
    asked = request("compressions")
    linuxkit.build(asked)
    with tarfile.open(fake.folder / "images.tar") as archive:
        names = archive.getnames()

        def document(name: str) -> dict[str, Any]:
            found = archive.extractfile(name)
            assert found is not None
            loaded: dict[str, Any] = json.load(found)
            return loaded

        tops = document("index.json")["manifests"]
        manifests = {
            top["annotations"]["io.containerd.image.name"]: document(f"blobs/{top['digest'].replace(':', '/')}")["manifests"]
            for top in tops
        }
    assert {name: [manifest["digest"] for manifest in found] for name, found in manifests.items()} == {
        name: [digest] for name, digest in asked.image.sources.items()
    }
    assert all(manifest["platform"] == {"os": "linux", "architecture": "amd64"} for found in manifests.values() for manifest in found)
    assert len(names) == len(set(names))


# What can go wrong.


def test_without_the_command_the_error_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = request("plain")
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(MissingRequirement) as caught:
        linuxkit.build(asked)
    assert codes(caught.value) == ["linuxkit-missing"]
    assert "assembler" in str(caught.value)
    assert [problem.code for problem in linuxkit.builder().check()] == ["linuxkit-missing"]


@pytest.mark.parametrize("found", ["v1.7.1", "v0.8", "v1.2.3-40-gabcdef"])
def test_an_old_linuxkit_is_refused_with_the_version_found(fake: Fake, tmp_path: Path, found: str) -> None:
    fake.does(BUILDS, version=found)
    with pytest.raises(MissingRequirement, match=f"is LinuxKit {found}; expected LinuxKit 1.8 or newer") as caught:
        linuxkit.build(request("plain"))
    assert codes(caught.value) == ["linuxkit-too-old"]
    assert [call["arguments"] for call in fake.calls] == [["version"]]


@pytest.mark.parametrize("found", ["", "unknown"])
def test_a_linuxkit_that_does_not_say_its_version_is_refused(fake: Fake, tmp_path: Path, found: str) -> None:
    fake.does(BUILDS, version=found)
    with pytest.raises(MissingRequirement) as caught:
        linuxkit.version()
    assert codes(caught.value) == ["linuxkit-unusable"]


@pytest.mark.parametrize(("found", "named"), [("v1.8.2", "1.8.2"), ("v1.10.0-3-gabcdef-dirty", "1.10.0-3-gabcdef-dirty"), ("2.0", "2.0")])
def test_the_version_names_number_and_commit(fake: Fake, found: str, named: str) -> None:
    fake.does(BUILDS, version=found)
    version = linuxkit.builder().version()
    # What our own packers make of LinuxKit's files is part of it.
    assert version == f"{named}+0123456789abcdef.{rootdisk.SCHEMA}.{packers.SCHEMA}+{rootdisk.COMPRESSION}"
    assert linuxkit.builder().check() == ()


def test_a_disk_format_is_refused_before_anything_runs(fake: Fake, tmp_path: Path) -> None:
    wanted = image("plain")
    disk = evolve(wanted, format="rpi3")
    with pytest.raises(BuildError, match="does not make rpi3"):
        linuxkit.build(BuildRequest(image=disk))
    assert fake.calls == []


def test_an_image_that_is_not_among_the_sources_is_refused_before_linuxkit_asks_a_registry(fake: Fake, tmp_path: Path) -> None:
    asked = request("plain")
    asked.image.sources.pop("docker.io/example/web:1")
    asked.image.sources.pop("docker.io/i2kit/kernel:test")
    with pytest.raises(BuildError) as caught:
        linuxkit.build(asked)
    assert codes(caught.value) == ["image-not-resolved", "image-not-resolved"]
    assert "docker.io/example/web:1" in str(caught.value)
    assert [call["arguments"] for call in fake.calls] == [["version"]]


def test_images_that_are_not_in_the_store_are_all_named(fake: Fake, tmp_path: Path) -> None:
    asked = request("plain")
    default_store().remove("docker.io/example/web:1")
    default_store().remove("docker.io/i2kit/pod:test")
    with pytest.raises(BuildError) as caught:
        linuxkit.build(asked)
    assert codes(caught.value) == ["image-missing", "image-missing"]
    assert "docker.io/i2kit/pod:test" in str(caught.value)


FAILURES = {
    "linuxkit-image": 'print("Error: could not pull image docker.io/x/y:1: error getting manifest for image"); sys.exit(1)',
    "linuxkit-link": 'print("Error: failed to extract root filesystem for docker.io/x/y:1: archive/tar: write too long"); sys.exit(1)',
    "disk-full": 'print("FATA[0000] error: write /x: no space left on device"); sys.exit(1)',
    "linuxkit-kernel": 'print("Error: failed to extract kernel image and tarball: did not find kernel in kernel image"); sys.exit(1)',
    "linuxkit-yaml": 'print("Error: invalid config: unknown field shell"); sys.exit(1)',
    "linuxkit-failed": 'print("Error: something new"); print("and more of it"); sys.exit(3)',
    "linuxkit-killed": "os.kill(os.getpid(), 9)",
}

SAID = {
    "linuxkit-image": "the image docker.io/x/y:1",
    "linuxkit-link": "docker.io/x/y:1: its etc/hosts or etc/resolv.conf is a link",
    "linuxkit-kernel": "did not find kernel in the kernel image",
    "linuxkit-failed": "`linuxkit build` ended with 3, saying: something new",
    "linuxkit-killed": "ended by signal 9",
}


@pytest.mark.parametrize("code", FAILURES)
def test_linuxkits_failures_are_build_errors_that_say_what_to_do(fake: Fake, tmp_path: Path, code: str) -> None:
    fake.does(f'if arguments[0] == "build":\n    {FAILURES[code]}\n')
    with pytest.raises(BuildError) as caught:
        linuxkit.build(request("plain"))
    (problem,) = caught.value.problems
    assert problem.code == code
    assert problem.hint
    assert problem.message.endswith(SAID.get(code, ""))
    assert not (tmp_path / "cache" / "i2kit" / "images" / ("ab" * 32) / "initrd").exists()


def test_a_linuxkit_that_ends_well_without_an_initrd_has_failed(fake: Fake, tmp_path: Path) -> None:
    fake.does("")
    with pytest.raises(BuildError, match=r"did not write image-kernel, image-initrd\.img"):
        linuxkit.build(request("plain"))


def test_a_run_that_is_stopped_ends_linuxkit(fake: Fake, tmp_path: Path) -> None:
    pid_file, by_itself = tmp_path / "pid", tmp_path / "ended-by-itself"
    fake.does(
        f"""
        if arguments[0] == "build":
            pathlib.Path({str(pid_file)!r}).write_text(str(os.getpid()))
            print("working", flush=True)
            import time
            time.sleep(60)
            pathlib.Path({str(by_itself)!r}).touch()
        """
    )

    def stop(_line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        linuxkit.build(request("plain", progress=stop))
    assert not by_itself.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)
    assert [path for path in (tmp_path / "cache" / "i2kit").iterdir() if path.name.startswith("linuxkit")] == []


# The real command.


OTHER_TREES = {
    "implicit": "it loses late/file, opt/app/upper, srv and 2 more",
    "links": "it loses usr/lib/through",
    "opaque": "it brings back removed data/old, data/sub, data/sub/old",
    "whiteouts": "it brings back removed back/old",
}


@pytest.mark.parametrize("case", OTHER_TREES)
def test_an_image_of_which_linuxkit_would_make_something_else_is_refused(fake: Fake, tmp_path: Path, case: str) -> None:
    with pytest.raises(BuildError) as caught:
        linuxkit.build(request(case))
    assert codes(caught.value) == ["linuxkit-other-tree"]
    assert caught.value.problems[0].message.endswith(OTHER_TREES[case])
    assert [call["arguments"] for call in fake.calls] == [["version"]]


# In `files` the YAML puts a file into a service's folder.
@pytest.mark.parametrize("case", [case for case in CASES if case != "files"])
def test_the_difference_that_is_foretold_is_the_one_that_is_recorded(case: str, tmp_path: Path) -> None:
    recorded = json.loads((DATA / case / "tree.json").read_text())["tree"]
    store, built = default_store(), image(case)
    for service in yaml.safe_load(built.yaml)["services"]:
        folder = f"containers/services/{service['name']}"
        root = next((f"{folder}/{name}/" for name in ("lower", "rootfs") if f"{folder}/{name}/etc" in recorded), None)
        if root is None:
            continue  # an earlier service has the same image
        manifest = store.manifest(built.sources[service["image"]])
        foretold = unpacked([members(layer, store.blob(layer.digest)) for layer in manifest.layers])
        real = {path.removeprefix(root) for path in recorded if path.startswith(root)}
        added = {"dev", "dev/pts", "dev/shm", "etc", "etc/hosts", "etc/mtab", "etc/resolv.conf", "proc", "sys"}
        assert real - added == {path for path in foretold if path not in LEFT_OUT} - added


LEFT_OUT = (".dockerenv", "Dockerfile", "dev/console", "dev/pts/0", "etc/hostname")


@real_linuxkit
@pytest.mark.parametrize("case", [case for case in CASES if case not in OTHER_TREES])
def test_the_builder_makes_what_is_recorded(case: str, tmp_path: Path) -> None:
    recorded = json.loads((DATA / case / "tree.json").read_text())
    artefact = linuxkit.build(request(case))
    tree, lost = initramfs.read_tree(artefact.files["initrd"])
    assert tree == recorded["tree"]
    assert lost == recorded["lost"]
    assert artefact.files["cmdline"].read_text() == recorded["cmdline"]


@real_linuxkit
@pytest.mark.parametrize("case", ["plain", "names"])
def test_real_builds_repeat_bit_for_bit(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    for number, (zone, mask) in enumerate([("UTC", 0o022), ("Asia/Kathmandu", 0o077)]):
        for variable in ("XDG_DATA_HOME", "XDG_CACHE_HOME", "HOME"):
            monkeypatch.setenv(variable, str(tmp_path / f"{variable}-{number}"))
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        before = os.umask(mask)
        try:
            artefact = linuxkit.build(request(case))
        finally:
            os.umask(before)
        made.append({role: (path.read_bytes(), path.stat().st_mode) for role, path in artefact.files.items()})
    monkeypatch.undo()
    time.tzset()
    assert made[0] == made[1]


@real_linuxkit
def test_a_real_build_without_an_image_fails_at_once_and_says_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = request("plain")

    def half(path: Path, image: Image, store: Any, write: Callable[..., None] = linuxkit_command._write_images) -> None:
        image.sources.pop("docker.io/example/web:1")
        write(path, image, store)

    monkeypatch.setattr(linuxkit_command, "_write_images", half)
    with pytest.raises(BuildError, match=r"cannot use the image docker\.io/example/web:1") as caught:
        linuxkit.build(asked)
    assert codes(caught.value) == ["linuxkit-image"]


@real_linuxkit
@pytest.mark.parametrize("reference", ["docker.io/example/web:1", "docker.io/i2kit/pod:test"])
def test_a_real_build_of_an_image_whose_hosts_are_a_link_says_so(tmp_path: Path, reference: str) -> None:
    asked = request("plain")
    described = descriptions("plain")[reference]
    described["layers"].append([{"dir": "etc/"}, {"symlink": "etc/hosts", "to": "../run/hosts"}])
    layout = synthetic.Layout({reference: described})
    layout.write(tmp_path / "linked")
    default_store().import_path(tmp_path / "linked")
    asked.image.sources.update(layout.digests)
    with pytest.raises(BuildError, match=re.escape(reference)) as caught:
        linuxkit.build(asked)
    assert codes(caught.value) == ["linuxkit-link"]


# The assembler, held to what the real command made.


def assembled(case: str, tmp_path: Path) -> tuple[initramfs.Tree, dict[str, Any], dict[str, Path]]:
    artefact = assembler.build(BuildRequest(image=evolve(image(case), builder="assembler")))
    tree, lost = initramfs.read_tree(artefact.files["initrd"])
    assert lost == []
    documents = initramfs.texts(artefact.files["initrd"], "config.json", "runtime.json")
    return tree, {path: json.loads(text) for path, text in documents.items()}, dict(artefact.files)


LOWER = "containers/services/app/lower"

# Where the assembler knows better than LinuxKit, path by path. Nothing else may differ, and each of these must.
EXCEPTED: dict[str, dict[str, tuple[str, ...]]] = {
    "implicit": {"implied folders": ("late/file", "opt/app/upper", "srv", "srv/www", "srv/www/index.html")},
    "links": {
        "hard links": ("bin/beside", "bin/upper", "second", "top", "usr/lib/far"),
        "paths through links": ("usr/lib/through",),
    },
    "opaque": {"opaque whiteouts": ("data/old", "data/sub", "data/sub/old")},
    "replaced": {"files in dev/pts": ("dev/pts/0",)},
    "whiteouts": {"folders made again": ("back/old",)},
}

# What LinuxKit does and the assembler refuses, in so many words.
REFUSED = {
    "kernel": ("kernel.binary: the assembler does not support it", "kernel.tar: the assembler does not support it"),
    "runtime": ("app:1.rlimits: the assembler does not support it", "app:1.runtime: the assembler does not support it"),
}


@pytest.mark.parametrize("case", [case for case in CASES if case not in REFUSED])
def test_assembler_matches_recorded_linuxkit(case: str, tmp_path: Path) -> None:
    recorded = json.loads((DATA / case / "tree.json").read_text())
    tree, documents, files = assembled(case, tmp_path)
    assert documents == recorded["documents"]
    different = explained(image(case), default_store(), differences(recorded["tree"], tree))
    assert different == {f"{LOWER}/{path}": name for name, paths in EXCEPTED.get(case, {}).items() for path in paths}
    assert hashlib.sha256(files["kernel"].read_bytes()).hexdigest() == recorded["kernel"]
    assert files["cmdline"].read_text() == recorded["cmdline"]


@pytest.mark.parametrize("case", REFUSED)
def test_what_linuxkit_does_and_the_assembler_does_not_is_refused(case: str, tmp_path: Path) -> None:
    with pytest.raises(BuildError) as caught:
        assembled(case, tmp_path)
    messages = [problem.message for problem in caught.value.problems]
    assert len(messages) == len(REFUSED[case])
    assert all(message.endswith(end) for message, end in zip(messages, REFUSED[case], strict=True))


def test_assembler_makes_hello_as_the_real_linuxkit_did(tmp_path: Path) -> None:
    recorded = json.loads((DATA / "hello" / "tree.json").read_text())
    artefact = assembler.build(BuildRequest(image=hello.hello_image(tmp_path, USER_STORE)))
    tree, lost = initramfs.read_tree(artefact.files["initrd"])
    assert differences(recorded["tree"], hello.outline(tree)) == {}
    assert lost == recorded["lost"]


@pytest.mark.parametrize("seed", generatedpods.SEEDS)
def test_assembler_makes_generated_pods_as_the_real_linuxkit_did(seed: int) -> None:
    pod = generatedpods.generated(seed)
    case = GENERATED / pod.name
    about = json.loads((case / "about.json").read_text())
    assert synthetic.Layout(pod.images).digests == about["images"], (
        "the generator has changed: record again (tests/data/linuxkit/README.md)"
    )
    made = imported(pod.name, of_generated(pod), (case / "build.yml").read_text())
    artefact = assembler.build(BuildRequest(image=evolve(made, builder="assembler")))
    tree, lost = initramfs.read_tree(artefact.files["initrd"])
    different = explained(made, default_store(), differences(load((case / "tree.txt").read_text()), tree))
    assert different == about["excepted"]
    assert set(different.values()) <= (EXCEPTIONS.keys() if pod.rude else {"hard links"})
    assert lost == []
    assert hashlib.sha256(artefact.files["kernel"].read_bytes()).hexdigest() == about["kernel"]
    assert artefact.files["cmdline"].read_text() == about["cmdline"]


def test_each_exception_is_one_of_some_recorded_tree_and_in_the_docs() -> None:
    assert {name for names in EXCEPTED.values() for name in names} == EXCEPTIONS.keys()
    page = (ROOT / "docs" / "explanation" / "builders.md").read_text()
    assert [name for name in EXCEPTIONS if not re.search(rf"^\| {name}(:| \|)", page, re.M)] == []


def test_generated_pods_have_what_images_can_have() -> None:
    """The generator may not become tame: each of these stands in some recorded Pod."""
    pods = [generatedpods.generated(seed) for seed in generatedpods.SEEDS]
    entries = [entry for pod in pods for image in pod.images.values() for layer in image["layers"] for entry in layer]
    assert {next(iter(entry)) for entry in entries} == {"dir", "file", "link", "symlink", "char", "block", "fifo"}
    names = {str(entry[next(iter(entry))]).rpartition("/")[2] for entry in entries}
    assert ".wh..wh..opq" in names
    assert any(name.startswith(".wh.") and not name.startswith(".wh..wh.") for name in names)
    assert max(len(name) for name in names) > 200
    assert any(not name.isascii() for name in names)
    assert {"4755", "2755", "1777"} <= {entry.get("mode") for entry in entries}
    assert any("xattrs" in entry for entry in entries)
    shared = [pod for pod in pods if len({container.image for container in pod.pod.containers}) < len(pod.pod.containers)]
    assert shared
    assert any(pod.extra.get("onboot") for pod in pods)
    assert any("Labels" in image["config"] for pod in pods for image in pod.images.values())


@real_linuxkit
@pytest.mark.parametrize("seed", [0, 1])
def test_the_builder_makes_generated_pods_as_recorded(seed: int) -> None:
    pod = generatedpods.generated(seed)
    case = GENERATED / pod.name
    artefact = linuxkit.build(BuildRequest(image=imported(pod.name, of_generated(pod), (case / "build.yml").read_text())))
    tree, _ = initramfs.read_tree(artefact.files["initrd"])
    assert differences(load((case / "tree.txt").read_text()), tree) == {}
