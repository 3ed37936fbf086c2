"""The verbs that go the whole way: preview, deploy, destroy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from typing import TextIO

from attrs import evolve, field, frozen

from i2kit import executor, planner
from i2kit.cost import Cost
from i2kit.diff import Choices
from i2kit.diff import diff as diff_resources
from i2kit.driver import Driver
from i2kit.environment import Environment
from i2kit.errors import InvalidInput, MissingCredentials, Problem
from i2kit.events import Cancel, Event, Report, silent
from i2kit.images.locked import Locked
from i2kit.manifest.workloads import Workload, Workloads
from i2kit.names import mark_value
from i2kit.plan import Change, Changes, Observed, Outcome, Plan
from i2kit.preflight import obstacles
from i2kit.records import Entry, last_release, paused
from i2kit.registry import Registry
from i2kit.resources import InstanceGroup, Resource, key
from i2kit.runs import DeployOptions, Run, carry_out, choices_of, claim, everything, never, past_of, read_entries, tools_of
from i2kit.saved import SavedPlan
from i2kit.stages import Source, application_of, connect, load, load_for, plan, ready_builder, resolve, target
from i2kit.target import Target


@frozen(kw_only=True)
class Preview:
    """A plan, what is there, and what would change; `entries` are the application's records.

    `problems` stand in the way of the changes. Where they are that there are no credentials, nothing was observed, and every change is
    unknown. `cost` is what the plan's resources cost, where the provider knows.
    """

    plan: Plan
    observed: Observed
    changes: Changes
    problems: tuple[Problem, ...] = ()
    cost: Cost | None = None
    entries: tuple[Entry, ...] = field(default=(), repr=False)


def preview(
    sources: Sequence[Source],
    *,
    environment: Environment | None = None,
    application: str | None = None,
    options: DeployOptions = DeployOptions(),
    report: Report = silent,
    stdin: TextIO | None = None,
) -> Preview:
    """Go the way up to the changes, and change nothing.

    Needs no credentials: without them what is there is unknown, and so is what would change.

    >>> import i2kit
    >>> seen = i2kit.preview(["examples/hello"], environment=environment)
    >>> {change.action for change in seen.changes.changes}
    {'create'}
    """
    environment = environment or Environment()
    workloads = load_for(environment, sources, stdin=stdin)
    try:
        with closing(connect(environment)) as driver:
            seen = _previewed(driver, workloads, sources, environment, application, options, report)
            seen = with_problems(seen, driver)
    except MissingCredentials as error:
        seen = _unseen(workloads, sources, environment, application, options, report, error)
    return with_cost(seen, environment)


def with_problems(seen: Preview, driver: Driver) -> Preview:
    """Add what stands in the way of the changes."""
    return evolve(seen, problems=obstacles(driver, seen.changes, seen.observed, seen.entries))


def with_cost(seen: Preview, environment: Environment) -> Preview:
    """Add what the plan's resources cost."""
    cost = Registry().provider(environment.provider).cost
    return evolve(seen, cost=cost(environment, seen.plan.resources)) if cost else seen


def _unseen(
    workloads: Workloads,
    sources: Sequence[Source],
    environment: Environment,
    application: str | None,
    options: DeployOptions,
    report: Report,
    error: MissingCredentials,
) -> Preview:
    """Plan without anything that only the provider knows."""
    ready_builder(environment.builder)
    locked = resolve(workloads, environment, update_base=options.update_base, report=report)
    planned = plan(workloads, locked, environment, application=application_of(environment, sources, application))
    unknown = tuple(Change(action="unknown", resource=one, reason="unknown: no credentials") for one in planned.resources)
    changes = Changes(environment=planned.environment, application=planned.application, changes=unknown)
    return Preview(plan=planned, observed=Observed(), changes=changes, problems=error.problems)


def _previewed(
    driver: Driver,
    workloads: Workloads,
    sources: Sequence[Source],
    environment: Environment,
    application: str | None,
    options: DeployOptions,
    report: Report,
    lock: Locked | None = None,
) -> Preview:
    """Resolve and plan with the base of `lock`, or of the last release; observe and compare."""
    ready_builder(environment.builder)
    name = application_of(environment, sources, application)
    entries = read_entries(driver, name)
    released = last_release(entries)
    previous = released.plan if released else None
    kept = lock or (previous.lock if previous else None)
    locked = resolve(workloads, environment, previous=kept, update_base=options.update_base and lock is None, report=report)
    planned = plan(workloads, locked, environment, application=name, previous=previous)
    observed = driver.observe()
    _refuse_foreign(observed, planned.application, _workloads(planned.resources), named=bool(application or environment.application))
    return look_ahead(planned, observed, entries, environment, options)


def look_ahead(planned: Plan, observed: Observed, entries: Sequence[Entry], environment: Environment, options: DeployOptions) -> Preview:
    """Compare a plan with what is there and in the records."""
    changes = diff_resources(planned, observed, past_of(entries, options), choices_of(environment, options))
    return Preview(plan=planned, observed=observed, changes=changes, entries=tuple(entries))


def deploy(
    sources: Sequence[Source],
    *,
    environment: Environment | None = None,
    application: str | None = None,
    options: DeployOptions = DeployOptions(),
    saved: SavedPlan | None = None,
    report: Report = silent,
    cancel: Cancel | None = None,
    stdin: TextIO | None = None,
) -> Outcome:
    """Make the manifests run: load, resolve, plan, observe, diff, apply.

    Safe to run again at any time, also after a run that was killed. With `saved`, exactly that plan is carried out, or nothing when the
    world or the manifests are others by now. Raises `InvalidInput` before anything is touched, `Held` when another run holds the
    application.

    >>> import i2kit
    >>> i2kit.deploy(["examples/hello"], environment=environment).ok
    True
    >>> again = i2kit.deploy(["examples/hello"], environment=environment)
    >>> {change.result for change in again.changes}
    {'unchanged'}
    """
    environment = environment or Environment()
    options = evolve(options, prune=saved.prune) if saved else options
    workloads = load_for(environment, sources, stdin=stdin)
    with closing(connect(environment)) as driver:
        lock = saved.plan.lock if saved else None
        seen = _previewed(driver, workloads, sources, environment, application, options, report, lock)
        if saved is not None:
            saved.check(seen.plan, seen.changes)
        for notice in seen.plan.notices:
            report(Event(kind="notice", message=f"{notice.where}: {notice.message}"))
        registry = Registry()
        registry.after_plan(seen.plan, seen.changes)
        if _settled(seen):
            return Outcome.unchanged(seen.changes)
        pause = paused(seen.entries)
        if pause and pause.plan and pause.plan.fingerprint != seen.plan.fingerprint:
            report(Event(kind="notice", message="the rollout that was paused is given up: the manifests ask for something else"))
        run = Run(driver=driver, environment=environment, registry=registry, options=options, report=report, cancel=cancel or never())
        return carry_out(run, seen.plan, workloads, only=_exactly(saved, seen.plan) if saved else everything)


def _exactly(saved: SavedPlan, planned: Plan) -> Callable[[Changes], Changes]:
    """Refuse all changes but the saved ones: between the look before the claim and that after it another run may have come and gone."""

    def checked(changes: Changes) -> Changes:
        saved.check(planned, changes)
        return changes

    return checked


def apply(
    plan: Plan,
    environment: Environment,
    *,
    workloads: Workloads,
    options: DeployOptions = DeployOptions(),
    report: Report = silent,
    cancel: Cancel | None = None,
) -> Outcome:
    """Claim the application, observe, and make what is there what `plan` says; `workloads` give the Secrets' values.

    >>> import i2kit
    >>> workloads = i2kit.load(["examples/hello"])
    >>> planned = i2kit.plan(workloads, i2kit.resolve(workloads, environment), environment, application="hello")
    >>> i2kit.apply(planned, environment, workloads=workloads).ok
    True
    """
    with closing(connect(environment)) as driver:
        run = Run(driver=driver, environment=environment, registry=Registry(), options=options, report=report, cancel=cancel or never())
        return carry_out(run, plan, workloads)


def destroy(
    sources: Sequence[Source] = (),
    *,
    environment: Environment | None = None,
    application: str | None = None,
    options: DeployOptions = DeployOptions(),
    report: Report = silent,
    cancel: Cancel | None = None,
    stdin: TextIO | None = None,
) -> Outcome:
    """Remove an application: its groups, balancers, names and secrets, its records, and what of the environment nothing else uses.

    Nothing happens when it is not there. An application that is named only by its manifests' folder or file has to share a workload with
    them: two folders of one name must not destroy each other.

    >>> import i2kit
    >>> i2kit.deploy(["examples/hello"], environment=environment).ok
    True
    >>> i2kit.destroy(environment=environment, application="hello").ok
    True
    >>> i2kit.observe(environment).resources
    ()
    """
    environment = environment or Environment()
    with closing(connect(environment)) as driver:
        goal = _doomed(driver, sources, environment, application, stdin)
        run = Run(driver=driver, environment=environment, registry=Registry(), options=options, report=report, cancel=cancel or never())
        return _remove(run, goal)


def preview_destroy(
    sources: Sequence[Source] = (),
    *,
    environment: Environment | None = None,
    application: str | None = None,
    options: DeployOptions = DeployOptions(),
    stdin: TextIO | None = None,
) -> Changes:
    """Return what `destroy` would remove, and remove nothing.

    >>> import i2kit
    >>> i2kit.preview_destroy(environment=environment, application="nothing").pending
    ()
    """
    environment = environment or Environment()
    with closing(connect(environment)) as driver:
        goal = _doomed(driver, sources, environment, application, stdin)
        return _surplus(driver, goal, read_entries(driver, goal.application), options)[1]


def _doomed(driver: Driver, sources: Sequence[Source], environment: Environment, application: str | None, stdin: TextIO | None) -> Target:
    """Return the application to remove; one that only its manifests name has to share a workload with them."""
    goal = target(environment, application_of(environment, sources, application))
    if not (application or environment.application):
        wanted = {(mark_value(one.namespace), mark_value(one.name)) for one in _named_by(sources, stdin, goal.application)}
        _refuse_foreign(driver.observe(), goal.application, wanted, named=False)
    return goal


def _named_by(sources: Sequence[Source], stdin: TextIO | None, application: str) -> Sequence[Workload]:
    """Return the workloads of the manifests that name an application; where they are broken, say that its name is enough."""
    try:
        return load(sources, stdin=stdin).workloads
    except InvalidInput as error:
        advice = Problem(
            code="unchecked-application",
            message=f"whether {application!r} is the application of these manifests cannot be told, because they cannot be read",
            hint=f"to remove it all the same, name it: `i2kit destroy -a {application}`",
        )
        raise InvalidInput([*error.problems, advice]) from error


def _remove(run: Run, goal: Target) -> Outcome:
    journal = run.journal(goal.application)
    environment, application = goal.environment.name, goal.application
    entries = journal.read()
    if not entries and not _surplus(run.driver, goal, entries, run.options)[1].changes:
        return Outcome(application=application, environment=environment, changes=())
    gone = planner.empty(goal)
    claim(journal, gone, run)
    run.catch_up(entries)
    observed, changes = _surplus(run.driver, goal, entries, run.options)
    tools = tools_of(run, gone, (), Workloads(workloads=()))
    outcome = executor.apply(changes, observed, run.driver, journal, tools, report=run.report, cancel=run.cancel)
    if outcome.ok:
        journal.remove_all()
    else:
        journal.end([one.key for one in outcome.changes if one.result == "done"], "destroy was not finished")
    return outcome


def _refuse_foreign(observed: Observed, application: str, wanted: set[tuple[str, str]], *, named: bool) -> None:
    """Refuse to work on an application that only shares its default name with this one."""
    there = _workloads(one.resource for one in observed.resources if one.resource.mark.application == application)
    if named or not there or there & wanted:
        return
    raise InvalidInput(
        Problem(
            code="foreign-application",
            message=f"an application called {application!r} runs already, and shares no workload with these manifests",
            hint="name yours with --application (or `application:` in environment.yml)",
        )
    )


def _workloads(resources: Iterable[Resource]) -> set[tuple[str, str]]:
    """Return namespace and name of the workloads that resources are groups of."""
    return {(one.mark.namespace, one.mark.workload) for one in resources if isinstance(one, InstanceGroup)}


def _settled(seen: Preview) -> bool:
    """Whether nothing is to be done: no change is pending, everybody is ready, and the last record says so too."""
    changes, entries = seen.changes, seen.entries
    if changes.pending or not entries or entries[-1].kind != "release":
        return False
    last = entries[-1].plan
    return last is not None and last.fingerprint == seen.plan.fingerprint and all(one.is_ready for one in changes.changes)


def _surplus(driver: Driver, goal: Target, entries: Sequence[Entry], options: DeployOptions) -> tuple[Observed, Changes]:
    """Return the deletes that remove the application; what other applications' records name of what all share stays."""
    own = goal.application
    kept = {
        key(resource)
        for other in driver.applications()
        if other != own
        for entry in read_entries(driver, other)
        for resource in (entry.plan.resources if entry.plan else ())
        if not resource.mark.application
    }
    observed = driver.observe()
    return observed, diff_resources(planner.empty(goal), observed, past_of(entries, options), Choices(kept=frozenset(kept)))
