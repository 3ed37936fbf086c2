"""Environments without VMs: what separates them, what they publish, and what becomes of runs that are killed."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from i2kit.errors import ProviderError
from i2kit.resources import Backend, Balancer
from i2kit.testing.samples import Samples
from i2kit_local.netns import BRIDGE_ADDRESS, Namespace
from i2kit_local.state import GroupState, Member
from i2kit_local.supervisor import OWNER, processes

from .conftest import Bed

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the local region needs root")


@pytest.fixture
def bed(make_bed: Callable[..., Bed], request: pytest.FixtureRequest) -> Iterator[Bed]:
    bed = make_bed("solo")
    yield bed
    bed.take_down()


@pytest.fixture
def other(make_bed: Callable[..., Bed]) -> Iterator[Bed]:
    bed = make_bed("other")
    yield bed
    bed.take_down()


def samples(bed: Bed) -> Samples:
    return Samples(environment=bed.environment.name)


def public(bed: Bed) -> Balancer:
    return evolve(samples(bed).balancer(), scope="public")


def test_environments_do_not_meet(bed: Bed, other: Bed) -> None:
    bed.apply("create", samples(bed).network())
    other.apply("create", samples(other).network())
    address = (str(BRIDGE_ADDRESS), 9999)
    with closing(bed.region.namespace.inside(lambda: socket.create_server(address))):
        bed.region.namespace.inside(lambda: socket.create_connection(address, 2)).close()
        with pytest.raises(ConnectionRefusedError):
            other.region.namespace.inside(lambda: socket.create_connection(address, 2))
    assert bed.region.namespace.pin.stat().st_ino != other.region.namespace.pin.stat().st_ino
    other.apply("delete", samples(other).network())
    assert not bed.driver.observe().resources[0].faults


def test_nothing_inside_reaches_the_hosts_loopback(bed: Bed) -> None:
    bed.apply("create", samples(bed).network())
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(2)
        port = server.getsockname()[1]
        with pytest.raises(OSError):  # noqa: PT011 - refused, reset or silent: all of them will do
            _greet(bed, "10.0.2.2", port)
        with pytest.raises(TimeoutError):
            server.accept()


def test_what_is_inside_reaches_the_outside(bed: Bed, outside: Namespace) -> None:
    """The other half of the test above: it would pass, too, if nothing got out at all."""
    bed.apply("create", samples(bed).network())
    with outside.inside(lambda: socket.create_server((OUTSIDE, 0))) as server:
        server.settimeout(5)
        with closing(bed.region.namespace.inside(lambda: socket.create_connection((OUTSIDE, server.getsockname()[1]), 5))):
            server.accept()[0].close()


# Of the addresses that are set aside for tests between networks (RFC 2544).
OUTSIDE, THIS_SIDE = "198.18.77.2", "198.18.77.1"


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Namespace]:
    """A network beyond this machine: a namespace at the other end of a cable."""
    namespace = Namespace(tmp_path / "outside")
    namespace.create()
    try:
        ip("link", "add", "i2kit-t0", "type", "veth", "peer", "name", "i2kit-t1")
        ip("address", "add", f"{THIS_SIDE}/30", "dev", "i2kit-t0")
        ip("link", "set", "i2kit-t0", "up")
        ip("link", "set", "i2kit-t1", "netns", str(namespace.pin))
        ip("address", "add", f"{OUTSIDE}/30", "dev", "i2kit-t1", inside=namespace)
        ip("link", "set", "i2kit-t1", "up", inside=namespace)
        yield namespace
    finally:
        namespace.delete()
        subprocess.run(["ip", "link", "delete", "i2kit-t0"], check=False, capture_output=True)


def ip(*words: str, inside: Namespace | None = None) -> None:
    command = ["ip", *words] if inside is None else list(inside.command("ip", *words))
    subprocess.run(command, check=True, timeout=10)


def _greet(bed: Bed, address: str, port: int) -> None:
    with closing(bed.region.namespace.inside(lambda: socket.create_connection((address, port), 2))) as sock:
        sock.settimeout(2)
        sock.sendall(b"anybody there?")
        if not sock.recv(1):
            raise ConnectionResetError


def test_a_port_that_is_taken_is_published_elsewhere_and_stays_there(bed: Bed) -> None:
    with socket.create_server(("127.0.0.1", 0)) as squatter:
        taken = squatter.getsockname()[1]
        (port,) = public(bed).ports
        balancer = evolve(public(bed), ports=(evolve(port, port=taken),))
        bed.apply("create", samples(bed).network(), balancer)
        url = bed.url(balancer)
        assert url.startswith("http://127.0.0.1:")
        assert url != f"http://127.0.0.1:{taken}"
    bed.apply("update", balancer)
    assert bed.url(balancer) == url


def test_a_balancer_that_is_deleted_gives_its_port_back(bed: Bed) -> None:
    balancer = public(bed)
    bed.apply("create", samples(bed).network(), balancer)
    port = int(bed.url(balancer).rpartition(":")[2])
    bed.apply("delete", balancer)
    socket.create_server(("127.0.0.1", port)).close()
    assert [one.resource.kind for one in bed.driver.observe().resources] == ["Network"]


def test_a_namespace_that_is_gone_is_seen_and_made_again(bed: Bed) -> None:
    network, balancer = samples(bed).network(), public(bed)
    bed.apply("create", network, balancer)
    bed.region.namespace.delete()
    assert "its namespace is gone" in bed.faults(network)
    bed.apply("update", network, balancer)
    assert bed.faults(network) == bed.faults(balancer) == ()


def test_a_balancer_whose_address_is_taken_away_is_seen_and_mended(bed: Bed) -> None:
    balancer = public(bed)
    bed.apply("create", samples(bed).network(), balancer)
    bed.region.namespace.set_vips([])
    assert bed.faults(balancer) == ("its address is gone",)
    bed.apply("update", balancer)
    assert bed.faults(balancer) == ()


def test_names_come_and_go_while_dnsmasq_keeps_running(bed: Bed) -> None:
    balancer = public(bed)
    record = samples(bed).record(balancer)
    bed.apply("create", samples(bed).network(), balancer, record)
    pid = bed.program("dnsmasq")
    assert bed.region.dnsmasq.resolve(record.name) == [bed.region.state.balancers()[balancer.name].vip]
    bed.apply("delete", record)
    assert bed.region.dnsmasq.resolve(record.name) == []
    assert bed.program("dnsmasq") == pid


def test_a_public_name_is_answered_inside(bed: Bed) -> None:
    balancer = public(bed)
    # Under a zone of which nothing is asked outside.
    record = samples(bed).public_record(balancer, "i2kit.internal")
    bed.apply("create", samples(bed).network(), balancer, record)
    pid = bed.program("dnsmasq")
    assert bed.region.dnsmasq.resolve(record.name) == [bed.region.state.balancers()[balancer.name].vip]
    assert bed.faults(record) == ()
    bed.apply("delete", record)
    assert bed.region.dnsmasq.resolve(record.name) == []
    assert bed.program("dnsmasq") == pid


def test_a_name_that_answers_otherwise_without_us_is_gone_all_the_same(bed: Bed, monkeypatch: Any) -> None:
    balancer = public(bed)
    record = samples(bed).public_record(balancer, "i2kit.internal")
    bed.apply("create", samples(bed).network(), balancer, record)
    pid = bed.program("dnsmasq")
    monkeypatch.setattr(bed.region.dnsmasq, "resolve", lambda _name: ["192.0.2.7"])
    bed.apply("delete", record)
    assert bed.program("dnsmasq") == pid


def test_a_secret_is_in_no_command_line_and_no_file_that_others_read(bed: Bed) -> None:
    secret = samples(bed).secret()
    old = os.umask(0)
    try:
        bed.apply("create", samples(bed).network(), secret)
    finally:
        os.umask(old)
    root = bed.region.folders.state
    assert not [path for path in root.rglob("*") if path.stat().st_mode & 0o077 and not path.is_socket()]
    looked_at = 0
    for pid in processes(bed.region.folders):
        try:
            shown = Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue  # a short-lived one (HAProxy's old worker, a helper) has ended in between
        assert b"canary" not in shown
        looked_at += 1
    assert looked_at >= 3


def test_an_environment_of_the_same_name_elsewhere_is_not_disturbed(
    bed: Bed, make_bed: Callable[..., Bed], monkeypatch: Any, tmp_path: Path
) -> None:
    bed.apply("create", samples(bed).network())
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    twin = Bed("solo", {})
    with pytest.raises(ProviderError, match="uses"):
        twin.apply("create", samples(twin).network())
    assert not bed.driver.observe().resources[0].faults


def test_what_runs_under_another_root_is_not_disturbed(bed: Bed, tmp_path: Path) -> None:
    """A container on this machine has its environment at the same path."""
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("busybox is not installed")
    shutil.copy(busybox, tmp_path / "busybox")
    command = ["chroot", str(tmp_path), "/busybox", "sh", "-c", "echo up; exec /busybox sleep 600"]
    with subprocess.Popen(
        command, env={"PATH": os.environ["PATH"], OWNER: str(bed.region.folders.state)}, stdout=subprocess.PIPE
    ) as stranger:
        try:
            assert stranger.stdout is not None
            assert stranger.stdout.readline() == b"up\n"
            bed.apply("create", samples(bed).network())
            bed.apply("delete", samples(bed).network())
            assert stranger.poll() is None
        finally:
            stranger.kill()


def test_an_environment_is_found_whoever_asks(bed: Bed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    network = samples(bed).network()
    bed.apply("create", network)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    again = Bed("solo", {})
    assert again.region.folders == bed.region.folders
    assert again.faults(network) == ()


def test_what_lost_its_runtime_folder_ends_all_the_same(bed: Bed) -> None:
    network = samples(bed).network()
    bed.apply("create", network)
    bed.region.namespace.delete()
    shutil.rmtree(bed.region.folders.runtime)
    assert processes(bed.region.folders)
    assert "supervisord is not running" in bed.faults(network)
    bed.apply("delete", network)
    assert processes(bed.region.folders) == {}
    assert not bed.region.folders.state.exists()


def test_a_member_that_comes_back_under_another_address_gets_traffic_there(bed: Bed) -> None:
    group = samples(bed).group()
    balancer = evolve(public(bed), backends=(Backend(group=group.name),))
    state, members = bed.region.state, [Member(group=group.name, slot=0, index=index) for index in (0, 7)]
    bed.apply("create", samples(bed).network())
    for member in members:
        state.save_group(GroupState(resource=group, members=(member,)))
        bed.apply("update", balancer)
        assert [one.address for one in bed.region.haproxy.states() or ()] == [member.address]
    state.save_group(GroupState(resource=group, members=()))
    bed.apply("update", balancer)
    assert bed.region.haproxy.states() == ()
