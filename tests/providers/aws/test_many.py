"""Many Deployments at once on AWS: a fifth of all calls refused because they come too fast, and what one deploy more asks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import evolve
from aws.bed import Bed
from awsshops import READY, SAMPLES, AwsCloud, AwsShop, HastyClock, is_as_planned
from shops import results

from i2kit.environment import Environment
from i2kit.plan import Plan
from i2kit_aws.site import Site

# bench/aws_deploy.py deploys fifty.
SERVICES = 20
THROTTLED = 0.2
# What may grow: health of each target group, the console of each member without a balancer, and pages (which the bed makes small).
GROWING = {"elasticloadbalancing:DescribeTargetHealth", "ec2:GetConsoleOutput", "tag:GetResources"}
VCPUS = "L-1216C47A"


@pytest.fixture
def environment(environment: Environment) -> Environment:
    return evolve(environment, name="conformance")


@pytest.fixture
def at(as_user: Bed, site: Site, tmp_path: Path) -> Iterator[AwsShop]:
    """A shop with nothing in it yet; all there is of it goes in the end."""
    as_user.console("*", READY)
    shop = AwsShop(cloud=AwsCloud(bed=as_user, site=site, clock=HastyClock()), folder=tmp_path)
    with shop.quick():
        yield shop
        outcome = shop.operator().destroy()
        assert outcome.ok, results(outcome)
    assert as_user.inventory() == {}


def services(number: int, workers: int = 0) -> Plan:
    """So many Deployments with a Service each, and so many without one."""
    fronted = [one for name in range(number) for one in SAMPLES.workload(workload=f"web-{name}")]
    return SAMPLES.plan(*fronted, *(SAMPLES.group(workload=f"worker-{name}") for name in range(workers)))


def test_many_services_come_and_go_though_a_fifth_of_the_calls_is_throttled(at: AwsShop) -> None:
    bed, plan = at.cloud.bed, services(SERVICES)
    bed.quota("ec2", VCPUS, 1000)
    bed.faults.throttle("*", times=-1, share=THROTTLED, seed=7)
    outcome = at.operator().deploy(plan)
    assert outcome.ok, results(outcome)
    is_as_planned(at.cloud, plan)
    outcome = at.operator().deploy(plan)
    assert {one.result for one in outcome.changes} == {"unchanged"}, results(outcome)
    met = Counter(entry["code"] in ("Throttling", "RequestLimitExceeded") for entry in bed.journal() if entry["code"])
    assert met[True] > 100, "hardly anything was throttled"


def unchanged(at: AwsShop, plan: Plan) -> Counter[str]:
    """Deploy a plan twice; return the calls of the second time, when nothing is to be done."""
    outcome = at.operator().deploy(plan)
    assert outcome.ok, results(outcome)
    since = len(at.cloud.bed.journal())
    outcome = at.operator().deploy(plan)
    assert {one.result for one in outcome.changes} == {"unchanged"}, results(outcome)
    return at.cloud.bed.calls(since)


def test_an_unchanged_deploy_asks_no_more_for_many_than_for_few_but_for_health(at: AwsShop) -> None:
    few, many = unchanged(at, services(3, 1)), unchanged(at, services(12, 3))
    grown = {action: (few[action], many[action]) for action in many if many[action] > few[action]}
    assert grown.keys() <= GROWING, grown
    # Each is read once in a deploy that changes nothing.
    assert many["elasticloadbalancing:DescribeTargetHealth"] == 12
    assert many["ec2:GetConsoleOutput"] == 3
    assert many["tag:GetResources"] <= 2
