"""Release records: history, intent and lock of an application in one append-only list.

A run claims the application, appends a step before it changes anything more, and ends with a release (all done) or an end (not all
done). Every append is create-only, so of two runs one sees `ConflictingRecord` and stops before it changes anything more.
"""

from __future__ import annotations

import json
import os
import socket
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import zstandard
from attrs import field, frozen

from i2kit import wire
from i2kit.driver import Driver, Record
from i2kit.errors import ConflictingRecord, Held, I2kitError, Problem
from i2kit.log import logger
from i2kit.plan import Plan
from i2kit.steps import Position

SCHEMA = 1
LEASE_SECONDS = 120.0
RENEW_SECONDS = 30.0
RECENT_SECONDS = 120.0
"""How long what a cloud answers may be older than what was done, in seconds."""

HOUSEKEEPING = "gc"
"""The action of entries that hold an application while what nothing needs is removed: they say nothing about what is wanted."""

# At once; how many calls are made at once is up to `calls.py`.
_REMOVALS = 16

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


class Journal:
    """An application's records as one run writes them.

    Not thread-safe: whoever appends waits until the last one is written. Only `clear` may go on beside that.
    """

    def __init__(
        self,
        driver: Driver,
        application: str,
        *,
        holder: Holder | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._driver = driver
        self._application = application
        self._holder = holder or this_process()
        self._clock = clock
        self._run = uuid.uuid4().hex
        self._records: dict[int, Entry] = {}
        self._next = 1
        self._renewed = 0.0
        self._plan: Plan | None = None
        self._positions: Mapping[str, Position] = {}
        self._left: Mapping[str, Position] = {}
        self._action = ""
        self._begun: set[str] = set()
        self._superseded: deque[int] = deque()
        self._over = False

    @property
    def entries(self) -> Mapping[int, Entry]:
        """All records by their numbers, as far as this run has read or written them."""
        return dict(self._records)

    def read(self) -> tuple[Entry, ...]:
        """Return what the records say about the application, oldest first."""
        self._records = {record.number: decode(record) for record in self._driver.records(self._application)}
        self._next = max(self._records, default=0) + 1
        return standing(self._records.values())

    def claim(self, plan: Plan, *, take_over: bool = False, action: str = "") -> str:
        """Claim the application for this run; return a line on whom it was taken over from (empty when it was free).

        Raises `Held` when another run holds it and is not provably dead (`take_over` claims it all the same).
        """
        self.read()
        last = self._records[max(self._records)] if self._records else None
        line = _free_or_dead(last, self._holder, self._clock(), take_over)
        self._plan, self._action = plan, action
        self._append("claim", plan=plan, action=action)
        return line

    def go_on(self, positions: Mapping[str, Position], left: Mapping[str, Position]) -> None:
        """Note where the rollouts stand with which this run goes on, and where those that it leaves as they are, however it ends."""
        self._positions, self._left = dict(positions), dict(left)

    def step(self, done: Sequence[str], doing: Sequence[str], positions: Mapping[str, Position] | None = None) -> None:
        """Write down what is done, where rollouts stand and what comes next, before it comes.

        Raises `Held` when another run has taken over.
        """
        if positions is not None:
            self._positions = dict(positions)
        self._begun.update(doing)
        before = self._next - 1
        self._append("step", done=tuple(done), doing=tuple(sorted(self._begun)), action=self._action)
        if before in self._records and self._records[before].kind == "step":
            self._superseded.append(before)

    def clear(self) -> None:
        """Remove steps that newer ones stand for, as far as that works; what is left goes when the run ends."""
        for _ in range(len(self._superseded)):
            if self._over:
                return
            number = self._superseded.popleft()
            try:
                self._driver.remove_record(self._application, number)
            except Exception as error:  # not this is what the run is for
                logger("i2kit.records").info("record-left", application=self._application, number=number, error=str(error))
            else:
                del self._records[number]

    def lapses(self) -> bool:
        """Whether it is time to renew the lease, by any step."""
        return self._clock() - self._renewed >= RENEW_SECONDS

    def release(self, done: Sequence[str], action: str = "deploy") -> None:
        """End the run: everything is as the plan says."""
        number = max((entry.release for entry in self._records.values()), default=0) + 1
        self._positions = self._left = {}
        self._append("release", plan=self._plan, done=tuple(done), release=number, action=action)
        self._tidy()

    def pause(self, done: Sequence[str], message: str, plan: Plan | None = None) -> None:
        """End the run: it goes on when somebody promotes what waits, and the claim is given back until then.

        `plan` is what is wanted then, where that is not what this run wanted.
        """
        self._append("pause", plan=plan or self._plan, done=tuple(done), message=message)
        self._tidy()

    def end(self, done: Sequence[str], message: str) -> None:
        """End the run: not everything is done, and the claim is given back. Rollouts that are half done go on from where they stand."""
        half_done = self._positions or self._left
        self._append("end", plan=self._plan if half_done else None, done=tuple(done), message=message)
        self._tidy()

    def withdraw(self) -> None:
        """Take the claim back, with the steps under it: what the records say is what they said before."""
        for number in sorted(number for number, entry in self._records.items() if entry.run == self._run):
            self._driver.remove_record(self._application, number)
            del self._records[number]

    def remove_all(self) -> None:
        """Remove every record, this run's claim last: a run that dies midway still holds the application."""
        for number in sorted(self._records):
            self._driver.remove_record(self._application, number)
        self._records = {}

    def _append(
        self,
        kind: EntryKind,
        *,
        plan: Plan | None = None,
        done: tuple[str, ...] = (),
        doing: tuple[str, ...] = (),
        message: str = "",
        release: int = 0,
        action: str = "",
    ) -> None:
        entry = Entry(
            kind=kind,
            run=self._run,
            holder=self._holder,
            time=self._clock(),
            lease_seconds=LEASE_SECONDS,
            plan=plan,
            done=done,
            doing=doing,
            positions={**self._left, **self._positions},
            message=message,
            release=release,
            action=action,
        )
        try:
            self._driver.append_record(self._application, self._next, encode(entry))
        except ConflictingRecord as error:
            raise self._displaced(kind) from error
        if not self._is_newest(kind):
            self._driver.remove_record(self._application, self._next)
            raise self._displaced(kind)
        self._records[self._next] = entry
        self._next += 1
        self._renewed = self._clock()

    def _is_newest(self, kind: EntryKind) -> bool:
        """Whether the record just appended stands right behind this run's last one, and at the end.

        Create-only is not enough: a run that was displaced long ago finds its next number free again, once the other run has removed the
        records that it needed no more.
        """
        numbers = {record.number for record in self._driver.records(self._application)}
        follows = kind == "claim" or self._next - 1 in numbers
        return follows and self._next == max(numbers, default=0)

    def _displaced(self, kind: EntryKind) -> Held:
        self._over = True
        return Held(
            Problem(
                code="displaced" if kind != "claim" else "held",
                message=f"another run has claimed application {self._application!r}; this one stops and changes nothing more",
                hint="wait for the other run, then run the same command again",
            )
        )

    def _tidy(self) -> None:
        """Remove what only mattered while a run was under way, and releases beyond the limit; the newest record always stays."""
        self._remove(superfluous(self._records))

    def _remove(self, numbers: Sequence[int]) -> None:
        """Remove records, in whatever order."""
        with ThreadPoolExecutor(_REMOVALS, thread_name_prefix="i2kit-records") as pool:
            list(pool.map(lambda number: self._driver.remove_record(self._application, number), numbers))
        for number in numbers:
            del self._records[number]


def superfluous(entries: Mapping[int, Entry]) -> tuple[int, ...]:
    """Return the numbers of records that nothing needs: all but the newest, the releases that can be gone back to, and the present one.

    >>> superfluous({})
    ()
    """
    found = [number for number in sorted(entries) if entries[number].kind == "release"]
    limit = max((plan.history_limit for number in found[-1:] if (plan := entries[number].plan)), default=0)
    kept = {max(entries, default=0), *found[-(limit + 1) :]}
    return tuple(number for number in sorted(entries) if number not in kept)


def _free_or_dead(last: Entry | None, me: Holder, now: float, take_over: bool) -> str:
    """Return why the application may be claimed although `last` claims it; raise `Held` when it may not.

    Pure but for looking at processes.
    """
    if last is None or last.ended:
        return ""
    alive = liveness(last.holder, me)
    if alive == "dead":
        return f"the run of {last.holder} died; going on from where it stopped"
    if alive == "unknown" and now > last.time + last.lease_seconds:
        return f"the run of {last.holder} has not been heard of for {now - last.time:.0f} s; going on from where it stopped"
    if take_over:
        return f"taken over from {last.holder}, as asked"
    raise Held(
        Problem(
            code="held",
            message=f"{last.holder} is working on this application",
            hint="wait until it is done; if you know that it is not running any more, use --take-over",
        )
    )
