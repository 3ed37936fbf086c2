"""The diff: what has to happen, in which order, and why."""

from __future__ import annotations

import pytest
from attrs import evolve
from sample import container, locked, service, target, workload, workloads

from i2kit.diff import Choices, diff
from i2kit.errors import InvalidInput
from i2kit.manifest.workloads import EnvValue, Pod
from i2kit.plan import Instance, Observed, ObservedResource, Plan
from i2kit.planner import empty, plan
from i2kit.resources import Balancer, DnsRecord, InstanceGroup, key


def planned(**changes: object) -> Plan:
    pod = Pod(containers=(container(**changes),))
    return plan(workloads(workload(pod=pod), services=(service(),)), locked(), target())


def seen(of: Plan) -> Observed:
    return Observed(
        resources=tuple(
            ObservedResource(
                resource=one,
                instances=tuple(Instance(id=f"{one.name}-{n}", group=one.name, state="running", ready=True) for n in range(one.replicas))
                if isinstance(one, InstanceGroup)
                else (),
            )
            for one in of.resources
        )
    )


def test_everything_is_created_where_nothing_is() -> None:
    assert {change.action for change in diff(planned(), Observed()).changes} == {"create"}


def test_nothing_is_done_where_all_is_as_planned_and_each_no_op_says_why() -> None:
    changes = diff(planned(), seen(planned()))
    assert changes.pending == ()
    assert all(change.reason for change in changes.changes)


def test_a_fault_is_drift_that_deploy_mends() -> None:
    observed = seen(planned())
    broken = tuple(evolve(one, faults=("dnsmasq is not running",)) if one.resource.kind == "Network" else one for one in observed.resources)
    (change,) = diff(planned(), Observed(resources=broken)).pending
    assert (change.action, change.resource.kind, change.reason) == ("update", "Network", "dnsmasq is not running")


def test_another_size_is_an_update_of_the_group_alone() -> None:
    target_plan = plan(workloads(workload(replicas=3), services=(service(),)), locked(), target())
    (change,) = diff(target_plan, seen(planned())).pending
    assert (change.action, change.reason) == ("update", "replicas 2 -> 3")


def test_a_new_revision_serves_before_the_balancer_moves_and_the_old_group_goes() -> None:
    old, new = planned(), planned(env=(EnvValue(name="A", value="1"),))
    changes = diff(new, seen(old)).pending
    by_kind = {(change.resource.kind, change.action): change for change in changes}
    create, move = by_kind["InstanceGroup", "replace"], by_kind["Balancer", "update"]
    delete = by_kind["InstanceGroup", "delete"]
    assert create.reason.startswith(f"replaces {delete.resource.name}: image: it changed")
    assert move.gates == (create.key,)
    assert move.key in delete.needs
    assert delete.gates == (create.key,)
    assert delete.reason == f"replaced by {create.resource.name}"


def test_a_balancer_in_front_of_nothing_does_not_wait() -> None:
    failed, new = planned(), planned(env=(EnvValue(name="A", value="1"),))
    left = tuple(one for one in seen(failed).resources if not isinstance(one.resource, InstanceGroup))
    (balancer,) = [change for change in diff(new, Observed(resources=left)).pending if isinstance(change.resource, Balancer)]
    assert (balancer.action, balancer.gates) == ("update", ())


def test_destroy_deletes_users_before_what_they_use() -> None:
    goal = target()
    changes = diff(empty(goal), seen(planned())).changes
    assert {change.action for change in changes} == {"delete"}
    done: set[str] = set()
    waiting = list(changes)
    while waiting:
        ready = [change for change in waiting if set(change.needs) <= done]
        assert ready, "the needs form a circle"
        done |= {change.key for change in ready}
        waiting = [change for change in waiting if change.key not in done]
    by_key = {change.key: change for change in changes}
    (balancer,) = [change for change in changes if isinstance(change.resource, Balancer)]
    (record,) = [change for change in changes if isinstance(change.resource, DnsRecord)]
    assert record.key in balancer.needs
    assert all(used in by_key for used in balancer.resource.needs)


def test_destroy_leaves_what_another_application_uses() -> None:
    own = planned()
    other = plan(workloads(services=(service("other"),)), locked(), evolve(target(), application="other"))
    both = Observed(resources=tuple({key(one.resource): one for one in (*seen(own).resources, *seen(other).resources)}.values()))
    deleted = {change.resource.kind for change in diff(empty(target()), both).pending}
    assert deleted == {"InstanceGroup", "Balancer", "DnsRecord"}


def test_destroy_leaves_images_that_others_records_name() -> None:
    kept = frozenset(key(one) for one in planned().resources if one.kind == "Image")
    deleted = {change.resource.kind for change in diff(empty(target()), seen(planned()), choices=Choices(kept=kept)).pending}
    assert "Image" not in deleted
    assert "Network" in deleted


def test_what_is_not_in_the_manifests_any_more_is_left_and_said_so() -> None:
    without = plan(workloads(), locked(), target())
    changes = diff(without, seen(planned()))
    assert changes.pending == ()
    assert {change.resource.kind for change in changes.changes if "left as it is" in change.reason} == {"Balancer", "DnsRecord"}


def test_a_name_of_another_application_is_refused() -> None:
    other = plan(workloads(services=(service(),)), locked(), evolve(target(), application="other"))
    with pytest.raises(InvalidInput, match=r"DnsRecord hello.default.svc.cluster.local belongs to application 'other'"):
        diff(planned(), seen(other))


def test_a_public_name_of_another_application_is_refused_too() -> None:
    named = (service(hostnames=("shop.example.com",)),)
    elsewhere = evolve(named[0], name="other", hostnames=named[0].hostnames)
    other = plan(workloads(services=(elsewhere,)), locked(), evolve(target(), application="other"))
    with pytest.raises(InvalidInput, match=r"DnsRecord shop.example.com belongs to application 'other'; take another name") as caught:
        diff(plan(workloads(services=named), locked(), target()), seen(other))
    assert len(caught.value.problems) == 1
