"""A `linuxkit` that does as it is told, for the tests of the builders that run the real one."""

from __future__ import annotations

import json
import os
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

# What the fake does is its `script`, run after it has noted how it was called.
FAKE = """\
#!{python}
import json, os, pathlib, shutil, sys
log = pathlib.Path({log!r})
arguments = sys.argv[1:]
call = {{"arguments": arguments, "environment": dict(os.environ), "folder": os.getcwd(), "umask": None}}
if arguments != ["version"]:
    call["stdin"] = sys.stdin.read()
if arguments[:2] == ["cache", "import"]:
    shutil.copy(arguments[-1], log.parent / "images.tar")
with log.open("a") as lines:
    lines.write(json.dumps(call) + "\\n")
if arguments == ["version"]:
    print("linuxkit version {version}")
    print("commit: 0123456789abcdef")
    sys.exit(0)
{script}
"""
BUILDS = """
if arguments[0] == "build":
    out = pathlib.Path(arguments[arguments.index("--dir") + 1])
    print("Extract kernel image: docker.io/i2kit/kernel:test", flush=True)
    print("", flush=True)
    print("Create outputs:", file=sys.stderr, flush=True)
    form = arguments[arguments.index("--format") + 1]
    if form == "kernel+initrd":
        (out / "image-kernel").write_text("kernel")
        (out / "image-initrd.img").write_text("initrd")
        (out / "image-cmdline").write_text("quiet")
"""


class Fake:
    """A `linuxkit` on PATH that notes how it is called; it builds unless it is told to do something else."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        folder.mkdir()
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        self.does(BUILDS)

    def does(self, script: str, version: str = "v1.8.2") -> None:
        program = self.folder / "linuxkit"
        log = str(self.folder / "calls")
        program.write_text(FAKE.format(python=sys.executable, log=log, version=version, script=textwrap.dedent(script)))
        program.chmod(0o755)

    @property
    def calls(self) -> list[dict[str, Any]]:
        log = self.folder / "calls"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    def call(self, *words: str) -> dict[str, Any]:
        return next(call for call in self.calls if call["arguments"][: len(words)] == list(words))
