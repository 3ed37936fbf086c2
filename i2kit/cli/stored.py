"""The commands about what is kept on this machine: images import, ls and rm; base lock."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from i2kit.cli.files import write_text
from i2kit.cli.session import Session
from i2kit.errors import ExitCode, I2kitError, Problem
from i2kit.wire import to_data

if TYPE_CHECKING:
    from i2kit.images.store import StoredImage


def _store() -> Any:
    return import_module("i2kit.images.store").default_store()


def _show(session: Session, images: Iterable[StoredImage]) -> None:
    images = list(images)
    if session.arguments.output != "table":
        session.output.document([to_data(image) for image in images], session.arguments.output)
        return
    rows = [(one.reference, one.architecture, f"{one.size / 1e6:.1f}", one.digest) for one in images]
    session.output.table(("NAME", "ARCHITECTURE", "MB", "DIGEST"), rows)


def import_image(session: Session) -> ExitCode:
    """Bring an archive's images into the store, and list them."""
    path = Path(session.arguments.path)
    if not path.exists():
        raise I2kitError.of("no-such-file", f"there is no {path}", expected="an OCI layout (folder or tar) or a `docker save` tar")
    arguments = session.arguments
    _show(session, _store().import_path(path, name=arguments.name, architecture=session.environment.architecture))
    return ExitCode.OK


def list_images(session: Session) -> ExitCode:
    """List the store."""
    _show(session, _store().images())
    return ExitCode.OK


def remove_images(session: Session) -> ExitCode:
    """Remove each of the images; one that is not there does not keep the others."""
    store = _store()
    problems: list[Problem] = []
    for name in session.arguments.name:
        try:
            session.output.line(f"removed {store.remove(name).reference}")
        except I2kitError as error:
            problems += error.problems
    if problems:
        raise I2kitError(problems)
    return ExitCode.OK


def lock_base(session: Session) -> ExitCode:
    """Write the base's lock: the one in use, or with --update-base the newest."""
    import attrs

    base = import_module("i2kit.images.base")
    arguments = session.arguments
    settings = session.environment.base
    if arguments.update_base:
        # The file that pins the base today is what this run is to replace.
        settings = attrs.evolve(settings, lock=None)
    from i2kit.events import Event

    with session.progress() as report:
        lock = base.current_lock(
            settings,
            _store(),
            base.Wanted(architecture=session.environment.architecture, loader=True),
            update=arguments.update_base,
            progress=lambda message: report(Event(kind="stage", message=message)),
        )
    if arguments.out:
        write_text(Path(arguments.out), lock.dump())
    else:
        session.output.line(lock.dump().rstrip("\n"))
    return ExitCode.OK
