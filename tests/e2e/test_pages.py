"""The how-to pages that show real runs: every command of theirs is run, and says what the page says it says.

Names, numbers of revisions, times and seconds differ from run to run and are not compared; a line of three dots stands for any lines.
A page's deadlines are for a quiet machine: they are stretched by what the page's first deploy has taken.
I2KIT_GOLDEN=write writes what is said now into the page.
"""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, Machine

pytestmark = pytest.mark.e2e

HOW_TO = ROOT / "docs" / "how-to"
PAGES = ("updates", "strategies")
_BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)
_VARIES = (
    # First, since they are no numbers of seconds.
    (r"127\.0\.0\.1:\d+", "HERE"),
    (r"10\.8[38]\.\d+\.\d+", "ADDRESS"),
    (r"\b[0-9a-f]{6}-[0-9a-f]{8}\b", "REVISION-NAME"),
    (r"\b[0-9a-f]{10}\b", "REVISION"),
    (r"\b[0-9a-f]{8}\b", "NAME"),
    (r"\b[0-9a-f]{16}\b", "IMAGE"),
    (r"sha256:[0-9a-f]+…?", "DIGEST"),
    (r"\b\d+\.\d\b", "SECONDS"),
    (r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d)?Z?", "TIME"),
    (r"\bi-[0-9a-f]{17}\b", "INSTANCE"),
    (r"-[0-9a-f]{16}\.elb\.", ".elb."),
    (r"process \d+ on \S+", "WHO"),
    (r"-{2,}", "--"),
    (r" +", " "),
)


_DEADLINE = re.compile(r"(progressDeadlineSeconds: |not ready after )(\d+)")
_CREATED = re.compile(r"^done +create +InstanceGroup/\S+ +(\d+\.\d)", re.MULTILINE)
# Deadlines count from the start of a VM: one that boots when its time is up is not ready for another reason than the page's.
_BOOTS = 1.5


def stretched(text: str, boot_seconds: float) -> str:
    """Return a block in which no deadline is shorter than some boots."""
    return _DEADLINE.sub(lambda match: f"{match[1]}{max(int(match[2]), math.ceil(_BOOTS * boot_seconds))}", text)


def boot_seconds(ran: list[tuple[str, str, str]]) -> float:
    """Return the longest time in which commands have made a group; 0 when they have made none."""
    return max((float(seconds) for _command, _shown, output in ran for seconds in _CREATED.findall(output)), default=0.0)


def alike(text: str) -> list[str]:
    """Return the lines of an output with what differs from run to run taken out."""
    for pattern, word in _VARIES:
        text = re.sub(pattern, word, text)
    return [line.strip() for line in text.strip().splitlines()]


def says(output: str, page: str) -> bool:
    """Whether an output is what the page shows, in which ``...`` stands for any lines."""
    parts = [re.escape("\n".join(part)) for part in _split(alike(page))]
    return re.fullmatch(r"(.*\n?)*?".join(parts) if len(parts) > 1 else parts[0], "\n".join(alike(output)), re.DOTALL) is not None


def _split(lines: list[str]) -> list[list[str]]:
    parts: list[list[str]] = [[]]
    for line in lines:
        if line == "...":
            parts.append([])
        else:
            parts[-1].append(line)
    return parts


def commands(block: str) -> list[tuple[str, str]]:
    """Return the commands of a block with the output that follows each."""
    found: list[tuple[str, str]] = []
    for line in block.splitlines(keepends=True):
        if line.startswith("$ "):
            found.append((line[2:].rstrip("\n"), ""))
        else:
            found[-1] = (found[-1][0], found[-1][1] + line)
    return found


def run(block: str, machine: Machine, folder: Path) -> list[tuple[str, str, str]]:
    """Run a block in one shell; return each command with the page's output and its own."""
    asked = commands(block)
    script = "".join(f"{command}\n__code=$?; echo '@@@@'; (exit $__code)\n" for command, _ in asked)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env={**machine.environment, "PATH": path, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    outputs = done.stdout.split("@@@@\n")
    assert len(outputs) == len(asked) + 1, done.stdout + done.stderr
    return [(command, shown, output) for (command, shown), output in zip(asked, outputs[:-1], strict=True)]


def compare(path: Path, machine: Machine, folder: Path, settings: str = "") -> None:
    """Run every command of a page in `folder`, where `settings` are environment.yml; each must say what the page says."""
    folder.mkdir(parents=True)
    if settings:
        (folder / "environment.yml").write_text(settings)
    (folder / "hello.yaml").write_text((ROOT / "examples" / "hello" / "hello.yaml").read_text())
    text = path.read_text()
    blocks = _BLOCK.findall(text)
    assert blocks
    golden, slowest = os.environ.get("I2KIT_GOLDEN") == "write", 0.0
    for block in blocks:
        ran = run(block if golden else stretched(block, slowest), machine, folder)
        slowest = max(slowest, boot_seconds(ran))
        if golden:
            written = "".join(f"$ {command}\n{shown if says(output, shown) else output}" for command, shown, output in ran)
            text = text.replace(f"```console\n{block}```", f"```console\n{written}```", 1)
            continue
        for command, shown, output in ran:
            assert says(output, shown), f"$ {command}\n--- the page says\n{shown}\n--- the command says\n{output}"
    path.write_text(text)


@pytest.mark.parametrize("page", PAGES)
def test_the_page_says_what_the_commands_say(machine: Machine, page: str) -> None:
    try:
        compare(HOW_TO / f"{page}.md", machine, machine.home / "pages" / page)
    finally:
        subprocess.run([sys.executable, "-m", "i2kit.cli", "destroy", "-a", "hello"], env=machine.environment, check=False, timeout=300)


def test_deadlines_are_stretched_by_what_a_boot_takes() -> None:
    ran = [("i2kit deploy", "", "done    create  InstanceGroup/hello-caa471-51cf887a  30.1  -\n")]
    assert boot_seconds(ran) == 30.1
    assert stretched("  progressDeadlineSeconds: 10/\nnot ready after 10 s", 30.0) == "  progressDeadlineSeconds: 45/\nnot ready after 45 s"
    assert stretched("progressDeadlineSeconds: 10", 0.0) == "progressDeadlineSeconds: 10"


def test_the_comparison_tells_outputs_apart() -> None:
    assert says("a 1.2 s\nb\nc\n", "a 3.4 s\n...\nc\n")
    assert says("http://127.0.0.1:40909\n", "http://127.0.0.1:8080\n")
    assert not says("http://127.0.0.2:8080\n", "http://127.0.0.1:8080\n")
    assert not says("a\nb\n", "a\nc\n")
    assert not says("load-0123ab-0123abcd: 2\n", "load-4567cd-4567abcd: 3\n")
