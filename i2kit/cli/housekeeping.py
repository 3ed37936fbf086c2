"""The command that removes what nothing needs any more: gc."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from i2kit.cli.program import GO_ON
from i2kit.cli.session import Session
from i2kit.errors import ExitCode
from i2kit.wire import to_data

if TYPE_CHECKING:
    from i2kit.housekeeping import Garbage


def gc(session: Session) -> ExitCode:
    """Show what nothing needs any more; with ``--yes``, remove it."""
    housekeeping = import_module("i2kit.housekeeping")
    arguments, environment = session.arguments, session.environment
    options = session.api.DeployOptions()
    found: tuple[Garbage, ...]
    if arguments.yes:
        with session.progress() as report:
            found = housekeeping.collect(environment, options=options, report=report, cancel=session.cancel)
    else:
        found = housekeeping.garbage(environment, options=options)
    if arguments.output != "table":
        session.output.document([to_data(one) for one in found], arguments.output)
    else:
        if found:
            session.output.table(
                ("KIND", "NAME", "APPLICATION", "REASON"), [(one.kind, one.name, one.application or "-", one.reason) for one in found]
            )
        session.output.line(f"{len(found)} {'removed' if arguments.yes else 'to remove'} in environment {environment.name}")
    if session.cancel.is_set():
        session.messages.say(GO_ON)
        return ExitCode.INTERRUPTED
    if found and not arguments.yes:
        session.messages.say("nothing was removed; `i2kit gc --yes` removes it")
    return ExitCode.OK
