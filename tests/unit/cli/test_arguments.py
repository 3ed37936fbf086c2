"""The command line itself: what is refused, and how."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from i2kit.cli import program
from i2kit.cli.arguments import parser
from i2kit.cli.flags import UsageError, count, duration
from i2kit.errors import ExitCode

from .conftest import Ended

Run = Callable[..., Ended]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "depoly",
        "plan",
        "deploy -f hello.yaml --time 3",
        "deploy -f hello.yaml --timeout 0",
        "deploy -f hello.yaml --timeout soon",
        "logs --tail -1",
        "status -o xml",
        "images",
        "images rm",
        "base",
        "graph -f hello.yaml --format png",
        "deploy -f hello.yaml surplus",
    ],
)
def test_a_wrong_command_line_is_one_line_and_64(line: str, i2kit: Run) -> None:
    ended = i2kit(*line.split())
    assert ended.code == ExitCode.USAGE
    assert ended.out == ""
    assert ended.err.count("\n") == 1
    assert ended.err.startswith("error: ")
    assert "--help`" in ended.err


def test_help_and_version_go_to_standard_output(i2kit: Run) -> None:
    from i2kit._version import __version__

    assert i2kit("--version") == Ended(0, f"i2kit {__version__}\n", "")
    ended = i2kit("deploy", "--help")
    assert (ended.code, ended.err) == (0, "")
    assert "examples:\n  i2kit deploy -f examples/hello" in ended.out


def commands(top: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """Return every command that can be run, sub-commands too."""
    found = []
    for action in top._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                found += commands(command) or [command]
    return found


@pytest.mark.parametrize("command", commands(parser()), ids=lambda command: command.prog)
def test_every_command_names_a_function_and_shows_an_example(command: argparse.ArgumentParser) -> None:
    from importlib import import_module

    module, name = command.get_default("run").split(".")
    assert callable(getattr(import_module(f"i2kit.cli.{module}"), name))
    assert command.epilog
    assert all(action.help for action in command._actions)


@pytest.mark.parametrize("command", commands(parser()), ids=lambda command: command.prog)
def test_every_example_in_the_help_is_a_command_line_that_parses(command: argparse.ArgumentParser) -> None:
    for line in (command.epilog or "").splitlines()[1:]:
        words = line.split("|")[-1].split()
        assert words[0] == "i2kit"
        assert parser().parse_args(words[1:]).program == command.prog


def test_the_codes_of_the_program_are_those_of_the_library() -> None:
    assert (program._OK, program._FAILED, program._USAGE, program._INTERRUPTED) == (
        ExitCode.OK,
        ExitCode.FAILED,
        ExitCode.USAGE,
        ExitCode.INTERRUPTED,
    )


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("90s", 90), ("1.5m", 90), ("2h", 7200), ("0.5", 0.5)])
def test_a_time_is_a_number_with_a_unit(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@given(st.text())
def test_numbers_are_read_or_refused(text: str) -> None:
    for reader in (duration, count):
        with contextlib.suppress(argparse.ArgumentTypeError):
            assert reader(text) >= 0


def test_abbreviated_flags_are_refused() -> None:
    with pytest.raises(UsageError):
        parser().parse_args(["plan", "-f", "x", "--detailed"])
