"""A run killed at any call of its driver is finished by the same manifest, by a changed one, or by destroy: no orphan, no twin."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import evolve, frozen
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from i2kit_memory.driver import MemoryDriver
from i2kit_memory.region import Region
from runs import SAMPLES, Run, dead_process, groups

from i2kit import executor
from i2kit.plan import Plan
from i2kit.records import decode, last_release
from i2kit.resources import Balancer, InstanceGroup, key
from i2kit.testing.kill_points import PHASES, Call, Killed, KillPoints, Phase


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "POLL_SECONDS", 0.002)
    monkeypatch.setattr(executor, "LOOK_SECONDS", 0.0)


def shop(version: str, replicas: int = 2) -> Plan:
    """Two workloads, one of which uses a Secret; a group gives up at the first look at which it is not ready."""
    resources = (*SAMPLES.workload(version, replicas=replicas, secret=version), *SAMPLES.workload(version, workload="api"))
    return SAMPLES.plan(*(evolve(one, progress_deadline_seconds=0) if isinstance(one, InstanceGroup) else one for one in resources))


OLD, NEW, OTHER = shop("1"), shop("2", 3), shop("3", 1)


def web_of(plan: Plan) -> str:
    return next(one.name for one in plan.resources if isinstance(one, InstanceGroup) and one.mark.workload == "web")


@frozen(kw_only=True)
class World:
    """A region, and commands that work on it."""

    region: Region
    folder: Path

    def run(self) -> Run:
        return Run(driver=MemoryDriver(self.region), folder=self.folder)

    def killed(self, command: Callable[[Run], object], at: int, phase: Phase) -> Call | None:
        """Run a command that dies at call `at`; return that call, or None when it was done before."""
        points = KillPoints(MemoryDriver(self.region), at=at, phase=phase)
        try:
            command(Run(driver=points, folder=self.folder, holder=dead_process()))
        except Killed:
            points.settle()
            return points.calls[at - 1]
        # The last call's answer is as good as the end of the run.
        return points.calls[at - 1] if phase == "after_answer" and len(points.calls) == at else None

    def copy(self) -> World:
        twin = Region("conformance")
        with self.region.transaction() as old, twin.transaction() as new:
            new.update(json.loads(json.dumps(old)))
        return evolve(self, region=twin)


def is_as_planned(world: World, plan: Plan) -> None:
    """What is there is what is planned, but for images and secrets of other revisions, which go with the application."""
    observed = MemoryDriver(world.region).observe()
    there = {key(one.resource) for one in observed.resources}
    wanted = {key(one) for one in plan.resources}
    assert wanted <= there
    assert {one.partition("/")[0] for one in there - wanted} <= {"Image", "Secret"}
    assert groups(observed) == {one.name: one.replicas for one in plan.resources if isinstance(one, InstanceGroup)}
    balancers = {one.resource.name: one.resource.backends for one in observed.resources if isinstance(one.resource, Balancer)}
    assert balancers == {one.name: one.backends for one in plan.resources if isinstance(one, Balancer)}
    kinds = [decode(record).kind for record in MemoryDriver(world.region).records(plan.application)]
    assert set(kinds) == {"release"}


def is_empty(world: World) -> None:
    with world.region.transaction() as state:
        left = {part: there for part, there in state.items() if there and part != "unready"}
    assert left == {}


def again_is_nothing(world: World, plan: Plan) -> None:
    outcome = world.run().deploy(plan)
    assert {one.result for one in outcome.changes} == {"unchanged"}


def same(world: World) -> None:
    assert world.run().deploy(NEW).ok
    is_as_planned(world, NEW)
    again_is_nothing(world, NEW)


def changed(world: World) -> None:
    assert world.run().deploy(OTHER).ok
    is_as_planned(world, OTHER)


def back(world: World) -> None:
    assert world.run().deploy(OLD).ok
    is_as_planned(world, OLD)


def destroyed(world: World) -> None:
    assert world.run().destroy("sample").ok
    is_empty(world)


def still_failing(world: World) -> None:
    """The new revision fails again: the old one serves, and nothing of the new one runs."""
    assert not world.run().deploy(NEW).ok
    observed = MemoryDriver(world.region).observe()
    assert web_of(NEW) not in groups(observed)
    assert groups(observed)[web_of(OLD)] == 2
    (balancer,) = [one.resource for one in observed.resources if isinstance(one.resource, Balancer) and one.resource.service == "web"]
    assert [backend.group for backend in balancer.backends] == [web_of(OLD)]


def failing_now(world: World) -> None:
    """The new revision came up, and does not any more when the run is repeated: the last good one is put back, from nothing if need be."""
    world.region.set_unready(web_of(NEW), "its disk is full")
    released = last_release([decode(record) for record in MemoryDriver(world.region).records("sample")])
    if released and released.plan == NEW:  # the run died after it had reached it
        assert not world.run().deploy(NEW).ok
        assert groups(MemoryDriver(world.region).observe())[web_of(NEW)] == 3
    else:
        still_failing(world)


Command = Callable[[Run], object]


def deploy_new(run: Run) -> object:
    return run.deploy(NEW)


def destroy(run: Run) -> object:
    return run.destroy("sample")


def nothing(_world: World) -> None:
    """The environment is empty."""


def old(world: World) -> None:
    world.run().deploy(OLD)


def old_and_new_fails(world: World) -> None:
    old(world)
    world.region.set_unready(web_of(NEW), "connection refused")


def new(world: World) -> None:
    world.run().deploy(NEW)


CASES = {
    "a first deploy": (nothing, deploy_new, (same, changed, destroyed)),
    "a new revision": (old, deploy_new, (same, changed, back, failing_now, destroyed)),
    "a new revision that fails": (old_and_new_fails, deploy_new, (still_failing, changed, back, destroyed)),
    "a deploy of what is there": (new, deploy_new, (same, changed, destroyed)),
    "a destroy": (new, destroy, (same, changed, destroyed)),
}


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("case", CASES)
def test_a_run_killed_at_any_call_is_finished_by_another(case: str, phase: Phase, tmp_path: Path) -> None:
    prepare, command, endings = CASES[case]
    start = World(region=Region("conformance"), folder=tmp_path)
    prepare(start)
    calls = []
    while True:
        world = start.copy()
        call = world.killed(command, len(calls) + 1, phase)
        if call is None:
            break
        calls.append(call)
        for ending in endings:
            finished = world.copy()
            try:
                ending(finished)
                if len(calls) % 3 == 0:  # each ending leaves the same behind; a sample of them is enough
                    destroyed(finished)
            except Exception as error:
                raise AssertionError(f"{case}, killed {phase} call {call}, then {ending.__name__}: {error}") from error
    methods = {call.method for call in calls}
    assert {"observe", "records", "append_record"} <= methods, "the run was not killed at what it does"


@given(
    runs=st.lists(st.tuples(st.sampled_from([OLD, NEW, OTHER, None]), st.integers(1, 45), st.sampled_from(PHASES)), min_size=1, max_size=5),
    last=st.sampled_from([OLD, NEW, OTHER]),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_number_of_killed_runs_is_finished_by_one(
    runs: list[tuple[Plan | None, int, Phase]], last: Plan, tmp_path_factory: pytest.TempPathFactory
) -> None:
    world = World(region=Region("conformance"), folder=tmp_path_factory.mktemp("images", numbered=True))
    for plan, at, phase in runs:
        world.killed(destroy if plan is None else lambda run, plan=plan: run.deploy(plan), at, phase)  # type: ignore[misc]
    assert world.run().deploy(last).ok
    is_as_planned(world, last)
    destroyed(world)
