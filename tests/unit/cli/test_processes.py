"""The command as a process: Ctrl-C, a terminal, a reader that goes away, and how fast it starts."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

LIMIT = 30.0
Start = Callable[..., "subprocess.Popen[str]"]


def read_until(stream: object, wanted: str) -> str:
    """Read lines of a process until one of them holds `wanted`."""
    seen = ""
    for line in stream:  # type: ignore[attr-defined]
        seen += line
        if wanted in line:
            return seen
    raise AssertionError(f"{wanted!r} never came; what came was {seen!r}")


def test_the_first_ctrl_c_finishes_the_step_and_says_how_to_go_on(start: Start) -> None:
    process = start("gentle", "deploy", "-f", "hello.yaml")
    read_until(process.stderr, "Balancer/web-bbbb0000: done")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 130
    assert err.splitlines()[0] == "stopping: finishing the current step; Ctrl-C again to stop now"
    assert err.splitlines()[-1] == "interrupted; run the same command again to go on"
    assert "interrupted before it was done" in out


def test_the_second_ctrl_c_stops_at_once_though_a_thread_still_works(start: Start) -> None:
    process = start("stubborn", "deploy", "-f", "hello.yaml")
    read_until(process.stderr, "Balancer/web-bbbb0000: done")
    process.send_signal(signal.SIGINT)
    read_until(process.stderr, "Ctrl-C again to stop now")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 130
    assert err == "interrupted; run the same command again to go on\n"


def test_term_is_as_good_as_ctrl_c(start: Start) -> None:
    process = start("gentle", "deploy", "-f", "hello.yaml")
    read_until(process.stderr, "Balancer/web-bbbb0000: done")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=LIMIT)
    assert process.returncode == 130


def test_what_fails_because_of_the_ctrl_c_counts_as_interrupted(start: Start) -> None:
    process = start("cut", "deploy", "-f", "hello.yaml")
    read_until(process.stderr, "Image/web")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 130
    assert "error: skopeo was interrupted [program-failed]" in err
    assert err.endswith("run the same command again to go on\n")


def test_a_command_that_changes_nothing_ends_with_the_first_ctrl_c(start: Start) -> None:
    process = start("endless", "logs", "-a", "hello", "--follow")
    read_until(process.stdout, "line 3")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=LIMIT)
    assert process.returncode == 130


def test_a_reader_that_goes_away_is_no_error(start: Start) -> None:
    process = start("endless", "logs", "-a", "hello")
    assert process.stdout
    assert process.stdout.readline() == "web-0 [web] line 0\n"
    process.stdout.close()
    assert process.stderr
    assert process.stderr.read() == ""
    assert process.wait(LIMIT) == 0


def test_nobody_reading_the_progress_does_not_stop_a_deploy(start: Start) -> None:
    process = start("gentle", "deploy", "-f", "hello.yaml")
    assert process.stderr
    process.stderr.readline()
    process.stderr.close()
    process.send_signal(signal.SIGINT)
    assert process.stdout
    assert "skipped" in process.stdout.read()
    assert process.wait(LIMIT) == 130


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
@pytest.mark.parametrize(("situation", "code"), [("done", 0), ("failed", 1)])
def test_the_exit_code_is_the_same_when_nobody_listens(stream: str, situation: str, code: int, start: Start) -> None:
    """The interpreter's own flush at the end would make 120 of it."""
    ours, theirs = os.pipe()
    os.close(ours)
    process = start(situation, "deploy", "-f", "hello.yaml", **{stream: theirs})
    os.close(theirs)
    process.communicate(timeout=LIMIT)
    assert process.returncode == code


def test_off_a_terminal_an_error_is_one_line_without_colours(start: Start) -> None:
    process = start("invalid", "deploy", "-f", "hello.yaml")
    out, err = process.communicate(timeout=LIMIT)
    assert (process.returncode, out) == (4, "")
    assert err.splitlines() == [
        "error: hello.yaml:3 spec: unknown field 'replica'; expected one of replicas, selector; did you mean replicas? [unknown-field]",
        "error: hello.yaml:3 spec: image hello:2 is nowhere, neither here nor there [image-not-found]",
    ]


class Terminal:
    """A pseudo-terminal of 100 columns that a process can be given as its standard streams."""

    def __init__(self) -> None:
        self.ours, self.theirs = pty.openpty()
        import fcntl
        import struct
        import termios

        fcntl.ioctl(self.theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 100, 0, 0))
        self.seen = ""

    def hand_over(self) -> None:
        """Close our copy of the other end, so that reading ends with the process."""
        os.close(self.theirs)

    def read(self, wanted: str = "") -> str:
        """Read until `wanted` was seen, or to the end."""
        end = time.monotonic() + LIMIT
        while time.monotonic() < end:
            ready, _, _ = select.select([self.ours], [], [], end - time.monotonic())
            if not ready:
                break
            data = b""
            with suppress(OSError):  # a pty whose other end is closed answers with EIO
                data = os.read(self.ours, 65536)
            self.seen += data.decode()
            if not data or (wanted and wanted in self.seen):
                return self.seen
        raise AssertionError(f"{wanted!r} never came; what came was {self.seen!r}")

    def close(self) -> None:
        os.close(self.ours)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    made = Terminal()
    yield made
    made.close()


def on(terminal: Terminal, start: Start, situation: str, *arguments: str, **env: str) -> subprocess.Popen[str]:
    streams = {"stdin": terminal.theirs, "stdout": terminal.theirs, "stderr": terminal.theirs}
    process = start(situation, *arguments, **streams, env=env)
    terminal.hand_over()
    return process


def test_on_a_terminal_a_table_is_drawn_to_its_width(start: Start, terminal: Terminal) -> None:
    process = on(terminal, start, "done", "plan", "-f", "hello.yaml")
    shown = terminal.read()
    assert process.wait(LIMIT) == 0
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    assert "\x1b[32mcreate" in shown
    assert "──" in plain
    assert "[bold]x[/bold]" in plain
    assert max(len(line) for line in plain.splitlines()) <= 100


def test_no_color_is_honoured(start: Start, terminal: Terminal) -> None:
    on(terminal, start, "invalid", "deploy", "-f", "hello.yaml", NO_COLOR="1")
    shown = terminal.read()
    assert "error: unknown field 'replica' [unknown-field]" in shown
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", shown)


def test_on_a_terminal_an_error_has_its_place_and_hint_on_lines_of_their_own(start: Start, terminal: Terminal) -> None:
    process = on(terminal, start, "invalid", "deploy", "-f", "hello.yaml")
    lines = terminal.read().splitlines()
    assert process.wait(LIMIT) == 4
    first = next(number for number, line in enumerate(lines) if "\x1b[31;1merror:\x1b[0m unknown field 'replica' [unknown-field]" in line)
    assert lines[first + 1 : first + 4] == [
        "  at hello.yaml:3 spec",
        "  expected one of replicas, selector",
        "  did you mean replicas?",
    ]


def test_on_a_terminal_progress_is_live_and_tells_of_the_ctrl_c(start: Start, terminal: Terminal) -> None:
    process = on(terminal, start, "stubborn", "deploy", "-f", "hello.yaml")
    terminal.read("it does not exist")
    terminal.read("Balancer/web-bbbb0000: done")
    process.send_signal(signal.SIGINT)
    terminal.read("Ctrl-C again to stop now")
    process.send_signal(signal.SIGINT)
    shown = terminal.read()
    assert process.wait(LIMIT) == 130
    assert "run the same command again" in shown
    # The cursor that the display hid is back.
    assert shown.rfind("\x1b[?25h") > shown.rfind("\x1b[?25l")


def test_destroying_everything_asks_on_a_terminal(start: Start, terminal: Terminal) -> None:
    process = on(terminal, start, "done", "destroy", "--all")
    terminal.read("Type yes to go on:")
    os.write(terminal.ours, b"no\n")
    shown = terminal.read()
    assert process.wait(LIMIT) == 1
    assert "nothing was touched" in shown


HEAVY = ("attr", "importlib.metadata", "cattrs", "rich", "structlog", "yaml", "pluggy", "libcloud", "json", "i2kit.errors", "i2kit.api")


def test_help_imports_nothing_heavy() -> None:
    code = f"""
import sys, i2kit.cli
assert i2kit.cli.main(['deploy', '--help']) == 0
print([name for name in {HEAVY} if name in sys.modules])
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=LIMIT)
    assert ended.stdout.splitlines()[-1] == "[]"


def test_the_package_is_a_program() -> None:
    for module in ("i2kit", "i2kit.cli"):
        ended = subprocess.run([sys.executable, "-m", module, "--version"], capture_output=True, text=True, check=True, timeout=LIMIT)
        assert ended.stdout.startswith("i2kit ")


def test_debug_shows_the_events_of_the_library(start: Start) -> None:
    process = start("bug", "deploy", "-f", "hello.yaml", "--debug")
    _, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 1
    assert "Traceback (most recent call last):" in err
    assert "error: KeyError: 'greeting'" in err
