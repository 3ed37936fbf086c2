"""The command line: commands, flags and their help. Imports nothing heavy, so that `--help` answers at once."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import NoReturn

_MANIFESTS = "a manifest file, a folder (its *.yaml, *.yml and *.json), a URL, or - for standard input; may be given several times"
_OUTPUTS = ("table", "json", "yaml")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600}

EXIT_CODES = """\
exit codes:
  0    done, or nothing to do
  1    failed
  2    changes are pending (only with `plan --detailed-exitcode`)
  3    failed and rolled back
  4    invalid manifest, environment or saved plan; nothing was touched
  5    another run holds the application
  64   wrong command line
  130  interrupted; run the same command again to go on
"""


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


def parser() -> Parser:
    """Return the parser of the whole command line; each command sets `run` to the module and function that does it."""
    top = Parser(
        prog="i2kit",
        description="Ships Kubernetes Pods as lightweight, immutable virtual machines, without a cluster.",
        epilog="`i2kit COMMAND --help` tells more about a command, with examples.\n\n" + EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    top.add_argument("--version", action="store_true", help="print the version and exit")
    top.add_argument("--debug", action="store_true", help="log what happens inside, and show tracebacks, on standard error")
    top.set_defaults(run="", gently=False, reads_manifests=False)
    commands = top.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    for add in (_validate, _plan, _deploy, _status, _logs, _destroy, _build, _images, _graph, _providers, _doctor, _base):
        add(commands)
    return top


def _command(
    commands: argparse._SubParsersAction[Parser], name: str, run: str, summary: str, examples: Sequence[str], more: str = ""
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
    command.set_defaults(run=run, program=command.prog)
    command.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help="log what happens inside, and show tracebacks")
    return command


def _files(command: Parser, *, required: bool, help: str = _MANIFESTS) -> None:  # noqa: A002
    command.set_defaults(reads_manifests=required)
    command.add_argument("-f", "--file", metavar="FILE|DIR|URL|-", action="append", required=required, default=None, help=help)


def _environment(command: Parser) -> None:
    command.add_argument(
        "-e",
        "--environment",
        metavar="FILE",
        help="the environment (default: environment.yml in the current folder if there is one, else the local region)",
    )


def _application(command: Parser) -> None:
    command.add_argument(
        "-a", "--application", metavar="NAME", help="the application (default: the environment's, or the name of the first -f)"
    )


def _output(command: Parser) -> None:
    command.add_argument("-o", "--output", choices=_OUTPUTS, default="table", help="how to print the result (default: table)")


def _builder(command: Parser) -> None:
    command.add_argument("--builder", metavar="NAME", help="build with this one instead of the environment's: assembler or linuxkit")


def _update_base(command: Parser) -> None:
    command.add_argument("--update-base", action="store_true", help="move the base to the newest packages; it never moves by itself")


_NAMES_ONLY = "the manifests of the application: only the name is taken from it"


def _validate(commands: argparse._SubParsersAction[Parser]) -> None:
    command = _command(
        commands,
        "validate",
        "looking.validate",
        "check manifests and environment, without touching anything",
        ["i2kit validate -f examples/hello", "i2kit validate -f app.yaml -e environment.yml -o json"],
    )
    _files(command, required=True)
    _environment(command)
    _output(command)


def _plan(commands: argparse._SubParsersAction[Parser]) -> None:
    command = _command(
        commands,
        "plan",
        "looking.plan",
        "show what deploy would change and why",
        ["i2kit plan -f examples/hello", "i2kit plan -f examples/hello -o json", "i2kit plan -f examples/hello --detailed-exitcode"],
    )
    _files(command, required=True)
    _environment(command)
    _application(command)
    _output(command)
    _builder(command)
    _update_base(command)
    command.add_argument("--detailed-exitcode", action="store_true", help="end with 2 when changes are pending")


def _deploy(commands: argparse._SubParsersAction[Parser]) -> None:
    command = _command(
        commands,
        "deploy",
        "changing.deploy",
        "make the manifests run",
        [
            "i2kit deploy -f examples/hello",
            "i2kit deploy -f examples/hello -e production.yml --timeout 20m",
            "kustomize build . | i2kit deploy -f - -a shop",
        ],
        " Safe to run again at any time: what is done already\nis not done twice, and a run that was stopped is finished.",
    )
    command.set_defaults(gently=True)
    _files(command, required=True)
    _environment(command)
    _application(command)
    _output(command)
    _builder(command)
    _update_base(command)
    command.add_argument("--no-cache", action="store_true", help="build images anew even if they are in the cache")
    command.add_argument("--keep-failed", action="store_true", help="leave a group that did not become ready, to look at it")
    _take_over(command)
    _timeout(command)


def _take_over(command: Parser) -> None:
    command.add_argument("--take-over", action="store_true", help="go on although another run holds the application; that one stops")


def _timeout(command: Parser) -> None:
    command.add_argument(
        "--timeout",
        type=duration,
        metavar="TIME",
        default=900.0,
        help="the longest that one change may take: 90, 90s, 15m, 1h (default: 15m)",
    )


def _status(commands: argparse._SubParsersAction[Parser]) -> None:
    command = _command(
        commands,
        "status",
        "looking.status",
        "show how an application is doing",
        ["i2kit status", "i2kit status -a hello -o json"],
        "\nWith neither -a nor -f, the only application of the environment.",
    )
    _files(command, required=False, help=_NAMES_ONLY)
    _environment(command)
    _application(command)
    _output(command)


def _logs(commands: argparse._SubParsersAction[Parser]) -> None:
    command = _command(
        commands,
        "logs",
        "looking.logs",
        "print the console lines of an application's VMs",
        ["i2kit logs -a hello", "i2kit logs -a hello -w web --tail 20 --follow"],
        "\nWith neither -a nor -f, the only application of the environment.",
    )
    _files(command, required=False, help=_NAMES_ONLY)
    _environment(command)
    _application(command)
    command.add_argument("-o", "--output", choices=_OUTPUTS, default="table", help="table: a line each; json, yaml: a document per line")
    command.add_argument("-w", "--workload", metavar="NAME", help="only the VMs of this workload")
    command.add_argument("--tail", type=count, metavar="LINES", help="only the last lines of each VM")
    command.add_argument("--follow", action="store_true", help="go on as lines come, until Ctrl-C")


def _destroy(commands: argparse._SubParsersAction[Parser]) -> None:
    command = _command(
        commands,
        "destroy",
        "changing.destroy",
        "remove an application",
        ["i2kit destroy -a hello", "i2kit destroy -f examples/hello", "i2kit destroy --all --yes"],
        " The environment's network goes with its last application.\nDoing it twice is fine.",
    )
    command.set_defaults(gently=True)
    _files(command, required=False, help=_NAMES_ONLY)
    _environment(command)
    _application(command)
    _output(command)
    command.add_argument("--all", action="store_true", help="remove every application of the environment")
    command.add_argument("--yes", action="store_true", help="do not ask; only --all asks, and only on a terminal")
    _take_over(command)
    _timeout(command)


def _build(commands: argparse._SubParsersAction[Parser]) -> None:
    command = _command(
        commands,
        "build",
        "changing.build",
        "build the images of the manifests' Pods, without deploying",
        [
            "i2kit build -f examples/hello",
            "i2kit build -f examples/hello --format kernel+initrd --out out/hello",
            "i2kit build -f examples/hello --builder linuxkit --no-cache",
        ],
    )
    _files(command, required=True)
    _environment(command)
    _application(command)
    _output(command)
    _builder(command)
    _update_base(command)
    command.add_argument("--format", metavar="FORMAT", help="the image format, by LinuxKit's name (default: the provider's best)")
    command.add_argument("--no-cache", action="store_true", help="build anew even if the image is in the cache")
    command.add_argument(
        "--out",
        metavar="PATH",
        help="copy the result there: a file for one image of one file; otherwise a folder, with a file per part (kernel, initrd, ...), "
        "in a folder per image if there are several images",
    )


def _images(commands: argparse._SubParsersAction[Parser]) -> None:
    examples = ["i2kit images import hello.tar --name hello:1", "i2kit images ls", "i2kit images rm hello:1"]
    top = _command(commands, "images", "", "look after the image store, which is looked up before any registry", examples)
    actions = top.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    bring = _command(
        actions,
        "import",
        "stored.import_image",
        "bring an OCI layout (folder or tar) or a `docker save` tar into the store",
        ["i2kit images import hello.tar", "i2kit images import oci-folder --name registry.example.org/hello:1"],
    )
    bring.add_argument("path", metavar="PATH", help="the folder or tar")
    bring.add_argument("--name", metavar="NAME", help="what to call it (default: the name in the archive)")
    _output(bring)
    _output(_command(actions, "ls", "stored.list_images", "list the images of the store", ["i2kit images ls", "i2kit images ls -o json"]))
    remove = _command(actions, "rm", "stored.remove_images", "remove images from the store", ["i2kit images rm hello:1"])
    remove.add_argument("name", metavar="NAME", nargs="+", help="an image's name, or name@sha256:...")


def _graph(commands: argparse._SubParsersAction[Parser]) -> None:
    command = _command(
        commands,
        "graph",
        "looking.graph",
        "draw the plan: names, balancers, groups, images and secrets",
        ["i2kit graph -f examples/hello", "i2kit graph -f examples/hello --out hello.svg"],
        " Needs no access\nto where the application runs.",
    )
    _files(command, required=True)
    _environment(command)
    _application(command)
    _builder(command)
    command.add_argument(
        "--format", choices=("mermaid", "dot", "svg"), help="the language to draw in (default: by --out's ending, or mermaid)"
    )
    command.add_argument("--out", metavar="FILE", help="write the drawing there instead of to standard output")


def _providers(commands: argparse._SubParsersAction[Parser]) -> None:
    command = _command(
        commands,
        "providers",
        "looking.providers",
        "list the installed providers, broken ones with their error",
        ["i2kit providers", "i2kit providers -o yaml"],
        "\nThe json and yaml outputs tell what each is capable of, too.",
    )
    _output(command)


def _doctor(commands: argparse._SubParsersAction[Parser]) -> None:
    command = _command(
        commands,
        "doctor",
        "looking.doctor",
        "say what this machine lacks, and the command that helps",
        ["i2kit doctor", "i2kit doctor -e environment.yml"],
    )
    _environment(command)
    _output(command)
    _builder(command)


def _base(commands: argparse._SubParsersAction[Parser]) -> None:
    top = _command(commands, "base", "", "look after the base that images are built on", ["i2kit base lock --out base.lock"])
    actions = top.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    lock = _command(
        actions,
        "lock",
        "stored.lock_base",
        "write down the base's packages by version and hash, for environment.yml to name",
        ["i2kit base lock --out base.lock", "i2kit base lock --update-base --out base.lock"],
    )
    _environment(lock)
    _update_base(lock)
    lock.add_argument("--out", metavar="FILE", help="write the lock there instead of to standard output")


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
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of lines; expected a whole number, zero or more")
    return int(text)
