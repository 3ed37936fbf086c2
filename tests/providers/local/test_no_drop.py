"""No request is dropped: what rollouts ask of the driver, step by step, under steady load on real VMs. In order, on each other's state."""

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

KINDS = ("new", "kept", "slow", "upload")


class Web:
    """The load's server in two versions, of which the first runs in two replicas."""

    def __init__(self, bed: Bed, built: Built) -> None:
        self.bed = bed
        first, second = built.plans
        (self.balancer,) = (one for one in first.resources if isinstance(one, Balancer))
        self.old, self.new = _group(first), _group(second)
        bed.apply("create", *(one for one in first.resources if not isinstance(one, DnsRecord)))
        bed.apply("create", *(one for one in second.resources if one.kind == "Image"))
        self.await_ready(self.old)

    def shift(self, **weights: int) -> None:
        groups = {"old": self.old.name, "new": self.new.name}
        backends = tuple(Backend(group=groups[name], weight=weight) for name, weight in weights.items())
        self.bed.apply("update", evolve(self.balancer, backends=backends))

    def resize(self, group: InstanceGroup, replicas: int) -> None:
        self.bed.apply("update", evolve(group, replicas=replicas))

    def create(self, group: InstanceGroup, replicas: int) -> None:
        self.bed.apply("create", evolve(group, replicas=replicas))

    def await_ready(self, group: InstanceGroup, replicas: int = 2) -> None:
        self.bed.await_ready(evolve(group, replicas=replicas))

    def load(self) -> Load:
        return Load(url=self.bed.url(self.balancer))


def _group(plan: Plan) -> InstanceGroup:
    (group,) = (one for one in plan.resources if isinstance(one, InstanceGroup))
    return group


@pytest.fixture(scope="module")
def web(make_bed: Callable[..., Bed], loadserver: Built) -> Iterator[Web]:
    bed = make_bed("nodrop", loadserver.artefacts)
    yield Web(bed, loadserver)
    bed.take_down()


def serve_every_kind(load: Load) -> None:
    """Wait until every kind of request that begins now has been answered."""
    before = dict(load.counts)
    wait_until(lambda: all(load.counts[kind] > before.get(kind, 0) + 2 for kind in KINDS), "every kind of request is answered", 40)


def test_a_rolling_update_drops_no_request(web: Web) -> None:
    with web.load() as load:
        serve_every_kind(load)
        web.create(web.new, 1)
        web.shift(old=100, new=0)
        web.await_ready(web.new, 1)
        assert not any(name.startswith(web.new.name) for name in load.answers)
        web.shift(old=67, new=33)
        web.resize(web.old, 1)
        web.resize(web.new, 2)
        web.await_ready(web.new)
        web.shift(old=33, new=67)
        web.shift(new=100)
        web.bed.apply("delete", web.old)
        serve_every_kind(load)
    assert load.failures == []
    assert len(load.answers) == 4


def test_a_blue_green_switch_drops_no_request(web: Web) -> None:
    web.old, web.new = web.new, web.old
    with web.load() as load:
        web.create(web.new, 2)
        web.shift(old=100, new=0)
        web.await_ready(web.new)
        serve_every_kind(load)
        web.shift(new=100)
        serve_every_kind(load)
        web.bed.apply("delete", web.old)
        serve_every_kind(load)
    assert load.failures == []


def test_fewer_replicas_drop_no_request(web: Web) -> None:
    with web.load() as load:
        serve_every_kind(load)
        web.resize(web.new, 1)
        serve_every_kind(load)
    assert load.failures == []
