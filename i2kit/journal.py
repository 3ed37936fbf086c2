"""An application's records as one run writes them: history, intent and lock in one append-only list.

A run claims the application, appends a step before it changes anything more, and ends with a release (all done), a pause or an end (not
all done). Every append is create-only, so of two runs one sees `ConflictingRecord` and stops before it changes anything more.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from i2kit.driver import Driver
from i2kit.errors import ConflictingRecord, Held, Problem
from i2kit.log import logger
from i2kit.plan import Plan
from i2kit.records import Entry, EntryKind, Holder, decode, encode, liveness, standing, superfluous, this_process
from i2kit.steps import Position

LEASE_SECONDS = 120.0
RENEW_SECONDS = 30.0

# At once; how many calls are made at once is up to `calls.py`.
_REMOVALS = 16


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
        self._clearing = threading.Lock()

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
                with self._clearing:
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
        if not (self._is_newest(kind) or self._is_newest_after_all(kind)):
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

    def _is_newest_after_all(self, kind: EntryKind) -> bool:
        """Look once more while nothing is cleared: a step that goes between two pages of an answer may push another record off both."""
        with self._clearing:
            return self._is_newest(kind)

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
