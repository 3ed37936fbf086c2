"""Changes -> Outcome: the only writer. Parallel, idempotent, resumable, cancellable.

One loop decides and writes the journal; a pool of threads applies changes and looks at groups. A change starts when what it needs is
applied and the groups it is gated by are ready; groups, and the balancers that move with them, change step by step as their rollouts
say. What depends on a failure is skipped, everything else goes on.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial
from types import MappingProxyType
from typing import Any

from attrs import evolve

from i2kit.courses import Course, Stage
from i2kit.driver import Driver
from i2kit.errors import I2kitError, Interrupted
from i2kit.events import Cancel, Event, Report
from i2kit.ledger import Ledger
from i2kit.plan import Change, ChangeOutcome, Changes, GroupHealth, Observed, Outcome
from i2kit.resources import Balancer, Resource, key
from i2kit.rollout import next_step
from i2kit.steps import Advance, Done, Pause, Remove, Rollout, Undone, Wait
from i2kit.tools import ChangeContext, Diary, Tools
from i2kit.underway import Call, UnderWay
from i2kit.world import World

POLL_SECONDS = 0.25
LOOK_SECONDS = 0.5
LOG_LINES = 20
# More than a rollout can stand on in one turn.
_ADVANCES = 100


def apply(
    changes: Changes,
    observed: Observed,
    driver: Driver,
    journal: Diary,
    tools: Tools,
    *,
    released: Mapping[str, Resource] = MappingProxyType({}),
    report: Report,
    cancel: Cancel,
) -> Outcome:
    """Apply `changes`, found at `observed`, under the journal's claim, until every rollout has arrived, pauses or is undone.

    `released` are the resources of the last good release by their keys: what a workload whose new revision fails is given back.
    Raises `Held` when another run takes the application over.
    """
    return _Executor(driver, journal, tools, report, cancel).run(changes, observed, released)


class _Executor:
    def __init__(self, driver: Driver, journal: Diary, tools: Tools, report: Report, cancel: Cancel) -> None:
        self._driver = driver
        self._journal = journal
        self._tools = tools
        self._report = report
        self._cancel = cancel
        self._clock = tools.clock
        self._abandoned = threading.Event()
        # How many calls are made at once is up to `calls.py`; those that wait to be tried again must not keep others from being made.
        self._pool = ThreadPoolExecutor(2 * tools.concurrency, thread_name_prefix="i2kit-apply")
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="i2kit-journal")
        self._clearer = ThreadPoolExecutor(1, thread_name_prefix="i2kit-clear")
        self._watchers = ThreadPoolExecutor(tools.concurrency, thread_name_prefix="i2kit-watch")

    def run(self, changes: Changes, observed: Observed, released: Mapping[str, Resource]) -> Outcome:
        run = self._begin(changes, observed, released)
        self._ledger = Ledger(run, self._tools, self._report)
        try:
            while run.busy and not (self._cancel.is_set() and not run.under_way):
                self._turn(run)
        finally:
            # After an error or a second Ctrl-C nobody waits for calls that are still under way: running again completes them. They stop
            # where they can: a run that was displaced must not go on beside the one that displaced it.
            self._abandoned.set()
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._watchers.shutdown(wait=False, cancel_futures=True)
            self._writer.shutdown(wait=True, cancel_futures=True)
            self._clearer.shutdown(wait=True, cancel_futures=True)
        return self._ledger.outcome(changes, stopped=self._cancel.is_set())

    def _begin(self, changes: Changes, observed: Observed, released: Mapping[str, Resource]) -> UnderWay:
        by_key = {change.key: change for change in changes.changes}
        now = self._clock.now()
        courses = {one.workload: Course(rollout=one, progressed=now) for one in changes.rollouts if not _arrived(by_key, one)}
        driven = {name for course in courses.values() for name in course.keys}
        run = UnderWay(
            stage=Stage.of(by_key, released, World.of(observed, changes.changes, self._tools.lag_seconds, now), changes.rollouts),
            waiting={change.key: change for change in changes.pending if change.key not in driven},
            courses=courses,
        )
        for change in changes.changes:
            if change.action == "no-op" and change.key not in driven:
                run.applied.add(change.key)
                run.ready.add(change.key)
                run.outcomes[change.key] = ChangeOutcome(key=change.key, action="no-op", result="unchanged", message=change.reason)
        return run

    def _turn(self, run: UnderWay) -> None:
        if not self._cancel.is_set():
            self._ledger.skip_dependents()
        if run.writing is None:
            self._start(run)
        if not self._cancel.is_set():
            self._look(run)
        futures: list[Future[Any]] = [*run.running, *run.looks, *([run.writing] if run.writing else [])]
        if futures:
            wait(futures, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
        elif run.busy:
            self._clock.sleep(POLL_SECONDS)
        self._begin_chosen(run)
        self._collect(run)

    def _start(self, run: UnderWay) -> None:
        """Choose whatever can be begun. It begins once the records name it, and they are written while the rest goes on."""
        if not self._cancel.is_set():
            run.chosen = self._choices(run)
        if not run.chosen and not run.moved:
            # Also while a run that is to stop finishes its steps: it holds the application until then.
            if self._journal.lapses():
                run.writing = self._writer.submit(self._journal.step, sorted(run.applied), run.doing)
            return
        run.moved = False
        run.writing = self._writer.submit(self._journal.step, sorted(run.applied), run.doing, run.positions)

    def _choices(self, run: UnderWay) -> list[Call]:
        begun: list[Call] = []
        for change in list(run.waiting.values()):
            if all(one in run.applied for one in change.needs) and all(gate in run.ready for gate in change.gates):
                del run.waiting[change.key]
                begun.append(((change.key,), partial(self._apply_one, change), partial(self._applied, run, change)))
        taken = {name for keys, _, _ in begun for name in keys} | set(run.doing)
        for course in run.courses.values():
            if not (course.over or course.busy) and (step := self._step(run, course, taken)) is not None:
                taken |= set(step[0])
                course.busy = True
                begun.append(step)
        return begun

    def _begin_chosen(self, run: UnderWay) -> None:
        """Begin what the records name by now; raise what writing them raised."""
        if run.writing is None or not run.writing.done():
            return
        run.writing.result()
        if run.clearing is None or run.clearing.done():
            run.clearing = self._clearer.submit(self._journal.clear)
        chosen, run.writing, run.chosen = run.chosen, None, []
        if not self._cancel.is_set():
            for keys, call, answer in chosen:
                run.running[self._pool.submit(call)] = (keys, answer)

    def _step(self, run: UnderWay, course: Course, taken: set[str]) -> Call | None:
        """Ask a rollout what comes next; return what is to be called for it, if anything is."""
        change, now = run.changes[key(course.rollout.new)], self._clock.now()
        if not all(one in run.applied for one in change.needs) or (not course.news and now - course.asked < POLL_SECONDS):
            return None
        course.asked, course.news = now, False
        if course.started is None:
            course.started = course.progressed = self._clock.now()
        for _ in range(_ADVANCES):
            now = self._clock.now()
            action = next_step(course.rollout, run.stage.seen(course, now), now)
            match action:
                case Wait():
                    return None
                case Pause(reason=reason):
                    self._ledger.pause(course, reason)
                    return None
                case Done() | Undone():
                    self._ledger.arrive(course, action)
                    return None
                case Advance(position=position, reason=reason):
                    run.moved = True
                    self._report(Event(kind="progress", key=change.key, message=reason))
                    if position.undo and not course.rollout.undoing:
                        return self._give_up(run, course, position.undo)
                    course.rollout = evolve(course.rollout, position=position)
                case _:
                    changes = run.stage.changes_of(action, course)
                    keys = tuple(one.key for one in changes)
                    if taken.intersection(keys):
                        return None
                    return (keys, partial(self._apply_in_turn, changes), partial(self._moved, run, course, action))
        return None

    def _give_up(self, run: UnderWay, course: Course, reason: str) -> Call | None:
        """Turn a rollout back; the failed group's last lines are kept before it goes."""
        course.failure, course.rollout = reason, course.rollout.give_up(reason)
        course.progressed = self._clock.now()
        run.moved = True
        group = course.rollout.new
        self._report(Event(kind="rolled-back", key=key(group), message=reason))

        def heard(lines: tuple[str, ...]) -> None:
            course.log, course.busy, course.news = lines, False, True

        if run.world.group(group.name) is None:
            return None
        return ((), partial(self._last_lines, group.name), heard)

    def _apply_one(self, change: Change) -> ChangeOutcome:
        start = time.monotonic()
        self._report(Event(kind="change-started", key=change.key, message=f"{change.action}: {change.reason}"))
        context = ChangeContext(
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
        except Interrupted as error:
            return ChangeOutcome(key=change.key, action=change.action, result="skipped", message=str(error))
        except I2kitError as error:
            return _failure(change, str(error), time.monotonic() - start)
        except Exception as error:  # a driver's bug must not take down the changes beside it
            return _failure(change, f"{type(error).__name__}: {error}", time.monotonic() - start)
        return ChangeOutcome(key=change.key, action=change.action, result="done", seconds=time.monotonic() - start)

    def _apply_in_turn(self, changes: Sequence[Change]) -> list[tuple[Change, ChangeOutcome]]:
        """Apply changes one after the other as far as they succeed."""
        done: list[tuple[Change, ChangeOutcome]] = []
        for change in changes:
            done.append((change, self._apply_one(change)))
            if done[-1][1].result != "done":
                break
        return done

    def _applied(self, run: UnderWay, change: Change, outcome: ChangeOutcome) -> None:
        """Take the answer to a change that belongs to no rollout."""
        if outcome.result == "done":
            run.world.applied(change, self._clock.now())
            run.applied.add(change.key)
            run.ready.add(change.key)
        if outcome.result != "skipped":  # an interrupted one is told with those that had not begun
            self._ledger.finish(outcome)

    def _moved(self, run: UnderWay, course: Course, action: Any, tried: list[tuple[Change, ChangeOutcome]]) -> None:
        """Take the answer to a step of a rollout."""
        course.busy, course.news = False, True
        course.progressed = self._clock.now()
        run.world.outdate(course.groups)
        for change, outcome in tried:
            course.touched.add(change.key)
            if outcome.result == "done":
                run.world.applied(change, course.progressed)
                # A balancer counts when the rollout has arrived: its names are not to change for a version that may be undone.
                if change.action != "delete" and not isinstance(change.resource, Balancer):
                    run.applied.add(change.key)
                continue
            run.world.half_applied(change, course.progressed)
            self._stumble(run, course, action, change, outcome)
        if isinstance(action, Remove) and action.leftover and key(action.group) not in run.outcomes and tried[-1][1].result == "done":
            run.applied.add(key(action.group))
            self._ledger.finish(tried[-1][1])

    def _stumble(self, run: UnderWay, course: Course, action: Any, change: Change, outcome: ChangeOutcome) -> None:
        """A step of a rollout failed: it is undone, unless it has arrived already, or was on its way back."""
        if self._cancel.is_set():
            course.failure = outcome.message
            return
        if isinstance(action, Remove) and (action.leftover or not course.rollout.undoing):
            self._ledger.finish(outcome)
            course.rollout = evolve(course.rollout, olds=tuple(one for one in course.rollout.olds if one.name != action.group.name))
            return
        reason = f"{change.action} {change.key}: {outcome.message}"
        if course.rollout.undoing:
            self._ledger.arrive(course, Undone(problem=f"putting it back failed: {reason}"))
            return
        step = self._give_up(run, course, reason)
        if step is not None:
            course.busy = True
            run.running[self._pool.submit(step[1])] = (step[0], step[2])

    def _look(self, run: UnderWay) -> None:
        """Look at every group that a rollout goes by, each at most every `LOOK_SECONDS`."""
        now = self._clock.now()
        under_way = {name for name, _, _ in run.looks.values()}
        for course in run.courses.values():
            if course.over or course.busy or course.started is None:
                continue
            for name in course.groups:
                if run.world.group(name) is None:
                    continue
                look = run.world.look(name)
                if course.news and look.fresh:
                    continue  # what was seen is still to be thought about
                version, at = run.looked.get(name, (-1, 0.0))
                if name not in under_way and (version != look.version or now - at >= LOOK_SECONDS):
                    run.looked[name] = (look.version, now)
                    run.looks[self._watchers.submit(self._driver.health, name)] = (name, look.version, now)

    def _collect(self, run: UnderWay) -> None:
        for future in [future for future in run.running if future.done()]:
            _, answer = run.running.pop(future)
            answer(future.result())
        for looked in [future for future in run.looks if future.done()]:
            name, version, began = run.looks.pop(looked)
            try:
                health = looked.result()
            except Exception as error:
                # Not being able to look is no proof of anything; the deadline decides.
                self._report(Event(kind="progress", key=f"InstanceGroup/{name}", message=str(error)))
                continue
            self._saw(run, name, health, version, began)

    def _saw(self, run: UnderWay, name: str, health: GroupHealth, version: int, began: float) -> None:
        course = run.courses[run.stage.owners[name]]
        if course.over or run.world.group(name) is None or not run.world.believes(name, began):
            return
        now, before = self._clock.now(), run.world.look(name)
        look = run.world.saw(name, health, now, version)
        course.news = True
        watched = course.rollout.stable if course.rollout.undoing and course.rollout.stable else course.rollout.new
        if name != watched.name:
            return
        best = (look.best, look.available(course.rollout.new.min_ready_seconds, now))
        if best[0] > course.best[0] or best[1] > course.best[1]:
            course.best = (max(best[0], course.best[0]), max(best[1], course.best[1]))
            course.progressed = now
        if look.best > before.best or before.last is None:
            self._report(Event(kind="progress", key=f"InstanceGroup/{name}", message=look.shortfall(course.rollout.size)))

    def _last_lines(self, group: str) -> tuple[str, ...]:
        try:
            lines = [
                f"{line.instance} [{line.container}] {line.text}" if line.container else f"{line.instance} {line.text}"
                for line in self._driver.logs(group, tail=LOG_LINES)
            ]
        except Exception as error:  # the log is an extra
            return (f"no log: {error}",)
        return tuple(lines)


def _arrived(changes: Mapping[str, Change], rollout: Rollout) -> bool:
    """Whether a rollout has nothing to do and nothing to wait for."""
    moving = [changes[name] for name in rollout.balancers]
    return changes[key(rollout.new)].is_ready and not rollout.olds and not rollout.undoing and all(one.action == "no-op" for one in moving)


def _failure(change: Change, message: str, seconds: float) -> ChangeOutcome:
    return ChangeOutcome(key=change.key, action=change.action, result="failed", message=message, seconds=seconds)
