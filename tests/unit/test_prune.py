"""What is not in the manifests any more: left and named, removed when that is asked, and never another application's."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve
from clouds import SAMPLES, Operator
from shops import Shop, group_of, results, shop

from i2kit.driver import Context
from i2kit.plan import Change, Plan
from i2kit.resources import InstanceGroup, key
from i2kit.testing.cloud import FakeCloud
from i2kit.testing.cloud.driver import CloudDriver

BOTH = shop("1")
NEIGHBOUR = evolve(SAMPLES, application="neighbour")
THEIRS = NEIGHBOUR.plan(*NEIGHBOUR.workload(workload="mail"))


def without(workload: str) -> Plan:
    """The manifests without a workload, and without its Service."""
    resources = tuple(one for one in BOTH.resources if one.mark.workload != workload)
    return evolve(BOTH, resources=resources, fingerprint=f"{BOTH.fingerprint}-without-{workload}")


def pruning(at: Shop, driver: CloudDriver | None = None) -> Operator:
    operator = at.operator(driver)
    return evolve(operator, options=evolve(operator.options, prune=True))


@pytest.fixture
def there(tmp_path: Path) -> Shop:
    """Both workloads, and another application beside them."""
    found = Shop(cloud=FakeCloud(), folder=tmp_path)
    assert found.operator().deploy(BOTH).ok
    assert found.operator().deploy(THEIRS).ok
    return found


def keys(at: Shop) -> set[str]:
    return {key(one.resource) for one in at.cloud.truth().resources if one.resource.kind != "Image"}


def test_unasked_it_stays_and_the_plan_says_so(there: Shop) -> None:
    before = keys(there)
    outcome = there.operator().deploy(without("web"))
    assert outcome.ok
    assert keys(there) == before
    left = {one.key: one.message for one in outcome.changes if "not in the manifests any more" in one.message}
    assert {name.partition("/")[0] for name in left} == {"InstanceGroup", "Balancer", "DnsRecord"}
    assert all("left as it is (--prune removes it)" in message for message in left.values())


@pytest.mark.parametrize("workload", ["web", "worker"])
def test_when_asked_it_goes_and_nothing_else(workload: str, there: Shop) -> None:
    gone = {key(one) for one in BOTH.resources if one.mark.workload == workload}
    before = keys(there)
    outcome = pruning(there).deploy(without(workload))
    assert outcome.ok, results(outcome)
    assert before - keys(there) == gone
    assert {one.key for one in outcome.changes if one.action == "delete"} == gone
    assert {key(one) for one in THEIRS.resources if one.kind != "Image"} <= keys(there)


def test_what_uses_another_goes_before_it(there: Shop) -> None:
    order: list[str] = []

    class Watching(CloudDriver):
        def apply(self, change: Change, context: Context) -> None:
            super().apply(change, context)
            if change.action == "delete":
                order.append(change.resource.kind)

    driver = Watching(there.cloud.environment, there.cloud._store, there.cloud._front)
    assert pruning(there, driver).deploy(without("web")).ok
    assert order == ["DnsRecord", "Balancer", "InstanceGroup"]


def test_a_second_time_there_is_nothing_left_to_prune(there: Shop) -> None:
    assert pruning(there).deploy(without("web")).ok
    assert {one.result for one in pruning(there).deploy(without("web")).changes} == {"unchanged"}


def test_a_way_back_brings_it_again(there: Shop) -> None:
    before = keys(there)
    assert pruning(there).deploy(without("web")).ok
    assert there.operator().rollback().ok
    assert keys(there) == before
    (web,) = [one for one in there.cloud.truth().resources if key(one.resource) == key(group_of(BOTH))]
    assert isinstance(web.resource, InstanceGroup)
    assert len(web.instances) == group_of(BOTH).replicas


@pytest.mark.parametrize("phase", ["before", "after_effect"])
def test_one_that_died_half_way_is_finished(phase: str, there: Shop) -> None:
    about = "delete Balancer/"
    assert there.killed(lambda run: evolve(run, options=evolve(run.options, prune=True)).deploy(without("web")), about, phase)  # type: ignore[arg-type]
    assert pruning(there).deploy(without("web")).ok
    assert not {key(one) for one in BOTH.resources if one.mark.workload == "web"} & keys(there)
