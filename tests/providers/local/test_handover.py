"""Traffic goes from servers to others: a real HAProxy in a namespace, and members that are threads here instead of VMs."""

from __future__ import annotations

import http.client
import http.server
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from attrs import evolve

from i2kit.plan import Change, Instance
from i2kit.resources import Backend, Balancer, InstanceGroup
from i2kit.testing.context import sample_artefact
from i2kit.testing.samples import Samples
from i2kit_local import balancers
from i2kit_local.drains import end_idle_drains
from i2kit_local.netns import Namespace
from i2kit_local.region import Region
from i2kit_local.state import GroupState, Member

from .conftest import Bed, BedContext, page, wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the local region needs root")


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, namespace: Namespace, address: tuple[str, int], handler: type[http.server.BaseHTTPRequestHandler]) -> None:
        super().__init__(address, handler, bind_and_activate=False)
        self.socket.close()
        self.socket = namespace.inside(lambda: socket.create_server(address))
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()


class Stand:
    """Stands in for a VM: answers with its name, and on its health port that it is ready, if it is."""

    def __init__(self, namespace: Namespace, member: Member, group: InstanceGroup, port: int) -> None:
        stand, self.ready, self.told = self, False, list[str]()
        subprocess.run(namespace.command("ip", "address", "replace", f"{member.address}/32", "dev", "lo"), check=True, timeout=10)

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                health = self.path == "/readyz"
                self.send_response(200 if stand.ready or not health else 503)
                self.send_header("Content-Length", str(len(member.group)))
                self.end_headers()
                self.wfile.write(member.group.encode())

            def do_POST(self) -> None:
                stand.told.append(self.path)
                self.send_error(409)

            def log_message(self, *_: object) -> None:
                """Tests are silent."""

        self._servers = [_Server(namespace, (member.address, one), Handler) for one in (port, group.health_port)]

    def close(self) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()


class Street:
    """Two groups of one member each behind one balancer; the old one serves."""

    def __init__(self, bed: Bed) -> None:
        samples = Samples(environment=bed.environment.name)
        self.bed, self.stands = bed, {}
        self.groups = {name: evolve(samples.group(replicas=1), name=name) for name in ("old", "new")}
        self.balancer = evolve(samples.balancer(), scope="public")
        bed.apply("create", samples.network())
        for index, (name, group) in enumerate(self.groups.items()):
            member = Member(group=name, slot=0, index=index)
            bed.region.state.save_group(GroupState(resource=group, members=(member,)))
            self.stands[name] = Stand(bed.region.namespace, member, group, self.balancer.ports[0].target_port)
        self.stands["old"].ready = True
        self.shift(old=100)
        assert self.pages() == {"old"}

    def wanted(self, **weights: int) -> Balancer:
        return evolve(self.balancer, backends=tuple(Backend(group=name, weight=weight) for name, weight in weights.items()))

    def shift(self, context: BedContext | None = None, **weights: int) -> None:
        change = Change(action="update", resource=self.wanted(**weights), reason="the test wants it")
        self.bed.driver.apply(change, context or self.bed.context)

    def pages(self) -> set[str]:
        return {page(self.bed.url(self.balancer)) for _ in range(8)}

    def up(self, name: str) -> bool:
        return any(one.up for one in self.bed.region.haproxy.states() or () if one.name == f"{name}-0")

    def kept(self) -> http.client.HTTPConnection:
        host, _, port = self.bed.url(self.balancer).removeprefix("http://").partition(":")
        return http.client.HTTPConnection(host, int(port), timeout=10)


def ask(connection: http.client.HTTPConnection) -> str:
    """Ask on this very connection: it is not opened again."""
    connection.request("GET", "/")
    connection.auto_open = 0
    return connection.getresponse().read().decode()


def test_a_group_gives_up_the_member_that_is_not_ready(
    make_bed: Callable[..., Bed], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    samples = Samples(environment="shrink")
    image, group = samples.image(), samples.group(replicas=3)
    bed = make_bed("shrink", {image.name: sample_artefact(image, tmp_path)})
    bed.apply("create", samples.network(), image, group)

    def seen(state: GroupState) -> tuple[Instance, ...]:
        return tuple(Instance(id=one.id, group=one.group, state="running", ready=one.slot != 1) for one in state.members)

    monkeypatch.setattr(bed.region, "instances", seen)
    bed.apply("update", evolve(group, replicas=2))
    assert [one.slot for one in bed.region.state.groups()[group.name].members] == [0, 2]
    bed.take_down()


@pytest.fixture
def street(make_bed: Callable[..., Bed]) -> Iterator[Street]:
    bed = make_bed("street")
    street = Street(bed)
    yield street
    for stand in street.stands.values():
        stand.close()
    bed.take_down()


class WhileWaiting(BedContext):
    """Does something when the driver waits for the first time."""

    def __init__(self, work: Callable[[], None]) -> None:
        super().__init__({})
        self._calls, self._work = 0, work

    def check(self) -> None:
        self._calls += 1
        if self._calls == 2:  # the first call is before anything is done
            self._work()


@pytest.mark.parametrize("weights", [{"new": 100}, {"old": 0, "new": 100}])
def test_a_switch_leaves_the_old_ones_serving_until_a_new_one_is_up(street: Street, weights: dict[str, int]) -> None:
    served: list[set[str]] = []

    def get_ready() -> None:
        served.append(street.pages())
        street.stands["new"].ready = True

    street.shift(WhileWaiting(get_ready), **weights)
    assert served == [{"old"}]
    assert street.pages() == {"new"}


def test_old_ones_go_on_when_no_new_one_comes_until_somebody_looks_again(street: Street, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(balancers, "_SUCCESSOR_SECONDS", 0.0)
    street.shift(new=100)
    assert street.pages() == {"old"}
    assert "old-0 still gets traffic from HAProxy" in street.bed.faults(street.balancer)
    street.stands["new"].ready = True
    wait_until(lambda: street.up("new"), "HAProxy sees the new one")
    street.shift(new=100)
    assert street.pages() == {"new"}
    assert street.bed.faults(street.balancer) == ()


def test_one_that_is_ready_serves_at_once(street: Street) -> None:
    street.stands["new"].ready = True
    street.shift(old=50, new=50)
    assert street.pages() == {"old", "new"}


def test_one_of_weight_0_is_checked_and_gets_nothing(street: Street) -> None:
    street.shift(old=100, new=0)
    assert not street.up("new")
    street.stands["new"].ready = True
    wait_until(lambda: street.up("new"), "HAProxy sees the new one")
    assert street.pages() == {"old"}
    assert street.bed.faults(street.balancer) == ()


def test_kept_connections_stay_whatever_the_weights_and_while_their_server_is_drained(street: Street) -> None:
    street.stands["new"].ready = True
    with closing(street.kept()) as kept:
        assert ask(kept) == "old"
        for weights in ({"old": 100, "new": 0}, {"old": 1, "new": 99}, {"old": 0, "new": 100}, {"new": 100}):
            street.shift(**weights)
            assert ask(kept) == "old"
    assert street.pages() == {"new"}


def test_one_that_was_drained_comes_back_with_the_weight_that_is_wanted(street: Street) -> None:
    street.stands["new"].ready = True
    with closing(street.kept()) as kept:
        assert ask(kept) == "old"
        street.shift(new=100)
        street.shift(old=100, new=400)
        assert street.pages() == {"old", "new"}
        assert street.bed.faults(street.balancer) == ()
        assert ask(kept) == "old"


def test_members_are_told_to_drain_no_longer_when_their_last_connection_is_gone(street: Street) -> None:
    members = [Member(group=name, slot=0, index=index) for index, name in enumerate(street.groups)]
    region, port = street.bed.region, street.groups["old"].health_port

    def told(name: str) -> list[str]:
        end_idle_drains(region.namespace, members, port)
        return street.stands[name].told

    with closing(street.kept()) as kept:
        assert ask(kept) == "old"
        assert told("new") == ["/drained"]
        # A new worker of HAProxy knows nothing of the connections of the one before.
        (port_there,) = street.balancer.ports
        second = evolve(street.wanted(old=100), name="second", ports=(evolve(port_there, port=port_there.port + 1),))
        street.bed.apply("create", second)
        assert told("old") == []
        assert ask(kept) == "old"
    wait_until(lambda: told("old"), "the last connection is gone")


def test_connections_are_cut_when_their_member_is_gone(street: Street) -> None:
    street.stands["new"].ready = True
    with closing(street.kept()) as kept:
        assert ask(kept) == "old"
        street.shift(new=100)
        region: Region = street.bed.region
        region.state.remove_group("old")
        street.shift(new=100)
        with pytest.raises((OSError, http.client.HTTPException)):
            ask(kept)
    assert [one.name for one in region.haproxy.states() or ()] == ["new-0"]
