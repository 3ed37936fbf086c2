"""The commands that make something: deploy, destroy, build."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from i2kit import saved
from i2kit.cli.files import copy_images
from i2kit.cli.flags import UsageError
from i2kit.cli.outcomes import as_data, present, show, verdict
from i2kit.cli.previews import changes_data, show_changes, show_preview, summary
from i2kit.cli.session import Session
from i2kit.errors import ExitCode, I2kitError

if TYPE_CHECKING:
    from i2kit.plan import Outcome
    from i2kit.saved import SavedPlan


def deploy(session: Session) -> ExitCode:
    """Make the manifests run, or carry a saved plan out, and show what became of each change."""
    arguments = session.arguments
    kept = _saved(session)
    if not session.files:
        raise UsageError("say which manifests with -f, or which saved plan with --plan", arguments.program)
    options = session.api.DeployOptions(
        update_base=arguments.update_base,
        keep_failed=arguments.keep_failed,
        take_over=arguments.take_over,
        no_cache=arguments.no_cache,
        prune=arguments.prune,
        change_seconds=arguments.timeout,
    )
    with session.progress() as report:
        if arguments.dry_run:
            preview = session.api.preview(session.files, **session.manifests, options=options, report=report)
        else:
            outcome = session.api.deploy(
                session.files, **session.manifests, options=options, saved=kept, report=report, cancel=session.cancel
            )
    if arguments.dry_run:
        show_preview(session, preview)
        return ExitCode.OK
    return present(session, outcome)


def _saved(session: Session) -> SavedPlan | None:
    """Return the saved plan to carry out; it says which manifests and which application are meant unless the command line does."""
    arguments = session.arguments
    if not arguments.plan:
        return None
    for flag in ("dry_run", "prune", "update_base"):
        if getattr(arguments, flag):
            raise UsageError(f"--plan and --{flag.replace('_', '-')} do not go together: the plan is made already", arguments.program)
    kept = saved.read(Path(arguments.plan))
    arguments.file = arguments.file or list(kept.sources)
    arguments.application = arguments.application or kept.plan.application
    return kept


def destroy(session: Session) -> ExitCode:
    """Remove one application, or all of the environment's."""
    arguments = session.arguments
    doomed = _doomed(session)
    # An application that only its files name is checked against them.
    explicit = bool(arguments.all or arguments.application or session.environment.application)
    goals = [
        (
            () if explicit else session.files,
            {"environment": session.environment, "application": name if explicit else None, "stdin": sys.stdin},
        )
        for name in doomed
    ]
    return _show_doomed(session, goals) if arguments.dry_run else _destroy(session, goals)


def _destroy(session: Session, goals: Sequence[tuple[Sequence[str], dict[str, Any]]]) -> ExitCode:
    arguments = session.arguments
    options = session.api.DeployOptions(take_over=arguments.take_over, change_seconds=arguments.timeout)
    outcomes: list[Outcome] = []
    for sources, goal in goals:
        if session.cancel.is_set():
            break
        with session.progress() as report:
            outcome = session.api.destroy(sources, **goal, options=options, report=report, cancel=session.cancel)
        outcomes.append(outcome)
        if arguments.output == "table":
            show(session, outcome)
    _finish_listing(session, [as_data(outcome) for outcome in outcomes], nothing=not goals)
    return verdict(session, outcomes, complete=len(outcomes) == len(goals))


def _show_doomed(session: Session, goals: Sequence[tuple[Sequence[str], dict[str, Any]]]) -> ExitCode:
    shown = []
    for sources, goal in goals:
        changes = session.api.preview_destroy(sources, **goal)
        shown.append({"application": changes.application, "environment": changes.environment, "changes": changes_data(changes)})
        if session.arguments.output == "table" and changes.changes:
            show_changes(session, changes)
            session.output.line(summary(changes))
        elif session.arguments.output == "table":
            session.output.line(f"{changes.application} in {changes.environment}: nothing is there")
    _finish_listing(session, shown, nothing=not goals)
    return ExitCode.OK


def _finish_listing(session: Session, data: list[dict[str, Any]], *, nothing: bool) -> None:
    """Print what there is for all applications: the documents, or that there is none."""
    arguments = session.arguments
    if arguments.output != "table":
        session.output.document(data if arguments.all or not data else data[0], arguments.output)
    elif nothing:
        session.output.line(f"environment {session.environment.name} holds no application")


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
    if known and not (arguments.yes or arguments.dry_run) and sys.stdin.isatty() and session.messages.terminal:
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
