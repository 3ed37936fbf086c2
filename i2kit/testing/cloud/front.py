"""The door through which every call comes: it takes its time, turns calls away, loses answers, and keeps the books."""

from __future__ import annotations

import threading
from collections.abc import Callable
from random import Random
from typing import TypeVar

from attrs import frozen

from i2kit.clock import Clock
from i2kit.errors import I2kitError, TransientError
from i2kit.testing.cloud.faults import Dice, Faults

T = TypeVar("T")


@frozen(kw_only=True)
class Answer:
    """A call that was answered: its method, what it was about, the seconds that the cloud took.

    `result` is ``done``, ``throttled``, ``lost``, the code of the problem it was refused with, or the name of an exception that is no
    `I2kitError` (a kill).
    """

    method: str
    about: str
    seconds: float
    result: str


class Front:
    """Serves calls as `faults` have it, which may be changed at any time."""

    def __init__(self, clock: Clock, faults: Faults, seed: int) -> None:
        self.faults = faults
        self._clock = clock
        self._dice = Dice(seed)
        self._lock = threading.Lock()
        self._answers: list[Answer] = []
        self._inside = 0
        self.max_concurrent = 0

    @property
    def answers(self) -> tuple[Answer, ...]:
        """The calls that were answered, in that order."""
        with self._lock:
            return tuple(self._answers)

    def forget(self) -> None:
        """Begin the books anew."""
        with self._lock:
            self._answers.clear()
            self.max_concurrent = self._inside

    def serve(self, method: str, about: str, work: Callable[[Random], T]) -> T:
        """Do the work of a call, with dice of its own; raise `TransientError` as the faults have it."""
        call, faults = f"{method} {about}".rstrip(), self.faults
        dice = self._dice.of(call)
        half = dice.uniform(*faults.latency) / 2
        throttled, lost = (dice.random() < one and faults.concern(call) for one in (faults.throttled, faults.lost_answers))
        seconds, result = 0.0, "done"
        self._enter()
        try:
            seconds += self._wait(half)
            if throttled:
                raise _transient("throttled", f"Throttling: rate exceeded ({call})", faults.retry_after)
            answer = work(dice)
            seconds += self._wait(half)
            if lost:
                raise _transient("lost-answer", f"the connection was closed before {call} was answered", None)
            return answer
        except BaseException as error:
            result = _result(error)
            raise
        finally:
            self._leave(Answer(method=method, about=about, seconds=seconds, result=result))

    def _wait(self, seconds: float) -> float:
        if seconds:
            self._clock.sleep(seconds)
        return seconds

    def _enter(self) -> None:
        with self._lock:
            self._inside += 1
            self.max_concurrent = max(self.max_concurrent, self._inside)

    def _leave(self, answer: Answer) -> None:
        with self._lock:
            self._inside -= 1
            self._answers.append(answer)


def _transient(code: str, message: str, retry_after: float | None) -> I2kitError:
    error = TransientError.of(code, message, hint="the same call may be made again")
    assert isinstance(error, TransientError)
    error.retry_after = retry_after
    return error


def _result(error: BaseException) -> str:
    """Say in a word how a call ended."""
    code = error.problems[0].code if isinstance(error, I2kitError) and error.problems else type(error).__name__
    return {"lost-answer": "lost"}.get(code, code)
