"""Versions that fail: what each was is put back whole, nobody else is concerned, and the user is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve
from shops import Shop, again_is_nothing, group_of, groups_in, is_as_planned, shop

from i2kit.plan import Outcome, Plan
from i2kit.resources import Balancer, BalancerPort, DnsRecord, InstanceGroup, key
from i2kit.strategy import CanaryStep, Strategy
from i2kit.testing.cloud import Behaviour, FakeCloud, dies_after, never_boots, never_ready, never_starts

OLD = shop("1", 3)
STRATEGIES = {
    "rolling-update": Strategy(),
    "recreate": Strategy(type="recreate"),
    "blue-green": Strategy(type="blue-green"),
    "canary": Strategy(type="canary", steps=(CanaryStep(weight=50, pause_seconds=1),)),
}
BAD = {
    "never boots": never_boots("kernel panic"),
    "never starts": never_starts("no such file", log=("exec /nothing: no such file",)),
    "never gets ready": never_ready("its disk is full", log=("cannot go on: no space left",)),
    "dies young": dies_after(2.0, log=("cannot go on: no space left",)),
}


@pytest.fixture
def there(tmp_path: Path) -> Shop:
    found = Shop(cloud=FakeCloud(boot_seconds=1.0), folder=tmp_path)
    assert found.operator().deploy(OLD).ok
    return found


def everything(at: Shop) -> dict[str, object]:
    """Groups, balancers and names as they are, and who is ready."""
    kinds = InstanceGroup | Balancer | DnsRecord
    truth = at.cloud.truth()
    there: dict[str, object] = {key(one.resource): one.resource for one in truth.resources if isinstance(one.resource, kinds)}
    return {**there, "members": groups_in(truth)}


def differently(plan: Plan) -> Plan:
    """Everything about the Service is changed along with the Pod: its port, its health check and its name; and it has one name more."""
    changed: list[object] = []
    for one in plan.resources:
        if isinstance(one, Balancer):
            changed.append(evolve(one, ports=(BalancerPort(port=80, target_port=9090),), health_path="/other"))
        elif isinstance(one, DnsRecord):
            changed += [evolve(one, type="CNAME"), evolve(one, name=f"www.{one.name}")]
        else:
            changed.append(one)
    return evolve(plan, resources=tuple(changed), fingerprint=f"{plan.fingerprint}-differently")


def failing(at: Shop, plan: Plan, behaviour: Behaviour, *workloads: str) -> Outcome:
    for workload in workloads or ("web", "worker"):
        at.cloud.behave(group_of(plan, workload).name, behaviour)
    return at.operator().deploy(plan)


@pytest.mark.parametrize("changed", [False, True], ids=["the Pod", "the Service too"])
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("bad", BAD)
def test_the_old_version_is_put_back_whole(bad: str, strategy: str, changed: bool, there: Shop) -> None:
    new = shop("2", 3, STRATEGIES[strategy], min_ready_seconds=5, deadline=15)
    before = everything(there)
    outcome = failing(there, differently(new) if changed else new, BAD[bad])
    assert outcome.rolled_back, outcome
    assert everything(there) == before
    failed = {one.key: one for one in outcome.changes if one.result == "failed"}
    assert set(failed) == {key(group_of(new, one)) for one in ("web", "worker")}
    for one in failed.values():
        assert all(any(said in line for line in one.log) for said in BAD[bad].log), one.log
        assert one.log
    again_is_nothing(there, OLD)


def test_one_workload_is_undone_and_the_other_arrives(there: Shop) -> None:
    new = shop("2", 3)
    outcome = failing(there, new, never_ready(), "worker")
    assert outcome.rolled_back
    truth = there.cloud.truth()
    assert groups_in(truth) == {group_of(new).name: (3, 3), group_of(OLD, "worker").name: (3, 3)}
    assert {one.key: one.result for one in outcome.changes}[key(group_of(new))] == "done"


def test_a_first_deploy_that_fails_has_nothing_to_go_back_to_and_leaves_no_group(tmp_path: Path) -> None:
    there = Shop(cloud=FakeCloud(), folder=tmp_path)
    outcome = failing(there, OLD, never_ready(log=("no space left",)))
    assert not outcome.ok
    assert not outcome.rolled_back
    assert groups_in(there.cloud.truth()) == {}
    assert any("no space left" in line for one in outcome.changes for line in one.log)


@pytest.mark.parametrize("first", [True, False], ids=["a first deploy", "an update"])
def test_a_failed_group_stays_to_be_looked_at_when_that_was_asked_and_goes_with_the_next_deploy(first: bool, tmp_path: Path) -> None:
    there, new = Shop(cloud=FakeCloud(), folder=tmp_path), shop("2", 3)
    if not first:
        assert there.operator().deploy(OLD).ok
    there.cloud.behave(group_of(new).name, never_ready())
    operator = there.operator()
    kept = evolve(operator, options=evolve(operator.options, keep_failed=True)).deploy(new)
    assert not kept.ok
    assert group_of(new).name in groups_in(there.cloud.truth(), "web")
    assert any("is kept to be looked at" in one.message for one in kept.changes)
    assert there.operator().deploy(OLD).ok
    is_as_planned(there, OLD)


@pytest.mark.parametrize("change", ["create DnsRecord/www.", "update DnsRecord/web."])
def test_names_that_a_run_had_changed_before_it_died_are_put_back_when_its_version_fails_now(change: str, there: Shop) -> None:
    new, before = differently(shop("2", 3)), everything(there)
    assert there.killed(lambda run: run.deploy(new), change, "after_effect")
    assert failing(there, new, never_ready()).rolled_back
    assert everything(there) == before
