"""Versions that are bad, each in its own way: the good one serves on, whole, and the user is told why. In order, on each other's state."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import load
import pytest
from conftest import Machine, fetch
from load import Load, manifest

pytestmark = pytest.mark.e2e

DEADLINE = "progressDeadlineSeconds: 8"
# Long enough for what the container says to be there, on a machine that has other VMs to run.
LATE = "progressDeadlineSeconds: 15"


@pytest.fixture(scope="module")
def url(machine: Machine) -> Iterator[str]:
    """The address of two servers of the good version."""
    load.image(machine.home / "undo")
    machine.run("images", "import", str(machine.home / "undo"))
    path = machine.write("undo.yaml", manifest("good"))
    machine.run("deploy", "-f", path, "-a", "undo")
    (workload,) = machine.data("status", "-a", "undo")["workloads"]
    yield workload["endpoints"][0]
    machine.run("destroy", "-a", "undo")


def fails(machine: Machine, url: str, text: str) -> str:
    """Deploy a bad version under load: exit code 3, no request lost, and everything as it was; return what the user was told."""
    before = state(machine)
    path = machine.write("undo.yaml", text)
    with Load(url=url) as loaded:
        told = machine.run("deploy", "-f", path, "-a", "undo", code=3)
    assert loaded.failures == []
    assert state(machine) == before
    assert fetch(url).split()[1] == "good"
    return told


def state(machine: Machine) -> object:
    (workload,) = machine.data("status", "-a", "undo")["workloads"]
    return [sorted(one["id"] for one in workload["instances"]), workload["ready"], workload["groups"], workload["endpoints"]]


def test_one_that_never_starts(machine: Machine, url: str) -> None:
    told = fails(machine, url, manifest("1", more=LATE).replace("env: [", "command: [/nothing]\n          env: ["))
    assert "/nothing" in told


def test_one_that_never_gets_ready(machine: Machine, url: str) -> None:
    told = fails(machine, url, manifest("2", more=DEADLINE).replace("/healthz", "/nowhere?seconds=9"))
    assert "0 of 2 members are ready" in told


def test_one_that_gets_ready_and_dies_before_it_counts(machine: Machine, url: str) -> None:
    text = manifest("3", more=f"minReadySeconds: 6\n  {LATE}").replace("env: [", 'env: [{name: DIE_SECONDS, value: "4"}, ')
    assert "cannot go on: no space left" in fails(machine, url, text)


def test_one_whose_vm_does_not_boot(machine: Machine, url: str) -> None:
    text = manifest("4", more=DEADLINE)
    (image,) = json.loads(machine.run("build", "-f", machine.write("broken.yaml", text), "-a", "undo", "-o", "json"))
    initrd = Path(image["files"]["initrd"])
    os.truncate(initrd, initrd.stat().st_size // 2)
    assert "Initramfs unpacking failed" in fails(machine, url, text)
