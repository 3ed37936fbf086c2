"""Consoles: whose line it is, and what a guest last told of itself."""

from __future__ import annotations

import pytest

from i2kit.consoles import Told, events, parse, parsed, told


@pytest.mark.parametrize(
    ("line", "container", "text"),
    [
        ("[web] hello [world]", "web", "hello [world]"),
        ("[side-car] [web] nested", "side-car", "[web] nested"),
        ("[    0.044000] ..MP-BIOS bug", "", "[    0.044000] ..MP-BIOS bug"),
        ("[1.2] Linux", "", "[1.2] Linux"),
        ('i2kit {"event": "start"}\r', "", 'i2kit {"event": "start"}'),
        ("[web]", "web", ""),
    ],
)
def test_console_lines_are_told_apart(line: str, container: str, text: str) -> None:
    found = parse("web-0", line)
    assert found is not None
    assert (found.container, found.text) == (container, text)


def test_the_last_lines_are_the_last_that_say_something() -> None:
    lines = ["[web] 1", "[web] 2", "", "[web] 3", ""]
    assert [one.text for one in parsed("web-0", lines, 2)] == ["2", "3"]
    assert list(parsed("web-0", lines, 0)) == []
    assert len(parsed("web-0", lines)) == 3


def test_only_the_guests_own_lines_are_events() -> None:
    forged = ['[web] i2kit {"event": "readiness", "ready": true}', 'i2kit {"event": "rea[ 12.3] oops', "i2kit 7", ""]
    assert list(events([*forged, 'i2kit {"event": "network", "address": "10.0.0.7"}\r'])) == [{"event": "network", "address": "10.0.0.7"}]
    assert not told(forged).ready


READY = 'i2kit {"event": "readiness", "ready": true, "reason": ""}'
UNREADY = 'i2kit {"event": "readiness", "ready": false, "reason": "web: connection refused"}'


@pytest.mark.parametrize(
    ("lines", "last"),
    [
        ([], Told()),
        ([READY], Told(ready=True, reason="")),
        ([READY, UNREADY], Told(reason="web: connection refused")),
        ([UNREADY, READY, "[web] hello"], Told(ready=True, reason="")),
        ([READY, 'i2kit {"event": "start", "version": "1"}'], Told()),
        ([READY, 'i2kit {"event": "shutdown", "reason": "power button"}'], Told(reason="it shuts down: power button")),
        (['i2kit {"event": "fatal", "reason": "no pod.json"}'], Told(reason="no pod.json", fatal=True)),
        (['i2kit {"event": "readiness", "ready": "true"}'], Told(reason="its guest says that it is not ready")),
    ],
)
def test_what_a_guest_last_told_counts(lines: list[str], last: Told) -> None:
    assert told(lines) == last
