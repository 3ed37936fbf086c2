"""Deploys on AWS that are told after a destroy what was true before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import evolve
from aws.bed import Bed
from awsshops import READY, AwsCloud, AwsShop, HastyClock, is_as_planned, version
from shops import results

from i2kit.environment import Environment
from i2kit_aws.plugin import PROVIDER
from i2kit_aws.site import Site

OLD = version("1", secret="1")
# What AWS answers from an index, or from a copy of what was.
COPIES = ("ec2:Describe*", "elasticloadbalancing:Describe*", "autoscaling:Describe*")


@pytest.fixture
def environment(environment: Environment) -> Environment:
    return evolve(environment, name="conformance")


@pytest.fixture
def at(as_user: Bed, site: Site, tmp_path: Path) -> Iterator[AwsShop]:
    """A shop whose first version runs, in a cloud that answers late; all there is of it goes in the end."""
    as_user.console("*", READY)
    cloud = AwsCloud(bed=as_user, site=site, clock=HastyClock(), lag_seconds=PROVIDER.lag_seconds)
    shop = AwsShop(cloud=cloud, folder=tmp_path)
    with shop.quick():
        outcome = shop.operator().deploy(OLD)
        assert outcome.ok, results(outcome)
        yield shop
        as_user.faults.clear()
        outcome = shop.operator().destroy()
        assert outcome.ok, results(outcome)
    assert as_user.inventory() == {}


@pytest.mark.parametrize("action", COPIES)
def test_a_deploy_after_a_destroy_believes_no_ghosts(action: str, at: AwsShop) -> None:
    outcome = at.operator().destroy()
    assert outcome.ok, results(outcome)
    rule = at.cloud.bed.faults.stale(action, times=2)
    outcome = at.operator().deploy(OLD)
    assert at.cloud.bed.faults.met(rule) >= 2, "nothing was answered late"
    assert outcome.ok, results(outcome)
    is_as_planned(at.cloud, OLD)
