"""The `linuxkit-docker` builder: LinuxKit's own output formats, which it makes in containers where a Docker engine runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from i2kit.driver import Artefact
from i2kit.errors import BuildError, MissingRequirement, Problem
from i2kit.images import linuxkit
from i2kit.images.artefacts import kept
from i2kit.images.builder import Builder, BuildRequest
from i2kit.images.formats import check_format
from i2kit.images.linuxkit_command import Run, version
from i2kit.images.store import default_store
from i2kit.paths import cache_home

NAME = "linuxkit-docker"
DOCKER = "docker"

# LinuxKit's own `aws` and `qcow2-bios` boot a helper VM whose images come from a registry; its `kernel+squashfs` has the whole VM on disk.
_DISKS = {
    "dynamic-vhd": ".vhd",
    "gcp": ".img.tar.gz",
    "iso-bios": ".iso",
    "iso-efi": "-efi.iso",
    "qcow2-efi": "-efi.qcow2",
    "raw-bios": "-bios.img",
    "raw-efi": "-efi.img",
    "vhd": ".vhd",
    "vmdk": ".vmdk",
}
FORMATS = tuple(_DISKS)

# How the user reaches the engine.
_VARIABLES = ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH", "DOCKER_API_VERSION")
_ELSE = "use the builder `linuxkit` or `assembler`, which need no Docker"


def builder() -> Builder:
    """Return the record of the `linuxkit-docker` builder."""
    return Builder(
        name=NAME,
        summary="LinuxKit's own disks, where a Docker engine runs",
        version=version,
        formats=FORMATS,
        build=build,
        check=check,
    )


def check() -> Sequence[Problem]:
    """Return what is missing on this machine: LinuxKit, the command `docker`, an engine that answers."""
    return (*linuxkit.check(), *_engine())


def _engine() -> Sequence[Problem]:
    program = shutil.which(DOCKER)
    if program is None:
        return (Problem(code="docker-missing", message=f"the command `{DOCKER}` is not on PATH", hint=f"install Docker, or {_ELSE}"),)
    asked = [program, "version", "--format", "{{.Server.Version}}"]
    try:
        answer = subprocess.run(asked, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return (Problem(code="docker-unreachable", message=f"{program} does not run: {error}", hint=f"start it, or {_ELSE}"),)
    if answer.returncode:
        said = (answer.stderr or answer.stdout).strip().splitlines()
        return (
            Problem(
                code="docker-unreachable",
                message=f"no Docker engine answers: {said[-1] if said else program}",
                hint=f"start it, or {_ELSE}",
            ),
        )
    return ()


def build(request: BuildRequest) -> Artefact:
    """Build an image with LinuxKit and Docker, or return it from the cache.

    Raises `MissingRequirement` without a usable command or engine, `BuildError` when the image cannot be built.
    """
    image = request.image
    check_format(image.format, NAME, FORMATS)
    if image.root == "disk":
        raise BuildError.of(
            "root-disk-unsupported",
            f"LinuxKit's own {image.format} has everything in the initramfs, and {image.name} is too large for that",
            hint="use the builder `linuxkit` or `assembler`",
        )

    def make(folder: Path) -> None:
        store = default_store()
        linuxkit.ready(image, store)
        if problems := _engine():
            raise MissingRequirement(problems)
        with tempfile.TemporaryDirectory(prefix="linuxkit-", dir=cache_home()) as work:
            made = Run(Path(work), request.progress, _environment()).build(image, store, image.format, {"disk": _DISKS[image.format]})
            made["disk"].chmod(0o644)
            made["disk"].replace(folder / "disk")

    return kept(request, ("disk",), make)


def _environment() -> Mapping[str, str]:
    """Return what LinuxKit's `docker` needs to reach the engine that the user's reaches."""
    found = {name: os.environ[name] for name in _VARIABLES if name in os.environ}
    # Contexts lie there; images that need a login are none of LinuxKit's.
    found["DOCKER_CONFIG"] = os.environ.get("DOCKER_CONFIG") or str(Path.home() / ".docker")
    if host := urlsplit(found.get("DOCKER_HOST", "")).hostname:
        # LinuxKit's proxies lead nowhere, the engine must be reached all the same.
        found |= {"NO_PROXY": host, "no_proxy": host}
    return found
