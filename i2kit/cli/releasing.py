"""The commands about releases and rollouts: history, rollback, and rollout status, promote, abort and restart."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from i2kit.cli.flags import UsageError
from i2kit.cli.outcomes import present
from i2kit.cli.previews import show_preview
from i2kit.cli.session import Session
from i2kit.errors import ExitCode
from i2kit.wire import to_data

if TYPE_CHECKING:
    from i2kit.pauses import RolloutStatus
    from i2kit.releases import Release


def history(session: Session) -> ExitCode:
    """List the releases, the oldest first."""
    name = session.only_application()
    releases: tuple[Release, ...] = session.api.history(session.environment, name) if name else ()
    if session.arguments.output != "table":
        session.output.document([{**to_data(one), "time": _moment(one.time)} for one in releases], session.arguments.output)
    elif releases:
        rows = [
            (
                str(one.number),
                "*" if one.current else "-",
                _moment(one.time),
                one.action,
                ", ".join(f"{workload.name} {workload.revision}" for workload in one.workloads),
                ", ".join(dict.fromkeys(image for workload in one.workloads for image in workload.images)),
                one.by,
            )
            for one in releases
        ]
        session.output.table(("RELEASE", "NOW", "TIME", "ACTION", "REVISIONS", "IMAGES", "BY"), rows)
    else:
        application = f"application {name}" if name else "any application"
        session.output.line(f"there is no release of {application} in environment {session.environment.name}")
    return ExitCode.OK


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def rollback(session: Session) -> ExitCode:
    """Return to an earlier release, or show what that would change."""
    arguments, name = session.arguments, _application(session)
    which = {"to": arguments.to, "workload": arguments.workload, "options": _options(session)}
    if arguments.dry_run:
        show_preview(session, session.api.preview_rollback(session.environment, name, **which))
        return ExitCode.OK
    with session.progress() as report:
        outcome = session.api.rollback(session.environment, name, **which, report=report, cancel=session.cancel)
    return present(session, outcome)


def rollout_status(session: Session) -> ExitCode:
    """Show where rollouts stand."""
    name, workload = session.only_application(), session.arguments.workload
    found: tuple[RolloutStatus, ...] = session.api.rollout_status(session.environment, name) if name else ()
    shown = [one for one in found if workload in (None, one.workload, one.workload.rpartition("/")[2])]
    if session.arguments.output != "table":
        session.output.document([to_data(one) for one in shown], session.arguments.output)
    elif shown:
        rows = [(one.workload, one.revision or "-", one.state, str(one.stage or "-"), one.message or "-") for one in shown]
        session.output.table(("WORKLOAD", "REVISION", "STATE", "STAGE", "MESSAGE"), rows)
    else:
        what = workload or name or "any application"
        session.output.line(f"no rollout of {what} is under way in environment {session.environment.name}")
    return ExitCode.OK


def promote(session: Session) -> ExitCode:
    """Let rollouts that pause go on."""
    return _carry_out(session, "promote")


def abort(session: Session) -> ExitCode:
    """Take rollouts back."""
    return _carry_out(session, "abort")


def restart(session: Session) -> ExitCode:
    """Replace VMs without a change."""
    return _carry_out(session, "restart")


def _carry_out(session: Session, verb: str) -> ExitCode:
    act: Any = getattr(session.api, verb)
    name = _application(session)
    with session.progress() as report:
        outcome = act(
            session.environment,
            name,
            workload=session.arguments.workload,
            options=_options(session),
            report=report,
            cancel=session.cancel,
        )
    return present(session, outcome)


def _options(session: Session) -> Any:
    return session.api.DeployOptions(take_over=session.arguments.take_over, change_seconds=session.arguments.timeout)


def _application(session: Session) -> str:
    """Return the application to change: the named one, or the only one there is."""
    name = session.only_application()
    if name is None:
        raise UsageError(f"environment {session.environment.name} holds no application", session.arguments.program)
    return name
