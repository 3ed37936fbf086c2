"""Deploys and destroys sample plans on a cloud for tests, as a process of its own would; several may work on one cloud at once."""

from __future__ import annotations

import functools
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol
from unittest.mock import patch

from attrs import evolve, field, frozen
from runs import WORKLOADS

from i2kit import housekeeping, journal, operations, pauses, releases, stages
from i2kit import runs as i2kit_runs
from i2kit.calls import limited
from i2kit.clock import Clock
from i2kit.driver import Driver, Provider
from i2kit.environment import Environment
from i2kit.events import Cancel, Report, silent
from i2kit.housekeeping import Garbage
from i2kit.images.builder import Builder
from i2kit.pauses import RolloutStatus
from i2kit.plan import Outcome, Plan
from i2kit.records import Holder, this_process
from i2kit.registry import Registry
from i2kit.releases import Release
from i2kit.runs import DeployOptions
from i2kit.testing.context import sample_artefact
from i2kit.testing.samples import Samples

SAMPLES = Samples(provider="fake")
"""Makes plans for the cloud of `Operator`s: one whose environment is called `conformance`."""


class Cloud(Protocol):
    """What operators work on: a `FakeCloud`, or a real driver against a bed."""

    @property
    def environment(self) -> str: ...

    @property
    def clock(self) -> Clock: ...

    def driver(self) -> Driver: ...

    def provider(self) -> Provider: ...


class CloudRegistry(Registry):
    """Knows one cloud's provider, and a builder of sample images."""

    def __init__(self, provider: Provider, folder: Path) -> None:
        super().__init__()
        self._provider = provider
        self._builder = Builder(
            name="assembler",
            summary="makes sample files",
            version=lambda: "1",
            formats=provider.formats,
            # A folder of its own for each: operators at once may build the same image.
            build=lambda request: sample_artefact(request.image, Path(tempfile.mkdtemp(dir=folder))),
            check=lambda: (),
        )

    def provider(self, name: str) -> Provider:
        return self._provider

    def builders(self) -> dict[str, Builder]:
        return {self._builder.name: self._builder}


@functools.cache
def registry_of(cloud: Cloud, folder: Path) -> Registry:
    """Return the cloud's registry; made once, since looking for plug-ins takes its time."""
    return CloudRegistry(cloud.provider(), folder)


@frozen(kw_only=True)
class Operator:
    """Runs commands on a cloud, each by the cloud's clock; operators may be at work at once, each in a thread of its own.

    `driver` is a new one for each command unless given (to kill it, for example).
    """

    cloud: Cloud
    folder: Path
    driver: Driver | None = None
    holder: Holder = field(factory=this_process)
    options: DeployOptions = field(factory=DeployOptions)
    cancel: Cancel = field(factory=threading.Event)
    report: Report = silent

    @property
    def environment(self) -> Environment:
        return Environment(name=self.cloud.environment, provider=self.cloud.provider().name)

    @property
    def timed(self) -> DeployOptions:
        return evolve(self.options, clock=self.cloud.clock)

    def deploy(self, plan: Plan) -> Outcome:
        with self.in_place():
            return operations.apply(plan, self.environment, workloads=WORKLOADS, options=self.timed, report=self.report, cancel=self.cancel)

    def destroy(self, application: str = "sample") -> Outcome:
        with self.in_place():
            return operations.destroy(
                environment=self.environment, application=application, options=self.timed, report=self.report, cancel=self.cancel
            )

    def rollback(self, to: int | None = None, workload: str | None = None) -> Outcome:
        return self._on_sample(releases.rollback, to=to, workload=workload)

    def restart(self, workload: str | None = None) -> Outcome:
        return self._on_sample(releases.restart, workload=workload)

    def promote(self, workload: str | None = None) -> Outcome:
        return self._on_sample(pauses.promote, workload=workload)

    def abort(self, workload: str | None = None) -> Outcome:
        return self._on_sample(pauses.abort, workload=workload)

    def _on_sample(self, command: Callable[..., Outcome], **arguments: Any) -> Outcome:
        with self.in_place():
            return command(self.environment, SAMPLES.application, **arguments, options=self.timed, report=self.report, cancel=self.cancel)

    def history(self) -> tuple[Release, ...]:
        with self.in_place():
            return releases.history(self.environment, SAMPLES.application)

    def rollouts(self) -> tuple[RolloutStatus, ...]:
        with self.in_place():
            return pauses.rollout_status(self.environment, SAMPLES.application)

    def collect(self) -> tuple[Garbage, ...]:
        with self.in_place():
            return housekeeping.collect(self.environment, options=self.timed, report=self.report, cancel=self.cancel)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """In this thread, put the cloud, this operator's driver and process, and a builder of sample images in place of the real ones."""
        with _PATCHES.held():
            before = getattr(_AT_WORK, "operator", None)
            _AT_WORK.operator = self
            try:
                yield
            finally:
                _AT_WORK.operator = before


def _at_work() -> Operator:
    operator: Operator = _AT_WORK.operator
    return operator


def _registry() -> Registry:
    return registry_of(_at_work().cloud, _at_work().folder)


def _connect(_environment: Environment) -> Driver:
    """As `stages.connect` does, by the cloud's clock."""
    operator = _at_work()
    return limited(operator.cloud.provider(), operator.driver or operator.cloud.driver(), operator.cloud.clock)


class _Patches:
    """What is patched for as long as any operator is at work: everything asks the operator of its own thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holders = 0
        self._stack = ExitStack()

    @contextmanager
    def held(self) -> Iterator[None]:
        with self._lock:
            self._holders += 1
            if self._holders == 1:
                for module in (stages, i2kit_runs, operations, housekeeping):
                    self._stack.enter_context(patch.object(module, "Registry", _registry))
                for module in (operations, releases, pauses, housekeeping):
                    self._stack.enter_context(patch.object(module, "connect", _connect))
                self._stack.enter_context(patch.object(journal, "this_process", lambda: _at_work().holder))
        try:
            yield
        finally:
            with self._lock:
                self._holders -= 1
                if self._holders == 0:
                    self._stack.close()


_AT_WORK = threading.local()
_PATCHES = _Patches()
