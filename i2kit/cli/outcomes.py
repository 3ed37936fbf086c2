"""What became of a run: shown as a table or as data, and as an exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from i2kit.cli.program import GO_ON
from i2kit.cli.session import Session
from i2kit.errors import ExitCode, I2kitError
from i2kit.wire import to_data

if TYPE_CHECKING:
    from i2kit.plan import ChangeOutcome, Outcome

_TRIED = ("done", "failed")
_COUNTED = ("done", "unchanged", "paused", "aborted", "failed", "skipped")


def present(session: Session, outcome: Outcome) -> ExitCode:
    """Show what a run did and the URLs that answer after it; return the exit code."""
    endpoints = _endpoints(session, outcome) if outcome.ok else []
    if session.arguments.output == "table":
        show(session, outcome)
        for endpoint in endpoints:
            session.output.line(endpoint)
    else:
        session.output.document(as_data(outcome) | {"endpoints": endpoints}, session.arguments.output)
    return verdict(session, [outcome], complete=True)


def _endpoints(session: Session, outcome: Outcome) -> list[str]:
    """Return the URLs that answer now. That they cannot be looked up does not undo what was deployed."""
    try:
        found = session.api.status(session.environment, outcome.application)
    except I2kitError as error:
        session.messages.warn(f"deployed, but its endpoints cannot be looked up: {error}")
        return []
    return list(dict.fromkeys(endpoint for workload in found.workloads for endpoint in workload.endpoints))


def as_data(outcome: Outcome) -> dict[str, Any]:
    """Return an outcome as JSON and YAML show it."""
    data: dict[str, Any] = to_data(outcome)
    return {**data, "ok": outcome.ok, "paused": outcome.paused, "rolled_back": outcome.rolled_back}


def show(session: Session, outcome: Outcome) -> None:
    """Show what became of each change."""
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
    counts = {name: sum(one.result == name for one in outcome.changes) for name in _COUNTED}
    return ", ".join(f"{number} {name}" for name, number in counts.items() if number)


def verdict(session: Session, outcomes: list[Outcome], *, complete: bool) -> ExitCode:
    """Show what failed, with its last lines, and what waits for somebody; return the exit code."""
    for outcome in outcomes:
        for one in outcome.changes:
            if one.result == "failed":
                _show_failure(session, one)
    if complete and all(outcome.ok for outcome in outcomes):
        for outcome in outcomes:
            _show_pause(session, outcome)
        return ExitCode.OK
    if session.cancel.is_set():
        session.messages.say(GO_ON)
        return ExitCode.INTERRUPTED
    back = complete and all(outcome.ok or outcome.rolled_back for outcome in outcomes)
    return ExitCode.ROLLED_BACK if back else ExitCode.FAILED


def _show_failure(session: Session, failure: ChangeOutcome) -> None:
    back = " (rolled back)" if failure.rolled_back else ""
    session.messages.error(f"{failure.action} {failure.key}{back}: {failure.message}")
    for line in failure.log:
        session.messages.line(f"  | {line}")


def _show_pause(session: Session, outcome: Outcome) -> None:
    for reason in dict.fromkeys(one.message for one in outcome.changes if one.result == "paused"):
        session.messages.say(f"paused: {reason}")
    if outcome.paused:
        application = outcome.application
        session.messages.say(f"go on with `i2kit rollout promote -a {application}`, or go back with `i2kit rollout abort -a {application}`")
