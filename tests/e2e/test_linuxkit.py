"""An image that the real LinuxKit builds boots and serves like the assembler's."""

from __future__ import annotations

import shutil

import pytest
from conftest import ROOT, Machine, fetch

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(shutil.which("linuxkit") is None, reason="the real linuxkit is not on PATH"),
]


def test_the_real_linuxkits_image_serves(machine: Machine) -> None:
    path = machine.write("linuxkit.yaml", (ROOT / "examples" / "hello" / "hello.yaml").read_text())
    try:
        machine.run("deploy", "-f", path, "--builder", "linuxkit")
        (workload,) = machine.data("status", "-f", path)["workloads"]
        assert workload["ready"] == 2
        assert "Hello from a virtual machine" in fetch(workload["endpoints"][0])
        plan = machine.data("plan", "-f", path, "--builder", "linuxkit")
        assert {change["action"] for change in plan["changes"]} == {"no-op"}
    finally:
        machine.run("destroy", "-f", path)
