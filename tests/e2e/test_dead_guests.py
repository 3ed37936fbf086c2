"""A guest that is dead takes its VM down where nobody looks at it from outside: Amazon's platform, real VMs, real deaths.

QEMU is started with ``-no-reboot``: it ends where a machine would start again, as it does where one powers off.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import guests
import metadata
import pytest
from attrs import evolve
from cloudimages import build, laid_over
from conftest import Machine
from metadata import Boot, Network

from i2kit.resources import HEALTH_PORT

pytestmark = pytest.mark.e2e

AWS = {"/latest/meta-data/instance-id": "i-0123456789abcdef0", "/latest/user-data": json.dumps({"schema": 1})}
CONNECTIONS = 600
"""So many silent clients keep the health port busy for more than a minute: it serves 32 at once, and waits 5 s for each."""


def manifest() -> str:
    pod = {"containers": [{"name": "web", "image": "hello:1"}]}
    spec = {"selector": {"matchLabels": {"app": "web"}}, "template": {"metadata": {"labels": {"app": "web"}}, "spec": pod}}
    return json.dumps({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec})


@pytest.fixture(scope="module")
def here(machine: Machine) -> Iterator[Path]:
    """A folder of the module's own; the library works in the machine's folders."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME"):
            patch.setenv(name, machine.environment[name])
        folder = machine.home / "dead"
        folder.mkdir()
        yield folder


@pytest.fixture(scope="module")
def network(here: Path) -> Iterator[Network]:
    with metadata.network(here) as network:
        yield network


@pytest.fixture(scope="module")
def boot(here: Path) -> Boot:
    return build(here, manifest(), "aws")


@pytest.fixture(scope="module")
def mortal(boot: Boot, here: Path) -> Boot:
    """The same image with a guest that dies as the command line says."""
    return laid_over(boot, {"init": guests.compiled(here / "guest", "dead")}, here / "mortal.initrd")


@pytest.mark.parametrize(
    ("manner", "last_words"),
    [
        # Nobody is left to say anything: the kernel's watchdog starts the machine again.
        ("hang", ""),
        # Nothing recovers from it: PID 1 has ended, so the kernel panics, and panic=-1 starts the machine again.
        ("crash", "goroutine stack exceeds"),
        ("memory", ""),
        # The guest's own doing: it says so, and powers the VM off.
        ("panic", '"reason": "panic: a bug of the test\'s making"'),
    ],
)
def test_a_dead_guest_takes_its_vm_down(network: Network, mortal: Boot, here: Path, manner: str, last_words: str) -> None:
    dying = evolve(mortal, cmdline=f"{mortal.cmdline} i2kit.death={manner}")
    with network.vm(dying, here / f"{manner}.console") as vm:
        vm.event("start")
        assert vm.end() == 0
        assert last_words in vm.console.read_text(errors="replace")


def test_a_guest_that_no_longer_answers_says_so_and_powers_off(network: Network, boot: Boot, here: Path) -> None:
    with network.service("aws", AWS), network.vm(boot, here / "deaf.console") as vm, ExitStack() as opened:
        assert vm.event("readiness")["ready"]
        address = str(vm.event("network")["address"])

        def keep_busy() -> None:
            for _ in range(CONNECTIONS):
                opened.enter_context(socket.create_connection((address, HEALTH_PORT), timeout=10))

        network.namespace.inside(keep_busy)
        assert vm.event("fatal")["reason"] == "the guest no longer answers on its health port: no answer within 5s"
        assert vm.end() == 0
