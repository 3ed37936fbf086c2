"""The command lines of what comes after the first deploy: history, rollback, rollout, gc. Imports nothing heavy."""

from __future__ import annotations

import argparse
import re

from i2kit.cli import flags
from i2kit.cli.flags import Commands, Parser

_ONLY_ONE = "\nWith neither -a nor -f, the only application of the environment."


def history(commands: Commands[Parser]) -> None:
    """Add `history`."""
    command = flags.add_command(
        commands,
        "history",
        "releasing.history",
        "list an application's releases",
        ["i2kit history", "i2kit history -a hello -o json"],
        " Those that `rollback` can go back to, and the present one." + _ONLY_ONE,
    )
    flags.chosen_application(command)
    flags.output(command)


def rollback(commands: Commands[Parser]) -> None:
    """Add `rollback`."""
    command = flags.add_command(
        commands,
        "rollback",
        "releasing.rollback",
        "return an application to an earlier release",
        ["i2kit rollback -a hello", "i2kit rollback -a hello --to 3 --dry-run", "i2kit rollback -a shop --workload web"],
        " By default to the one before the present one;\nafter a deploy that failed, to the last good one." + _ONLY_ONE,
        gently=True,
    )
    flags.chosen_application(command)
    flags.output(command)
    command.add_argument("--to", type=release, metavar="N", help="the number of the release, as `i2kit history` shows it")
    flags.workload(command, "only this workload; everything else stays as it is")
    flags.dry_run(command)
    flags.take_over(command)
    flags.timeout(command)


def rollout(commands: Commands[Parser]) -> None:
    """Add `rollout` with its actions."""
    examples = ["i2kit rollout status -a hello", "i2kit rollout promote -a hello", "i2kit rollout abort -a hello"]
    top = flags.add_command(commands, "rollout", "", "look after rollouts that pause, and replace VMs without a change", examples)
    actions = top.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    status = flags.add_command(
        actions,
        "status",
        "releasing.rollout_status",
        "show the rollouts that pause or are under way",
        ["i2kit rollout status", "i2kit rollout status -a shop --workload web -o json"],
        _ONLY_ONE,
    )
    flags.chosen_application(status)
    flags.output(status)
    flags.workload(status, "only the rollout of this workload")
    for name, summary, more in (
        ("promote", "let rollouts that pause go on", ""),
        ("abort", "take rollouts that pause, or whose run died, back", " The last good revision\nis put back whole."),
        ("restart", "replace VMs without a change", " Each workload by its own strategy."),
    ):
        examples = [f"i2kit rollout {name} -a hello", f"i2kit rollout {name} -a shop --workload web"]
        command = flags.add_command(actions, name, f"releasing.{name}", summary, examples, more + _ONLY_ONE, gently=True)
        flags.chosen_application(command)
        flags.output(command)
        flags.workload(command, "only this workload")
        flags.take_over(command)
        flags.timeout(command)


def gc(commands: Commands[Parser]) -> None:
    """Add `gc`."""
    command = flags.add_command(
        commands,
        "gc",
        "housekeeping.gc",
        "remove images, groups and records that nothing needs any more",
        ["i2kit gc", "i2kit gc --yes -e production.yml"],
        " Never one in use.\nWithout --yes it only shows what would go.",
        gently=True,
    )
    flags.environment(command)
    flags.output(command)
    command.add_argument("--yes", action="store_true", help="remove it; without this, it is only shown")
    flags.take_over(command)


def release(text: str) -> int:
    """Return the number of a release, one or more, that `text` means."""
    if not re.fullmatch(r"[1-9][0-9]*", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not the number of a release; `i2kit history` shows them")
    return int(text)
