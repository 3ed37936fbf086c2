"""Gates: when a group is ready, and when waiting has failed."""

from __future__ import annotations

from attrs import evolve
from sample import locked, target, workload, workloads

from i2kit.gates import Gate
from i2kit.plan import GroupHealth, Instance
from i2kit.planner import plan
from i2kit.resources import InstanceGroup

GROUP = next(
    one for one in plan(workloads(workload(progress_deadline_seconds=60)), locked(), target()).resources if isinstance(one, InstanceGroup)
)


def health(ready: int, reason: str = "") -> GroupHealth:
    members = tuple(
        Instance(id=f"m{n}", group=GROUP.name, state="running", ready=n < ready, reason="" if n < ready else reason) for n in range(2)
    )
    return GroupHealth(ready=ready, instances=members)


def test_all_members_ready_opens_the_gate() -> None:
    assert Gate.open(GROUP, 0).seen(health(1), 1).verdict(1) == "waiting"
    assert Gate.open(GROUP, 0).seen(health(2), 1).verdict(1) == "ready"


def test_members_must_stay_ready_for_min_ready_seconds() -> None:
    gate = Gate.open(evolve(GROUP, min_ready_seconds=10), 0).seen(health(2), 1)
    assert gate.verdict(5) == "waiting"
    assert gate.seen(health(2), 11).verdict(11) == "ready"
    assert gate.seen(health(1), 6).seen(health(2), 7).verdict(12) == "waiting"


def test_the_deadline_counts_from_the_last_progress() -> None:
    gate = Gate.open(GROUP, 0).seen(health(0), 1)
    assert gate.verdict(59) == "waiting"
    assert gate.verdict(60) == "failed"
    assert gate.seen(health(1), 50).verdict(100) == "waiting"
    assert gate.seen(health(1), 50).seen(health(1), 109).verdict(110) == "failed"


def test_the_shortfall_names_the_reasons() -> None:
    assert Gate.open(GROUP, 0).seen(health(1, "web: probe failed"), 1).shortfall() == "1 of 2 members are ready (web: probe failed)"
