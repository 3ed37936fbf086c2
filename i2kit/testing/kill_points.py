"""Ends a run at any call of its driver: before the effect, after the effect but before the answer, after the answer."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, TypeVar, get_args

from attrs import frozen

from i2kit.driver import Context, Driver, LogLine, Record, preflight
from i2kit.errors import Problem
from i2kit.plan import Change, GroupHealth, Observed

T = TypeVar("T")

Phase = Literal["before", "after_effect", "after_answer"]
PHASES: tuple[Phase, ...] = get_args(Phase)


class Killed(BaseException):
    """The run has died here. No `Exception`: what catches those must not survive its own death."""


def raise_killed() -> None:
    """End the run within this process, by an exception."""
    raise Killed


def sigkill() -> None:
    """End this process as nothing can catch."""
    os.kill(os.getpid(), signal.SIGKILL)


@frozen(kw_only=True)
class Call:
    """One call of a driver: its number, counted from 1, its method and what it was about."""

    number: int
    method: str
    about: str = ""

    def __str__(self) -> str:
        return f"{self.number} {self.method} {self.about}".rstrip()


class KillPoints:
    """A driver that passes every call on to `driver`, and ends the run at call `at`.

    `phase` says when: *before* the call has an effect; *after_effect*, when the call has completed and its answer is lost; *after_answer*,
    when the caller had the answer and did with it what it could until its next call. `kill` ends the run; once it has, a run within this
    process gets nothing more done: every later call raises `Killed` too. With `at=None` nothing is ended. `calls` lists the calls.
    """

    def __init__(self, driver: Driver, *, at: int | None = None, phase: Phase = "before", kill: Callable[[], None] = raise_killed) -> None:
        self._driver = driver
        self._at = at
        self._phase = phase
        self._kill = kill
        self._changed = threading.Condition()
        self._inside = 0
        self._dying = False
        self.killed = False
        self.calls: list[Call] = []

    @property
    def deadly(self) -> Call | None:
        """The call at which the run is ended; None as long as it has not been made."""
        return self.calls[self._at - 1] if self._at is not None and self._at <= len(self.calls) else None

    def settle(self) -> None:
        """Wait for the calls that other threads were in when the run was ended: a cloud, too, completes what it has received."""
        with self._changed:
            self._changed.wait_for(lambda: self._inside == 0)

    def _call(self, method: str, call: Callable[[], T], about: str = "") -> T:
        mine = self._enter(method, about)
        try:
            answer = call()
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()
        if mine and self._phase == "after_effect":
            self._die()
        if mine and self._phase == "after_answer":
            self._dying = True
        return answer

    def _enter(self, method: str, about: str) -> bool:
        """Count a call; tell whether it is the one to end at."""
        with self._changed:
            if self._dying or self.killed:
                self._die()
            self.calls.append(Call(number=len(self.calls) + 1, method=method, about=about))
            mine = len(self.calls) == self._at
            if mine and self._phase == "before":
                self._die()
            self._inside += 1
            return mine

    def _die(self) -> None:
        self.killed = True
        self._kill()
        raise Killed

    def observe(self) -> Observed:
        """Pass on `Driver.observe`."""
        return self._call("observe", self._driver.observe)

    def preflight(self, changes: Sequence[Change]) -> Sequence[Problem]:
        """Pass on `Driver.preflight`."""
        return self._call("preflight", lambda: preflight(self._driver, changes))

    def apply(self, change: Change, context: Context) -> None:
        """Pass on `Driver.apply`."""
        self._call("apply", lambda: self._driver.apply(change, context), f"{change.action} {change.key}")

    def health(self, group: str) -> GroupHealth:
        """Pass on `Driver.health`."""
        return self._call("health", lambda: self._driver.health(group), group)

    def logs(self, group: str, *, tail: int | None = None, follow: bool = False) -> Iterator[LogLine]:
        """Pass on `Driver.logs`."""
        return self._call("logs", lambda: self._driver.logs(group, tail=tail, follow=follow), group)

    def records(self, application: str) -> Sequence[Record]:
        """Pass on `Driver.records`."""
        return self._call("records", lambda: self._driver.records(application), application)

    def append_record(self, application: str, number: int, body: bytes) -> None:
        """Pass on `Driver.append_record`."""
        self._call("append_record", lambda: self._driver.append_record(application, number, body), f"{application} {number}")

    def remove_record(self, application: str, number: int) -> None:
        """Pass on `Driver.remove_record`."""
        self._call("remove_record", lambda: self._driver.remove_record(application, number), f"{application} {number}")

    def applications(self) -> Sequence[str]:
        """Pass on `Driver.applications`."""
        return self._call("applications", self._driver.applications)

    def close(self) -> None:
        """Pass on `Driver.close`."""
        self._call("close", self._driver.close)


def enumerate_calls(driver: Driver, run: Callable[[Driver], object]) -> tuple[Call, ...]:
    """Return the calls that `run` makes of the driver that it is given: every one of them is a place where it may die."""
    recorder = KillPoints(driver)
    run(recorder)
    return tuple(recorder.calls)
