"""Whole runs on the fake cloud: by its clock, by several operators at once, and nothing left of them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from attrs import evolve
from clouds import SAMPLES, Operator

from i2kit.errors import Held
from i2kit.events import Event
from i2kit.plan import Observed, Outcome
from i2kit.testing.cloud import FakeCloud

PLAN = SAMPLES.plan(*SAMPLES.workload(replicas=3, secret="1"))


def test_a_run_goes_by_the_clouds_clock_and_leaves_nothing(tmp_path: Path) -> None:
    cloud = FakeCloud(boot_seconds=300.0)
    operator = Operator(cloud=cloud, folder=tmp_path)
    start = cloud.clock.now()
    assert operator.deploy(PLAN).ok
    assert cloud.clock.now() - start >= 300
    assert list(cloud.serving(SAMPLES.balancer(SAMPLES.group(secret="1")).name).values()) == [(100, 3)]
    assert {change.action for change in operator.deploy(PLAN).changes} == {"no-op"}
    assert operator.destroy().ok
    assert cloud.truth() == Observed()
    assert list(cloud.driver().applications()) == []


def test_operators_of_different_clouds_and_applications_work_at_once(tmp_path: Path) -> None:
    clouds = [FakeCloud(boot_seconds=5.0), FakeCloud(boot_seconds=5.0)]

    def work(number: int) -> Outcome:
        samples = evolve(SAMPLES, application=f"app-{number}")
        plan = samples.plan(*samples.workload(replicas=2, workload=f"web-{number}"))
        return Operator(cloud=clouds[number % 2], folder=tmp_path).deploy(plan)

    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(work, range(4)))
    assert [change for outcome in outcomes for change in outcome.changes if change.result not in ("done", "unchanged")] == []
    assert [sorted(cloud.driver().applications()) for cloud in clouds] == [["app-0", "app-2"], ["app-1", "app-3"]]


def test_of_two_operators_at_once_one_is_told_who_holds_the_application(tmp_path: Path) -> None:
    cloud = FakeCloud()
    told: list[BaseException | None] = []

    def second(_event: Event) -> None:
        if not told:
            told.append(None)
            with ThreadPoolExecutor(1) as pool:
                told[0] = pool.submit(Operator(cloud=cloud, folder=tmp_path).deploy, PLAN).exception()

    # The second one comes when the first one tells of its first change: it has claimed the application by then.
    assert Operator(cloud=cloud, folder=tmp_path, report=second).deploy(PLAN).ok
    assert isinstance(told[0], Held)
