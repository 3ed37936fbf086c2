"""An image that the real LinuxKit builds boots and serves like the assembler's."""

from __future__ import annotations

import json
import re
import shutil
from typing import Any

import pytest
from attrs import frozen
from conftest import ROOT, Machine, fetch

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(shutil.which("linuxkit") is None, reason="the real linuxkit is not on PATH"),
]


@frozen(kw_only=True)
class Seen:
    """What can be seen of one VM: its page without its name, and what the guest says of itself and of its Pod, but for times."""

    page: str
    events: list[dict[str, Any]]


def seen(machine: Machine, path: str) -> Seen:
    (workload,) = machine.data("status", "-f", path)["workloads"]
    assert workload["ready"] == 1
    page = re.sub(r"from \S+</p>", "from NAME</p>", fetch(workload["endpoints"][0]))
    (console,) = (machine.home / "state").rglob("console.log")
    events = [json.loads(line.removeprefix("i2kit ")) for line in console.read_text().splitlines() if line.startswith("i2kit {")]
    # How often a probe comes too early is a matter of the machine's load.
    kept = [event for event in events if event["event"] != "probe" and event.get("ready") is not False]
    return Seen(page=page, events=[{name: value for name, value in event.items() if name not in ("time", "qemu")} for event in kept])


def test_a_vm_of_the_real_linuxkit_is_like_the_assemblers(machine: Machine) -> None:
    path = machine.write("linuxkit.yaml", (ROOT / "examples" / "hello" / "hello.yaml").read_text().replace("replicas: 2", "replicas: 1"))
    found = {}
    for builder in ("linuxkit", "assembler"):
        try:
            machine.run("deploy", "-f", path, "--builder", builder)
            found[builder] = seen(machine, path)
            plan = machine.data("plan", "-f", path, "--builder", builder)
            assert {change["action"] for change in plan["changes"]} == {"no-op"}
        finally:
            machine.run("destroy", "-f", path)
    assert found["linuxkit"] == found["assembler"]
    assert "Hello from a virtual machine" in found["linuxkit"].page
    # No container starts before the guest has found every file of the inventory.
    kinds = [event["event"] for event in found["linuxkit"].events]
    assert kinds[-2:] == ["container", "readiness"]
    assert "fatal" not in kinds
