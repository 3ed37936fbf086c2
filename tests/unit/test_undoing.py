"""Versions that fail: what each was is put back whole, nobody else is concerned, and the user is told."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from attrs import evolve
from shops import Shop, again_is_nothing, group_of, groups_in, is_as_planned, results, shop, weights_in

from i2kit.events import Event
from i2kit.plan import Observed, Outcome, Plan
from i2kit.resources import Balancer, BalancerPort, DnsRecord, InstanceGroup, key
from i2kit.strategy import CanaryStep, Strategy
from i2kit.testing.cloud import Behaviour, FakeCloud, Faults, dies_after, never_boots, never_ready, never_starts
from i2kit.testing.cloud.faults import INSTANCES

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
    assert outcome.rolled_back, "\n".join(results(outcome))
    truth = there.cloud.truth()
    assert groups_in(truth) == {group_of(new).name: (3, 3), group_of(OLD, "worker").name: (3, 3)}
    assert {one.key: one.result for one in outcome.changes}[key(group_of(new))] == "done"


def test_a_first_deploy_that_fails_has_nothing_to_go_back_to_and_leaves_no_group(tmp_path: Path) -> None:
    there = Shop(cloud=FakeCloud(), folder=tmp_path)
    outcome = failing(there, OLD, never_ready(log=("no space left",)))
    assert not outcome.ok
    assert not outcome.rolled_back, "\n".join(results(outcome))
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


NEW = shop("2", 3)


def test_a_version_for_which_there_is_no_room_is_undone(there: Shop) -> None:
    before = everything(there)
    there.cloud.faults = Faults(quotas={INSTANCES: 6})
    outcome = there.operator().deploy(NEW)
    assert outcome.rolled_back, "\n".join(results(outcome))
    assert everything(there) == before
    assert all("quota" in one.message for one in outcome.changes if one.result == "failed")


def test_a_version_to_which_the_traffic_cannot_be_moved_is_undone_and_the_other_workload_arrives(there: Shop) -> None:
    def relent(event: Event) -> None:
        if event.kind == "rolled-back":
            there.cloud.refuse("Balancer/*", "")

    there.cloud.refuse("Balancer/*", "it is locked")
    outcome = evolve(there.operator(), report=relent).deploy(NEW)
    assert outcome.rolled_back, "\n".join(results(outcome))
    truth = there.cloud.truth()
    assert groups_in(truth) == {group_of(OLD).name: (3, 3), group_of(NEW, "worker").name: (3, 3)}
    assert weights_in(truth) == {group_of(OLD).name: 100}
    assert any("update Balancer/" in one.message and "it is locked" in one.message for one in outcome.changes)


def test_what_cannot_be_put_back_is_said_and_tried_again_by_the_next_deploy(there: Shop) -> None:
    there.cloud.behave(group_of(NEW).name, never_ready())
    moved = threading.Event()

    def refuse_once_half_way(truth: Observed) -> None:
        groups = groups_in(truth, "web")
        if group_of(NEW).name in groups and not moved.is_set():
            moved.set()
            there.cloud.refuse("Balancer/*", "the quota is full")

    there.cloud.watch(refuse_once_half_way)
    outcome = there.operator().deploy(shop("2", 3, Strategy(type="recreate")))
    assert not outcome.ok
    assert not outcome.rolled_back, "\n".join(results(outcome))
    assert any("putting it back failed" in one.message for one in outcome.changes), results(outcome)
    there.cloud.refuse("Balancer/*", "")
    assert there.operator().deploy(OLD).ok
    is_as_planned(there, OLD)


def test_an_old_group_that_cannot_be_removed_does_not_undo_what_has_arrived(there: Shop) -> None:
    there.cloud.refuse(key(group_of(OLD)), "it is locked")
    green = shop("2", 3, Strategy(type="blue-green"))
    outcome = there.operator().deploy(green)
    assert not outcome.ok
    assert not outcome.rolled_back
    assert [one.key for one in outcome.changes if one.result == "failed"] == [key(group_of(OLD))]
    assert weights_in(there.cloud.truth()) == {group_of(green).name: 100}
    there.cloud.refuse(key(group_of(OLD)), "")
    assert there.operator().deploy(green).ok
    is_as_planned(there, green)


def test_a_balancer_that_is_lost_meanwhile_is_seen_by_the_next_deploy(there: Shop) -> None:
    (balancer,) = [one for one in OLD.resources if isinstance(one, Balancer)]
    there.cloud.remove(key(balancer))
    assert there.operator().deploy(NEW).ok
    is_as_planned(there, NEW)
