"""What would change: shown as a table with the steps of each rollout, or as data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from i2kit.cli.session import Session
from i2kit.simulation import steps_of
from i2kit.wire import to_data

if TYPE_CHECKING:
    from i2kit.cost import Cost
    from i2kit.manifest.workloads import Notice
    from i2kit.operations import Preview
    from i2kit.plan import Changes
    from i2kit.steps import Rollout, Step


def show_preview(session: Session, preview: Preview) -> None:
    """Show what a run would change and why, step by step where that is a rollout."""
    planned, changes = preview.plan, preview.changes
    steps = steps_of(preview)
    rollouts = [one for one in changes.rollouts if steps[one.workload]]
    if session.arguments.output == "table":
        show_changes(session, changes)
        for rollout in rollouts:
            _show_steps(session, rollout, steps[rollout.workload])
        session.output.line(summary(changes))
        if preview.cost:
            _show_cost(session, preview.cost)
        show_notices(session, planned.notices)
        for problem in preview.problems:
            session.messages.warn(str(problem))
        return
    document = {
        "environment": planned.environment,
        "application": planned.application,
        "provider": planned.provider,
        "fingerprint": planned.fingerprint,
        "resources": [to_data(resource) for resource in planned.resources],
        "changes": changes_data(changes),
        "rollouts": [_rollout_data(one, steps) for one in rollouts],
        "notices": notices_data(planned.notices),
        "problems": [to_data(problem) for problem in preview.problems],
        "cost": _cost_data(preview.cost) if preview.cost else None,
    }
    session.output.document(document, session.arguments.output)


def _show_cost(session: Session, cost: Cost) -> None:
    session.output.line(str(cost))
    if cost.notes:
        session.output.line(f"not in it: {'; '.join(cost.notes)}")


def _cost_data(cost: Cost) -> dict[str, Any]:
    """Return a bill as JSON and YAML show it, in whole cents."""
    items = [{"what": item.what, "monthly": round(item.monthly, 2)} for item in cost.items]
    about = {"currency": cost.currency, "monthly": round(cost.monthly, 2), "place": cost.place, "date": cost.date}
    return {**about, "items": items, "notes": list(cost.notes)}


def _show_steps(session: Session, rollout: Rollout, steps: Iterable[Step]) -> None:
    session.output.line()
    session.output.line(f"{rollout.workload} ({rollout.strategy.type}):")
    for number, step in enumerate(steps, 1):
        session.output.line(f"  {number}. {step.text}")
    session.output.line()


def _rollout_data(rollout: Rollout, steps: Mapping[str, Iterable[Step]]) -> dict[str, Any]:
    return {
        "workload": rollout.workload,
        "strategy": rollout.strategy.type,
        "steps": [{"kind": step.kind, "text": step.text} for step in steps[rollout.workload]],
    }


def show_changes(session: Session, changes: Changes) -> None:
    """Show each change and why it is made, or is not."""
    rows = [(one.action, one.resource.kind, one.resource.name, one.reason) for one in changes.changes]
    session.output.table(("ACTION", "KIND", "NAME", "REASON"), rows)


def changes_data(changes: Changes) -> list[dict[str, str]]:
    """Return changes as JSON and YAML show them."""
    return [{"action": one.action, "kind": one.resource.kind, "name": one.resource.name, "reason": one.reason} for one in changes.changes]


def summary(changes: Changes) -> str:
    """Return in one line what would change."""
    counts = {name: sum(one.action == name for one in changes.changes) for name in ("create", "update", "replace", "delete")}
    what = ", ".join(f"{number} to {name}" for name, number in counts.items() if number)
    where = f"{changes.application} in {changes.environment}"
    if unknown := sum(one.action == "unknown" for one in changes.changes):
        return f"{where}: {unknown} resources, and what would change is unknown"
    return f"{where}: {what or 'nothing to change'}, {len(changes.changes) - len(changes.pending)} unchanged"


def notices_data(notices: Iterable[Notice]) -> list[dict[str, Any]]:
    """Return notices as JSON and YAML show them."""
    return [{"file": one.where.file, "line": one.where.line, "path": one.where.path, "message": one.message} for one in notices]


def show_notices(session: Session, notices: Iterable[Notice]) -> None:
    """Show what of the manifests has no effect."""
    for one in notices:
        session.messages.warn(f"{one.where}: {one.message}")
