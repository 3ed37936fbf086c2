"""Deploys and destroys sample plans on the memory provider, as a process of its own would that may die at any moment."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from attrs import evolve, field, frozen
from i2kit_memory.driver import MemoryDriver
from i2kit_memory.region import Region

from i2kit import executor
from i2kit.diff import diff
from i2kit.driver import Driver
from i2kit.events import Cancel, Event, Report, silent
from i2kit.plan import Observed, Outcome, Plan
from i2kit.records import Holder, Journal, last_release, this_process
from i2kit.resources import Image, InstanceGroup, Secret, key
from i2kit.testing.context import SampleContext
from i2kit.testing.samples import Samples

SAMPLES = Samples()


def dead_process() -> Holder:
    """A holder on this machine whose process is gone: no process started before the first tick."""
    return evolve(this_process(), started="0")


def tools(plan: Plan, folder: Path, **changes: object) -> executor.Tools:
    context = SampleContext(folder)
    for resource in plan.resources:
        context.offer(resource)
    values = executor.Tools(
        build=lambda image, _progress: context.artefact(image.name),
        images={one.name: one for one in plan.resources if isinstance(one, Image)},
        secrets={one.name: context.secret(one.name) for one in plan.resources if isinstance(one, Secret)},
    )
    return evolve(values, **changes)  # type: ignore[arg-type]


@frozen(kw_only=True)
class Run:
    """One command, as its own process: it dies when its driver kills it, and is dead when the next one looks."""

    driver: Driver
    folder: Path
    holder: Holder | None = None
    take_over: bool = False
    keep_failed: bool = False
    cancel: Cancel = field(factory=threading.Event)
    report: Report = silent
    settings: dict[str, object] = field(factory=dict)

    def deploy(self, plan: Plan) -> Outcome:
        changes = diff(plan, self.driver.observe())
        journal = self._journal(plan)
        release = last_release(journal.read())
        self._claim(journal, plan)
        changes = diff(plan, self.driver.observe())
        released = release.plan.by_key() if release and release.plan else {}
        outcome = executor.apply(
            changes,
            self.driver,
            journal,
            tools(plan, self.folder, keep_failed=self.keep_failed, **self.settings),
            released=released,
            report=self.report,
            cancel=self.cancel,
        )
        done = [one.key for one in outcome.changes if one.result in ("done", "unchanged")]
        if outcome.ok:
            journal.release(done)
        else:
            journal.end(done, "failed")
        return outcome

    def destroy(self, application: str) -> Outcome:
        gone = evolve(SAMPLES, application=application).plan()
        journal = self._journal(gone)
        if not journal.read() and not diff(gone, self.driver.observe()).changes:
            return Outcome(application=application, environment=gone.environment, changes=())
        self._claim(journal, gone)
        changes = diff(gone, self.driver.observe())
        outcome = executor.apply(changes, self.driver, journal, tools(gone, self.folder), report=self.report, cancel=self.cancel)
        if outcome.ok:
            journal.remove_all()
        else:
            journal.end([], "destroy was not finished")
        return outcome

    def _journal(self, plan: Plan) -> Journal:
        return Journal(self.driver, plan.application, holder=self.holder)

    def _claim(self, journal: Journal, plan: Plan) -> None:
        line = journal.claim(plan, take_over=self.take_over)
        if line:
            self.report(Event(kind="taken-over", message=line))


def groups(observed: Observed) -> dict[str, int]:
    """The groups that there are, by name, with their sizes."""
    return {one.resource.name: len(one.instances) for one in observed.resources if isinstance(one.resource, InstanceGroup)}


def keys(observed: Observed) -> set[str]:
    return {key(one.resource) for one in observed.resources}


def memory(region: Region | None = None) -> MemoryDriver:
    return MemoryDriver(region or Region("conformance"))


Act = Callable[[Run], object]
