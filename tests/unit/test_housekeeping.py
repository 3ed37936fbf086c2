"""Housekeeping: what nothing needs goes, what anything needs stays; whole or begun again, and never beside a deploy."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from attrs import evolve, field, frozen
from i2kit_memory.driver import MemoryDriver
from i2kit_memory.region import Region
from runs import ENVIRONMENT, SAMPLES, Run, dead_process, groups, keys, registry_of

from i2kit import executor, housekeeping, journal, records, releases, stages
from i2kit import runs as i2kit_runs
from i2kit.driver import Context, Driver
from i2kit.errors import ExitCode, Held, I2kitError, Interrupted
from i2kit.events import Cancel
from i2kit.housekeeping import Garbage
from i2kit.journal import Journal
from i2kit.plan import Change, Observed, Plan
from i2kit.records import Entry, Holder, decode, paused, positions, standing, this_process
from i2kit.resources import Balancer, InstanceGroup, Resource, key
from i2kit.runs import DeployOptions
from i2kit.strategy import CanaryStep, Strategy
from i2kit.testing.kill_points import PHASES, Killed, KillPoints, Phase, enumerate_calls

OTHER = evolve(SAMPLES, application="other")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "POLL_SECONDS", 0.002)
    monkeypatch.setattr(executor, "LOOK_SECONDS", 0.0)


def web(version: str, *, samples: Any = SAMPLES, limit: int = 1) -> Plan:
    """A workload with a Secret, of which one older release can be gone back to; a group gives up at the first look."""
    resources = samples.workload(version, secret=version, workload="web" if samples is SAMPLES else "mail")
    plan: Plan = samples.plan(*(evolve(one, progress_deadline_seconds=0) if isinstance(one, InstanceGroup) else one for one in resources))
    return evolve(plan, history_limit=limit)


def group_of(plan: Plan) -> InstanceGroup:
    (group,) = [one for one in plan.resources if isinstance(one, InstanceGroup)]
    return group


@frozen(kw_only=True)
class World:
    """A region, and commands that work on it, each as its own process."""

    region: Region
    folder: Path
    driver: Driver | None = None
    holder: Holder = field(factory=this_process)
    options: DeployOptions = field(factory=DeployOptions)
    cancel: Cancel = field(factory=threading.Event)

    def deploy(self, *plans: Plan, **options: Any) -> None:
        for plan in plans:
            run = Run(driver=self._driver, folder=self.folder, holder=self.holder, options=DeployOptions(**options))
            assert run.deploy(plan).ok, plan.application

    def fail(self, plan: Plan) -> None:
        """Deploy a revision that does not become ready, and keep its group."""
        self.region.set_unready(group_of(plan).name, "its disk is full")
        run = Run(driver=self._driver, folder=self.folder, options=DeployOptions(keep_failed=True))
        assert not run.deploy(plan).ok
        self.region.set_unready(group_of(plan).name, None)

    def garbage(self) -> tuple[Garbage, ...]:
        with self._in_place():
            return housekeeping.garbage(ENVIRONMENT)

    def collect(self) -> tuple[Garbage, ...]:
        with self._in_place():
            return housekeeping.collect(ENVIRONMENT, options=self.options, cancel=self.cancel)

    def rollback(self, to: int) -> None:
        with self._in_place():
            assert releases.rollback(ENVIRONMENT, "sample", to=to).ok

    @property
    def _driver(self) -> Driver:
        return self.driver or MemoryDriver(self.region)

    @contextmanager
    def _in_place(self) -> Iterator[None]:
        with ExitStack() as stack:
            for module in (housekeeping, releases):
                stack.enter_context(patch.object(module, "connect", lambda _environment: self._driver))
            for module in (housekeeping, i2kit_runs, stages):
                stack.enter_context(patch.object(module, "Registry", lambda: registry_of(self.folder)))
            stack.enter_context(patch.object(journal, "this_process", lambda: self.holder))
            yield

    @property
    def observed(self) -> Observed:
        return MemoryDriver(self.region).observe()

    @property
    def keys(self) -> set[str]:
        return keys(self.observed)

    def entries(self, application: str = "sample") -> list[Entry]:
        return [decode(record) for record in MemoryDriver(self.region).records(application)]

    def state(self) -> dict[str, Any]:
        with self.region.transaction() as state:
            copy: dict[str, Any] = json.loads(json.dumps(state))
        return copy

    def copy(self) -> World:
        twin = Region("conformance")
        with twin.transaction() as state:
            state.update(self.state())
        return evolve(self, region=twin)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(region=Region("conformance"), folder=tmp_path)


def names(found: tuple[Garbage, ...]) -> set[str]:
    return {one.key for one in found}


def used_up(version: str) -> set[str]:
    return {f"Image/{SAMPLES.image(version).name}", f"Secret/{SAMPLES.secret(version).name}"}


class Unremovable(MemoryDriver):
    """Dies when a record is to be removed."""

    def remove_record(self, application: str, number: int) -> None:
        raise Killed


# What goes.


def test_images_and_secret_versions_that_no_release_has_go(world: World) -> None:
    world.deploy(web("1"), web("2"), web("3"), web("4"))
    assert names(world.garbage()) == used_up("1") | used_up("2")
    assert names(world.collect()) == used_up("1") | used_up("2")
    assert not world.keys & (used_up("1") | used_up("2"))
    assert used_up("3") | used_up("4") <= world.keys
    assert world.collect() == ()


def test_what_goes_says_whose_it_was_and_why(world: World) -> None:
    world.deploy(web("1"), web("2"), web("3"))
    image, secret = world.garbage()
    assert (image.kind, image.application, secret.kind, secret.application) == ("Image", "", "Secret", "sample")
    assert image.reason == "no group and no record that is kept uses it"


def test_every_kept_release_can_be_gone_back_to_afterwards(world: World) -> None:
    world.deploy(*(web(version, limit=2) for version in "12345"))
    world.collect()
    for release, version in ((3, "3"), (4, "4"), (5, "5")):
        twin = world.copy()
        twin.rollback(release)
        assert groups(twin.observed) == {group_of(web(version)).name: 1}


def test_a_group_that_was_kept_to_be_looked_at_goes_with_its_image(world: World) -> None:
    world.deploy(web("1"))
    world.fail(web("2"))
    kept = group_of(web("2"))
    assert kept.name in groups(world.observed)
    assert [one.key for one in world.collect()] == [key(kept), *sorted(used_up("2"))]
    assert groups(world.observed) == {group_of(web("1")).name: 1}
    world.deploy(web("1"))


def test_records_that_a_run_had_no_time_to_remove_go(world: World) -> None:
    world.deploy(web("1"), web("2"))
    with pytest.raises(Killed):
        evolve(world, driver=Unremovable(world.region), holder=dead_process()).deploy(web("3"))
    assert used_up("1") <= names(world.garbage())
    found = [one for one in world.garbage() if one.kind == "Record"]
    assert {one.reason for one in found} == {"release 1 is beyond what revisionHistoryLimit keeps", "it is of a run that is over"}
    world.collect()
    assert [(entry.kind, entry.release) for entry in world.entries()] == [("release", 2), ("release", 3)]


def test_an_environment_without_anything_has_no_garbage(world: World) -> None:
    assert world.garbage() == world.collect() == ()


# What stays.


def entry(kind: Any, plan: Plan | None, **more: Any) -> Entry:
    return Entry(kind=kind, run="r", holder=dead_process(), time=0.0, lease_seconds=1.0, plan=plan, **more)


def left_over(world: World, *entries: Entry, change: Callable[[Resource], Resource] = lambda one: one) -> set[str]:
    """Return what is garbage where the groups of two revisions are there, the first released, and `entries` follow."""
    world.deploy(web("1"))
    world.fail(web("2"))
    observed = Observed(resources=tuple(evolve(one, resource=change(one.resource)) for one in world.observed.resources))
    numbered = dict(enumerate((entry("release", web("1"), release=1), *entries), start=1))
    return {one.key for one in housekeeping._garbage(observed, {"sample": numbered})}


def test_a_group_that_only_an_ended_run_wanted_goes(world: World) -> None:
    assert left_over(world, entry("end", None)) == {key(group_of(web("2"))), *used_up("2")}


@pytest.mark.parametrize("kind", ["claim", "pause"])
def test_what_a_claim_or_a_pause_names_stays(world: World, kind: str) -> None:
    assert left_over(world, entry(kind, web("2"))) == set()


def test_what_a_run_under_way_names_stays_behind_its_steps_and_other_housekeeping(world: World) -> None:
    dead = entry("claim", web("1"), action=records.HOUSEKEEPING)
    assert left_over(world, entry("claim", web("2")), entry("step", None, doing=("x",)), dead) == set()


def test_a_claim_of_a_run_that_is_over_keeps_nothing(world: World) -> None:
    dead = entry("claim", web("2"), action=records.HOUSEKEEPING)
    assert key(group_of(web("2"))) in left_over(world, entry("claim", web("2")), entry("end", None), dead)


def test_a_workload_of_the_same_name_in_another_application_stays(world: World) -> None:
    world.deploy(web("1"))
    group = OTHER.group("2")
    assert (group.mark.namespace, group.mark.workload) == (group_of(web("1")).mark.namespace, group_of(web("1")).mark.workload)
    world.deploy(OTHER.plan(OTHER.network(), OTHER.image("2"), group))
    assert world.collect() == ()


def test_a_group_with_traffic_stays(world: World) -> None:
    def both(resource: Resource) -> Resource:
        groups = (group_of(web("1")), group_of(web("2")))
        return SAMPLES.balancer(*groups, weights=(99, 1)) if isinstance(resource, Balancer) else resource

    assert left_over(world, entry("end", None), change=both) == set()


def test_a_group_that_a_balancer_only_checks_goes(world: World) -> None:
    def both(resource: Resource) -> Resource:
        groups = (group_of(web("1")), group_of(web("2")))
        return SAMPLES.balancer(*groups, weights=(100, 0)) if isinstance(resource, Balancer) else resource

    assert key(group_of(web("2"))) in left_over(world, entry("end", None), change=both)


def test_a_group_whose_successor_is_not_ready_stays(world: World) -> None:
    world.deploy(web("1"))
    world.fail(web("2"))
    world.region.set_unready(group_of(web("1")).name, "the database is down")
    assert world.garbage() == ()
    world.region.lose(key(group_of(web("1"))))
    assert world.garbage() == ()


def test_a_workload_that_left_the_manifests_stays_with_its_image(world: World) -> None:
    # Without a balancer: nothing but the manifests tells what it is good for.
    both = SAMPLES.plan(*web("1").resources, SAMPLES.image("9"), SAMPLES.group("9", workload="api"))
    world.deploy(evolve(both, history_limit=0), web("2", limit=0), web("3", limit=0))
    assert names(world.collect()) == used_up("1") | used_up("2")
    assert SAMPLES.group("9", workload="api").name in groups(world.observed)


def test_the_groups_of_an_application_that_was_never_deployed_whole_stay(world: World) -> None:
    world.fail(web("1"))
    assert world.collect() == ()
    assert group_of(web("1")).name in groups(world.observed)
    assert [one.kind for one in world.entries()] == ["end"]


def test_what_another_application_needs_stays(world: World) -> None:
    world.deploy(web("1", samples=OTHER), web("1"), web("2"), web("3"))
    assert names(world.collect()) == {f"Secret/{SAMPLES.secret('1').name}"}


def test_what_an_older_release_of_another_application_needs_stays(world: World) -> None:
    world.deploy(web("1", samples=OTHER), web("2", samples=OTHER), web("1"), web("2"), web("3"))
    assert names(world.collect()) == {f"Secret/{SAMPLES.secret('1').name}"}


def test_nothing_is_removed_by_looking(world: World) -> None:
    world.deploy(web("1"), web("2"), web("3"))
    before = world.state()
    assert world.garbage()
    assert world.state() == before


# Beside others.


def claimed(world: World, samples: Any = SAMPLES) -> Journal:
    journal = Journal(MemoryDriver(world.region), samples.application)
    journal.claim(web("3", samples=samples))
    return journal


def test_nothing_is_removed_while_somebody_is_at_work(world: World) -> None:
    world.deploy(web("1", samples=OTHER), web("1"), web("2"), web("3"))
    claimed(world)
    before = world.state()
    with pytest.raises(Held, match=r"sample: process \d+ on .* is working on this application") as caught:
        world.collect()
    assert caught.value.exit_code == ExitCode.HELD
    assert world.state() == before


def test_all_who_are_at_work_are_named(world: World) -> None:
    world.deploy(web("1", samples=OTHER), web("1"))
    claimed(world)
    claimed(world, OTHER)
    with pytest.raises(Held) as caught:
        world.collect()
    assert [one.message.partition(":")[0] for one in caught.value.problems] == ["other", "sample"]


def test_an_application_that_is_first_deployed_meanwhile_counts(world: World) -> None:
    world.deploy(web("1"), web("2"), web("3"))

    class Joined(MemoryDriver):
        def append_record(self, application: str, number: int, body: bytes) -> None:
            super().append_record(application, number, body)
            if not MemoryDriver(self.region).records("other"):
                Journal(MemoryDriver(self.region), "other").claim(web("1", samples=OTHER))

    with pytest.raises(Held, match="other: "):
        evolve(world, driver=Joined(world.region)).collect()
    assert used_up("1") <= world.keys
    assert [one.kind for one in world.entries()] == ["release", "release"]


def test_the_applications_are_held_meanwhile(world: World) -> None:
    world.deploy(web("1", samples=OTHER), web("1"), web("2"), web("3"))
    held = []

    class Watched(MemoryDriver):
        def apply(self, change: Change, context: Context) -> None:
            for plan in (web("3"), web("1", samples=OTHER)):
                with pytest.raises(Held):
                    Journal(MemoryDriver(self.region), plan.application).claim(plan)
                held.append(change.action)
            assert next(one for one in world.entries() if one.kind == "claim").plan == web("3")
            super().apply(change, context)

    evolve(world, driver=Watched(world.region)).collect()
    assert held == ["delete", "delete"]
    world.deploy(web("3"), web("1", samples=OTHER))


@pytest.mark.parametrize("action", ["", records.HOUSEKEEPING])
def test_a_run_that_is_displaced_removes_nothing_more(world: World, action: str) -> None:
    world.deploy(web("1", samples=OTHER), web("1"))
    world.fail(web("2"))

    class Displaced(MemoryDriver):
        def apply(self, change: Change, context: Context) -> None:
            super().apply(change, context)
            Journal(MemoryDriver(self.region), "sample").claim(web("2"), take_over=True, action=action)

    with pytest.raises(Held):
        evolve(world, driver=Displaced(world.region)).collect()
    assert used_up("2") <= world.keys
    assert (world.entries()[-1].kind, world.entries()[-1].plan) == ("claim", web("2"))
    assert [one.kind for one in world.entries("other")] == ["release"]


def test_what_cannot_be_removed_is_said_and_the_rest_goes(world: World) -> None:
    world.deploy(web("1"))
    world.fail(web("2"))
    world.deploy(web("1"))
    world.fail(web("3"))
    world.region.set_refused(key(group_of(web("3"))), "it is protected")
    with pytest.raises(I2kitError, match="it is protected") as caught:
        world.collect()
    assert [one.code for one in caught.value.problems] == ["not-removed"]
    assert used_up("3") <= world.keys
    assert not used_up("2") & world.keys
    assert [one.kind for one in world.entries()] == ["release", "release", "end"]
    world.region.set_refused(key(group_of(web("3"))), None)
    assert names(world.collect()) == {key(group_of(web("3"))), *used_up("3")}


def test_one_who_is_asked_to_stop_gives_the_claims_back(world: World) -> None:
    before = rubbish(world).state()
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Interrupted):
        evolve(world, cancel=cancel).collect()
    assert world.state() == before


# Killed.


def rubbish(world: World) -> World:
    """Everything that can go: a group, images, Secret versions, records of a run that died; and another application beside it."""
    world.deploy(web("1", samples=OTHER), web("1"), web("2"), web("3"))
    world.fail(web("4"))
    with world.region.transaction() as state:
        # As if the run that failed had died before it removed what is of no use any more.
        bodies = state["records"]["sample"]
        bodies.update({"1": bodies[min(bodies, key=int)]})
    return world


def test_one_killed_at_any_call_is_finished_by_the_next(world: World) -> None:
    rubbish(world)
    clean = world.copy()
    removed = names(clean.collect())
    assert {one.partition("/")[0] for one in removed} == {"InstanceGroup", "Image", "Secret", "Record"}
    calls = enumerate_calls(MemoryDriver(world.copy().region), lambda driver: evolve(world.copy(), driver=driver).collect())
    assert len(calls) > 15
    for call in calls:
        for phase in PHASES:
            twin = world.copy()
            die(twin, call.number, phase)
            twin.collect()
            assert twin.state() == clean.state(), f"{call}, {phase}"


@pytest.mark.parametrize("phase", PHASES)
def test_a_deploy_after_one_that_was_killed_works(world: World, phase: Phase) -> None:
    rubbish(world)
    calls = enumerate_calls(MemoryDriver(world.copy().region), lambda driver: evolve(world.copy(), driver=driver).collect())
    for call in calls:
        twin = world.copy()
        die(twin, call.number, phase)
        twin.deploy(web("4"))
        assert groups(twin.observed) == {group_of(web("4")).name: 1, group_of(web("1", samples=OTHER)).name: 1}, str(call)


def die(world: World, at: int, phase: Phase) -> None:
    """Run a housekeeping that dies at call `at`."""
    points = KillPoints(MemoryDriver(world.region), at=at, phase=phase)
    try:
        evolve(world, driver=points, holder=dead_process()).collect()
    except Killed:
        points.settle()


def canary(version: str) -> Plan:
    plan = web(version)
    return evolve(plan, strategies={key(group_of(plan)): Strategy(type="canary", steps=(CanaryStep(weight=20, pause_seconds=None),))})


def test_a_pause_is_still_one_after_housekeeping_that_was_killed(world: World) -> None:
    world.deploy(web("1", limit=0), web("2", limit=0), canary("3"))
    assert paused(world.entries())
    stands = positions(world.entries())
    calls = enumerate_calls(MemoryDriver(world.copy().region), lambda driver: evolve(world.copy(), driver=driver).collect())
    for call in calls:
        twin = world.copy()
        die(twin, call.number, "after_answer")
        entries = standing(twin.entries())
        assert paused(entries), str(call)
        assert positions(entries) == stands
        twin.collect()
        assert [one.kind for one in twin.entries()] == ["release", "pause"]
        assert group_of(web("3")).name in groups(twin.observed)
