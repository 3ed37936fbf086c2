"""The command that removes what nothing needs any more: gc."""

from __future__ import annotations

from typing import TYPE_CHECKING

from i2kit.cli.session import Session
from i2kit.errors import ExitCode
from i2kit.wire import to_data

if TYPE_CHECKING:
    from i2kit.housekeeping import Garbage


def gc(session: Session) -> ExitCode:
    """Show what nothing needs any more; with ``--yes``, remove it."""
    arguments, environment = session.arguments, session.environment
    found: tuple[Garbage, ...]
    if arguments.yes:
        options = session.api.DeployOptions(take_over=arguments.take_over)
        with session.progress() as report:
            found = session.api.collect(environment, options=options, report=report, cancel=session.cancel)
    else:
        found = session.api.garbage(environment)
    if arguments.output != "table":
        session.output.document([to_data(one) for one in found], arguments.output)
    else:
        if found:
            session.output.table(
                ("KIND", "NAME", "APPLICATION", "REASON"), [(one.kind, one.name, one.application or "-", one.reason) for one in found]
            )
        session.output.line(f"{len(found)} {'removed' if arguments.yes else 'to remove'} in environment {environment.name}")
    if found and not arguments.yes:
        session.messages.say("nothing was removed; `i2kit gc --yes` removes it")
    return ExitCode.OK
