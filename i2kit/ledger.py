"""What becomes of each change of a run: written down once, and told to whoever listens."""

from __future__ import annotations

from i2kit.courses import Course
from i2kit.endings import ending_of
from i2kit.events import Event, Report
from i2kit.log import logger
from i2kit.plan import ChangeOutcome, Changes, Outcome, Result
from i2kit.resources import InstanceGroup, key
from i2kit.steps import Done, Undone
from i2kit.tools import Tools
from i2kit.underway import UnderWay


class Ledger:
    """The outcomes of one run; only the executor's loop writes them."""

    def __init__(self, run: UnderWay, tools: Tools, report: Report) -> None:
        self._run = run
        self._tools = tools
        self._report = report

    def arrive(self, course: Course, end: Done | Undone) -> None:
        """End a rollout: give each of its changes its outcome."""
        run = self._run
        course.over = run.moved = True
        rollout = course.rollout
        name = key(rollout.new)
        if isinstance(end, Undone):
            self._undone(course, end)
            return
        for each in (name, *(key(old) for old in rollout.olds)):
            run.ready.add(each)
            run.applied.add(each)
            self._close(each, "done" if each in course.touched else "unchanged", seconds=self._since(course))
        for each in rollout.balancers:
            if all(one.over for one in run.courses.values() if each in one.rollout.balancers) and each not in run.outcomes:
                run.ready.add(each)
                run.applied.add(each)
                touched = any(each in one.touched for one in run.courses.values())
                self._close(each, "done" if touched else "unchanged", seconds=self._since(course))

    def _undone(self, course: Course, end: Undone) -> None:
        run = self._run
        name = key(course.rollout.new)
        ending = ending_of(course, end, there=run.world.group(course.rollout.new.name) is not None)
        run.applied.discard(name)
        outcome = ChangeOutcome(
            key=name,
            action=run.changes[name].action,
            result=ending.result,
            message=ending.message,
            seconds=self._since(course),
            log=course.log,
            rolled_back=ending.rolled_back,
        )
        self.finish(outcome)
        for each in course.keys:
            if each not in run.outcomes:
                run.applied.discard(each)
                self._skip(each, outcome)

    def pause(self, course: Course, reason: str) -> None:
        """End a rollout that waits for somebody."""
        run = self._run
        course.over = course.paused = run.moved = True
        for name in course.keys:
            if name not in run.outcomes:
                self._close(name, "paused", reason, seconds=self._since(course))

    def _close(self, name: str, result: Result, message: str = "", seconds: float = 0.0) -> None:
        run = self._run
        if name in run.outcomes or name not in run.changes:
            return
        change = run.changes[name]
        # A group that was to stay as it is may still have come to nothing: what is gated by it has to know.
        if change.action == "no-op" and (result == "unchanged" or not isinstance(change.resource, InstanceGroup)):
            result, message = "unchanged", change.reason
        self.finish(ChangeOutcome(key=name, action=change.action, result=result, message=message, seconds=seconds))

    def skip_dependents(self) -> None:
        """What needs something that will not be there is not tried."""
        run = self._run
        progress = True
        while progress:
            progress = False
            for change in list(run.waiting.values()):
                if stopped := next((one for name in (*change.needs, *change.gates) if (one := run.stopped(name))), None):
                    del run.waiting[change.key]
                    self._skip(change.key, stopped)
                    progress = True
            for course in run.courses.values():
                needs = run.changes[key(course.rollout.new)].needs
                if course.started is None and not course.over and (stopped := next((one for n in needs if (one := run.stopped(n))), None)):
                    course.over = progress = True
                    for name in course.keys:
                        self._skip(name, stopped)

    def _skip(self, name: str, cause: ChangeOutcome) -> None:
        if cause.result in ("paused", "aborted"):
            self._close(name, cause.result, f"{cause.key} {'waits' if cause.result == 'paused' else 'was aborted'}")
        else:
            self._close(name, "skipped", f"{cause.key} failed")

    def finish(self, outcome: ChangeOutcome) -> None:
        """Write down what became of a change, and tell whoever listens."""
        self._run.outcomes[outcome.key] = outcome
        logger("i2kit.ledger").info(
            "change-finished", key=outcome.key, action=outcome.action, result=outcome.result, seconds=round(outcome.seconds, 3)
        )
        self._report(Event(kind="change-finished", key=outcome.key, message=outcome.message or outcome.result))
        for line in outcome.log:
            self._report(Event(kind="log", key=outcome.key, message=line))
        try:
            self._tools.after(self._run.changes[outcome.key], outcome)
        except Exception as error:  # who only listens must not stop what he listens to
            self._report(Event(kind="notice", key=outcome.key, message=f"a plug-in failed: {type(error).__name__}: {error}"))

    def _since(self, course: Course) -> float:
        return self._tools.clock.now() - course.started if course.started is not None else 0.0

    def outcome(self, changes: Changes, *, stopped: bool) -> Outcome:
        """Put the outcomes into the order of the changes; what a run that was `stopped` did not get to is skipped."""
        run = self._run
        left = [change for change in changes.changes if change.key not in run.outcomes]
        interrupted = stopped and bool(run.busy or left)
        for change in left:
            run.outcomes[change.key] = ChangeOutcome(
                key=change.key, action=change.action, result="skipped", message="interrupted before it was done"
            )
        return Outcome(
            application=changes.application,
            environment=changes.environment,
            changes=tuple(run.outcomes[change.key] for change in changes.changes),
            interrupted=interrupted,
        )
