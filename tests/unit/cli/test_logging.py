"""Where the library's events go."""

from __future__ import annotations

import sys

import pytest
import structlog

from i2kit.cli.logging import configure
from i2kit.cli.messages import Messages


def log_something() -> None:
    log = structlog.get_logger("i2kit.registry")
    log.debug("stage", name="load")
    log.warning("plugin-broken", plugin="mars", error="ImportError: no\nrover")


def test_warnings_reach_the_user_as_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure(Messages(sys.stderr), debug=False)
    log_something()
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "warning: plugin-broken plugin='mars' error='ImportError: no\\nrover'\n")


def test_debug_shows_every_event_with_its_level(capsys: pytest.CaptureFixture[str]) -> None:
    configure(Messages(sys.stderr), debug=True)
    log_something()
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines() == [
        "debug: stage name='load'",
        "warning: plugin-broken plugin='mars' error='ImportError: no\\nrover'",
    ]
