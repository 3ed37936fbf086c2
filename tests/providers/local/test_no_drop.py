"""No request is dropped: what rollouts ask of the driver, step by step, under steady load on real VMs. In order, on each other's state.

Whole updates, switches, rollbacks and smaller groups, through the command, are in tests/e2e/test_no_drop.py.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest
from attrs import evolve
from load import Load

from i2kit.plan import Plan
from i2kit.resources import Backend, Balancer, DnsRecord, InstanceGroup

from .conftest import Bed, Built, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(os.geteuid() != 0, reason="the local region needs root")]

KINDS = ("new", "kept", "kept-slow", "slow", "upload")


class Web:
    """The load's server in two versions, of which the one that does not finish its work runs in two replicas."""

    def __init__(self, bed: Bed, built: Built) -> None:
        self.bed = bed
        second, first = built.plans
        (self.balancer,) = (one for one in first.resources if isinstance(one, Balancer))
        self.old, self.new = _group(first), _group(second)
        bed.apply("create", *(one for one in first.resources if not isinstance(one, DnsRecord)))
        bed.apply("create", *(one for one in second.resources if one.kind == "Image"))
        self.await_ready(self.old)

    def shift(self, **weights: int) -> None:
        groups = {"old": self.old.name, "new": self.new.name}
        backends = tuple(Backend(group=groups[name], weight=weight) for name, weight in weights.items())
        self.bed.apply("update", evolve(self.balancer, backends=backends))

    def create(self, group: InstanceGroup, replicas: int) -> None:
        self.bed.apply("create", evolve(group, replicas=replicas))

    def await_ready(self, group: InstanceGroup, replicas: int = 2) -> None:
        self.bed.await_ready(evolve(group, replicas=replicas))

    def load(self, slow_seconds: float) -> Load:
        return Load(url=self.bed.url(self.balancer), slow_seconds=slow_seconds)


def _group(plan: Plan) -> InstanceGroup:
    (group,) = (one for one in plan.resources if isinstance(one, InstanceGroup))
    return group


@pytest.fixture(scope="module")
def web(make_bed: Callable[..., Bed], loadserver: Built) -> Iterator[Web]:
    bed = make_bed("nodrop", loadserver.artefacts)
    yield Web(bed, loadserver)
    bed.take_down()


def serve_every_kind(load: Load) -> None:
    """Wait until requests of every kind that begin now have been answered: more than those that are under way, two of a kind at most."""
    before = dict(load.counts)
    wait_until(lambda: all(load.counts[kind] > before.get(kind, 0) + 2 for kind in KINDS), "every kind of request is answered", 60)


def new_connections(load: Load, since: float) -> set[str]:
    """The groups that have answered on connections made since then."""
    return {server.rpartition("-")[0] for server in load.servers("new", "slow", "upload", since=since)}


def test_traffic_goes_by_weights_and_a_switch_drops_no_request_even_of_servers_that_die_at_once(web: Web) -> None:
    # What a server that does not finish its work has under way ends within the drain time.
    with web.load(slow_seconds=0.5 * web.old.drain_seconds) as load:
        web.create(web.new, 2)
        web.shift(old=100, new=0)
        web.await_ready(web.new)
        assert new_connections(load, 0.0) == {web.old.name}
        shifted = load.now()
        web.shift(old=67, new=33)
        serve_every_kind(load)
        assert new_connections(load, shifted) == {web.old.name, web.new.name}
        assert load.retried == 0, "a change of weights has closed kept connections"
        web.shift(new=100)
        shifted = load.now()
        web.bed.apply("delete", web.old)
        serve_every_kind(load)
    assert load.failures == []
    assert new_connections(load, shifted) == {web.new.name}
    assert len(load.answers) == 4


def test_members_without_connections_end_without_draining(web: Web) -> None:
    state = web.bed.region.state
    web.bed.apply("update", evolve(web.new, replicas=1))
    (member,) = (state.groups()[web.new.name]).members
    with (state.member_folder(member) / "console.log").open(errors="replace") as console:
        web.bed.apply("delete", web.new)
        assert '"event": "drained"' in console.read()
