"""The commands that make something: deploy, destroy, build."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from i2kit.cli.arguments import UsageError
from i2kit.cli.files import copy_images
from i2kit.cli.program import GO_ON
from i2kit.cli.session import Session
from i2kit.errors import ExitCode, I2kitError
from i2kit.wire import to_data

if TYPE_CHECKING:
    from i2kit.plan import ChangeOutcome, Outcome

_TRIED = ("done", "failed")


def deploy(session: Session) -> ExitCode:
    """Make the manifests run, and show what became of each change."""
    arguments = session.arguments
    options = session.api.DeployOptions(
        update_base=arguments.update_base,
        keep_failed=arguments.keep_failed,
        take_over=arguments.take_over,
        no_cache=arguments.no_cache,
        change_seconds=arguments.timeout,
    )
    with session.progress() as report:
        outcome = session.api.deploy(session.files, **session.manifests, options=options, report=report, cancel=session.cancel)
    endpoints = _endpoints(session, outcome) if outcome.ok else []
    if arguments.output == "table":
        _show(session, outcome)
        for endpoint in endpoints:
            session.output.line(endpoint)
    else:
        session.output.document(_data(outcome) | {"endpoints": endpoints}, arguments.output)
    return _verdict(session, [outcome], complete=True)


def _endpoints(session: Session, outcome: Outcome) -> list[str]:
    """Return the URLs that answer now. That they cannot be looked up does not undo what was deployed."""
    try:
        found = session.api.status(session.environment, outcome.application)
    except I2kitError as error:
        session.messages.warn(f"deployed, but its endpoints cannot be looked up: {error}")
        return []
    return list(dict.fromkeys(endpoint for workload in found.workloads for endpoint in workload.endpoints))


def destroy(session: Session) -> ExitCode:
    """Remove one application, or all of the environment's."""
    arguments = session.arguments
    options = session.api.DeployOptions(take_over=arguments.take_over, change_seconds=arguments.timeout)
    outcomes: list[Outcome] = []
    doomed = _doomed(session)
    # An application that only its files name is checked against them.
    explicit = bool(arguments.all or arguments.application or session.environment.application)
    for name in doomed:
        if session.cancel.is_set():
            break
        with session.progress() as report:
            outcome = session.api.destroy(
                () if explicit else session.files,
                environment=session.environment,
                application=name if explicit else None,
                options=options,
                report=report,
                cancel=session.cancel,
                stdin=sys.stdin,
            )
        outcomes.append(outcome)
        if arguments.output == "table":
            _show(session, outcome)
    if arguments.output != "table":
        data = [_data(outcome) for outcome in outcomes]
        session.output.document(data if arguments.all or not data else data[0], arguments.output)
    elif not doomed:
        session.output.line(f"environment {session.environment.name} holds no application")
    return _verdict(session, outcomes, complete=len(outcomes) == len(doomed))


def _doomed(session: Session) -> tuple[str, ...]:
    """Return the applications to remove. That there is only one is not enough to choose it: it has to be named."""
    arguments = session.arguments
    if not arguments.all:
        if session.named_application is None:
            raise UsageError("say which application with -a or -f, or --all", arguments.program)
        return (session.named_application,)
    if arguments.application or session.files:
        raise UsageError("--all and the name of one application do not go together", arguments.program)
    known = tuple(session.api.applications(session.environment))
    if not known and session.api.observe(session.environment).resources:
        # Whatever application is removed, what no other one uses of the environment goes with it.
        return (session.environment.name,)
    if known and not arguments.yes and sys.stdin.isatty() and session.messages.terminal:
        session.messages.say(f"This removes {', '.join(known)} from environment {session.environment.name}. Type yes to go on:")
        if sys.stdin.readline().strip() != "yes":
            raise I2kitError.of("not-confirmed", "not confirmed; nothing was touched", hint="answer yes, or use --yes")
    return known


def build(session: Session) -> ExitCode:
    """Build images, and copy them where the user wants them."""
    arguments = session.arguments
    with session.progress() as report:
        images = session.api.build(
            session.files,
            **session.manifests,
            format=arguments.format,
            no_cache=arguments.no_cache,
            update_base=arguments.update_base,
            report=report,
        )
    copies = copy_images([(image.name, image.files) for image in images], Path(arguments.out)) if arguments.out else ()
    if arguments.output == "table":
        session.output.table(
            ("IMAGE", "FORMAT", "MB", "FILES"),
            [(one.name, one.format, f"{one.bytes / 1e6:.1f}", ", ".join(sorted(one.files))) for one in images],
        )
        for path in copies or sorted(path for image in images for path in image.files.values()):
            session.output.line(str(path))
    else:
        data = [
            {
                "name": one.name,
                "digest": one.digest,
                "format": one.format,
                "bytes": one.bytes,
                "files": {role: str(path) for role, path in one.files.items()},
            }
            for one in images
        ]
        session.output.document(data, arguments.output)
    return ExitCode.OK


def _data(outcome: Outcome) -> dict[str, Any]:
    data: dict[str, Any] = to_data(outcome)
    return {**data, "ok": outcome.ok}


def _show(session: Session, outcome: Outcome) -> None:
    rows = [
        (one.result, one.action, one.key, f"{one.seconds:.1f}" if one.result in _TRIED else "-", one.message or "-")
        for one in outcome.changes
    ]
    if rows:
        session.output.table(("RESULT", "ACTION", "RESOURCE", "SECONDS", "MESSAGE"), rows)
    session.output.line(f"{outcome.application} in {outcome.environment}: {_counts(outcome)}")


def _counts(outcome: Outcome) -> str:
    if not outcome.changes:
        return "nothing is there"
    counts = {name: sum(one.result == name for one in outcome.changes) for name in ("done", "unchanged", "failed", "skipped")}
    return ", ".join(f"{number} {name}" for name, number in counts.items() if number)


def _verdict(session: Session, outcomes: list[Outcome], *, complete: bool) -> ExitCode:
    """Show what failed, with its last lines, and return the exit code."""
    for outcome in outcomes:
        for one in outcome.changes:
            if one.result == "failed":
                _show_failure(session, one)
    if complete and all(outcome.ok for outcome in outcomes):
        return ExitCode.OK
    if session.cancel.is_set():
        session.messages.say(GO_ON)
        return ExitCode.INTERRUPTED
    return ExitCode.FAILED


def _show_failure(session: Session, failure: ChangeOutcome) -> None:
    session.messages.error(f"{failure.action} {failure.key}: {failure.message}")
    for line in failure.log:
        session.messages.line(f"  | {line}")
