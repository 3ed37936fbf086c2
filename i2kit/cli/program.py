"""From the command line to the exit code."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from i2kit.cli.arguments import parser
from i2kit.cli.flags import UsageError
from i2kit.cli.messages import Messages

if TYPE_CHECKING:
    from i2kit.cli.session import Session

# The numbers of `i2kit.errors.ExitCode`, which is imported only when there is more to do than to show help; a test holds them to it.
_OK, _FAILED, _USAGE, _INTERRUPTED = 0, 1, 64, 130

GO_ON = "interrupted; run the same command again to go on"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the `i2kit` command as a process and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        # Names and logs may hold what the terminal's encoding does not; that is no reason to fail.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = run(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:  # it came before the command had begun, or while its last words were being written
        code = _INTERRUPTED
    if code == _INTERRUPTED:
        # "Now" means now: the interpreter would wait for the threads whose work was left.
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
    return code


def run(arguments: Sequence[str]) -> int:
    """Do what the command line says and return the exit code."""
    try:
        parsed = parser().parse_args(arguments)
        if parsed.version:
            from i2kit._version import __version__

            print(f"i2kit {__version__}")
            return _OK
        if not parsed.run:
            raise UsageError("a command is missing")
    except UsageError as error:
        return _misused(Messages(sys.stderr), error)
    except SystemExit as end:  # argparse has printed the help that was asked for
        return _OK if end.code is None else int(end.code)
    from i2kit.cli.session import Session

    session = Session(parsed)
    with session.interrupts:
        code = _guarded(session)
        session.output.flush()
        return code


def _misused(messages: Messages, error: UsageError) -> int:
    messages.error(f"{error}; see `{error.program} --help`")
    return _USAGE


def _guarded(session: Session) -> int:
    """Run the command; every way that it can fail is one message and one exit code."""
    try:
        return _command(session)()
    except KeyboardInterrupt:
        session.cancel.set()
        session.messages.say(GO_ON if session.arguments.gently else "interrupted")
        return _INTERRUPTED
    except UsageError as error:
        return _misused(session.messages, error)
    except Exception as error:
        return _failed(session, error)


def _command(session: Session) -> Callable[[], int]:
    from i2kit.cli.logging import configure

    configure(session.messages, debug=session.arguments.debug)
    module, name = session.arguments.run.split(".")
    command = getattr(import_module(f"i2kit.cli.{module}"), name)
    return lambda: int(command(session))


def _failed(session: Session, error: Exception) -> int:
    from i2kit.errors import I2kitError

    if session.arguments.debug:
        import traceback

        for line in "".join(traceback.format_exception(error)).splitlines():
            session.messages.line(line)
    code = _FAILED
    if isinstance(error, I2kitError):
        session.messages.problems(error.problems)
        code = error.exit_code
    elif isinstance(error, OSError) and error.filename is not None:
        session.messages.error(f"{error.filename}: {error.strerror}")
    else:
        session.messages.bug(error)
    if session.cancel.is_set() or code == _INTERRUPTED:
        # Ctrl-C reaches the programs that a step has started, too: their failure is the interruption.
        session.messages.say(GO_ON)
        return _INTERRUPTED
    return code
