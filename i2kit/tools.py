"""What a run works with: where it writes, where images are built and secrets come from, and what a driver may ask for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from attrs import field, frozen

from i2kit.clock import Clock, SystemClock
from i2kit.driver import Artefact
from i2kit.errors import I2kitError, Interrupted, ProviderError
from i2kit.events import Cancel, Event, Report
from i2kit.manifest.workloads import SecretValue
from i2kit.plan import Change, ChangeOutcome
from i2kit.resources import Image
from i2kit.steps import Position


class Diary(Protocol):
    """Where a run writes down what it does, under its claim (`i2kit.journal.Journal`); raises `Held` once another run has taken over."""

    def step(self, done: Sequence[str], doing: Sequence[str], positions: Mapping[str, Position] | None = None) -> None:
        """Write down what is done, where rollouts stand and what comes next, before it comes."""
        ...

    def clear(self) -> None:
        """Remove what the newest step stands for; may go on beside everything else."""
        ...

    def lapses(self) -> bool:
        """Whether it is time to write something, so that the claim holds."""
        ...


@frozen(kw_only=True)
class Tools:
    """What the executor works with: where images are built, where secrets come from, who watches the changes.

    `secrets` are the values by `Secret` resource name; `before` may refuse a change by raising, `after` hears what became of it.
    `change_seconds` is the longest that a driver may take over one change, `concurrency` how many it makes at once,
    `lag_seconds` how old its answers may be.
    """

    build: Callable[[Image, Callable[[str], None]], Artefact]
    images: Mapping[str, Image]
    secrets: Mapping[str, Mapping[str, SecretValue]]
    before: Callable[[Change], None] = lambda _change: None
    after: Callable[[Change, ChangeOutcome], None] = lambda _change, _outcome: None
    change_seconds: float = 900.0
    concurrency: int = 8
    lag_seconds: float = 0.0
    clock: Clock = field(factory=SystemClock)


@frozen(kw_only=True)
class ChangeContext:
    """What a driver gets with a change (`i2kit.driver.Context`).

    With `cancel` set, a change that has not begun does not begin, and one that has goes on to its end; with `abandoned`, it stops where
    it can.
    """

    change: Change
    tools: Tools
    report: Report
    cancel: Cancel
    abandoned: Cancel
    deadline: float
    _begun: threading.Event = field(factory=threading.Event, init=False)

    def secret(self, name: str) -> Mapping[str, SecretValue]:
        """See `Context.secret`; raises `I2kitError` (code ``no-such-secret``) for values that nobody has given."""
        if name not in self.tools.secrets:
            raise I2kitError.of("no-such-secret", f"the values of Secret {name} are not part of this run")
        return self.tools.secrets[name]

    def artefact(self, name: str) -> Artefact:
        """See `Context.artefact`; raises `I2kitError` (code ``no-such-image``) for an image of another plan."""
        if name not in self.tools.images:
            raise I2kitError.of("no-such-image", f"image {name} is not part of this run")
        return self.tools.build(self.tools.images[name], self.progress)

    def progress(self, message: str) -> None:
        """See `Context.progress`."""
        self.report(Event(kind="progress", key=self.change.key, message=message))

    def check(self) -> None:
        """See `Context.check`."""
        if self.abandoned.is_set() or (self.cancel.is_set() and not self._begun.is_set()):
            raise Interrupted.of("interrupted", f"{self.change.action} {self.change.key} was interrupted")
        self._begun.set()
        if time.monotonic() > self.deadline:
            raise ProviderError.of(
                "change-timeout",
                f"{self.change.action} {self.change.key} took longer than {self.tools.change_seconds:.0f} s",
                hint="run the same command again to go on from here",
            )
