"""What VMs say on their consoles: whose line it is, and what the guest itself tells. Pure; docs/reference/guest.md has the form."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from attrs import frozen

from i2kit.driver import LogLine

EVENT = "i2kit "
"""What the guest's own lines begin with; a JSON object follows. No container can write such a line."""


@frozen(kw_only=True)
class Told:
    """What a guest last told about itself: whether it is ready, why not, and whether it has given up (`fatal`)."""

    ready: bool = False
    reason: str = "its console does not tell yet whether it is ready"
    fatal: bool = False


def parse(instance: str, line: str) -> LogLine | None:
    """Return what a console line says, None for an empty one; `container` is empty for the guest's lines and the kernel's.

    >>> parse("web-0", "[web] hello")
    LogLine(instance='web-0', container='web', text='hello')
    >>> parse("web-0", "[    0.1] Linux version 6.1").container
    ''
    """
    line = line.rstrip("\r\n")
    if not line:
        return None
    if line.startswith("["):
        container, closing, text = line[1:].partition("] ")
        # The kernel's own lines begin with a time in brackets.
        if closing and container and all(one.isalnum() or one == "-" for one in container):
            return LogLine(instance=instance, container=container, text=text)
        if line.endswith("]") and "] " not in line and line[1:-1].replace("-", "").isalnum():
            return LogLine(instance=instance, container=line[1:-1], text="")
    return LogLine(instance=instance, container="", text=line)


def parsed(instance: str, lines: Iterable[str], tail: int | None = None) -> Sequence[LogLine]:
    """Return the last `tail` of a console's lines that are not empty, all of them if None."""
    found = [line for one in lines if (line := parse(instance, one))]
    return found if tail is None else found[len(found) - min(tail, len(found)) :]


def events(lines: Iterable[str]) -> Iterator[Mapping[str, Any]]:
    """Yield the guest's events among a console's lines, in order; lines that something else wrote into are passed over.

    >>> [one["event"] for one in events(["[web] hello", 'i2kit {"event": "start"}'])]
    ['start']
    """
    for line in lines:
        if line.startswith(EVENT):
            try:
                event = json.loads(line.removeprefix(EVENT))
            except ValueError:
                continue
            if isinstance(event, dict):
                yield event


def told(lines: Iterable[str]) -> Told:
    """Return what a guest last told of itself.

    >>> told(['i2kit {"event": "readiness", "ready": false, "reason": "web: connection refused"}']).reason
    'web: connection refused'
    """
    last = Told()
    for event in events(lines):
        reason = str(event.get("reason") or "")
        match event.get("event"):
            case "start":
                last = Told()
            case "readiness":
                ready = event.get("ready") is True
                last = Told(ready=ready, reason="" if ready else reason or "its guest says that it is not ready")
            case "shutdown":
                last = Told(reason=f"it shuts down: {reason}" if reason else "it shuts down")
            case "fatal":
                last = Told(reason=reason or "its guest gave up", fatal=True)
    return last
