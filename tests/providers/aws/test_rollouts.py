"""Every strategy, undo and rollback on AWS: the same rollout code as everywhere, by the driver, against the bed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import evolve
from aws.bed import Bed
from awsshops import READY, AwsCloud, AwsShop, HastyClock, is_as_planned, version
from shops import group_of, groups_in, results, weights_in

from i2kit.environment import Environment
from i2kit.strategy import CanaryStep, Strategy
from i2kit_aws.site import Site

STRATEGIES = {
    "rolling update": Strategy(),
    "recreate": Strategy(type="recreate"),
    "blue-green": Strategy(type="blue-green"),
    "canary": Strategy(type="canary", steps=(CanaryStep(weight=25, pause_seconds=5),)),
}
OLD = version("1")


@pytest.fixture
def environment(environment: Environment) -> Environment:
    return evolve(environment, name="conformance")


@pytest.fixture
def at(as_user: Bed, site: Site, tmp_path: Path) -> Iterator[AwsShop]:
    """A shop whose first version runs; all there is of it goes in the end."""
    as_user.console("*", READY)
    shop = AwsShop(cloud=AwsCloud(bed=as_user, site=site, clock=HastyClock()), folder=tmp_path)
    with shop.quick():
        outcome = shop.operator().deploy(OLD)
        assert outcome.ok, results(outcome)
        yield shop
        as_user.faults.clear()
        outcome = shop.operator().destroy()
        assert outcome.ok, results(outcome)
    assert as_user.inventory() == {}


def test_a_deploy_is_as_planned_and_again_it_is_nothing(at: AwsShop) -> None:
    is_as_planned(at.cloud, OLD)
    outcome = at.operator().deploy(OLD)
    assert {one.result for one in outcome.changes} == {"unchanged"}, results(outcome)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_new_version_comes_by(strategy: str, at: AwsShop) -> None:
    new = version("2", strategy=STRATEGIES[strategy])
    outcome = at.operator().deploy(new)
    assert outcome.ok, results(outcome)
    is_as_planned(at.cloud, new)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_version_that_never_gets_ready_is_undone_whole(strategy: str, at: AwsShop) -> None:
    new = version("2", strategy=STRATEGIES[strategy])
    at.cloud.fails(new)
    outcome = at.operator().deploy(new)
    assert outcome.rolled_back, results(outcome)
    assert any("Health checks failed" in one.message for one in outcome.changes if one.result == "failed"), results(outcome)
    truth = at.cloud.truth()
    assert groups_in(truth, "web") == {group_of(OLD).name: (2, 2)}
    assert weights_in(truth) == {group_of(OLD).name: 100}


def test_a_version_that_aws_has_no_room_for_is_undone_and_told_in_its_words(at: AwsShop) -> None:
    new = version("2")
    at.cloud.bed.scarce(group=group_of(new).name)
    outcome = at.operator().deploy(new)
    assert outcome.rolled_back, results(outcome)
    words = "InsufficientInstanceCapacity - We currently do not have sufficient t3.nano capacity"
    assert any(words in one.message for one in outcome.changes if one.result == "failed"), results(outcome)
    assert groups_in(at.cloud.truth(), "web") == {group_of(OLD).name: (2, 2)}


def test_a_rollback_goes_back_to_the_release_before(at: AwsShop) -> None:
    assert at.operator().deploy(version("2", 3)).ok
    outcome = at.operator().rollback()
    assert outcome.ok, results(outcome)
    is_as_planned(at.cloud, OLD)


def test_a_canary_waits_for_somebody_to_promote_it(at: AwsShop) -> None:
    new = version("2", strategy=Strategy(type="canary", steps=(CanaryStep(weight=50, pause_seconds=None),)))
    assert at.operator().deploy(new).paused
    assert weights_in(at.cloud.truth()) == {group_of(OLD).name: 50, group_of(new).name: 50}
    assert at.operator().promote().ok
    is_as_planned(at.cloud, new)


def test_a_scaled_group_takes_and_loses_members(at: AwsShop) -> None:
    for size in (4, 1):
        sized = version("1", size)
        outcome = at.operator().deploy(sized)
        assert outcome.ok, results(outcome)
        is_as_planned(at.cloud, sized)
