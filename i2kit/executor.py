"""Changes -> Outcome: the only writer. Parallel, idempotent, resumable, cancellable.

One loop decides and writes the journal; a pool of threads applies changes and looks at groups. A change starts when what it needs is
applied and the groups it is gated by are ready; what depends on a failure is skipped, everything else goes on.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from types import MappingProxyType
from typing import Any

from attrs import define, evolve, field, frozen

from i2kit.driver import Artefact, Driver
from i2kit.errors import I2kitError, Interrupted, ProviderError
from i2kit.events import Cancel, Event, Report
from i2kit.gates import Gate
from i2kit.log import logger
from i2kit.manifest.workloads import SecretValue
from i2kit.plan import Change, ChangeOutcome, Changes, GroupHealth, Outcome, Result
from i2kit.records import Journal
from i2kit.resources import Balancer, Image, InstanceGroup, Resource

POLL_SECONDS = 0.25
LOOK_SECONDS = 0.5
LOG_LINES = 20


@frozen(kw_only=True)
class Tools:
    """What the executor works with: where images are built, where secrets come from, who watches the changes.

    `secrets` are the values by `Secret` resource name; `before` may refuse a change by raising, `after` hears what became of it.
    `change_seconds` is the longest that a driver may take over one change.
    """

    build: Callable[[Image, Callable[[str], None]], Artefact]
    images: Mapping[str, Image]
    secrets: Mapping[str, Mapping[str, SecretValue]]
    before: Callable[[Change], None] = lambda _change: None
    after: Callable[[Change, ChangeOutcome], None] = lambda _change, _outcome: None
    change_seconds: float = 900.0
    concurrency: int = 8
    keep_failed: bool = False


@frozen(kw_only=True)
class _Context:
    """What a driver gets with a change (`i2kit.driver.Context`)."""

    change: Change
    tools: Tools
    report: Report
    cancel: Cancel
    abandoned: Cancel
    deadline: float

    def secret(self, name: str) -> Mapping[str, SecretValue]:
        if name not in self.tools.secrets:
            raise I2kitError.of("no-such-secret", f"the values of Secret {name} are not part of this run")
        return self.tools.secrets[name]

    def artefact(self, name: str) -> Artefact:
        if name not in self.tools.images:
            raise I2kitError.of("no-such-image", f"image {name} is not part of this run")
        return self.tools.build(self.tools.images[name], self.progress)

    def progress(self, message: str) -> None:
        self.report(Event(kind="progress", key=self.change.key, message=message))

    def check(self) -> None:
        if self.cancel.is_set() or self.abandoned.is_set():
            raise Interrupted.of("interrupted", f"{self.change.action} {self.change.key} was interrupted")
        if time.monotonic() > self.deadline:
            raise ProviderError.of(
                "change-timeout",
                f"{self.change.action} {self.change.key} took longer than {self.tools.change_seconds:.0f} s",
                hint="run the same command again to go on from here",
            )


@define(kw_only=True)
class _Run:
    """The state of one run; only the loop touches it."""

    changes: Mapping[str, Change]
    waiting: dict[str, Change]
    gates: dict[str, Gate] = field(factory=dict)
    running: dict[Future[ChangeOutcome], str] = field(factory=dict)
    looks: dict[Future[GroupHealth], str] = field(factory=dict)
    looked: dict[str, float] = field(factory=dict)
    applied: set[str] = field(factory=set)
    ready: set[str] = field(factory=set)
    removing: dict[str, ChangeOutcome] = field(factory=dict)
    outcomes: dict[str, ChangeOutcome] = field(factory=dict)
    started: dict[str, float] = field(factory=dict)

    @property
    def busy(self) -> bool:
        return bool(self.waiting or self.running or self.gates)

    def failed(self, name: str) -> bool:
        return name in self.outcomes and self.outcomes[name].result in ("failed", "skipped")


def apply(
    changes: Changes,
    driver: Driver,
    journal: Journal,
    tools: Tools,
    *,
    released: Mapping[str, Resource] = MappingProxyType({}),
    report: Report,
    cancel: Cancel,
) -> Outcome:
    """Apply `changes` under the journal's claim and wait until every group is ready.

    `released` are the resources of the last good release by their keys: a group that is not among them and does not become ready is
    removed again (unless `tools.keep_failed`, or it is all that is left), and balancers that were in front of it are put back.
    Raises `Held` when another run takes the application over.
    """
    executor = _Executor(driver, journal, tools, released, report, cancel)
    return executor.run(changes)


def is_ready(change: Change) -> bool:
    """Whether nothing is to be done for `change` and, if it is a group that is awaited, all its members were seen ready."""
    if change.action != "no-op" or not change.awaited or not isinstance(change.resource, InstanceGroup):
        return change.action == "no-op"
    return change.observed is not None and sum(one.ready for one in change.observed.instances) >= change.resource.replicas


def unchanged(changes: Changes) -> Outcome:
    """Return the outcome of a run that found nothing to do."""
    return Outcome(
        application=changes.application,
        environment=changes.environment,
        changes=tuple(
            ChangeOutcome(key=change.key, action=change.action, result="unchanged", message=change.reason) for change in changes.changes
        ),
    )


class _Executor:
    def __init__(
        self, driver: Driver, journal: Journal, tools: Tools, released: Mapping[str, Resource], report: Report, cancel: Cancel
    ) -> None:
        self._driver = driver
        self._journal = journal
        self._tools = tools
        self._released = released
        self._report = report
        self._cancel = cancel
        self._abandoned = threading.Event()
        self._pool = ThreadPoolExecutor(tools.concurrency, thread_name_prefix="i2kit-apply")
        self._watchers = ThreadPoolExecutor(4, thread_name_prefix="i2kit-watch")

    def run(self, changes: Changes) -> Outcome:
        run = _Run(
            changes={change.key: change for change in changes.changes},
            waiting={change.key: change for change in changes.pending},
        )
        self._settle_no_ops(run, changes)
        try:
            while run.busy and not (self._cancel.is_set() and not run.running):
                self._turn(run)
        finally:
            # After an error or a second Ctrl-C nobody waits for calls that are still under way: running again completes them. They stop
            # where they can: a run that was displaced must not go on beside the one that displaced it.
            self._abandoned.set()
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._watchers.shutdown(wait=False, cancel_futures=True)
        return self._outcome(run, changes)

    def _settle_no_ops(self, run: _Run, changes: Changes) -> None:
        """A no-op is applied; a group among them still has to be ready, unless it was seen to be."""
        for change in changes.changes:
            if change.action != "no-op":
                continue
            run.applied.add(change.key)
            if isinstance(change.resource, InstanceGroup) and not is_ready(change):
                run.gates[change.key] = Gate.open(change.resource, time.monotonic())
                continue
            run.ready.add(change.key)
            run.outcomes[change.key] = ChangeOutcome(key=change.key, action="no-op", result="unchanged", message=change.reason)

    def _turn(self, run: _Run) -> None:
        if not self._cancel.is_set():
            self._skip_dependents(run)
            self._start(run)
            self._look(run)
        # Also while a run that is to stop finishes its steps: it holds the application until then.
        self._journal.renew(sorted(run.applied), sorted(run.running.values()))
        futures: list[Future[Any]] = [*run.running, *run.looks]
        if futures:
            wait(futures, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
        elif run.busy:
            time.sleep(POLL_SECONDS)
        self._collect_applied(run)
        self._collect_looks(run)

    def _start(self, run: _Run) -> None:
        startable = [
            change
            for change in run.waiting.values()
            if all(needed in run.applied for needed in change.needs) and all(gate in run.ready for gate in change.gates)
        ]
        if not startable:
            return
        self._journal.step(sorted(run.applied), sorted([*run.running.values(), *(change.key for change in startable)]))
        for change in startable:
            del run.waiting[change.key]
            run.started[change.key] = time.monotonic()
            self._report(Event(kind="change-started", key=change.key, message=f"{change.action}: {change.reason}"))
            run.running[self._pool.submit(self._apply_one, change)] = change.key

    def _apply_one(self, change: Change) -> ChangeOutcome:
        start = time.monotonic()
        context = _Context(
            change=change,
            tools=self._tools,
            report=self._report,
            cancel=self._cancel,
            abandoned=self._abandoned,
            deadline=start + self._tools.change_seconds,
        )
        try:
            self._tools.before(change)
            self._driver.apply(change, context)
        except I2kitError as error:
            return _failure(change, str(error), time.monotonic() - start)
        except Exception as error:  # a driver's bug must not take down the changes beside it
            return _failure(change, f"{type(error).__name__}: {error}", time.monotonic() - start)
        return ChangeOutcome(key=change.key, action=change.action, result="done", seconds=time.monotonic() - start)

    def _collect_applied(self, run: _Run) -> None:
        for future in [future for future in run.running if future.done()]:
            name = run.running.pop(future)
            change, outcome = run.changes[name], future.result()
            if name in run.removing:
                failure = run.removing.pop(name)
                removed = "the group was removed" if outcome.result == "done" else f"removing it failed: {outcome.message}"
                self._finish(run, evolve(failure, message=f"{failure.message}; {removed}"))
                continue
            if outcome.result == "done":
                run.applied.add(name)
                if change.awaited and isinstance(change.resource, InstanceGroup):
                    run.gates[name] = Gate.open(change.resource, time.monotonic())
                    continue
                run.ready.add(name)
            self._finish(run, outcome)

    def _look(self, run: _Run) -> None:
        """Look at every group that is waited for, each at most every `LOOK_SECONDS`."""
        now = time.monotonic()
        under_way = set(run.looks.values())
        for name, gate in run.gates.items():
            if name not in under_way and now - run.looked.get(name, 0.0) >= LOOK_SECONDS:
                run.looked[name] = now
                run.looks[self._watchers.submit(self._driver.health, gate.group.name)] = name

    def _collect_looks(self, run: _Run) -> None:
        for future in [future for future in run.looks if future.done()]:
            name = run.looks.pop(future)
            if name not in run.gates:
                continue
            now, gate = time.monotonic(), run.gates[name]
            try:
                gate = gate.seen(future.result(), now)
            except Exception as error:
                # Not being able to look is no proof of anything; the deadline decides.
                self._report(Event(kind="progress", key=name, message=str(error)))
            if gate.best > run.gates[name].best or run.gates[name].last is None:
                self._report(Event(kind="progress", key=name, message=gate.shortfall()))
            run.gates[name] = gate
            verdict = gate.verdict(now)
            if verdict != "waiting":
                del run.gates[name]
                self._pass(run, name) if verdict == "ready" else self._give_up(run, name, gate)

    def _pass(self, run: _Run, name: str) -> None:
        run.ready.add(name)
        change = run.changes[name]
        result: Result = "unchanged" if change.action == "no-op" else "done"
        self._finish(run, ChangeOutcome(key=name, action=change.action, result=result, seconds=self._since(run, name)))

    def _give_up(self, run: _Run, name: str, gate: Gate) -> None:
        """A group did not become ready: keep its last words, and remove it unless a good release has it."""
        change = run.changes[name]
        failure = ChangeOutcome(
            key=name,
            action=change.action,
            result="failed",
            message=f"not ready after {gate.group.progress_deadline_seconds} s without progress: {gate.shortfall()}",
            seconds=self._since(run, name),
            log=self._last_lines(gate.group.name),
        )
        if name in self._released or self._tools.keep_failed or self._stands_alone(run, gate.group):
            self._finish(run, failure)
            return
        removal = Change(action="delete", resource=gate.group, reason="it did not become ready", observed=change.observed)
        self._report(Event(kind="change-started", key=name, message=f"delete: {removal.reason}"))
        run.removing[name] = failure
        run.applied.discard(name)
        back = self._put_back(run, gate.group)
        self._journal.step(sorted(run.applied), sorted([*run.running.values(), *(one.key for one in back), name]))
        run.running[self._pool.submit(self._apply_in_turn, [*back, removal])] = name

    def _stands_alone(self, run: _Run, group: InstanceGroup) -> bool:
        """Whether the groups that a failed one replaces are gone already (a run was killed after that): then it is all there is."""
        workload = (group.mark.namespace, group.mark.workload)
        groups = [one for one in self._released.values() if isinstance(one, InstanceGroup)]
        replaced = {one.name for one in groups if (one.mark.namespace, one.mark.workload) == workload}
        return bool(replaced) and not replaced & _groups_seen(run)

    def _put_back(self, run: _Run, group: InstanceGroup) -> list[Change]:
        """Return the moves of balancers from a group that failed to what the last good release had them in front of.

        A run that was killed after it had moved them leaves such balancers; within one run they move to groups that are ready only.
        """
        there = _groups_seen(run)
        return [
            Change(action="update", resource=before, reason=f"{group.name} did not become ready", observed=change.observed)
            for name, change in run.changes.items()
            if name in run.applied
            and isinstance(change.resource, Balancer)
            and group.name in {backend.group for backend in change.resource.backends}
            and isinstance(before := self._released.get(name), Balancer)
            and {backend.group for backend in before.backends} <= there
        ]

    def _apply_in_turn(self, changes: Sequence[Change]) -> ChangeOutcome:
        """Apply changes one after the other as far as they succeed; return the last outcome."""
        for change in changes[:-1]:
            outcome = self._apply_one(change)
            if outcome.result != "done":
                return outcome
        return self._apply_one(changes[-1])

    def _last_lines(self, group: str) -> tuple[str, ...]:
        try:
            lines = [
                f"{line.instance} [{line.container}] {line.text}" if line.container else f"{line.instance} {line.text}"
                for line in self._driver.logs(group, tail=LOG_LINES)
            ]
        except Exception as error:  # the log is an extra
            return (f"no log: {error}",)
        return tuple(lines)

    def _skip_dependents(self, run: _Run) -> None:
        progress = True
        while progress:
            progress = False
            for change in list(run.waiting.values()):
                broken = [name for name in (*change.needs, *change.gates) if run.failed(name)]
                if broken:
                    del run.waiting[change.key]
                    message = f"{broken[0]} failed"
                    self._finish(run, ChangeOutcome(key=change.key, action=change.action, result="skipped", message=message))
                    progress = True

    def _finish(self, run: _Run, outcome: ChangeOutcome) -> None:
        run.outcomes[outcome.key] = outcome
        logger("i2kit.executor").info(
            "change-finished", key=outcome.key, action=outcome.action, result=outcome.result, seconds=round(outcome.seconds, 3)
        )
        self._report(Event(kind="change-finished", key=outcome.key, message=outcome.message or outcome.result))
        for line in outcome.log:
            self._report(Event(kind="log", key=outcome.key, message=line))
        try:
            self._tools.after(run.changes[outcome.key], outcome)
        except Exception as error:  # who only listens must not stop what he listens to
            self._report(Event(kind="notice", key=outcome.key, message=f"a plug-in failed: {type(error).__name__}: {error}"))

    def _since(self, run: _Run, name: str) -> float:
        return time.monotonic() - run.started[name] if name in run.started else 0.0

    def _outcome(self, run: _Run, changes: Changes) -> Outcome:
        """Put the outcomes into the order of the changes; what a cancelled run did not get to is skipped."""
        interrupted = self._cancel.is_set() and run.busy
        for change in changes.changes:
            if change.key not in run.outcomes:
                run.outcomes[change.key] = ChangeOutcome(
                    key=change.key, action=change.action, result="skipped", message="interrupted before it was done"
                )
        return Outcome(
            application=changes.application,
            environment=changes.environment,
            changes=tuple(run.outcomes[change.key] for change in changes.changes),
            interrupted=interrupted,
        )


def _groups_seen(run: _Run) -> set[str]:
    return {one.observed.resource.name for one in run.changes.values() if one.observed and isinstance(one.resource, InstanceGroup)}


def _failure(change: Change, message: str, seconds: float) -> ChangeOutcome:
    return ChangeOutcome(key=change.key, action=change.action, result="failed", message=message, seconds=seconds)
