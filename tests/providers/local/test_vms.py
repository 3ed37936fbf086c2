"""Real VMs in the local region. One environment for the whole module: VMs are shared, and every test leaves it as it found it."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from attrs import evolve

from i2kit.plan import Plan
from i2kit.resources import Backend, Balancer, DnsRecord, Image, InstanceGroup, Network, Resource, key
from i2kit_local.supervisor import processes

from .conftest import BOOT_SECONDS, Bed, Built, page, wait_until

R = TypeVar("R", bound=Resource)
pytestmark = [pytest.mark.e2e, pytest.mark.skipif(os.geteuid() != 0, reason="the local region needs root")]


class Running:
    """The example, running in two replicas."""

    def __init__(self, bed: Bed, plan: Plan) -> None:
        self.bed = bed
        self.become(plan)

    def become(self, plan: Plan) -> None:
        self.plan = plan
        self.network = self._one(Network)
        self.image = self._one(Image)
        self.group = self._one(InstanceGroup)
        self.balancer = self._one(Balancer)
        self.record = self._one(DnsRecord)
        self.greeting = re.findall("greeting (?:one|two)", self.image.yaml)[0]

    def _one(self, kind: type[R]) -> R:
        (found,) = (resource for resource in self.plan.resources if isinstance(resource, kind))
        return found

    def member(self, slot: int) -> str:
        return f"{self.group.name}-{slot}"

    def page(self) -> str:
        return page(self.bed.url(self.balancer))

    def servers(self) -> set[str]:
        """The members that HAProxy gives traffic to."""
        return {one.name for one in self.bed.region.haproxy.states() or () if one.up}

    def await_both(self) -> None:
        self.bed.await_ready(self.group)
        wait_until(lambda: len(self.servers()) == 2, "both members get traffic")


@pytest.fixture(scope="module")
def running(make_bed: Callable[..., Bed], hello: Built) -> Iterator[Running]:
    bed = make_bed("vms", hello.artefacts)
    plan = hello.plans[0]
    bed.apply("create", *plan.resources)
    running = Running(bed, plan)
    running.await_both()
    yield running
    bed.take_down()


def test_the_page_answers_from_both_replicas(running: Running) -> None:
    pages = [running.page() for _ in range(6)]
    assert all(running.greeting in one for one in pages)
    assert {running.member(slot) for slot in (0, 1) if any(running.member(slot) in one for one in pages)} == {
        running.member(0),
        running.member(1),
    }


def test_what_runs_as_planned_has_no_fault_and_applying_it_again_disturbs_nothing(running: Running) -> None:
    before = processes(running.bed.region.folders)
    running.bed.apply("update", *running.plan.resources)
    observed = running.bed.driver.observe()
    assert {key(one.resource): one.resource for one in observed.resources} == running.plan.by_key()
    assert not [one.faults for one in observed.resources if one.faults]
    assert processes(running.bed.region.folders) == before


def kill(running: Running) -> None:
    pid = running.bed.qemu(running.member(0))
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


def panic(running: Running) -> None:
    running.bed.monitor(0, "inject-nmi")


def reset(running: Running) -> None:
    running.bed.monitor(0, "system_reset")


def hang(running: Running) -> None:
    running.bed.monitor(0, "stop")


def power_off(running: Running) -> None:
    running.bed.monitor(0, "system_powerdown")


@pytest.mark.parametrize("end", [kill, panic, reset, hang, power_off])
def test_a_vm_that_ends_comes_back_by_itself(running: Running, end: Callable[[Running], None]) -> None:
    member = running.member(0)
    before = running.bed.qemu(member)
    assert before is not None
    end(running)
    wait_until(lambda: running.bed.qemu(member) not in (None, before), f"{member} is started again", BOOT_SECONDS)
    # The other one serves meanwhile, once HAProxy has seen that this one does not.
    wait_until(lambda: running.servers() == {running.member(1)}, "HAProxy leaves out the one that boots")
    text = running.page()
    # On a busy machine the one that boots may be back before the page is.
    assert running.member(1) in text or (member in text and running.servers() == {member, running.member(1)})
    running.await_both()


@pytest.mark.parametrize("name", ["haproxy", "dnsmasq", "slirp4netns"])
def test_a_program_that_dies_comes_back_by_itself(running: Running, name: str) -> None:
    before = running.bed.program(name)
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: running.bed.program(name) not in (0, before), f"{name} is started again")
    wait_until(lambda: not any(one.faults for one in running.bed.driver.observe().resources), "all is well again")
    running.await_both()
    assert running.greeting in running.page()


def test_whoever_stops_haproxy_is_seen_and_it_is_mended(running: Running) -> None:
    running.bed.supervisorctl("stop", "haproxy")
    assert "HAProxy is not running" in running.bed.faults(running.balancer)
    assert "HAProxy is not running" in running.bed.faults(running.network)
    running.bed.apply("update", running.network, running.balancer)
    assert not any(one.faults for one in running.bed.driver.observe().resources)
    running.await_both()
    assert running.greeting in running.page()


def test_whoever_stops_dnsmasq_is_seen_and_it_is_mended(running: Running) -> None:
    running.bed.supervisorctl("stop", "dnsmasq")
    assert running.bed.faults(running.network) == ("dnsmasq is not running",)
    assert running.bed.faults(running.record) == ("does not resolve",)
    running.bed.apply("update", running.network, running.record)
    assert not any(one.faults for one in running.bed.driver.observe().resources)


def test_a_record_that_is_deleted_is_seen_and_mended(running: Running) -> None:
    (running.bed.region.folders.state / "dns" / running.record.name).unlink()
    wait_until(lambda: running.bed.faults(running.record) == ("does not resolve",), "dnsmasq has seen it")
    running.bed.apply("update", running.record)
    wait_until(lambda: running.bed.faults(running.record) == (), "the name answers again")


def test_a_vm_that_is_removed_behind_its_back_is_seen_and_mended(running: Running) -> None:
    member = running.member(1)
    running.bed.supervisorctl("stop", f"vm-{member}")
    assert running.bed.faults(running.group) == (f"member {member} is not running",)
    running.bed.supervisorctl("remove", f"vm-{member}")
    assert running.bed.faults(running.group) == (f"member {member} is gone",)
    running.bed.apply("update", running.group)
    assert running.bed.faults(running.group) == ()
    running.await_both()


def test_scaling_drops_no_request(running: Running) -> None:
    bigger = evolve(running.group, replicas=3)
    with Requests(running.bed.url(running.balancer)) as requests:
        running.bed.apply("update", bigger)
        # It boots, which takes seconds: HAProxy knows it, and gives it nothing yet.
        assert {one.name for one in running.bed.region.haproxy.states() or ()} == {running.member(slot) for slot in range(3)}
        assert running.servers() == {running.member(0), running.member(1)}
        running.bed.await_ready(bigger)
        wait_until(lambda: len(running.servers()) == 3, "the third one gets traffic")
        wait_until(lambda: running.member(2) in requests.members, "the third one answers")
        running.bed.apply("update", running.group)
    assert requests.failures == []
    assert running.bed.qemu(running.member(2)) is None
    assert running.bed.seen(running.group).resource == running.group
    running.await_both()


def test_a_replacement_drops_no_request(running: Running, hello: Built) -> None:
    new = Running(running.bed, hello.plans[1])
    assert new.balancer.backends == (Backend(group=new.group.name),) != running.balancer.backends
    with Requests(running.bed.url(running.balancer)) as requests:
        running.bed.apply("create", new.image, new.group)
        running.bed.await_ready(new.group)
        running.bed.apply("update", new.balancer)
        wait_until(lambda: new.greeting in new.page(), "the new ones serve")
        running.bed.apply("delete", running.group, running.image)
        assert new.greeting in new.page()
    assert requests.failures == []
    running.become(hello.plans[1])
    running.await_both()


class Requests:
    """Fetches the page all the time, and remembers who answered and what failed."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.members: set[str] = set()
        self.failures: list[str] = []

    def _run(self) -> None:
        while not self._done.wait(0.02):
            try:
                self.members.update(re.findall(r"from ([a-z0-9-]+)", page(self._url, 20)))
            except OSError as error:
                self.failures.append(repr(error))

    def __enter__(self) -> Requests:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()


def test_the_console_is_told_apart_by_container(running: Running) -> None:
    lines = list(running.bed.driver.logs(running.group.name))
    assert {line.instance for line in lines} == {running.member(0), running.member(1)}
    assert any('"event": "readiness"' in line.text and line.container == "" for line in lines)
    assert len(list(running.bed.driver.logs(running.group.name, tail=3))) == 6


def test_when_supervisord_dies_everything_does_and_is_made_again(running: Running) -> None:
    folders = running.bed.region.folders
    supervisord = int((folders.runtime / "supervisord.pid").read_text())
    os.kill(supervisord, signal.SIGKILL)
    wait_until(lambda: not processes(folders), "nothing lives on")
    observed = running.bed.driver.observe().by_key()
    assert "supervisord is not running" in observed[key(running.network)].faults
    assert observed[key(running.group)].faults == tuple(f"member {running.member(slot)} is gone" for slot in (0, 1))
    assert observed[key(running.balancer)].faults
    running.bed.apply("update", *running.plan.resources)
    assert not any(one.faults for one in running.bed.driver.observe().resources)
    running.await_both()
    assert running.greeting in running.page()


def test_deleting_everything_leaves_nothing(running: Running) -> None:
    folders, region = running.bed.region.folders, running.bed.region
    namespace = region.namespace.pin.stat().st_ino
    port = int(running.bed.url(running.balancer).rpartition(":")[2])
    running.bed.apply("delete", running.record, running.balancer, running.group, running.image, running.network)
    assert processes(folders) == {}
    assert namespace not in _namespaces()
    assert str(folders.runtime) not in Path("/proc/mounts").read_text()
    assert not folders.state.exists()
    assert not folders.runtime.exists()
    assert port not in _listening()
    running.bed.apply("delete", running.network)
    assert not folders.state.exists()


def _namespaces() -> set[int]:
    found = set()
    for path in Path("/proc").glob("[0-9]*/ns/net"):
        try:
            found.add(path.stat().st_ino)
        except OSError:
            continue  # the process has ended, or is a zombie
    return found


def _listening() -> set[int]:
    rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    return {int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == "0A"}
