"""Release records: what they say about an application's history, and about what the runs before did and wanted.

How a run writes them is in `journal.py`.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import zstandard
from attrs import field, frozen

from i2kit import wire
from i2kit.driver import Record
from i2kit.errors import I2kitError
from i2kit.plan import Plan
from i2kit.steps import Position

SCHEMA = 1
RECENT_SECONDS = 120.0
"""How long what a cloud answers may be older than what was done, in seconds."""

HOUSEKEEPING = "gc"
"""The action of entries that hold an application while what nothing needs is removed: they say nothing about what is wanted."""

EntryKind = Literal["claim", "step", "release", "pause", "end"]


@frozen(kw_only=True)
class Holder:
    """Who runs: enough to tell, on the same host, whether that process still lives (`started` in clock ticks since boot).

    `pids` is the namespace in which `pid` means something: another container's processes cannot be seen from here.
    """

    host: str
    boot: str
    pids: str = ""
    pid: int
    started: str
    since: float

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} (since {time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(self.since))} UTC)"


@frozen(kw_only=True)
class Entry:
    """What one record says; `time` and `lease_seconds` in seconds.

    `plan` stands in claims (what is wanted), releases (what was reached), pauses and ends with rollouts that are half done (what is being
    reached). `positions` tell by workload where rollouts stand. `done` are keys of what is as it should be, `doing` of all that the run
    has begun so far: a step stands for those before it. `release` counts an application's releases from 1; `action` says how a release
    came about, or of what kind a claim is that is not for a deploy (`HOUSEKEEPING`).
    """

    schema: int = SCHEMA
    kind: EntryKind
    run: str
    holder: Holder
    time: float
    lease_seconds: float
    plan: Plan | None = None
    done: tuple[str, ...] = ()
    doing: tuple[str, ...] = ()
    positions: dict[str, Position] = field(factory=dict)
    message: str = ""
    release: int = 0
    action: str = ""

    @property
    def ended(self) -> bool:
        """Whether the run that wrote it was over with it."""
        return self.kind in ("release", "pause", "end")


def encode(entry: Entry) -> bytes:
    """Return the record's body: compressed JSON, without secrets."""
    return zstandard.ZstdCompressor(level=10).compress(json.dumps(wire.to_data(entry), sort_keys=True).encode())


def decode(record: Record) -> Entry:
    """Return what a record says; raise `I2kitError` when it is damaged or a newer i2kit wrote it."""
    try:
        data: dict[str, Any] = dict(json.loads(zstandard.ZstdDecompressor().decompress(record.body, max_output_size=64 << 20)))
    except (zstandard.ZstdError, ValueError, TypeError) as error:
        raise I2kitError.of(
            "damaged-record",
            f"release record {record.number} is damaged: {error}",
            hint="remove it by the provider's own means; `deploy` puts the application right again",
        ) from error
    if data.get("schema", 0) > SCHEMA:
        raise I2kitError.of(
            "newer-record",
            f"release record {record.number} was written by a newer i2kit (schema {data['schema']}; this one knows {SCHEMA})",
            hint="upgrade i2kit",
        )
    return wire.from_data(data, Entry)


def this_process() -> Holder:
    """Return the holder that stands for this process."""
    return Holder(
        host=socket.gethostname(),
        boot=_boot_id(),
        pids=_pid_namespace(),
        pid=os.getpid(),
        started=_started(os.getpid()) or "",
        since=time.time(),
    )


def _boot_id() -> str:
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text().strip() if path.exists() else ""


def _pid_namespace() -> str:
    path = Path("/proc/self/ns/pid")
    return str(path.readlink()) if path.is_symlink() else ""


def _started(pid: int) -> str | None:
    """Return the start time of a process, None when there is no such process (a zombie counts as none)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


Liveness = Literal["alive", "dead", "unknown"]


def liveness(holder: Holder, me: Holder) -> Liveness:
    """Tell whether the process of `holder` still lives, as far as that can be known from here."""
    if not holder.boot or holder.host != me.host:
        return "unknown"
    if holder.boot != me.boot:
        return "dead"
    if holder.pids != me.pids:
        return "unknown"
    return "alive" if _started(holder.pid) == holder.started else "dead"


def standing(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """Return what the records say about the application, without what only held it for housekeeping."""
    return tuple(entry for entry in entries if entry.action != HOUSEKEEPING)


def last_release(entries: Sequence[Entry]) -> Entry | None:
    """Return the newest release, None when the application was never deployed whole."""
    return next((entry for entry in reversed(entries) if entry.kind == "release"), None)


def releases(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """Return the releases, the oldest first."""
    return tuple(entry for entry in entries if entry.kind == "release")


def paused(entries: Sequence[Entry]) -> Entry | None:
    """Return the pause in which the application is, None when it is in none."""
    return entries[-1] if entries and entries[-1].kind == "pause" else None


def positions(entries: Sequence[Entry]) -> dict[str, Position]:
    """Return where rollouts stand that have not come to their end: those that pause, or whose run died or was stopped."""
    last = next((entry for entry in reversed(entries) if entry.kind != "claim"), None)
    return dict(last.positions) if last is not None else {}


@frozen(kw_only=True)
class Recent:
    """What the newest runs wanted, where that may not show yet (the newest last), and keys of what they were changing when they died."""

    plans: tuple[Plan, ...] = ()
    unsure: frozenset[str] = frozenset()


def recent(entries: Sequence[Entry], now: float) -> Recent:
    """Return what is to be remembered of the newest runs: of those that died, or of one that ended well a moment ago.

    Of one that ended with failures the records do not say what it left; that is there to be seen.
    """
    ends = [index for index, entry in enumerate(entries) if entry.ended]
    unfinished = entries[ends[-1] + 1 :] if ends else entries
    if not unfinished:
        last = entries[-1] if entries else None
        fresh = last is not None and last.kind != "end" and last.plan is not None and now - last.time < RECENT_SECONDS
        return Recent(plans=(last.plan,) if fresh and last and last.plan else ())
    changed = {name for entry in unfinished for name in entry.doing}
    return Recent(plans=tuple(entry.plan for entry in unfinished if entry.plan), unsure=frozenset(changed))


def superfluous(entries: Mapping[int, Entry]) -> tuple[int, ...]:
    """Return the numbers of records that nothing needs: all but the newest, the releases that can be gone back to, and the present one.

    >>> superfluous({})
    ()
    """
    found = [number for number in sorted(entries) if entries[number].kind == "release"]
    limit = max((plan.history_limit for number in found[-1:] if (plan := entries[number].plan)), default=0)
    kept = {max(entries, default=0), *found[-(limit + 1) :]}
    return tuple(number for number in sorted(entries) if number not in kept)
