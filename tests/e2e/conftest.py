"""The whole way on this machine, through the command: real images, real VMs, a real balancer."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

ROOT = Path(__file__).parents[2]


@frozen(kw_only=True)
class Machine:
    """This machine as one user sees it: folders of its own, and the `i2kit` command."""

    home: Path
    environment: dict[str, str]

    def run(self, *arguments: str, code: int = 0, stdin: str | None = None, command: tuple[str, ...] = ("-m", "i2kit.cli")) -> str:
        """Run the command, expect its exit code, and return what it wrote (standard output only)."""
        done = subprocess.run(
            [sys.executable, *command, *arguments],
            env=self.environment,
            cwd=ROOT,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout if code == 0 else done.stdout + done.stderr

    def data(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments, "-o", "json"))

    def write(self, name: str, text: str) -> str:
        """Write a manifest; return its path."""
        path = self.home / "manifests" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return str(path)


@pytest.fixture(scope="session")
def machine() -> Iterator[Machine]:
    if os.geteuid() != 0:
        pytest.skip("the local region needs root")
    # Short, since sockets lie below it, and none of pytest's folders, which outlive the run.
    home = Path(tempfile.mkdtemp(prefix="i2kit-", dir="/tmp"))
    folders = {f"XDG_{name}_HOME": str(home / name.lower()) for name in ("DATA", "CACHE", "STATE", "CONFIG")}
    environment = {**os.environ, **folders, "XDG_RUNTIME_DIR": str(home / "run"), "NO_COLOR": "1"}
    (home / "run").mkdir(mode=0o700)
    here = Machine(home=home, environment=environment)
    try:
        here.run(command=("examples/hello/image/build.py", "--out", str(home / "hello")))
        here.run("images", "import", str(home / "hello"))
        yield here
    finally:
        for name in sorted(path.name for path in (home / "state" / "i2kit").glob("*") if path.is_dir()):
            (home / "leftover.yml").write_text(f"name: {name}\n")
            here_destroy = [sys.executable, "-m", "i2kit.cli", "destroy", "--all", "-e", str(home / "leftover.yml")]
            subprocess.run(here_destroy, env=environment, cwd=ROOT, timeout=300, check=False)
        _end_what_is_left(str(home))
        shutil.rmtree(home, ignore_errors=True)


def _end_what_is_left(home: str) -> None:
    """End what a destroy that failed has left: no later run would find it."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if home in (folder / "cmdline").read_text(errors="replace"):
                os.kill(int(folder.name), signal.SIGKILL)
    for line in Path("/proc/self/mounts").read_text().splitlines():
        if home in line:
            subprocess.run(["umount", "--lazy", line.split()[1]], check=False)


def fetch(url: str, timeout: float = 5) -> str:
    with urllib.request.urlopen(url, timeout=timeout) as answer:
        text: str = answer.read().decode()
        return text


def until(true: Callable[[], Any], *, seconds: float = 90, what: str) -> Any:
    """Ask again and again until the answer is true; return it."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if answer := true():
                return answer
        except OSError:
            pass
        assert time.monotonic() < deadline, f"after {seconds} s still not: {what}"
        time.sleep(0.2)
