"""The `linuxkit-docker` builder: LinuxKit's own output formats, with a Docker that is faked where none runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from attrs import evolve
from fakelinuxkit import Fake
from linuxkitcases import DATA, descriptions, imported

from i2kit.errors import BuildError, I2kitError, MissingRequirement
from i2kit.images import linuxkit_docker
from i2kit.images.builder import BuildRequest
from i2kit.images.formats import FORMATS
from i2kit.resources import Image

real_linuxkit = pytest.mark.skipif(shutil.which("linuxkit") is None, reason="the real linuxkit is not on PATH")


def docker_engine_runs() -> bool:
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "version"], capture_output=True, timeout=30, check=False).returncode == 0


# Notes what it is asked for; `run` keeps the tar that LinuxKit gives it, and answers with a disk.
DOCKER = """\
#!{python}
import os, pathlib, sys
folder = pathlib.Path({folder!r})
with (folder / "docker-calls").open("a") as calls:
    calls.write(" ".join(sys.argv[1:3]) + "\\n")
if sys.argv[1] == "run":
    (folder / "input.tar").write_bytes(sys.stdin.buffer.read())
    sys.stdout.write("a disk by " + next(word for word in sys.argv if "mkimage" in word))
if sys.argv[1] in {failing!r}:
    sys.exit("docker: cannot do that")
"""
BUILDS = """
if arguments[0] == "build":
    out = pathlib.Path(arguments[arguments.index("--dir") + 1])
    for name in ("image.iso", "image.vmdk", "image-bios.img"):
        (out / name).write_text(f"disk {name}")
"""


class Docker:
    """A `docker` on PATH with an engine that answers; some of its commands can be made to fail."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        folder.mkdir()
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        self.fails()

    def fails(self, *commands: str) -> None:
        program = self.folder / "docker"
        program.write_text(DOCKER.format(python=sys.executable, folder=str(self.folder), failing=commands))
        program.chmod(0o755)

    @property
    def calls(self) -> list[str]:
        log = self.folder / "docker-calls"
        return log.read_text().splitlines() if log.exists() else []


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Docker:
    return Docker(tmp_path / "docker", monkeypatch)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    fake = Fake(tmp_path / "bin", monkeypatch)
    fake.does(BUILDS)
    return fake


def image(form: str) -> Image:
    made = imported("plain", descriptions("plain"), (DATA / "plain" / "build.yml").read_text())
    return evolve(made, builder="linuxkit-docker", format=form)


def build(form: str) -> bytes:
    artefact = linuxkit_docker.build(BuildRequest(image=image(form)))
    assert artefact.format == form
    assert list(artefact.files) == ["disk"]
    return artefact.files["disk"].read_bytes()


def codes(error: I2kitError) -> list[str]:
    return [problem.code for problem in error.problems]


@pytest.mark.parametrize(("form", "name"), [("iso-bios", "image.iso"), ("vmdk", "image.vmdk"), ("raw-bios", "image-bios.img")])
def test_the_format_is_linuxkits_and_its_file_is_the_artefact(fake: Fake, docker: Docker, form: str, name: str) -> None:
    assert build(form) == f"disk {name}".encode()
    arguments = fake.call("build")["arguments"]
    assert arguments[arguments.index("--format") + 1] == form
    # The Pod's images are never looked for in Docker.
    assert "--docker=false" in arguments
    assert docker.calls == ["version --format"]


def test_linuxkit_reaches_the_engine_that_the_user_reaches(fake: Fake, docker: Docker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://builder.example:2376")
    monkeypatch.setenv("DOCKER_CONFIG", "/home/me/docker")
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    build("vmdk")
    environment = fake.call("build")["environment"]
    wanted = {"DOCKER_HOST": "tcp://builder.example:2376", "DOCKER_CONFIG": "/home/me/docker", "DOCKER_TLS_VERIFY": "1"}
    assert environment.items() >= {**wanted, "NO_PROXY": "builder.example"}.items()
    assert environment["HTTPS_PROXY"] == "http://127.0.0.1:9"


def test_a_build_is_found_again_without_linuxkit_and_docker(fake: Fake, docker: Docker) -> None:
    first = build("vmdk")
    docker.fails("version")
    fake.does("sys.exit(1)")
    assert build("vmdk") == first


def test_without_docker_the_check_says_so(fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(fake.folder))
    (problem,) = linuxkit_docker.check()
    assert problem.code == "docker-missing"
    assert "linuxkit" in problem.hint


def test_with_an_engine_that_does_not_answer_check_and_build_say_so(fake: Fake, docker: Docker) -> None:
    docker.fails("version")
    (problem,) = linuxkit_docker.check()
    assert problem.code == "docker-unreachable"
    assert problem.message == "no Docker engine answers: docker: cannot do that"
    with pytest.raises(MissingRequirement) as caught:
        build("vmdk")
    assert codes(caught.value) == ["docker-unreachable"]
    assert [call["arguments"] for call in fake.calls if call["arguments"] != ["version"]] == []


def test_the_check_lists_linuxkit_and_docker_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert [problem.code for problem in linuxkit_docker.builder().check()] == ["linuxkit-missing", "docker-missing"]


def test_a_root_disk_is_refused(fake: Fake, docker: Docker) -> None:
    with pytest.raises(BuildError, match="too large") as caught:
        linuxkit_docker.build(BuildRequest(image=evolve(image("vmdk"), root="disk")))
    assert codes(caught.value) == ["root-disk-unsupported"]
    assert fake.calls == []


def test_formats_that_docker_alone_cannot_make_are_not_offered() -> None:
    assert not {"aws", "qcow2-bios", "kernel+initrd", "kernel+squashfs"} & set(linuxkit_docker.FORMATS)
    assert set(linuxkit_docker.FORMATS) <= FORMATS.keys()


# The real command with the faked engine.


@real_linuxkit
@pytest.mark.parametrize("form", linuxkit_docker.FORMATS)
def test_the_real_linuxkit_makes_every_format(docker: Docker, form: str) -> None:
    made = build(form)
    assert made.startswith(f"a disk by linuxkit/mkimage-{form}:".encode())
    assert [call.split(":")[0] for call in docker.calls] == [
        "version --format",
        f"pull linuxkit/mkimage-{form}",
        "run --network=none",
    ]
    with tarfile.open(docker.folder / "input.tar") as archive:
        assert archive.getnames()


@real_linuxkit
@pytest.mark.parametrize("command", ["pull", "run"])
def test_what_goes_wrong_in_docker_is_an_error_of_its_own(docker: Docker, command: str) -> None:
    docker.fails(command)
    with pytest.raises(BuildError, match=rf"LinuxKit's `docker {command} linuxkit/mkimage-vmdk:\w+` failed") as caught:
        build("vmdk")
    assert codes(caught.value) == ["linuxkit-docker"]


@real_linuxkit
@pytest.mark.skipif(not docker_engine_runs(), reason="no Docker engine runs here")
def test_a_real_engine_makes_a_disk() -> None:
    assert len(build("raw-bios")) > 1 << 20
