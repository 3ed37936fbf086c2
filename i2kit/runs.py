"""A run that changes something: claim, observe, compare, apply, and an end that says what came of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence

from attrs import evolve, field, frozen

from i2kit import executor
from i2kit.capabilities import Capability
from i2kit.clock import Clock, SystemClock
from i2kit.diff import Choices, Past, diff
from i2kit.driver import Artefact, Driver
from i2kit.environment import Environment
from i2kit.errors import I2kitError, InvalidInput, Problem
from i2kit.events import Cancel, Event, Report
from i2kit.images.builder import BuildRequest
from i2kit.journal import Journal
from i2kit.manifest.workloads import SecretValue, Workloads
from i2kit.names import mark_value
from i2kit.plan import Changes, Observed, Outcome, Plan
from i2kit.preflight import obstacles
from i2kit.records import Entry, decode, last_release, recent, standing
from i2kit.records import positions as recorded_positions
from i2kit.registry import Registry
from i2kit.resources import Image, Resource, Secret
from i2kit.steps import Position
from i2kit.tools import Tools

_SLICE_SECONDS = 0.25


@frozen(kw_only=True)
class DeployOptions:
    """How to deploy.

    `update_base` moves the base to the newest packages; `keep_failed` leaves a group that did not become ready for inspection;
    `take_over` claims an application whose holder cannot be proven dead; `no_cache` builds every image anew; `prune` removes what is not
    in the manifests any more; `change_seconds` is the longest that one change may take. `clock` is the time the run goes by.
    """

    update_base: bool = False
    keep_failed: bool = False
    take_over: bool = False
    no_cache: bool = False
    prune: bool = False
    change_seconds: float = 900.0
    clock: Clock = field(factory=SystemClock)


@frozen(kw_only=True)
class Run:
    """What a run that changes something works with."""

    driver: Driver
    environment: Environment
    registry: Registry
    options: DeployOptions
    report: Report
    cancel: Cancel

    def catch_up(self, entries: Sequence[Entry]) -> None:
        """Wait until what is seen is no older than what the run before did; `entries` are what it left. Returns early when cancelled."""
        if entries:
            # When a run died is not known: it may have been just now.
            self._wait_for(self._lag - (self.options.clock.now() - entries[-1].time if entries[-1].ended else 0.0))

    def look(self, entries: Sequence[Entry]) -> Observed:
        """Return what is there, no older than what the run before did."""
        self.catch_up(entries)
        observed = self.driver.observe()
        if self._lag and not entries and observed.resources:
            # What is shown without records may be of an application that was destroyed just now, and the network with it.
            self._wait_for(self._lag)
            observed = self.driver.observe()
        return observed

    @property
    def _lag(self) -> float:
        return self.registry.provider(self.environment.provider).lag_seconds

    def _wait_for(self, seconds: float) -> None:
        until = self.options.clock.now() + seconds
        while (left := until - self.options.clock.now()) > 0 and not self.cancel.is_set():
            self.options.clock.sleep(min(left, _SLICE_SECONDS))

    def journal(self, application: str) -> Journal:
        """Return the application's records, to be written by this run."""
        return Journal(self.driver, application, clock=self.options.clock.now)


def run_of(driver: Driver, environment: Environment, options: DeployOptions, report: Report, cancel: Cancel | None) -> Run:
    """Return what a run on `environment` works with; without `cancel` nobody asks it to stop."""
    return Run(driver=driver, environment=environment, registry=Registry(), options=options, report=report, cancel=cancel or never())


def never() -> threading.Event:
    """Return what asks nobody to stop."""
    return threading.Event()


def everything(changes: Changes) -> Changes:
    """Leave no change out."""
    return changes


def carry_out(
    run: Run,
    planned: Plan,
    workloads: Workloads,
    *,
    action: str = "deploy",
    positions: Mapping[str, Position] | None = None,
    only: Callable[[Changes], Changes] = everything,
    rest: Plan | None = None,
    look_out: bool = True,
) -> Outcome:
    """Claim the application, observe, compare and apply; end the claim by what came of it.

    `action` says in the records how a release came about; `positions` tell where rollouts go on (by default what the records say);
    `only` may leave out some of the changes, or raise to make none. `rest` is what is still wanted where rollouts were aborted and others
    go on to wait. With `look_out` nothing is changed while the driver knows of something in the way: raises `InvalidInput` with all of it.
    """
    journal = run.journal(planned.application)
    entries = journal.read()
    released = last_release(entries)
    before = released.plan if released else None
    claim(journal, planned, run, action)
    try:
        # What was observed before the claim may have changed since; from here on nobody else changes it.
        observed = run.look(entries)
        past = past_of(entries, run.options, positions)
        changes = only(diff(planned, observed, past, choices_of(run.environment, run.options)))
        own = {one.workload: one.position for one in changes.rollouts if one.workload in past.positions}
        left = {name: position for name, position in past.positions.items() if name not in own}
        journal.go_on(own, left)
        tools = tools_of(run, planned, before.resources if before else (), workloads)
        _refuse_lost_secrets(changes, tools)
        if look_out and (problems := obstacles(run.driver, changes, observed, entries)):
            raise InvalidInput(problems)
    except I2kitError:
        journal.withdraw()
        raise
    outcome = executor.apply(
        changes,
        observed,
        run.driver,
        journal,
        tools,
        released=before.by_key() if before else {},
        report=run.report,
        cancel=run.cancel,
    )
    _end(journal, outcome, action, waiting=rest if left else None)
    return outcome


def _end(journal: Journal, outcome: Outcome, action: str, *, waiting: Plan | None) -> None:
    """Give the claim back, and say what came of the run; `waiting` is what is wanted where other rollouts still wait."""
    done = [one.key for one in outcome.changes if one.result in ("done", "unchanged")]
    if not outcome.ok:
        journal.end(done, "interrupted" if outcome.interrupted else "failed")
    elif any(one.result == "aborted" for one in outcome.changes):
        if waiting is not None:
            journal.pause(done, "aborted", waiting)
        else:
            journal.end(done, "aborted")
    elif outcome.paused:
        journal.pause(done, next(one.message for one in outcome.changes if one.result == "paused"))
    else:
        journal.release(done, action)


def _refuse_lost_secrets(changes: Changes, tools: Tools) -> None:
    """Refuse to make a Secret whose values nobody has: those of older releases are nowhere but in the cloud."""
    lost = [one for one in changes.pending if isinstance(one.resource, Secret) and one.action == "create"]
    problems = [
        Problem(
            code="secret-values-gone",
            message=f"version {one.resource.version} of Secret {one.resource.secret} is gone, and its values are in no record",
            hint="deploy the manifests that have them",
        )
        for one in lost
        if isinstance(one.resource, Secret) and one.resource.name not in tools.secrets
    ]
    if problems:
        raise InvalidInput(problems)


def claim(journal: Journal, planned: Plan, run: Run, action: str = "") -> None:
    """Claim the application, and tell from whom it was taken over; raise `Held` when somebody holds it."""
    line = journal.claim(planned, take_over=run.options.take_over, action=action)
    if line:
        run.report(Event(kind="taken-over", message=line))


def read_entries(driver: Driver, application: str) -> tuple[Entry, ...]:
    """Return what the application's records say about it, the oldest first."""
    return standing(decode(record) for record in driver.records(mark_value(application)))


def past_of(entries: Sequence[Entry], options: DeployOptions, positions: Mapping[str, Position] | None = None) -> Past:
    """Return what the records add to what is observed; `positions` replace those that they name."""
    released, newest = last_release(entries), recent(entries, options.clock.now())
    if positions is None:
        # Whoever deploys what an abort that died was taking back wants it all the same.
        positions = {name: evolve(one, aborted=False) for name, one in recorded_positions(entries).items()}
    return Past(
        released=released.plan if released else None,
        positions=positions,
        recent=newest.plans,
        unsure=newest.unsure,
    )


def choices_of(environment: Environment, options: DeployOptions) -> Choices:
    """Return what decides about changes besides the plan and what is seen."""
    weights = Registry().provider(environment.provider).level(Capability.WEIGHTS).usable
    return Choices(prune=options.prune, keep_failed=options.keep_failed, weights=weights)


def tools_of(run: Run, planned: Plan, released: Sequence[Resource], workloads: Workloads) -> Tools:
    """Return what the executor works with; what `released` has may have to be built again."""
    images = {one.name: one for one in (*released, *planned.resources) if isinstance(one, Image)}

    def build_one(image: Image, progress: Callable[[str], None]) -> Artefact:
        request = BuildRequest(image=image, no_cache=run.options.no_cache, progress=progress)
        artefact = run.registry.builder(image.builder).build(request)
        run.registry.after_build(image, artefact)
        return artefact

    provider = run.registry.provider(run.environment.provider)
    return Tools(
        build=build_one,
        images=images,
        secrets=secret_values(planned, workloads),
        before=run.registry.before_change,
        after=run.registry.after_change,
        change_seconds=run.options.change_seconds,
        concurrency=provider.calls.concurrency,
        lag_seconds=provider.lag_seconds,
        clock=run.options.clock,
    )


def secret_values(planned: Plan, workloads: Workloads) -> dict[str, Mapping[str, SecretValue]]:
    """Return the values of the plan's `Secret` resources, by their names."""
    values = {(mark_value(secret.namespace), secret.name): secret.data for secret in workloads.secrets}
    return {
        one.name: values[one.mark.namespace, one.secret]
        for one in planned.resources
        if isinstance(one, Secret) and (one.mark.namespace, one.secret) in values
    }
