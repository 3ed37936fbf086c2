"""Deploys and destroys sample plans on the memory provider, as a process of its own would that may die at any moment."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from attrs import evolve, field, frozen
from i2kit_memory.driver import MemoryDriver
from i2kit_memory.plugin import PROVIDER
from i2kit_memory.region import Region

from i2kit import journal, operations, releases, stages
from i2kit import runs as i2kit_runs
from i2kit.driver import Driver, Provider
from i2kit.environment import Environment
from i2kit.events import Cancel, Report, silent
from i2kit.images.builder import Builder
from i2kit.manifest.workloads import SecretData, SecretValue, Workloads
from i2kit.plan import Observed, Outcome, Plan
from i2kit.records import Holder, this_process
from i2kit.registry import Registry
from i2kit.resources import InstanceGroup, key
from i2kit.runs import DeployOptions
from i2kit.testing.context import sample_artefact
from i2kit.testing.samples import Samples

SAMPLES = Samples(provider="memory")
ENVIRONMENT = Environment(name="conformance", provider="memory")
WORKLOADS = Workloads(
    workloads=(),
    secrets=(SecretData(name="credentials", namespace="default", data={"user": SecretValue(b"u"), "password": SecretValue(b"p")}),),
)


def dead_process() -> Holder:
    """A holder on this machine whose process is gone: no process started before the first tick."""
    return evolve(this_process(), started="0")


def memory(region: Region | None = None) -> MemoryDriver:
    return MemoryDriver(region or Region("conformance"))


@functools.cache
def registry_of(folder: Path) -> Registry:
    """Return a registry that knows this provider, and a builder of sample images; made once, since looking for plug-ins takes its time."""
    builder = Builder(
        name="assembler",
        summary="makes sample files",
        version=lambda: "1",
        formats=PROVIDER.formats,
        build=lambda request: sample_artefact(request.image, folder),
        check=lambda: (),
    )

    class SampleRegistry(Registry):
        def provider(self, name: str) -> Provider:
            return PROVIDER

        def builders(self) -> dict[str, Builder]:
            return {builder.name: builder}

    return SampleRegistry()


@frozen(kw_only=True)
class Run:
    """One command, as its own process: it dies when its driver kills it, and is dead when the next one looks."""

    driver: Driver
    folder: Path
    holder: Holder = field(factory=this_process)
    options: DeployOptions = field(factory=DeployOptions)
    cancel: Cancel = field(factory=threading.Event)
    report: Report = silent

    def deploy(self, plan: Plan) -> Outcome:
        with self._in_place():
            return operations.apply(plan, ENVIRONMENT, workloads=WORKLOADS, options=self.options, report=self.report, cancel=self.cancel)

    def destroy(self, application: str) -> Outcome:
        with self._in_place():
            return operations.destroy(environment=ENVIRONMENT, application=application, report=self.report, cancel=self.cancel)

    def rollback(self, to: int) -> Outcome:
        with self._in_place():
            return releases.rollback(ENVIRONMENT, SAMPLES.application, to=to, options=self.options, report=self.report, cancel=self.cancel)

    @contextmanager
    def _in_place(self) -> Iterator[None]:
        """Put this run's driver, its process and a builder of sample images in the place of the real ones."""
        registry = registry_of(self.folder)
        with (
            patch.object(operations, "Registry", lambda: registry),
            patch.object(i2kit_runs, "Registry", lambda: registry),
            patch.object(stages, "Registry", lambda: registry),
            patch.object(operations, "connect", lambda _environment: self.driver),
            patch.object(releases, "connect", lambda _environment: self.driver),
            patch.object(journal, "this_process", lambda: self.holder),
        ):
            yield


def groups(observed: Observed) -> dict[str, int]:
    """The groups that there are, by name, with their sizes."""
    return {one.resource.name: len(one.instances) for one in observed.resources if isinstance(one.resource, InstanceGroup)}


def keys(observed: Observed) -> set[str]:
    return {key(one.resource) for one in observed.resources}
