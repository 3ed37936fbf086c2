"""History, the way back, and restarts: by release records, of a whole application or one workload."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve
from shops import Shop, again_is_nothing, group_of, groups_in, is_as_planned, shop, weights_in

from i2kit.errors import InvalidInput
from i2kit.resources import InstanceGroup
from i2kit.testing.cloud import FakeCloud, never_ready

ONE, TWO, THREE = shop("1"), shop("2", 3), shop("3")


@pytest.fixture
def there(tmp_path: Path) -> Shop:
    """Three releases, of which the third is the present one."""
    found = Shop(cloud=FakeCloud(), folder=tmp_path)
    for plan in (ONE, TWO, THREE):
        assert found.operator().deploy(plan).ok
    return found


def test_history_tells_what_each_release_was(there: Shop) -> None:
    told = there.operator().history()
    assert [(one.number, one.action, one.current) for one in told] == [(1, "deploy", False), (2, "deploy", False), (3, "deploy", True)]
    assert [one.time for one in told] == sorted(one.time for one in told)
    assert [{workload.name: (workload.revision, workload.replicas) for workload in one.workloads} for one in told] == [
        {name: (group_of(plan, name).mark.revision, group_of(plan, name).replicas) for name in ("web", "worker")}
        for plan in (ONE, TWO, THREE)
    ]
    assert all(workload.images for one in told for workload in one.workloads)
    assert all("process" in one.by for one in told)


def test_the_way_back_is_one_release_and_is_a_release_itself(there: Shop) -> None:
    assert there.operator().rollback().ok
    is_as_planned(there, TWO)
    assert [one.action for one in there.operator().history()][-1] == "rollback to 2"
    again_is_nothing(there, TWO)


def test_any_release_can_be_named(there: Shop) -> None:
    assert there.operator().rollback(to=1).ok
    is_as_planned(there, ONE)


def test_twice_back_is_there_and_back_again(there: Shop) -> None:
    """As in Kubernetes: what a way back leads away from is the release before."""
    assert there.operator().rollback().ok
    assert there.operator().rollback().ok
    is_as_planned(there, THREE)


def test_after_a_deploy_that_failed_the_way_back_is_to_the_last_good_release(there: Shop) -> None:
    worse = shop("4")
    there.cloud.behave(group_of(worse).name, never_ready())
    assert not there.operator().deploy(worse).ok
    assert there.operator().rollback().ok
    is_as_planned(there, THREE)


def test_a_release_that_is_not_there_is_refused_with_those_that_are(there: Shop) -> None:
    with pytest.raises(InvalidInput, match=r"there is no release 7 of 'sample'; expected one of 1, 2, 3"):
        there.operator().rollback(to=7)


def test_one_workload_goes_back_alone(there: Shop) -> None:
    assert there.operator().rollback(to=2, workload="web").ok
    truth = there.cloud.truth()
    assert groups_in(truth) == {group_of(TWO).name: (3, 3), group_of(THREE, "worker").name: (2, 2)}
    assert weights_in(truth) == {group_of(TWO).name: 100}
    assert there.operator().history()[-1].action == "rollback to 2 of web"
    with pytest.raises(InvalidInput, match="has no workload 'api'; expected one of web, worker"):
        there.operator().rollback(to=2, workload="api")


def test_as_many_releases_are_kept_as_the_manifests_say(tmp_path: Path) -> None:
    there = Shop(cloud=FakeCloud(), folder=tmp_path)
    for version in "12345":
        assert there.operator().deploy(evolve(shop(version), history_limit=2)).ok
    assert [one.number for one in there.operator().history()] == [3, 4, 5]
    with pytest.raises(InvalidInput, match="there is no release 2"):
        there.operator().rollback(to=2)
    assert there.operator().rollback(to=3).ok


def test_without_an_earlier_release_there_is_no_way_back(tmp_path: Path) -> None:
    there = Shop(cloud=FakeCloud(), folder=tmp_path)
    with pytest.raises(InvalidInput, match="was never deployed whole; deploy it"):
        there.operator().rollback()
    assert there.operator().deploy(ONE).ok
    with pytest.raises(InvalidInput, match="has no earlier release"):
        there.operator().rollback()
    assert there.entries[-1].kind == "release", "a claim was left"


def test_a_restart_replaces_every_member_of_what_was_named_without_a_change(there: Shop) -> None:
    before = groups_in(there.cloud.truth())
    assert there.operator().restart(workload="web").ok
    after = groups_in(there.cloud.truth())
    assert set(before) & set(after) == {group_of(THREE, "worker").name}
    (restarted,) = [
        one.resource
        for one in there.cloud.truth().resources
        if isinstance(one.resource, InstanceGroup) and one.resource.mark.workload == "web"
    ]
    assert evolve(restarted, name="", mark=group_of(THREE).mark, restarts=0) == evolve(group_of(THREE), name="")
