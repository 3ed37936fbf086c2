"""What the strategies draw is what the stages take; and the laws that hold for every plan."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from i2kit_memory.driver import MemoryDriver
from i2kit_memory.region import Region
from sample import container, image, locked, target, workload, workloads

from i2kit import planner, wire
from i2kit.diff import diff
from i2kit.errors import InvalidInput
from i2kit.manifest.workloads import ConfigVolume, Pod, VolumeFile, Workloads
from i2kit.plan import Observed, ObservedResource, Plan
from i2kit.resources import key
from i2kit.testing import strategies

LOCK = locked(**{"hello:2": image("docker.io/library/hello:2", "e")})


@given(strategies.workloads(images=("hello:1", "hello:2")))
@settings(deadline=None, max_examples=50)
def test_every_workload_that_is_drawn_can_be_planned_and_the_same_each_time(drawn: Workloads) -> None:
    plan = planner.plan(drawn, LOCK, target(), secret_key=b"key")
    assert planner.plan(drawn, LOCK, target(), secret_key=b"key") == plan
    assert wire.from_data(wire.to_data(plan), Plan) == plan


def test_a_file_that_is_no_text_is_refused_and_named() -> None:
    volume = ConfigVolume(name="data", files=(VolumeFile(path="app.conf", content=b"\xff"),))
    with pytest.raises(InvalidInput, match=r"app.conf of volume data of hello .* no UTF-8 text.*binary-file"):
        planner.plan(workloads(workload(pod=Pod(containers=(container(),), volumes=(volume,)))), LOCK, target())


@given(strategies.plans())
@settings(deadline=None, max_examples=50)
def test_what_is_needed_stands_before_what_needs_it(plan: Plan) -> None:
    there: set[str] = set()
    for resource in plan.resources:
        assert set(resource.needs) <= there
        there.add(key(resource))


@given(strategies.plans(), strategies.plans())
@settings(deadline=None, max_examples=100)
def test_changes_can_be_applied_in_an_order_that_heeds_their_needs(before: Plan, after: Plan) -> None:
    changes = diff(after, seen(before))
    pending = {change.key: change for change in changes.pending}
    done = {change.key for change in changes.changes} - set(pending)
    while pending:
        startable = [name for name, change in pending.items() if set(change.needs) <= done and set(change.gates) <= done]
        assert startable, f"these wait for each other: {sorted(pending)}"
        done |= set(startable)
        for name in startable:
            del pending[name]


@given(strategies.plans(), strategies.plans())
@settings(deadline=None, max_examples=100)
def test_applying_all_changes_leaves_nothing_to_do(before: Plan, after: Plan) -> None:
    there = {key(one): one for one in before.resources}
    for change in diff(after, seen(before)).pending:
        if change.action == "delete":
            del there[change.key]
        else:
            there[change.key] = change.resource
    left = Observed(resources=tuple(ObservedResource(resource=one) for one in there.values()))
    assert diff(after, left).pending == ()


@given(strategies.plans())
@settings(deadline=None, max_examples=30)
def test_the_memory_region_gives_back_every_plan(plan: Plan) -> None:
    region = Region("conformance")
    with region.transaction() as state:
        state["resources"] = {key(one): wire.to_data(one) for one in plan.resources}
        state["members"] = {
            one.name: [f"{one.name}-{n}" for n in range(one.replicas)] for one in plan.resources if one.kind == "InstanceGroup"
        }
    assert tuple(one.resource for one in MemoryDriver(region).observe().resources) == plan.resources


def seen(plan: Plan) -> Observed:
    return Observed(resources=tuple(ObservedResource(resource=one) for one in plan.resources))
