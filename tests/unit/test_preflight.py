"""What stands in the way of a run is asked once, before its first change, and nothing is touched while there is something."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from i2kit_memory.driver import MemoryDriver
from i2kit_memory.region import Region
from runs import SAMPLES, Run
from scripted import Scripted, failing

from i2kit.calls import Calls
from i2kit.driver import CallLimits, preflight
from i2kit.errors import InvalidInput, Problem, ProviderError
from i2kit.plan import Change, Observed, ObservedResource
from i2kit.preflight import asked
from i2kit.resources import InstanceGroup
from i2kit.strategy import Amount, Strategy
from i2kit.testing.cloud import FakeClock
from i2kit.testing.kill_points import KillPoints

QUOTA = Problem(code="quota", message="VMs: 2 of 2 are in use, 3 more were asked for", hint="ask for more")
ZONE = Problem(code="zone", message="there is no zone for shop.example.com")


class Wary(MemoryDriver):
    """Knows of `problems`, and remembers what it was asked about; `changed` are the changes that it made."""

    def __init__(self, region: Region, *problems: Problem) -> None:
        super().__init__(region)
        self.problems = problems
        self.asked: list[dict[str, int]] = []
        self.actions: list[str] = []
        self.changed: list[str] = []

    def preflight(self, changes: Sequence[Change]) -> Sequence[Problem]:
        assert not self.changed
        self.actions = [change.action for change in changes]
        self.asked.append({one.resource.name: one.resource.replicas for one in changes if isinstance(one.resource, InstanceGroup)})
        return self.problems

    def apply(self, change: Change, context: Any) -> None:
        self.changed.append(change.key)
        super().apply(change, context)


def region() -> Region:
    return Region("conformance")


def release(version: str, **strategy: Any) -> Any:
    made = SAMPLES.plan(*SAMPLES.workload(version, replicas=4))
    (name,) = [f"InstanceGroup/{one.name}" for one in made.resources if isinstance(one, InstanceGroup)]
    return evolve(made, strategies={name: Strategy(**strategy)}) if strategy else made


def group(plan: Any) -> InstanceGroup:
    (found,) = (one for one in plan.resources if isinstance(one, InstanceGroup))
    return found


def test_everything_in_the_way_comes_at_once_and_nothing_is_touched(tmp_path: Path) -> None:
    there = region()
    driver = Wary(there, QUOTA, ZONE)
    with pytest.raises(InvalidInput) as caught:
        Run(driver=driver, folder=tmp_path).deploy(release("1"))
    assert caught.value.problems == (QUOTA, ZONE)
    assert caught.value.exit_code == 4
    assert driver.changed == []
    assert driver.observe() == Observed()
    assert list(driver.records("sample")) == []


def test_it_is_asked_once_and_not_where_nothing_is_pending(tmp_path: Path) -> None:
    there = region()
    driver = Wary(there)
    assert Run(driver=driver, folder=tmp_path).deploy(release("1")).ok
    assert driver.asked == [{group(release("1")).name: 4}]
    assert set(driver.actions) == {"create"}
    again = Wary(there, QUOTA)
    assert Run(driver=again, folder=tmp_path).deploy(release("1")).ok
    assert again.asked == []


def test_nothing_stands_in_the_way_of_destroy(tmp_path: Path) -> None:
    there = region()
    assert Run(driver=Wary(there), folder=tmp_path).deploy(release("1")).ok
    driver = Wary(there, QUOTA)
    assert Run(driver=driver, folder=tmp_path).destroy("sample").ok
    assert driver.asked == []


@pytest.mark.parametrize(
    ("strategy", "more"),
    [
        ({"max_surge": Amount(value=1), "max_unavailable": Amount(value=0)}, 1),
        ({"max_surge": Amount(value=0), "max_unavailable": Amount(value=1)}, 0),
        ({"type": "recreate"}, 0),
        ({"type": "blue-green"}, 4),
    ],
)
def test_a_rollout_asks_for_the_members_that_it_has_on_top_of_the_old_ones(tmp_path: Path, strategy: Any, more: int) -> None:
    there = region()
    assert Run(driver=Wary(there), folder=tmp_path).deploy(release("1")).ok
    driver = Wary(there, QUOTA)
    new = release("2", **strategy)
    with pytest.raises(InvalidInput):
        Run(driver=driver, folder=tmp_path).deploy(new)
    old = group(release("1")).name
    assert {name: size for name, size in driver.asked[0].items() if name != old} == {group(new).name: more}


def test_another_size_asks_for_the_difference() -> None:
    there = group(release("1"))
    bigger = Change(action="update", resource=evolve(there, replicas=9), reason="", observed=ObservedResource(resource=there))
    (seen,) = asked([bigger], {"default/web": 5})
    assert isinstance(seen.resource, InstanceGroup)
    assert seen.resource.replicas == 9
    (seen,) = asked([bigger], {"default/web": -7})
    assert isinstance(seen.resource, InstanceGroup)
    assert seen.resource.replicas == 0
    deleted = evolve(bigger, action="delete")
    assert asked([deleted], {"default/web": 5}) == (deleted,)


def test_a_look_ahead_that_fails_leaves_no_claim(tmp_path: Path) -> None:
    class Lost(Wary):
        def preflight(self, changes: Sequence[Change]) -> Sequence[Problem]:
            raise ProviderError.of("lost", "no answer")

    driver = Lost(region())
    with pytest.raises(ProviderError, match="no answer"):
        Run(driver=driver, folder=tmp_path).deploy(release("1"))
    assert list(driver.records("sample")) == []


class Old:
    """A driver as they were before there was a preflight."""

    def close(self) -> None:
        pass


def test_drivers_of_before_know_of_nothing() -> None:
    old: Any = Old()
    assert preflight(old, ()) == ()
    assert Calls(old, CallLimits(), clock=FakeClock()).preflight(()) == ()
    assert KillPoints(old).preflight(()) == ()


def test_it_is_called_again_when_it_fails_in_a_way_that_passes() -> None:
    driver = Scripted(failing(2, then=[QUOTA]))
    assert list(Calls(driver, CallLimits(), clock=FakeClock()).preflight(())) == [QUOTA]
    assert driver.calls == ["preflight"] * 3


def test_it_is_passed_on() -> None:
    assert KillPoints(Wary(region(), ZONE)).preflight(()) == (ZONE,)
