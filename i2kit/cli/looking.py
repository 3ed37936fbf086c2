"""The commands that change nothing: validate, plan, status, logs, graph, providers, doctor."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from i2kit import saved
from i2kit.cli.files import write_text
from i2kit.cli.previews import notices_data, show_notices, show_preview
from i2kit.cli.session import Session
from i2kit.errors import ExitCode, Problem
from i2kit.manifest.workloads import Workloads
from i2kit.wire import to_data

if TYPE_CHECKING:
    from i2kit.plan import Status

_SUFFIXES = {".svg": "svg", ".dot": "dot", ".gv": "dot"}


def validate(session: Session) -> ExitCode:
    """Check manifests and environment and say what is in them."""
    environment = session.environment
    workloads: Workloads = session.api.load(session.files, stdin=sys.stdin)
    if session.arguments.output != "table":
        session.output.document(
            {
                "environment": environment.name,
                "provider": environment.provider,
                "workloads": [
                    {
                        "kind": one.kind,
                        "name": one.name,
                        "namespace": one.namespace,
                        "replicas": one.replicas,
                        "images": [container.image for container in one.pod.containers],
                    }
                    for one in workloads.workloads
                ],
                "services": [
                    {"name": one.name, "namespace": one.namespace, "type": one.type, "workloads": list(one.workloads)}
                    for one in workloads.services
                ],
                "notices": notices_data(workloads.notices),
            },
            session.arguments.output,
        )
        return ExitCode.OK
    session.output.table(
        ("KIND", "NAMESPACE", "NAME", "DETAILS"),
        [
            *(
                (one.kind, one.namespace, one.name, f"{one.replicas} x {', '.join(container.image for container in one.pod.containers)}")
                for one in workloads.workloads
            ),
            *(("Service", one.namespace, one.name, f"{one.type} in front of {', '.join(one.workloads)}") for one in workloads.services),
        ],
    )
    show_notices(session, workloads.notices)
    return ExitCode.OK


def plan(session: Session) -> ExitCode:
    """Show what deploy would change and why; with ``--out``, save it."""
    arguments = session.arguments
    options = session.api.DeployOptions(update_base=arguments.update_base, prune=arguments.prune)
    with session.progress() as report:
        preview = session.api.preview(session.files, **session.manifests, options=options, report=report)
    if arguments.out:
        kept = saved.SavedPlan.of(preview.plan, preview.changes, tuple(session.files), prune=arguments.prune)
        saved.write(kept, Path(arguments.out))
    show_preview(session, preview)
    return ExitCode.CHANGES_PENDING if arguments.detailed_exitcode and preview.changes.pending else ExitCode.OK


def status(session: Session) -> ExitCode:
    """Show how an application is doing."""
    from i2kit.plan import Status

    name = session.only_application()
    if name is None:
        environment = session.environment
        found = Status(environment=environment.name, application="", provider=environment.provider, workloads=())
    else:
        found = session.api.status(session.environment, name)
    if session.arguments.output == "table":
        _show_status(session, found)
    else:
        session.output.document(to_data(found), session.arguments.output)
    return ExitCode.OK


def _show_status(session: Session, found: Status) -> None:
    if not found.workloads:
        application = f"application {found.application}" if found.application else "any application"
        session.output.line(f"nothing of {application} runs in environment {found.environment}")
    else:
        session.output.table(
            ("WORKLOAD", "REVISION", "READY", "ENDPOINTS"),
            [
                (f"{one.namespace}/{one.name}", one.revision, f"{one.ready}/{one.desired}", " ".join(one.endpoints) or "-")
                for one in found.workloads
            ],
        )
        session.output.line()
        session.output.table(
            ("INSTANCE", "REVISION", "STATE", "READY", "ADDRESS", "REASON"),
            [
                (one.id, one.revision, one.state, "yes" if one.ready else "no", one.address or "-", one.reason or "-")
                for workload in found.workloads
                for one in workload.instances
            ],
        )
    for one in found.workloads:
        if one.rollout:
            session.output.line(f"rollout of {one.namespace}/{one.name} {one.rollout}")
    for fault in found.faults:
        session.output.line(f"fault: {fault}")


def logs(session: Session) -> ExitCode:
    """Print console lines until there are no more, or nobody reads them."""
    arguments = session.arguments
    name = session.only_application()
    if name is None:
        session.messages.say(f"environment {session.environment.name} holds no application")
        return ExitCode.OK
    lines = session.api.logs(session.environment, name, workload=arguments.workload, tail=arguments.tail, follow=arguments.follow)
    for one in lines:
        if arguments.output == "table":
            session.output.foreign(f"{one.instance} [{one.container}] {one.text}" if one.container else f"{one.instance} {one.text}")
        else:
            session.output.item(to_data(one), arguments.output)
        if arguments.follow:
            session.output.flush()
        if session.output.closed:
            break
    return ExitCode.OK


def graph(session: Session) -> ExitCode:
    """Draw the plan; asks the provider for nothing but what it declares."""
    arguments = session.arguments
    form = arguments.format or _SUFFIXES.get(Path(arguments.out or "").suffix.lower(), "mermaid")
    environment = session.environment
    workloads = session.api.load(session.files, stdin=sys.stdin)
    with session.progress() as report:
        locked = session.api.resolve(workloads, environment, report=report)
    application = session.api.application_of(environment, session.files, arguments.application)
    drawing = session.api.graph(session.api.plan(workloads, locked, environment, application=application), form)
    if arguments.out:
        write_text(Path(arguments.out), drawing)
    else:
        session.output.line(drawing.rstrip("\n"))
    return ExitCode.OK


def providers(session: Session) -> ExitCode:
    """List the installed providers; a broken one is a row like the others."""
    found = session.api.providers()
    if session.arguments.output == "table":
        rows = [
            (one.name, "broken" if one.error else "usable", one.source, ", ".join(one.formats) or "-", one.error or one.summary)
            for one in found
        ]
        session.output.table(("NAME", "STATE", "SOURCE", "FORMATS", "SUMMARY"), rows)
    else:
        session.output.document([to_data(one) for one in found], session.arguments.output)
    return ExitCode.OK


def doctor(session: Session) -> ExitCode:
    """Ask the environment's provider, its builder and their image formats what this machine lacks."""
    registry = import_module("i2kit.registry").Registry()
    environment = session.environment
    provider, builder = registry.provider(environment.provider), registry.builder(environment.builder)
    formats = [name for name in provider.formats if name in builder.formats]
    problems: list[Problem] = [
        *provider.problems(environment),
        *builder.check(),
        *import_module("i2kit.images.packers").missing(formats),
    ]
    if session.arguments.output != "table":
        session.output.document(
            {
                "environment": environment.name,
                "provider": environment.provider,
                "builder": environment.builder,
                "problems": [to_data(problem) for problem in problems],
            },
            session.arguments.output,
        )
    elif problems:
        rows = [("missing", one.message, one.hint or one.expected or "-") for one in dict.fromkeys(problems)]
        session.output.table(("STATE", "WHAT", "WHAT HELPS"), rows)
    else:
        who = f"provider {environment.provider} and builder {environment.builder}"
        session.output.line(f"nothing is missing for {who} of environment {environment.name}")
    return ExitCode.FAILED if problems else ExitCode.OK
