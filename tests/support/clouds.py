"""Deploys and destroys sample plans on a fake cloud, as a process of its own would; several may work on one cloud at once."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from attrs import evolve, field, frozen
from runs import WORKLOADS

from i2kit import operations, records, stages
from i2kit.driver import Driver, Provider
from i2kit.environment import Environment
from i2kit.events import Cancel, Report, silent
from i2kit.images.builder import Builder
from i2kit.operations import DeployOptions
from i2kit.plan import Outcome, Plan
from i2kit.records import Holder, this_process
from i2kit.registry import Registry
from i2kit.testing.cloud import FakeCloud
from i2kit.testing.context import sample_artefact
from i2kit.testing.samples import Samples

SAMPLES = Samples(provider="fake")
"""Makes plans for the cloud of `Operator`s: one whose environment is called `conformance`."""


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
            build=lambda request: sample_artefact(request.image, folder),
            check=lambda: (),
        )

    def provider(self, name: str) -> Provider:
        return self._provider

    def builders(self) -> dict[str, Builder]:
        return {self._builder.name: self._builder}


@functools.cache
def registry_of(cloud: FakeCloud, folder: Path) -> Registry:
    """Return the cloud's registry; made once, since looking for plug-ins takes its time."""
    return CloudRegistry(cloud.provider(), folder)


@frozen(kw_only=True)
class Operator:
    """Runs commands on a cloud, each by the cloud's clock; `driver` is a new one for each command unless given (to kill it, for example).

    Only one thread at a time may run commands in place of the real parts: operators that work at once share one `in_place`.
    """

    cloud: FakeCloud
    folder: Path
    driver: Driver | None = None
    holder: Holder = field(factory=this_process)
    options: DeployOptions = field(factory=DeployOptions)
    cancel: Cancel = field(factory=threading.Event)
    report: Report = silent

    @property
    def environment(self) -> Environment:
        return Environment(name=self.cloud.environment, provider="fake")

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

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Put the cloud, this operator's driver and process, and a builder of sample images in the place of the real ones."""
        registry = registry_of(self.cloud, self.folder)
        with (
            patch.object(operations, "Registry", lambda: registry),
            patch.object(stages, "Registry", lambda: registry),
            patch.object(operations, "connect", lambda _environment: self.driver or self.cloud.driver()),
            patch.object(records, "this_process", lambda: self.holder),
        ):
            yield
