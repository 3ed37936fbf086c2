"""docs/reference/cli.md and the command line say the same."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest

from i2kit.cli.arguments import parser
from i2kit.errors import ExitCode

from .test_arguments import commands

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "cli.md").read_text()
SECTIONS = dict(re.findall(r"^## (i2kit [a-z ]+)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
EVERYWHERE = {"-h", "--help", "--debug"}


def flags(command: argparse.ArgumentParser) -> set[str]:
    return {flag for action in command._actions for flag in action.option_strings} - EVERYWHERE


def documented(section: str) -> set[str]:
    """Return the flags that a section gives a meaning: in its line of flags, or at the beginning of a table's row."""
    places = re.findall(r"Flags: .*", section) + re.findall(r"^\| (`-[^|]*)\|", section, re.MULTILINE)
    return {flag for place in places for flag in re.findall(r"`(--?[a-z][a-z-]*)`", place)}


def test_every_command_has_a_section_and_every_section_a_command() -> None:
    assert set(SECTIONS) == {command.prog for command in commands(parser())}


@pytest.mark.parametrize("command", commands(parser()), ids=lambda command: command.prog)
def test_a_section_names_exactly_the_flags_of_its_command(command: argparse.ArgumentParser) -> None:
    assert documented(SECTIONS[command.prog]) == flags(command)


def test_the_flags_of_every_command_are_explained() -> None:
    head = PAGE.split("\n## i2kit ")[0]
    shared = documented(head)
    assert flags(parser()) | EVERYWHERE <= shared
    used = {flag for command in commands(parser()) for flag in flags(command)}
    assert shared - EVERYWHERE - flags(parser()) <= used


def test_the_exit_codes_are_those_of_the_library() -> None:
    assert {int(code) for code in re.findall(r"^\| ([0-9]+) \|", PAGE, re.MULTILINE)} == {int(code) for code in ExitCode}


@pytest.mark.parametrize("line", re.findall(r"^    (i2kit [a-z].*)$", PAGE, re.MULTILINE))
def test_examples_parse(line: str) -> None:
    assert parser().parse_args(line.split()[1:]).run
