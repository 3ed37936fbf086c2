"""What a command works with: its arguments, the library, and the ways to the user."""

from __future__ import annotations

import sys
import threading
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any

from i2kit.cli.flags import UsageError
from i2kit.cli.interrupts import Interrupts
from i2kit.cli.messages import Messages
from i2kit.cli.output import Output

if TYPE_CHECKING:
    from i2kit.environment import Environment
    from i2kit.errors import Problem
    from i2kit.events import Report


class Session:
    """One run of the command. Nothing of the library is imported before a command asks for it."""

    def __init__(self, arguments: Namespace) -> None:
        self.arguments = arguments
        self.output = Output(sys.stdout)
        self.messages = Messages(sys.stderr)
        self.cancel = threading.Event()
        self.interrupts = Interrupts(self.cancel, gently=arguments.gently)

    @property
    def api(self) -> Any:
        """The library's public surface."""
        return import_module("i2kit.api")

    @cached_property
    def environment(self) -> Environment:
        """The environment that ``-e`` names, or the default one, with ``--builder`` in place of its own."""
        import attrs

        from i2kit.errors import InvalidInput

        try:
            environment: Environment = self.api.load_environment(getattr(self.arguments, "environment", None))
        except InvalidInput as error:
            raise InvalidInput([*error.problems, *self._problems_of_manifests()]) from error
        builder = getattr(self.arguments, "builder", None)
        return attrs.evolve(environment, builder=builder) if builder else environment

    def _problems_of_manifests(self) -> tuple[Problem, ...]:
        """Return what else is wrong, so that nobody corrects the environment only to hear of the manifests next."""
        from i2kit.errors import InvalidInput

        if self.arguments.reads_manifests:
            try:
                self.api.load(self.files, stdin=sys.stdin)
            except InvalidInput as error:
                return error.problems
        return ()

    @property
    def files(self) -> list[str]:
        """What ``-f`` names."""
        return self.arguments.file or []

    @property
    def manifests(self) -> dict[str, Any]:
        """The arguments of every function that reads manifests for an application."""
        return {"environment": self.environment, "application": self.arguments.application, "stdin": sys.stdin}

    @property
    def named_application(self) -> str | None:
        """The application that the command line or the environment names, if any does."""
        if not (self.arguments.application or self.environment.application or self.files):
            return None
        return str(self.api.application_of(self.environment, self.files, self.arguments.application))

    def only_application(self) -> str | None:
        """Return the named application, else the only one there is; None when there is none. Several are a `UsageError`."""
        if self.named_application is not None:
            return self.named_application
        known = self.api.applications(self.environment)
        if len(known) > 1:
            message = f"name the application with -a; environment {self.environment.name} holds {', '.join(known)}"
            raise UsageError(message, self.arguments.program)
        return known[0] if known else None

    @contextmanager
    def progress(self) -> Iterator[Report]:
        """Show what a run reports, as long as it lasts."""
        from i2kit.cli.progress import progress

        before = self.interrupts.tell
        with progress(self.messages, plain=self.arguments.debug) as shown:
            self.interrupts.tell = shown.note
            try:
                yield shown
            finally:
                self.interrupts.tell = before
