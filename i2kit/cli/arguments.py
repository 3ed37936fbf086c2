"""The command line: commands, flags and their help. Imports nothing heavy, so that `--help` answers at once."""

from __future__ import annotations

import argparse

from i2kit.cli import flags, upkeep
from i2kit.cli.flags import Commands, Parser

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
    for add in (
        *(_validate, _plan, _deploy, _status, _logs, upkeep.history, upkeep.rollback, upkeep.rollout, _destroy),
        *(_build, _images, upkeep.gc, _graph, _providers, _doctor, _base),
    ):
        add(commands)
    return top


def _validate(commands: Commands[Parser]) -> None:
    command = flags.add_command(
        commands,
        "validate",
        "looking.validate",
        "check manifests and environment, without touching anything",
        ["i2kit validate -f examples/hello", "i2kit validate -f app.yaml -e environment.yml -o json"],
    )
    flags.files(command, required=True)
    flags.environment(command)
    flags.output(command)


def _plan(commands: Commands[Parser]) -> None:
    command = flags.add_command(
        commands,
        "plan",
        "looking.plan",
        "show what deploy would change and why",
        [
            "i2kit plan -f examples/hello",
            "i2kit plan -f examples/hello --out hello.plan",
            "i2kit plan -f examples/hello --prune --detailed-exitcode",
        ],
    )
    flags.files(command, required=True)
    flags.environment(command)
    flags.application(command)
    flags.output(command)
    flags.builder(command)
    flags.update_base(command)
    flags.prune(command)
    command.add_argument("--out", metavar="FILE", help="save the plan there, for `deploy --plan`")
    command.add_argument("--detailed-exitcode", action="store_true", help="end with 2 when changes are pending")


def _deploy(commands: Commands[Parser]) -> None:
    command = flags.add_command(
        commands,
        "deploy",
        "changing.deploy",
        "make the manifests run",
        [
            "i2kit deploy -f examples/hello",
            "i2kit deploy -f examples/hello -e production.yml --timeout 20m",
            "kustomize build . | i2kit deploy -f - -a shop",
            "i2kit deploy --plan hello.plan",
        ],
        " Safe to run again at any time: what is done already\nis not done twice, and a run that was stopped is finished.",
        gently=True,
    )
    flags.files(command, required=False, help=f"{flags.MANIFESTS} (default with --plan: those that it was made of)")
    command.set_defaults(reads_manifests=True)
    flags.environment(command)
    flags.application(command)
    flags.output(command)
    flags.builder(command)
    flags.update_base(command)
    flags.prune(command)
    flags.dry_run(command)
    command.add_argument("--plan", metavar="FILE", help="carry out exactly this saved plan, or nothing if anything is different by now")
    command.add_argument("--no-cache", action="store_true", help="build images anew even if they are in the cache")
    command.add_argument("--keep-failed", action="store_true", help="leave a group that did not become ready, to look at it")
    flags.take_over(command)
    flags.timeout(command)


def _status(commands: Commands[Parser]) -> None:
    command = flags.add_command(
        commands,
        "status",
        "looking.status",
        "show how an application is doing",
        ["i2kit status", "i2kit status -a hello -o json"],
        "\nWith neither -a nor -f, the only application of the environment.",
    )
    flags.chosen_application(command)
    flags.output(command)


def _logs(commands: Commands[Parser]) -> None:
    command = flags.add_command(
        commands,
        "logs",
        "looking.logs",
        "print the console lines of an application's VMs",
        ["i2kit logs -a hello", "i2kit logs -a hello -w web --tail 20 --follow"],
        "\nWith neither -a nor -f, the only application of the environment.",
    )
    flags.chosen_application(command)
    command.add_argument(
        "-o", "--output", choices=flags.OUTPUTS, default="table", help="table: a line each; json, yaml: a document per line"
    )
    flags.workload(command, "only the VMs of this workload")
    command.add_argument("--tail", type=flags.count, metavar="LINES", help="only the last lines of each VM")
    command.add_argument("--follow", action="store_true", help="go on as lines come, until Ctrl-C")


def _destroy(commands: Commands[Parser]) -> None:
    command = flags.add_command(
        commands,
        "destroy",
        "changing.destroy",
        "remove an application",
        ["i2kit destroy -a hello", "i2kit destroy -f examples/hello", "i2kit destroy -a hello --dry-run", "i2kit destroy --all --yes"],
        " The environment's network goes with its last application.\nDoing it twice is fine.",
        gently=True,
    )
    flags.chosen_application(command)
    flags.output(command)
    command.add_argument("--all", action="store_true", help="remove every application of the environment")
    command.add_argument("--yes", action="store_true", help="do not ask; only --all asks, and only on a terminal")
    flags.dry_run(command)
    flags.take_over(command)
    flags.timeout(command)


def _build(commands: Commands[Parser]) -> None:
    command = flags.add_command(
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
    flags.files(command, required=True)
    flags.environment(command)
    flags.application(command)
    flags.output(command)
    flags.builder(command)
    flags.update_base(command)
    command.add_argument("--format", metavar="FORMAT", help="the image format, by LinuxKit's name (default: the provider's best)")
    command.add_argument("--no-cache", action="store_true", help="build anew even if the image is in the cache")
    command.add_argument(
        "--out",
        metavar="PATH",
        help="copy the result there: a file for one image of one file; otherwise a folder, with a file per part (kernel, initrd, ...), "
        "in a folder per image if there are several images",
    )


def _images(commands: Commands[Parser]) -> None:
    examples = ["i2kit images import hello.tar --name hello:1", "i2kit images ls", "i2kit images rm hello:1"]
    top = flags.add_command(commands, "images", "", "look after the image store, which is looked up before any registry", examples)
    actions = top.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    bring = flags.add_command(
        actions,
        "import",
        "stored.import_image",
        "bring an OCI layout (folder or tar) or a `docker save` tar into the store",
        ["i2kit images import hello.tar", "i2kit images import oci-folder --name registry.example.org/hello:1"],
    )
    bring.add_argument("path", metavar="PATH", help="the folder or tar")
    bring.add_argument("--name", metavar="NAME", help="what to call it (default: the name in the archive)")
    flags.environment(bring)
    flags.output(bring)
    flags.output(
        flags.add_command(
            actions, "ls", "stored.list_images", "list the images of the store", ["i2kit images ls", "i2kit images ls -o json"]
        )
    )
    remove = flags.add_command(actions, "rm", "stored.remove_images", "remove images from the store", ["i2kit images rm hello:1"])
    remove.add_argument("name", metavar="NAME", nargs="+", help="an image's name, or name@sha256:...")


def _graph(commands: Commands[Parser]) -> None:
    command = flags.add_command(
        commands,
        "graph",
        "looking.graph",
        "draw the plan: names, balancers, groups, images and secrets",
        ["i2kit graph -f examples/hello", "i2kit graph -f examples/hello --out hello.svg"],
        " Needs no access\nto where the application runs.",
    )
    flags.files(command, required=True)
    flags.environment(command)
    flags.application(command)
    flags.builder(command)
    command.add_argument(
        "--format", choices=("mermaid", "dot", "svg"), help="the language to draw in (default: by --out's ending, or mermaid)"
    )
    command.add_argument("--out", metavar="FILE", help="write the drawing there instead of to standard output")


def _providers(commands: Commands[Parser]) -> None:
    command = flags.add_command(
        commands,
        "providers",
        "looking.providers",
        "list the installed providers, broken ones with their error",
        ["i2kit providers", "i2kit providers -o yaml"],
        "\nThe json and yaml outputs tell what each is capable of, too.",
    )
    flags.output(command)


def _doctor(commands: Commands[Parser]) -> None:
    command = flags.add_command(
        commands,
        "doctor",
        "looking.doctor",
        "say what this machine lacks, and the command that helps",
        ["i2kit doctor", "i2kit doctor -e environment.yml"],
    )
    flags.environment(command)
    flags.output(command)
    flags.builder(command)


def _base(commands: Commands[Parser]) -> None:
    top = flags.add_command(commands, "base", "", "look after the base that images are built on", ["i2kit base lock --out base.lock"])
    actions = top.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    lock = flags.add_command(
        actions,
        "lock",
        "stored.lock_base",
        "write down the base's packages by version and hash, for environment.yml to name",
        ["i2kit base lock --out base.lock", "i2kit base lock --update-base --out base.lock"],
    )
    flags.environment(lock)
    flags.update_base(lock)
    lock.add_argument("--out", metavar="FILE", help="write the lock there instead of to standard output")
