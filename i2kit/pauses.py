"""Rollouts that have not come to their end: where they stand, and what is done about those that wait or whose run died."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from typing import Literal

from attrs import evolve, frozen

from i2kit import planner, replanning
from i2kit.environment import Environment
from i2kit.errors import InvalidInput, Problem
from i2kit.events import Cancel, Report, silent
from i2kit.manifest.workloads import Workloads
from i2kit.plan import Changes, Outcome, Plan
from i2kit.records import Entry, last_release, liveness, paused, positions, this_process
from i2kit.releases import named_workloads
from i2kit.resources import InstanceGroup, key
from i2kit.rollout import stage_label
from i2kit.rollouts import workload_of
from i2kit.runs import DeployOptions, carry_out, read_entries, run_of
from i2kit.stages import connect
from i2kit.steps import Position, Rollout
from i2kit.strategy import Strategy

_NONE = Workloads(workloads=())

RolloutState = Literal["running", "paused", "interrupted"]


@frozen(kw_only=True)
class RolloutStatus:
    """Where a workload's rollout stands.

    `paused` waits for `promote` or `abort`, `running` has somebody at work (or one on another machine that may have died), `interrupted`
    has nobody any more: deploying again goes on, `abort` goes back. `stage` counts a canary's steps from 1, and is 0 for strategies
    that have none.
    """

    workload: str
    revision: str
    state: RolloutState
    stage: int
    message: str = ""


def promote(
    environment: Environment,
    application: str,
    *,
    workload: str | None = None,
    options: DeployOptions = DeployOptions(),
    report: Report = silent,
    cancel: Cancel | None = None,
) -> Outcome:
    """Let rollouts that wait go on, all of the application's or one workload's.

    Raises `InvalidInput` when none waits.

    >>> import i2kit
    >>> i2kit.promote(environment, "nothing")
    Traceback (most recent call last):
    i2kit.errors.InvalidInput: no rollout of 'nothing' is paused; `i2kit rollout status` shows where rollouts stand [nothing-paused]
    """
    with closing(connect(environment)) as driver:
        entries = read_entries(driver, application)
        plan, waiting = _waiting(entries, application, workload)
        moved = {name: evolve(position, promoted=True) for name, position in waiting.items()}
        run = run_of(driver, environment, options, report, cancel)
        return carry_out(run, plan, _NONE, positions={**positions(entries), **moved}, look_out=False)


def abort(
    environment: Environment,
    application: str,
    *,
    workload: str | None = None,
    options: DeployOptions = DeployOptions(),
    report: Report = silent,
    cancel: Cancel | None = None,
) -> Outcome:
    """Take rollouts that wait, or whose run died, back: the last good revision is put back whole.

    Raises `InvalidInput` when none is under way, `Held` when somebody is at work on it.

    >>> import i2kit
    >>> i2kit.abort(environment, "nothing")
    Traceback (most recent call last):
    i2kit.errors.InvalidInput: no rollout of 'nothing' is under way; `i2kit rollout status` shows where rollouts stand [nothing-paused]
    """
    with closing(connect(environment)) as driver:
        entries = read_entries(driver, application)
        plan, waiting = _waiting(entries, application, workload, also_running=True)
        undone = {name: evolve(position, undo="aborted", aborted=True) for name, position in waiting.items()}
        run = run_of(driver, environment, options, report, cancel)
        rest = _without(plan, entries, undone) if paused(entries) else None
        return carry_out(run, plan, _NONE, positions={**positions(entries), **undone}, only=_only(undone), rest=rest, look_out=False)


def _without(plan: Plan, entries: Sequence[Entry], undone: Collection[str]) -> Plan:
    """Return a plan in which workloads are what the last release has of them."""
    released = last_release(entries)
    if released is None or released.plan is None:
        return plan
    return replanning.merged(plan, released.plan, [_parts(name) for name in undone])


def _parts(workload: str) -> tuple[str, str]:
    """Return namespace and name of a workload as rollouts know it."""
    namespace, _, name = workload.partition("/")
    return namespace, name


def _only(workloads: Mapping[str, Position]) -> Callable[[Changes], Changes]:
    """Leave everything out that is not part of these workloads' rollouts."""

    def restricted(changes: Changes) -> Changes:
        chosen = tuple(one for one in changes.rollouts if one.workload in workloads)
        keys = {name for one in chosen for name in (key(one.new), *(key(old) for old in one.olds), *one.balancers)}
        kept = tuple(evolve(one, needs=()) for one in changes.changes if one.key in keys)
        return evolve(changes, changes=kept, rollouts=chosen)

    return restricted


def _waiting(
    entries: Sequence[Entry], application: str, workload: str | None, *, also_running: bool = False
) -> tuple[Plan, dict[str, Position]]:
    """Return the plan that is being rolled out, and the positions of the rollouts that a user means."""
    found = positions(entries)
    plan = _plan_of(entries, found)
    if plan is None or not found:
        state = "under way" if also_running else "paused"
        hint = "`i2kit rollout status` shows where rollouts stand"
        raise InvalidInput(Problem(code="nothing-paused", message=f"no rollout of {application!r} is {state}", hint=hint))
    if not also_running and paused(entries) is None:
        at_work = _state(entries[-1])[0] == "running"
        message = f"the last run of {application!r} {'is not over' if at_work else 'was interrupted, or failed in part'}"
        hint = "wait for it" if at_work else "deploy again: each rollout goes on from where it stands"
        raise InvalidInput(
            Problem(code="nothing-paused", message=message, hint=f"{hint}; `i2kit rollout status` shows where rollouts stand")
        )
    which = {f"{namespace}/{name}" for namespace, name in named_workloads(plan, workload, application)}
    chosen = {name: position for name, position in found.items() if name in which}
    if not chosen:
        raise InvalidInput(Problem(code="nothing-paused", message=f"the rollout of {workload!r} is not under way"))
    return plan, chosen


def rollout_status(environment: Environment, application: str) -> tuple[RolloutStatus, ...]:
    """Return the rollouts that have not come to their end; none when the application is as it was last deployed.

    >>> import i2kit
    >>> i2kit.rollout_status(environment, "nothing")
    ()
    """
    with closing(connect(environment)) as driver:
        entries = read_entries(driver, application)
    return rollouts_under_way(entries)


def rollouts_under_way(entries: Sequence[Entry]) -> tuple[RolloutStatus, ...]:
    """Return what an application's records say about rollouts that have not come to their end. Pure but for looking at processes."""
    standing = positions(entries)
    plan = _plan_of(entries, standing)
    if plan is None:
        return ()
    state, why = _state(entries[-1])
    groups = {group.name: group for group in planner.groups_of(plan)}
    found = []
    for name, position in standing.items():
        group = groups.get(position.to)
        stage = _stage_of(plan, group, position) if group else ""
        found.append(
            RolloutStatus(
                workload=name,
                revision=group.mark.revision if group else "",
                state=state,
                stage=position.stage + 1 if stage else 0,
                message=": ".join(one for one in (stage, position.undo, why) if one),
            )
        )
    return tuple(found)


def _plan_of(entries: Sequence[Entry], standing: Mapping[str, Position]) -> Plan | None:
    """Return the newest plan that rollouts go to: a run that has only claimed the application wants another one, but has not begun."""
    goals = {position.to for position in standing.values()}
    plans = (entry.plan for entry in reversed(entries) if entry.plan)
    return next((plan for plan in plans if goals & {group.name for group in planner.groups_of(plan)}), None)


def _stage_of(plan: Plan, group: InstanceGroup, position: Position) -> str:
    strategy = plan.strategies.get(key(group), Strategy())
    return stage_label(Rollout(workload=workload_of(group), new=group, size=group.replicas, strategy=strategy, position=position))


def _state(last: Entry) -> tuple[RolloutState, str]:
    """Return whether somebody is at work, and what a user should know about that."""
    if last.kind == "pause":
        return "paused", "waiting to be promoted or aborted"
    if last.ended:
        return "interrupted", "deploy again to go on, or abort"
    if liveness(last.holder, this_process()) == "dead":
        return "interrupted", f"the run of {last.holder} died; deploy again to go on, or abort"
    return "running", f"{last.holder} is at work"
