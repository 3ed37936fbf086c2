"""The verbs that go the whole way: preview, deploy, destroy."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from typing import TextIO

from attrs import frozen

from i2kit import executor, planner
from i2kit.diff import diff as diff_resources
from i2kit.driver import Artefact, Driver
from i2kit.environment import Environment
from i2kit.errors import I2kitError, InvalidInput, Problem
from i2kit.events import Cancel, Event, Report, silent
from i2kit.images.builder import BuildRequest
from i2kit.manifest.workloads import SecretValue, Workload, Workloads
from i2kit.names import mark_value
from i2kit.plan import Change, Changes, Observed, Outcome, Plan
from i2kit.records import Entry, Journal, decode, last_release
from i2kit.registry import Registry
from i2kit.resources import Image, InstanceGroup, Resource, Secret, key
from i2kit.stages import Source, application_of, connect, diff, load, load_for, plan, ready_builder, resolve, target


@frozen(kw_only=True)
class DeployOptions:
    """How to deploy.

    `update_base` moves the base to the newest packages; `keep_failed` leaves a group that did not become ready for inspection;
    `take_over` claims an application whose holder cannot be proven dead; `no_cache` builds every image anew; `change_seconds` is the
    longest that one change may take.
    """

    update_base: bool = False
    keep_failed: bool = False
    take_over: bool = False
    no_cache: bool = False
    change_seconds: float = 900.0


@frozen(kw_only=True)
class Preview:
    """A plan, what is there, and what would change."""

    plan: Plan
    observed: Observed
    changes: Changes


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

    >>> import i2kit
    >>> seen = i2kit.preview(["examples/hello"], environment=environment)
    >>> {change.action for change in seen.changes.changes}
    {'create'}
    """
    environment = environment or Environment()
    workloads = load_for(environment, sources, stdin=stdin)
    name = application_of(environment, sources, application)
    with closing(connect(environment)) as driver:
        _, planned = _desired(driver, workloads, environment, name, options, report)
        observed = driver.observe()
        _refuse_foreign(observed, planned.application, _workloads(planned.resources), named=bool(application or environment.application))
        return Preview(plan=planned, observed=observed, changes=diff(planned, observed))


def deploy(
    sources: Sequence[Source],
    *,
    environment: Environment | None = None,
    application: str | None = None,
    options: DeployOptions = DeployOptions(),
    report: Report = silent,
    cancel: Cancel | None = None,
    stdin: TextIO | None = None,
) -> Outcome:
    """Make the manifests run: load, resolve, plan, observe, diff, apply.

    Safe to run again at any time, also after a run that was killed. Raises `InvalidInput` before anything is touched, `Held` when
    another run holds the application.

    >>> import i2kit
    >>> i2kit.deploy(["examples/hello"], environment=environment).ok
    True
    >>> again = i2kit.deploy(["examples/hello"], environment=environment)
    >>> {change.result for change in again.changes}
    {'unchanged'}
    """
    environment = environment or Environment()
    workloads = load_for(environment, sources, stdin=stdin)
    name = application_of(environment, sources, application)
    with closing(connect(environment)) as driver:
        entries, planned = _desired(driver, workloads, environment, name, options, report)
        observed = driver.observe()
        _refuse_foreign(observed, planned.application, _workloads(planned.resources), named=bool(application or environment.application))
        changes = diff(planned, observed)
        for notice in planned.notices:
            report(Event(kind="notice", message=f"{notice.where}: {notice.message}"))
        registry = Registry()
        registry.after_plan(planned, changes)
        if _settled(changes, entries, planned):
            return executor.unchanged(changes)
        return _carry_out(driver, planned, workloads, registry, options, report, cancel or threading.Event())


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
        return _carry_out(driver, plan, workloads, Registry(), options, report, cancel or threading.Event())


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
    name = application_of(environment, sources, application)
    named = bool(application or environment.application)
    with closing(connect(environment)) as driver:
        goal = target(environment, name)
        if not named:
            wanted = {(mark_value(one.namespace), mark_value(one.name)) for one in _named_by(sources, stdin, goal.application)}
            _refuse_foreign(driver.observe(), goal.application, wanted, named=False)
        return _remove(driver, goal, options, report, cancel or threading.Event())


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


def _remove(driver: Driver, goal: planner.Target, options: DeployOptions, report: Report, cancel: Cancel) -> Outcome:
    journal = Journal(driver, goal.application)
    environment, application = goal.environment.name, goal.application
    if not journal.read() and not _surplus(driver, goal):
        return Outcome(application=application, environment=environment, changes=())
    gone = planner.empty(goal)
    _claim(journal, gone, options, report)
    outcome = executor.apply(
        Changes(environment=environment, application=application, changes=_surplus(driver, goal)),
        driver,
        journal,
        _tools(Registry(), gone, Workloads(workloads=()), options),
        report=report,
        cancel=cancel,
    )
    if outcome.ok:
        journal.remove_all()
    else:
        journal.end([one.key for one in outcome.changes if one.result == "done"], "destroy was not finished")
    return outcome


def _desired(
    driver: Driver, workloads: Workloads, environment: Environment, application: str, options: DeployOptions, report: Report
) -> tuple[Sequence[Entry], Plan]:
    """Resolve and plan with the base of the last release."""
    ready_builder(environment.builder)
    entries = [decode(record) for record in driver.records(mark_value(application))]
    release = last_release(entries)
    locked = resolve(
        workloads,
        environment,
        previous=release.plan.lock if release and release.plan else None,
        update_base=options.update_base,
        report=report,
    )
    return entries, plan(workloads, locked, environment, application=application)


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


def _settled(changes: Changes, entries: Sequence[Entry], planned: Plan) -> bool:
    """Whether nothing is to be done: no change is pending, everybody is ready, and the last record says so too."""
    if changes.pending or not entries or entries[-1].kind != "release":
        return False
    last = entries[-1].plan
    return last is not None and last.fingerprint == planned.fingerprint and all(executor.is_ready(one) for one in changes.changes)


def _carry_out(
    driver: Driver,
    planned: Plan,
    workloads: Workloads,
    registry: Registry,
    options: DeployOptions,
    report: Report,
    cancel: Cancel,
) -> Outcome:
    journal = Journal(driver, planned.application)
    release = last_release(journal.read())
    _claim(journal, planned, options, report)
    try:
        # What was observed before the claim may have changed since; from here on nobody else changes it.
        changes = diff(planned, driver.observe())
    except I2kitError:
        journal.withdraw()
        raise
    released = release.plan.by_key() if release and release.plan else {}
    outcome = executor.apply(
        changes, driver, journal, _tools(registry, planned, workloads, options), released=released, report=report, cancel=cancel
    )
    done = [one.key for one in outcome.changes if one.result in ("done", "unchanged")]
    if outcome.ok:
        journal.release(done)
    else:
        journal.end(done, "interrupted" if outcome.interrupted else "failed")
    return outcome


def _claim(journal: Journal, planned: Plan, options: DeployOptions, report: Report) -> None:
    line = journal.claim(planned, take_over=options.take_over)
    if line:
        report(Event(kind="taken-over", message=line))


def _surplus(driver: Driver, goal: planner.Target) -> tuple[Change, ...]:
    """Return the deletes that remove the application; what other applications' records name of what all share stays."""
    own = goal.application
    kept = {
        key(resource)
        for other in driver.applications()
        if other != own
        for record in driver.records(other)
        for resource in (getattr(decode(record).plan, "resources", ()))
        if not resource.mark.application
    }
    return diff_resources(planner.empty(goal), driver.observe(), kept=frozenset(kept)).changes


def _tools(registry: Registry, planned: Plan, workloads: Workloads, options: DeployOptions) -> executor.Tools:
    images = {one.name: one for one in planned.resources if isinstance(one, Image)}

    def build_one(image: Image, progress: Callable[[str], None]) -> Artefact:
        artefact = registry.builder(image.builder).build(BuildRequest(image=image, no_cache=options.no_cache, progress=progress))
        registry.after_build(image, artefact)
        return artefact

    return executor.Tools(
        build=build_one,
        images=images,
        secrets=secret_values(planned, workloads),
        before=registry.before_change,
        after=registry.after_change,
        change_seconds=options.change_seconds,
        keep_failed=options.keep_failed,
    )


def secret_values(planned: Plan, workloads: Workloads) -> dict[str, Mapping[str, SecretValue]]:
    """Return the values of the plan's `Secret` resources, by their names."""
    values = {(mark_value(secret.namespace), secret.name): secret.data for secret in workloads.secrets}
    return {
        one.name: values[one.mark.namespace, one.secret]
        for one in planned.resources
        if isinstance(one, Secret) and (one.mark.namespace, one.secret) in values
    }
