"""What a plan shows of its rollouts."""

from __future__ import annotations

from attrs import evolve
from cli.sample import BALANCER, CHANGES, GROUP, OBSERVED, OLD, PLAN, SERVING

from i2kit.operations import Preview
from i2kit.plan import Changes, Instance, Observed, ObservedResource
from i2kit.resources import Backend
from i2kit.simulation import steps_of
from i2kit.steps import Position, Rollout
from i2kit.strategy import Amount, Strategy

(CANARY,) = CHANGES.rollouts
ONE_MORE = Strategy(max_surge=Amount(value=1), max_unavailable=Amount(value=0))


def texts(rollout: Rollout, observed: Observed = OBSERVED, changes: Changes = CHANGES) -> list[str]:
    preview = Preview(plan=PLAN, observed=observed, changes=evolve(changes, rollouts=(rollout,)))
    return [step.text for step in steps_of(preview)["default/web"]]


def members(name: str, *ready: bool) -> tuple[Instance, ...]:
    return tuple(Instance(id=f"{name}-{number}", group=name, state="running", ready=one) for number, one in enumerate(ready))


def observed(*groups: ObservedResource) -> Observed:
    return Observed(resources=(*groups, ObservedResource(resource=SERVING)))


def test_a_rolling_update_starts_from_the_members_that_are_ready() -> None:
    shown = texts(evolve(CANARY, strategy=ONE_MORE))
    assert shown[0] == f"{GROUP.name}: new, size 1"
    assert f"{OLD.name}: size 2 -> 1" in shown
    assert shown[-1] == f"{OLD.name}: drained and removed"


def test_the_way_back_waits_for_old_members_that_were_not_ready() -> None:
    aborted = evolve(CANARY, position=Position(to=GROUP.name, undo="aborted", aborted=True))
    new = ObservedResource(resource=GROUP, instances=members(GROUP.name, True, True))
    for ready, first in ((False, "wait: 1 of 2 old members are ready"), (True, f"{GROUP.name}: drained and removed")):
        old = ObservedResource(resource=OLD, instances=members(OLD.name, True, ready))
        assert texts(aborted, Observed(resources=(old, new, ObservedResource(resource=BALANCER))))[0] == first


def test_members_that_come_later_do_not_hold_a_half_done_rollout_up() -> None:
    half = observed(
        ObservedResource(resource=OLD, instances=members(OLD.name, True, True)),
        ObservedResource(resource=evolve(GROUP, replicas=1), instances=members(GROUP.name, False)),
    )
    shown = texts(evolve(CANARY, strategy=ONE_MORE), half)
    assert shown[-1] == f"{OLD.name}: drained and removed"
    assert not any(text.startswith("wait") for text in shown)


def test_a_canary_that_pauses_goes_on_from_there() -> None:
    paused = evolve(CANARY, position=Position(to=GROUP.name, reached=1_700_000_000.0))
    share = evolve(BALANCER, backends=(Backend(group=OLD.name, weight=80), Backend(group=GROUP.name, weight=20)))
    half = Observed(
        resources=(
            ObservedResource(resource=OLD, instances=members(OLD.name, True, True)),
            ObservedResource(resource=evolve(GROUP, replicas=1), instances=members(GROUP.name, True)),
            ObservedResource(resource=share),
        )
    )
    shown = texts(paused, half)
    assert shown[0] == "step 1 of 2 (20% of the traffic): 60 s pause"
    assert shown[-1] == f"{OLD.name}: drained and removed"


def test_what_is_put_back_is_shown_as_such() -> None:
    half = observed(
        ObservedResource(resource=OLD, instances=members(OLD.name, True, True)),
        ObservedResource(resource=evolve(GROUP, replicas=1), instances=members(GROUP.name, True)),
    )
    aborted = evolve(CANARY, position=Position(to=GROUP.name, undo="aborted", aborted=True))
    assert texts(aborted, half) == [f"{GROUP.name}: drained and removed"]


def test_a_workload_that_has_arrived_has_no_step() -> None:
    there = Observed(
        resources=(ObservedResource(resource=GROUP, instances=members(GROUP.name, True, False)), ObservedResource(resource=BALANCER))
    )
    settled = evolve(CHANGES, changes=tuple(evolve(one, action="no-op") for one in CHANGES.changes if one.action != "delete"))
    assert texts(evolve(CANARY, olds=()), there, settled) == []
