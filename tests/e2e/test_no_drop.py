"""No request is dropped: updates, switches, fewer replicas and the way back, under steady load. In order, on each other's state."""

from __future__ import annotations

from collections.abc import Iterator

import load
import pytest
from conftest import Machine, fetch, until
from load import Load, manifest

pytestmark = pytest.mark.e2e

ROLLING = "strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}"


@pytest.fixture(scope="module")
def url(machine: Machine) -> Iterator[str]:
    """The address of two servers of version 1."""
    load.image(machine.home / "loadserver")
    machine.run("images", "import", str(machine.home / "loadserver"))
    path = deploy(machine, manifest("1", strategy=ROLLING))
    (workload,) = machine.data("status", "-f", path)["workloads"]
    yield workload["endpoints"][0]
    machine.run("destroy", "-f", path)


def deploy(machine: Machine, text: str) -> str:
    path = machine.write("load.yaml", text)
    machine.run("deploy", "-f", path)
    return path


def served(loaded: Load) -> None:
    """Every kind of request was made, and none has failed."""
    assert loaded.failures == []
    assert min(loaded.counts[kind] for kind in ("new", "kept", "slow", "upload")) > 0


def version(url: str) -> str:
    return fetch(url).split()[1]


def test_a_rolling_update_drops_no_request(machine: Machine, url: str) -> None:
    with Load(url=url) as loaded:
        until(lambda: len(loaded.answers) == 2, what="answers of both servers")
        deploy(machine, manifest("2", strategy=ROLLING))
        before = loaded.counts["slow"]
        until(lambda: loaded.counts["slow"] > before + 2, what="slow answers of the new servers")
    served(loaded)
    assert len(loaded.answers) == 4
    assert version(url) == "2"


def test_a_rollback_drops_no_request(machine: Machine, url: str) -> None:
    with Load(url=url) as loaded:
        machine.run("rollback", "-a", "load")
    served(loaded)
    assert version(url) == "1"


def test_a_blue_green_switch_drops_no_request(machine: Machine, url: str) -> None:
    with Load(url=url) as loaded:
        deploy(machine, manifest("3", annotations="{i2kit.dev/strategy: blue-green}"))
    served(loaded)
    assert version(url) == "3"


def test_fewer_replicas_drop_no_request(machine: Machine, url: str) -> None:
    with Load(url=url) as loaded:
        until(lambda: len(loaded.answers) == 2, what="answers of both servers")
        deploy(machine, manifest("3", replicas=1, annotations="{i2kit.dev/strategy: blue-green}"))
    served(loaded)
