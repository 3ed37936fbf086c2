"""examples/hello from nothing to gone, as its user goes through it. The tests of this file build on each other, in order."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from conftest import Machine, fetch, until

pytestmark = pytest.mark.e2e

HELLO = (Path(__file__).parents[2] / "examples" / "hello" / "hello.yaml").read_text()
NAME = re.compile(r"from (\S+)</p>")


@pytest.fixture(scope="module")
def footprint(machine: Machine) -> dict[str, set[str]]:
    """What is on this machine before anything is deployed."""
    return _footprint(machine)


def _footprint(machine: Machine) -> dict[str, set[str]]:
    """What there is of this user's; other tests may run beside this one."""
    ours = [line for line in _lines("ps", "-ww", "-eo", "pid=,args=") if str(machine.home) in line and "pytest" not in line]
    pids = {line.split()[0] for line in ours}
    return {
        "processes": {line.split(None, 1)[1] for line in ours},
        # A namespace lives by a process inside or by a mount.
        "mounts": {line for line in Path("/proc/self/mounts").read_text().splitlines() if str(machine.home) in line},
        "files": {str(path) for folder in ("state", "run") for path in (machine.home / folder).rglob("*")},
        "ports": {line for line in _lines("ss", "-Hltnp") if pids & set(re.findall(r"pid=(\d+)", line))},
    }


def _lines(*command: str) -> list[str]:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


@pytest.fixture(scope="module")
def hello(machine: Machine, footprint: dict[str, set[str]]) -> Iterator[str]:
    """hello's manifest, deployed."""
    path = machine.write("hello.yaml", HELLO)
    machine.run("deploy", "-f", path)
    yield path
    machine.run("destroy", "-f", path)


def endpoint(machine: Machine, path: str) -> str:
    (workload,) = machine.data("status", "-f", path)["workloads"]
    url: str = workload["endpoints"][0]
    return url


def members(url: str) -> set[str]:
    found: set[str] = set()
    for _ in range(12):
        found |= set(NAME.findall(fetch(url)))
    return found


def qemus(machine: Machine) -> set[int]:
    lines = [line.split(None, 1) for line in _lines("ps", "-ww", "-eo", "pid,args")]
    return {int(pid) for pid, text in lines if text.startswith(("qemu-system", "/usr/bin/qemu-system")) and str(machine.home) in text}


def test_both_replicas_serve_the_page_through_the_balancer(machine: Machine, hello: str) -> None:
    url = endpoint(machine, hello)
    assert "Hello from a virtual machine" in fetch(url)
    assert len(members(url)) == 2


def test_status_tells_what_runs(machine: Machine, hello: str) -> None:
    status = machine.data("status", "-f", hello)
    (workload,) = status["workloads"]
    assert (status["environment"], status["application"], status["provider"]) == ("local", "hello", "local")
    assert (workload["name"], workload["desired"], workload["ready"]) == ("hello", 2, 2)
    assert [(group["revision"], group["size"], group["ready"]) for group in workload["groups"]] == [(workload["revision"], 2, 2)]
    assert {one["id"] for one in workload["instances"]} == members(endpoint(machine, hello))
    assert all(one["state"] == "running" and one["ready"] and one["address"] for one in workload["instances"])
    assert status["faults"] == []


def test_logs_carry_the_containers_lines(machine: Machine, hello: str) -> None:
    fetch(endpoint(machine, hello))
    until(lambda: "[web]" in machine.run("logs", "-f", hello), what="a line of the container in the logs")


def test_deploying_again_changes_nothing_and_says_why(machine: Machine, hello: str) -> None:
    before = qemus(machine)
    plan = machine.data("plan", "-f", hello)
    assert {(change["action"], bool(change["reason"])) for change in plan["changes"]} == {("no-op", True)}
    machine.run("plan", "--detailed-exitcode", "-f", hello)
    machine.run("deploy", "-f", hello)
    assert qemus(machine) == before


def test_a_killed_vm_comes_back_with_no_command_running(machine: Machine, hello: str) -> None:
    victim, url = min(qemus(machine)), endpoint(machine, hello)
    os.kill(victim, signal.SIGKILL)
    until(lambda: len(qemus(machine) - {victim}) == 2, what="two VMs")
    until(lambda: len(members(url)) == 2, what="pages from two VMs")


def test_another_size_scales(machine: Machine, hello: str) -> None:
    old = qemus(machine)
    Path(hello).write_text(HELLO.replace("replicas: 2", "replicas: 3"))
    plan = machine.data("plan", "-f", hello)
    assert [change["action"] for change in plan["changes"] if change["action"] != "no-op"] == ["update"]
    machine.run("deploy", "-f", hello)
    assert old < qemus(machine)
    assert len(members(endpoint(machine, hello))) == 3
    Path(hello).write_text(HELLO)
    machine.run("deploy", "-f", hello)
    assert len(qemus(machine)) == 2


def test_a_revision_that_never_becomes_ready_leaves_the_old_one_serving(machine: Machine, hello: str) -> None:
    url = endpoint(machine, hello)
    before = members(url)
    broken = HELLO.replace("port: http\n            period", "port: 9\n            period").replace(
        "  replicas: 2", "  replicas: 2\n  progressDeadlineSeconds: 15"
    )
    assert broken.count("port: 9\n") == 1
    Path(hello).write_text(broken)
    text = machine.run("deploy", "-f", hello, code=3)
    assert "not ready after 15 s" in text
    assert "readiness probe" in text
    assert members(url) == before
    Path(hello).write_text(HELLO)
    machine.run("deploy", "-f", hello)
    assert members(url) == before


def test_a_changed_pod_replaces_the_vms(machine: Machine, hello: str) -> None:
    url = endpoint(machine, hello)
    before = members(url)
    Path(hello).write_text(HELLO.replace("Hello from a virtual machine", "Changed"))
    machine.run("deploy", "-f", hello)
    assert "Changed" in fetch(url)
    assert len(members(url)) == 2
    assert members(url).isdisjoint(before)


def test_bad_manifests_touch_nothing(machine: Machine, hello: str) -> None:
    before = qemus(machine)
    bad = machine.write("bad.yaml", HELLO.replace("hello:1", "nowhere.invalid/x:1").replace("containerPort", "containerport"))
    text = machine.run("deploy", "-f", bad, "-a", "hello", code=4)
    line = 1 + HELLO[: HELLO.index("- name: http")].count("\n")
    assert f"bad.yaml:{line} spec.template.spec.containers[0].ports[0]: " in text
    assert "did you mean 'containerPort'" in text
    assert qemus(machine) == before


def test_destroy_leaves_nothing_behind(machine: Machine, hello: str, footprint: dict[str, set[str]]) -> None:
    port = urlsplit(endpoint(machine, hello)).port
    while_it_runs = _footprint(machine)
    assert all(while_it_runs[kind] - footprint[kind] for kind in footprint), "the comparison does not see what runs"
    machine.run("destroy", "-f", hello)
    assert _footprint(machine) == footprint
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port or 0), 5)
    machine.run("destroy", "-f", hello)
