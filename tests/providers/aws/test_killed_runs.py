"""Runs on AWS that are killed at any call of the driver or at any single request: the same command again finishes; no orphan, no twin.

Only some deaths are tried, spread over each run; with I2KIT_EVERY_DEATH=1 in the environment all of them, which takes hours.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import pytest
from attrs import evolve, frozen
from aws.bed import Bed
from awsshops import READY, AwsCloud, AwsShop, HastyClock, is_as_planned, version
from clouds import Operator
from shops import group_of, groups_in, results, weights_in

from i2kit.environment import Environment
from i2kit.plan import Plan
from i2kit.records import last_release
from i2kit.testing.kill_points import PHASES, KillPoints
from i2kit_aws.site import Site

OLD, NEW = version("1", secret="1"), version("2", secret="2")
EVERY = bool(os.environ.get("I2KIT_EVERY_DEATH"))
MOMENTS = ("before", "after", "answered")


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
        if as_user.inventory():
            destroyed(shop)


def size(at: AwsShop) -> dict[str, int]:
    """How much there is of what; how long the story in the records is, says nothing."""
    kept = {kind: [one for one in ones if "/records/" not in one] for kind, ones in at.cloud.bed.inventory().items()}
    return {kind: len(ones) for kind, ones in kept.items() if ones}


def deployed(at: AwsShop, plan: Plan) -> None:
    outcome = at.operator().deploy(plan)
    assert outcome.ok, results(outcome)
    is_as_planned(at.cloud, plan)


def destroyed(at: AwsShop) -> None:
    outcome = at.operator().destroy()
    assert outcome.ok, results(outcome)
    assert at.cloud.bed.inventory() == {}


def there(at: AwsShop) -> Plan | None:
    """What was released last."""
    released = last_release(at.cloud.entries())
    return released.plan if released else None


def another(at: AwsShop) -> Plan:
    """There is one of two versions; the other one is to come."""
    if there(at) is None:
        deployed(at, OLD)
    return OLD if there(at) == NEW else NEW


def both(at: AwsShop) -> Plan:
    """The first version was there before the second."""
    if there(at) is None:
        deployed(at, OLD)
    deployed(at, NEW)
    return OLD


def failing(at: AwsShop) -> Plan:
    """The first version is there, and members of the second never get ready behind their balancer."""
    at.cloud.bed.health("healthy", instance=group_of(OLD).name)
    at.cloud.fails(NEW)
    deployed(at, OLD)
    return NEW


def one(at: AwsShop) -> Plan:
    deployed(at, OLD)
    return OLD


def undone(at: AwsShop, plan: Plan) -> None:
    """The version that never gets ready is deployed again, and the old one is whole."""
    outcome = at.operator().deploy(plan)
    assert outcome.rolled_back, results(outcome)
    truth = at.cloud.truth()
    assert groups_in(truth, "web") == {group_of(OLD).name: (2, 2)}
    assert groups_in(truth, "worker") == {group_of(plan, "worker").name: (2, 2)}
    assert weights_in(truth) == {group_of(OLD).name: 100}


def rolled_back(at: AwsShop, plan: Plan) -> None:
    """The same command again goes on to where the first one was going, unless that had arrived."""
    if there(at) != plan:
        outcome = at.operator().rollback()
        assert outcome.ok, results(outcome)
    is_as_planned(at.cloud, plan)


@frozen(kw_only=True)
class Case:
    """What there is before (and the plan that it is about), the command that is killed, and what finishes it: the same again."""

    prepare: Callable[[AwsShop], Plan]
    command: Callable[[Operator, Plan], object]
    again: Callable[[AwsShop, Plan], None]


CASES = {
    "a new revision": Case(prepare=another, command=lambda run, plan: run.deploy(plan), again=deployed),
    "undo": Case(prepare=failing, command=lambda run, plan: run.deploy(plan), again=undone),
    "rollback": Case(prepare=both, command=lambda run, plan: run.rollback(), again=rolled_back),
    "destroy": Case(prepare=one, command=lambda run, plan: run.destroy(), again=lambda at, _plan: destroyed(at)),
}


@frozen(kw_only=True)
class Length:
    """How many calls of the driver and how many requests a command takes, and how much there is afterwards."""

    calls: int
    requests: int
    size: Mapping[str, int]

    @classmethod
    def of(cls, case: Case, at: AwsShop) -> Length:
        plan = case.prepare(at)
        points, since = KillPoints(at.cloud.driver()), len(at.cloud.bed.journal())
        case.command(at.operator(points), plan)
        requests = len(at.cloud.bed.journal()) - since
        case.again(at, plan)
        return cls(calls=len(points.calls), requests=requests, size=size(at))

    def points(self, way: int) -> range:
        """Where to die in one of six ways: everywhere, or once, each way a sixth of the run later than the one before."""
        length = self.calls if way < len(PHASES) else self.requests
        at = (2 * way + 1) * length // (2 * len(WAYS))
        return range(length) if EVERY else range(at, at + 1)


WAYS = [*PHASES, *MOMENTS]


@pytest.mark.parametrize("name", CASES)
def test_a_run_that_died_anywhere_is_finished_by_the_same_again(name: str, at: AwsShop) -> None:
    case = CASES[name]
    length = Length.of(case, at)
    for way, moment in enumerate(WAYS):
        for point in length.points(way):
            plan = case.prepare(at)
            command = partial(case.command, plan=plan)
            killed = at.killed(command, point + 1, PHASES[way]) if way < len(PHASES) else at.cut_off(command, point, moment)
            # How often a run looks differs from one to the next: the very last points of all may lie behind its end.
            assert killed or EVERY, f"not killed {moment} {point}"
            try:
                case.again(at, plan)
                assert size(at) == length.size
            except Exception as error:
                raise AssertionError(f"{name}, killed {moment} {killed}: {error}") from error
