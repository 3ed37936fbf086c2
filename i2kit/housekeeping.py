"""What nothing needs any more, and its removal: old images, Secret versions, groups and records of an environment."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing

from attrs import evolve, frozen

from i2kit import executor, planner
from i2kit.driver import Artefact
from i2kit.environment import Environment
from i2kit.errors import Held, I2kitError, Interrupted, Problem
from i2kit.events import Cancel, Event, Report, silent
from i2kit.journal import Journal
from i2kit.plan import Change, Changes, Observed, Outcome, Plan
from i2kit.records import HOUSEKEEPING, Entry, decode, last_release, superfluous
from i2kit.registry import Registry
from i2kit.resources import Balancer, Image, InstanceGroup, Secret, key
from i2kit.runs import DeployOptions, Run, never
from i2kit.stages import connect, target
from i2kit.steps import Position
from i2kit.tools import Tools

RECORD = "Record"


@frozen(kw_only=True)
class Garbage:
    """What nothing needs any more: a resource by `kind` and `name`, or a release record (`kind` is ``Record``, `name` its number).

    `application` is empty where it belongs to the whole environment (images). `reason` says why nothing needs it.
    """

    kind: str
    name: str
    application: str
    reason: str

    @property
    def key(self) -> str:
        """The key of the resource, ``Kind/name``."""
        return f"{self.kind}/{self.name}"


def garbage(environment: Environment) -> tuple[Garbage, ...]:
    """Return what `collect` would remove, and remove nothing. While a deploy is under way, what it needs is not among it.

    Raises `I2kitError` when a record cannot be read: what it names may be needed.

    >>> import i2kit
    >>> i2kit.deploy(["examples/hello"], environment=environment).ok
    True
    >>> i2kit.garbage(environment)
    ()
    """
    with closing(connect(environment)) as driver:
        # Records after what is there: a run writes down what it wants before it makes it.
        observed = driver.observe()
        entries = {one: {record.number: decode(record) for record in driver.records(one)} for one in driver.applications()}
        return tuple(_garbage(observed, entries))


def collect(
    environment: Environment,
    *,
    options: DeployOptions = DeployOptions(),
    report: Report = silent,
    cancel: Cancel | None = None,
) -> tuple[Garbage, ...]:
    """Remove what nothing needs any more, and return what was removed.

    Every application of the environment is claimed meanwhile, so that no deploy relies on what goes. Safe to run again at any time, also
    after a run that was killed; a deploy takes over from one that was. Raises `Held`, with nothing removed, when another run holds one of
    the applications; `I2kitError` when something could not be removed (the rest is gone), `Interrupted` when `cancel` was set.

    >>> import i2kit
    >>> i2kit.deploy(["examples/hello"], environment=environment).ok
    True
    >>> i2kit.collect(environment)
    ()
    """
    with closing(connect(environment)) as driver:
        run = Run(driver=driver, environment=environment, registry=Registry(), options=options, report=report, cancel=cancel or never())
        claims = _Claims(run)
        try:
            claims.take()
            return _sweep(run, claims)
        finally:
            claims.withdraw()


class _Claims:
    """This run's claims on all applications of an environment: the diary of what is removed."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self.journals: dict[str, Journal] = {}

    def take(self) -> None:
        """Claim every application there is; raise `Held` when others hold some of them."""
        problems: list[Problem] = []
        # Until there are no new ones: an application that is deployed for the first time meanwhile counts as well.
        while new := [one for one in self._run.driver.applications() if one not in self.journals]:
            for application in new:
                try:
                    self._claim(application)
                except Held as error:
                    problems += [evolve(one, message=f"{application}: {one.message}") for one in error.problems]
            if problems:
                raise Held(problems)

    def _claim(self, application: str) -> None:
        journal = self._run.journal(application)
        entries = journal.read()
        plan = _newest_plan(entries) or planner.empty(target(self._run.environment, application))
        line = journal.claim(plan, take_over=self._run.options.take_over, action=HOUSEKEEPING)
        self.journals[application] = journal
        self._run.catch_up(entries)
        if line:
            self._run.report(Event(kind="taken-over", message=line))

    def step(self, done: Sequence[str], doing: Sequence[str], positions: Mapping[str, Position] | None = None) -> None:
        """Write down in every application's records what comes next: whoever was displaced in one of them stops."""
        for journal in self.journals.values():
            journal.step(done, doing)

    def clear(self) -> None:
        """Remove what the newest step in each application's records stands for."""
        for journal in self.journals.values():
            journal.clear()

    def lapses(self) -> bool:
        """Whether one of the claims is to be renewed."""
        return any(journal.lapses() for journal in self.journals.values())

    def entries(self) -> dict[str, Mapping[int, Entry]]:
        """Return the records of all applications by their numbers."""
        return {application: journal.entries for application, journal in self.journals.items()}

    def withdraw(self) -> None:
        """Give all claims back, after what runs of this kind that died left of theirs."""
        for application, journal in self.journals.items():
            journal.read()
            entries = journal.entries
            # The newest record is this run's claim, or that of whoever has taken over.
            holding = entries[max(entries)].run if entries else ""
            for number, entry in entries.items():
                if entry.action == HOUSEKEEPING and entry.run != holding:
                    self._run.driver.remove_record(application, number)
            journal.withdraw()


def _newest_plan(entries: Sequence[Entry]) -> Plan | None:
    """Return what was wanted last: a claim that repeats it says nothing new, however it ends."""
    return next((entry.plan for entry in reversed(entries) if entry.plan), None)


def _sweep(run: Run, claims: _Claims) -> tuple[Garbage, ...]:
    """Remove groups first, then what they used, then records."""
    observed = run.driver.observe()
    found = _garbage(observed, claims.entries())
    outcome = executor.apply(
        _deletes(run.environment.name, found, observed),
        observed,
        run.driver,
        claims,
        _tools(run),
        report=run.report,
        cancel=run.cancel,
    )
    records = [one for one in found if one.kind == RECORD]
    if records and not run.cancel.is_set():
        claims.step([], [one.key for one in records])
        for one in records:
            run.driver.remove_record(one.application, int(one.name))
    _refuse_unfinished(outcome)
    if run.cancel.is_set():
        raise Interrupted.of("interrupted", "the removal of what nothing needs was interrupted", hint="run the same command again to go on")
    return tuple(found)


def _deletes(environment: str, found: Iterable[Garbage], observed: Observed) -> Changes:
    """Return the removal of resources; what a group uses goes after it."""
    there = observed.by_key()
    reasons = {one.key: one.reason for one in found if one.key in there}
    users = {name: [user for user in reasons if name in there[user].resource.needs] for name in reasons}
    changes = tuple(
        Change(action="delete", resource=there[name].resource, reason=reason, observed=there[name], needs=tuple(users[name]))
        for name, reason in reasons.items()
    )
    return Changes(environment=environment, application="", changes=changes)


def _tools(run: Run) -> Tools:
    def build(image: Image, progress: Callable[[str], None]) -> Artefact:
        raise I2kitError.of("no-such-image", f"image {image.name} is not part of this run")

    return Tools(
        build=build,
        images={},
        secrets={},
        before=run.registry.before_change,
        after=run.registry.after_change,
        change_seconds=run.options.change_seconds,
        clock=run.options.clock,
    )


def _refuse_unfinished(outcome: Outcome) -> None:
    """Raise what kept resources from being removed; those that were only skipped because of it need no words of their own."""
    failed = [one for one in outcome.changes if one.result == "failed"]
    if failed:
        hint = "everything else is removed; run the same command again for the rest"
        raise I2kitError([Problem(code="not-removed", message=f"{one.key} was not removed: {one.message}", hint=hint) for one in failed])


def _garbage(observed: Observed, entries: Mapping[str, Mapping[int, Entry]]) -> list[Garbage]:
    """Return what neither a group nor a record that is kept needs; `entries` are all applications' records by their numbers."""
    old = {application: _superfluous(found) for application, found in entries.items()}
    kept = {
        application: [entry for number, entry in found.items() if number not in old[application] and entry.action != HOUSEKEEPING]
        for application, found in entries.items()
    }
    groups = [one for application, found in kept.items() for one in _left_over(application, observed, found)]
    going = {one.key for one in groups}
    used = {
        *(needed for one in observed.resources if key(one.resource) not in going for needed in one.resource.needs),
        *(name for found in kept.values() for entry in found if entry.plan for name in entry.plan.by_key()),
    }
    unused = [
        Garbage(
            kind=one.resource.kind,
            name=one.resource.name,
            application=one.resource.mark.application,
            reason="no group and no record that is kept uses it",
        )
        for one in observed.resources
        if isinstance(one.resource, Image | Secret) and key(one.resource) not in used
    ]
    records = [
        Garbage(kind=RECORD, name=str(number), application=application, reason=_why_old(entries[application][number]))
        for application, numbers in old.items()
        for number in numbers
    ]
    return [*groups, *sorted(unused, key=lambda one: one.key), *records]


def _superfluous(entries: Mapping[int, Entry]) -> tuple[int, ...]:
    """Return the numbers of records that nothing needs; those of a run that has not come to its end are all needed."""
    real = {number: entry for number, entry in entries.items() if entry.action != HOUSEKEEPING}
    over = max((number for number, entry in real.items() if entry.ended), default=0)
    return superfluous({number: entry for number, entry in real.items() if number <= over})


def _why_old(entry: Entry) -> str:
    if entry.kind == "release":
        return f"release {entry.release} is beyond what revisionHistoryLimit keeps"
    return "it is of a run that is over"


def _left_over(application: str, observed: Observed, entries: Sequence[Entry]) -> list[Garbage]:
    """Return the application's groups that its release has other groups in the place of, which are there and serve."""
    released = last_release(entries)
    if released is None or released.plan is None:
        return []
    since = entries[entries.index(released) :]
    named = {name for entry in since if entry.plan for name in entry.plan.by_key()}
    serving = {backend.group for one in _balancers(observed) for backend in one.backends if backend.weight > 0}
    successors = {(one.mark.namespace, one.mark.workload): one for one in planner.groups_of(released.plan)}
    found = []
    for seen in observed.resources:
        group = seen.resource
        if not isinstance(group, InstanceGroup) or group.mark.application != application:
            continue
        successor = successors.get((group.mark.namespace, group.mark.workload))
        if successor is None or key(group) in named or group.name in serving or not _is_whole(successor, observed):
            continue
        reason = f"it was left over: {successor.name} is what release {released.release} has of {group.mark.workload}"
        found.append(Garbage(kind=group.kind, name=group.name, application=application, reason=reason))
    return found


def _balancers(observed: Observed) -> list[Balancer]:
    return [one.resource for one in observed.resources if isinstance(one.resource, Balancer)]


def _is_whole(group: InstanceGroup, observed: Observed) -> bool:
    """Whether a group is there with as many ready members as it should have: until then another one may do its work."""
    seen = observed.by_key().get(key(group))
    wanted = group.scaling.minimum if group.scaling else group.replicas
    return seen is not None and sum(one.ready for one in seen.instances) >= wanted
