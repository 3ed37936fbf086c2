"""Groups whose size the provider moves: within their bounds it is the load's, during a rollout nobody's."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import evolve
from shops import Shop, group_of, groups_in, results, shop

from i2kit.plan import Observed, Plan
from i2kit.resources import InstanceGroup
from i2kit.strategy import Scaling
from i2kit.testing.cloud import FakeCloud, never_ready

BOUNDS = Scaling(minimum=2, maximum=6, cpu_percent=80)


def scaled(version: str) -> Plan:
    """Both workloads between 2 and 6 replicas, 2 to begin with."""
    plan = shop(version)
    resources = (evolve(one, scaling=BOUNDS) if isinstance(one, InstanceGroup) else one for one in plan.resources)
    return evolve(plan, resources=tuple(resources), fingerprint=f"{plan.fingerprint}-scaled")


OLD, NEW = scaled("1"), scaled("2")


@pytest.fixture
def there(tmp_path: Path) -> Iterator[Shop]:
    """The load has given `web` 5 members."""
    found = Shop(cloud=FakeCloud(boot_seconds=1.0), folder=tmp_path)
    assert found.operator().deploy(OLD).ok
    assert found.cloud.autoscale(group_of(OLD).name, 5) == 5
    found.wait(2)
    yield found
    found.cloud.verify()


def web_in(truth: Observed) -> dict[str, InstanceGroup]:
    found = [one.resource for one in truth.resources if isinstance(one.resource, InstanceGroup)]
    return {one.name: one for one in found if one.mark.workload == "web"}


def test_a_size_within_the_bounds_is_no_drift(there: Shop) -> None:
    outcome = there.operator().deploy(OLD)
    assert {one.result for one in outcome.changes} == {"unchanged"}, results(outcome)
    assert groups_in(there.cloud.truth(), "web") == {group_of(OLD).name: (5, 5)}


@pytest.mark.parametrize("size", [1, 7])
def test_a_size_beyond_them_is(size: int, there: Shop) -> None:
    there.cloud.resize(group_of(OLD).name, size)
    assert there.operator().deploy(OLD).ok
    (members, _) = groups_in(there.cloud.truth(), "web")[group_of(OLD).name]
    assert BOUNDS.minimum <= members <= BOUNDS.maximum


def test_the_new_version_comes_at_the_live_size_and_scaling_pauses_meanwhile(there: Shop) -> None:
    serving: list[int] = []
    both_scaling: list[object] = []

    def watch(truth: Observed) -> None:
        groups = web_in(truth)
        serving.append(sum(ready for _, ready in groups_in(truth, "web").values()))
        if len(groups) > 1 and group_of(NEW).name in groups:
            both_scaling.extend(one.scaling for one in groups.values() if one.scaling is not None)

    there.cloud.watch(watch)
    assert there.operator().deploy(NEW).ok
    assert groups_in(there.cloud.truth(), "web") == {group_of(NEW).name: (5, 5)}
    assert web_in(there.cloud.truth())[group_of(NEW).name].scaling == BOUNDS
    assert min(serving) >= 4, "25% of 5 members may be unavailable"
    assert both_scaling == []


def test_what_fails_is_put_back_at_the_size_that_the_load_gave_and_scales_again(there: Shop) -> None:
    there.cloud.behave(group_of(NEW).name, never_ready())
    assert there.operator().deploy(NEW).rolled_back
    assert groups_in(there.cloud.truth(), "web") == {group_of(OLD).name: (5, 5)}
    assert web_in(there.cloud.truth())[group_of(OLD).name].scaling == BOUNDS


@pytest.mark.parametrize("fails", [False, True], ids=["and arrives", "and fails"])
@pytest.mark.parametrize("ended", ["Ctrl-C", "SIGKILL"])
def test_a_rollout_that_goes_on_after_a_run_ended_half_way_knows_the_size_that_there_was(ended: str, fails: bool, there: Shop) -> None:
    cancel = threading.Event()

    def half_way(truth: Observed) -> None:
        groups = web_in(truth)
        if group_of(NEW).name in groups and group_of(OLD).name in groups and groups[group_of(OLD).name].replicas < 5:
            cancel.set()

    there.cloud.watch(half_way)
    if ended == "Ctrl-C":
        assert evolve(there.operator(), cancel=cancel).deploy(NEW).interrupted
    else:
        # The first update of the old group switches its scaling off, the second one takes members.
        for _ in range(2):
            assert there.killed(lambda run: run.deploy(NEW), f"update InstanceGroup/{group_of(OLD).name}", "after_effect")
    assert web_in(there.cloud.truth())[group_of(OLD).name].replicas < 5
    if fails:
        there.cloud.behave(group_of(NEW).name, never_ready())
    outcome = there.operator().deploy(NEW)
    assert outcome.rolled_back if fails else outcome.ok, results(outcome)
    assert groups_in(there.cloud.truth(), "web") == {group_of(OLD if fails else NEW).name: (5, 5)}
