from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import structlog

from i2kit.cli.program import run

from .fake_api import FakeApi

HERE = Path(__file__).parent


@attrs.frozen
class Ended:
    """What a run of the command left behind."""

    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def _logging() -> Iterator[None]:
    """The command configures structlog for its process; other tests must not log to where it did."""
    yield
    structlog.reset_defaults()


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> FakeApi:
    fake = FakeApi()
    monkeypatch.setitem(sys.modules, "i2kit.api", fake)
    return fake


@pytest.fixture
def i2kit(api: FakeApi, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Run the command in this process, over the fake."""

    def call(*arguments: str) -> Ended:
        code = run(arguments)
        printed = capsys.readouterr()
        return Ended(code, printed.out, printed.err)

    return call


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start the command over the fake as a process of its own; it is ended with the test."""
    started: list[subprocess.Popen[str]] = []

    def begin(situation: str, *arguments: str, **how: Any) -> subprocess.Popen[str]:
        environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "SITUATION": situation}
        environment |= {"PYTHONPATH": str(HERE.parent), "TERM": "xterm-256color"} | how.pop("env", {})
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL} | how
        process = subprocess.Popen([sys.executable, "-m", "cli.fake_api", *arguments], env=environment, text=True, **pipes)
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream:
                stream.close()
