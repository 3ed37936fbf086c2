"""What the command lines of several commands share: the parser, a command's frame, and flags that mean the same everywhere."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import NoReturn

MANIFESTS = "a manifest file, a folder (its *.yaml, *.yml and *.json), a URL, or - for standard input; may be given several times"
NAMES_ONLY = "the manifests of the application: only the name is taken from it"
OUTPUTS = ("table", "json", "yaml")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600}


class UsageError(Exception):
    """The command line is wrong; `program` is the command whose help tells more."""

    def __init__(self, message: str, program: str = "i2kit") -> None:
        super().__init__(message)
        self.program = program


class Parser(argparse.ArgumentParser):
    """Raises `UsageError` instead of ending the process with 2, which means something else here."""

    def error(self, message: str) -> NoReturn:
        """Raise what is wrong with the command line."""
        raise UsageError(message, self.prog)


Commands = argparse._SubParsersAction  # argparse has no public name for what `add_subparsers` returns


def add_command(
    commands: Commands[Parser], name: str, run: str, summary: str, examples: Sequence[str], more: str = "", *, gently: bool = False
) -> Parser:
    """Add a command; `gently` commands change things and so finish their current step after the first Ctrl-C."""
    command = commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.{more}",
        epilog="\n".join(["examples:", *(f"  {example}" for example in examples)]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.set_defaults(run=run, program=command.prog, gently=gently)
    command.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help="log what happens inside, and show tracebacks")
    return command


def files(command: Parser, *, required: bool, help: str = MANIFESTS) -> None:  # noqa: A002
    """Add ``-f``."""
    command.set_defaults(reads_manifests=required)
    command.add_argument("-f", "--file", metavar="FILE|DIR|URL|-", action="append", required=required, default=None, help=help)


def environment(command: Parser) -> None:
    """Add ``-e``."""
    command.add_argument(
        "-e",
        "--environment",
        metavar="FILE",
        help="the environment (default: environment.yml in the current folder if there is one, else the local region)",
    )


def application(command: Parser) -> None:
    """Add ``-a``."""
    command.add_argument(
        "-a", "--application", metavar="NAME", help="the application (default: the environment's, or the name of the first -f)"
    )


def chosen_application(command: Parser) -> None:
    """Add what chooses an application of an environment: ``-f`` for its name, ``-e`` and ``-a``."""
    files(command, required=False, help=NAMES_ONLY)
    environment(command)
    application(command)


def output(command: Parser) -> None:
    """Add ``-o``."""
    command.add_argument("-o", "--output", choices=OUTPUTS, default="table", help="how to print the result (default: table)")


def builder(command: Parser) -> None:
    """Add ``--builder``."""
    command.add_argument(
        "--builder", metavar="NAME", help="build with this one instead of the environment's: assembler, linuxkit or linuxkit-docker"
    )


def update_base(command: Parser) -> None:
    """Add ``--update-base``."""
    command.add_argument("--update-base", action="store_true", help="move the base to the newest packages; it never moves by itself")


def workload(command: Parser, help: str) -> None:  # noqa: A002
    """Add ``-w``."""
    command.add_argument("-w", "--workload", metavar="NAME", help=help)


def dry_run(command: Parser) -> None:
    """Add ``--dry-run``."""
    command.add_argument("--dry-run", action="store_true", help="only show what would change, and change nothing")


def prune(command: Parser) -> None:
    """Add ``--prune``."""
    command.add_argument("--prune", action="store_true", help="remove what of the application is not in the manifests any more")


def take_over(command: Parser) -> None:
    """Add ``--take-over``."""
    command.add_argument("--take-over", action="store_true", help="go on although another run holds the application; that one stops")


def timeout(command: Parser) -> None:
    """Add ``--timeout``."""
    command.add_argument(
        "--timeout",
        type=duration,
        metavar="TIME",
        default=900.0,
        help="the longest that one change may take: 90, 90s, 15m, 1h (default: 15m)",
    )


def duration(text: str) -> float:
    """Return the seconds that `text` means: ``90``, ``90s``, ``1.5m``, ``1h``.

    >>> duration("1.5m")
    90.0
    """
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([smh]?)", text)
    seconds = float(found[1]) * _SECONDS[found[2]] if found else 0.0
    if seconds <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time; expected a positive number with s, m or h, such as 90s")
    return seconds


def count(text: str) -> int:
    """Return the whole number, zero or more, that `text` means."""
    if not re.fullmatch(r"[0-9]+", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number; expected a whole number, zero or more")
    return int(text)
