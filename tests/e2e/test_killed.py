"""Runs on real VMs that die at one call of the driver after the other; what comes after them finishes the job."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, Machine, fetch

from i2kit.testing.kill_points import PHASES

pytestmark = pytest.mark.e2e

HELLO = (ROOT / "examples" / "hello" / "hello.yaml").read_text().replace("replicas: 2", "replicas: 1")
SIGKILLED = -9
MOST_CALLS = 60


def killed_until_done(machine: Machine, phase: str, *arguments: str) -> int:
    """Run a command again and again, killed one call later each time, until one run ends by itself; return how many were killed."""
    for at in range(1, MOST_CALLS):
        done = subprocess.run(
            [sys.executable, str(Path(__file__).with_name("killed.py")), str(at), phase, *arguments],
            env=machine.environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        if done.returncode != SIGKILLED:
            assert done.returncode == 0, done.stderr
            return at - 1
    raise AssertionError(f"still not done after {MOST_CALLS} runs")


# For a process, having had an answer is dying before the next call; within a run, among other threads, tests/property tells them apart.
@pytest.mark.parametrize("phase", [phase for phase in PHASES if phase != "after_answer"])
def test_runs_that_die_at_every_call_are_finished_by_the_next(machine: Machine, phase: str) -> None:
    path = machine.write("killed.yaml", HELLO)
    assert killed_until_done(machine, phase, "deploy", "-f", path) > 10
    (workload,) = machine.data("status", "-f", path)["workloads"]
    assert (workload["ready"], len(workload["instances"])) == (1, 1)
    assert "Hello from" in fetch(workload["endpoints"][0])
    plan = machine.data("plan", "-f", path)
    assert {change["action"] for change in plan["changes"]} == {"no-op"}
    assert killed_until_done(machine, phase, "destroy", "-f", path) > 5
    assert not (machine.home / "state" / "i2kit").exists()


def test_a_changed_manifest_finishes_what_a_killed_run_began(machine: Machine) -> None:
    path = machine.write("killed.yaml", HELLO)
    at = next(number for number in range(12, MOST_CALLS) if _dies_with_a_group(machine, path, number))
    assert at
    Path(path).write_text(HELLO.replace("Hello from a virtual machine", "Changed"))
    machine.run("deploy", "-f", path)
    (workload,) = machine.data("status", "-f", path)["workloads"]
    assert len(workload["instances"]) == 1
    assert "Changed" in fetch(workload["endpoints"][0])
    machine.run("destroy", "-f", path)
    assert not (machine.home / "state" / "i2kit").exists()


def _dies_with_a_group(machine: Machine, path: str, at: int) -> bool:
    subprocess.run(
        [sys.executable, str(Path(__file__).with_name("killed.py")), str(at), "after_effect", "deploy", "-f", path],
        env=machine.environment,
        cwd=ROOT,
        capture_output=True,
        timeout=300,
        check=False,
    )
    return any(workload["instances"] for workload in machine.data("status", "-f", path)["workloads"])
