"""A driver whose every call does what a test says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from i2kit.driver import Context, LogLine, Record
from i2kit.errors import Problem, TransientError
from i2kit.plan import Change, GroupHealth, Observed

HEALTH = GroupHealth(ready=0, instances=())


class Scripted:
    """Answers each call with what `script` returns or raises for its method and arguments; `calls` are the methods that were called."""

    def __init__(self, script: Callable[..., Any]) -> None:
        self._script = script
        self.calls: list[str] = []

    def _play(self, method: str, *args: Any) -> Any:
        self.calls.append(method)
        return self._script(method, *args)

    def observe(self) -> Observed:
        self._play("observe")
        return Observed()

    def preflight(self, changes: Sequence[Change]) -> Sequence[Problem]:
        return list(self._play("preflight", changes) or ())

    def apply(self, change: Change, context: Context) -> None:
        self._play("apply", change, context)

    def health(self, group: str) -> GroupHealth:
        self._play("health", group)
        return HEALTH

    def logs(self, group: str, *, tail: int | None = None, follow: bool = False) -> Iterator[LogLine]:
        return iter(self._play("logs", group, tail, follow))

    def records(self, application: str) -> Sequence[Record]:
        return list(self._play("records", application) or ())

    def append_record(self, application: str, number: int, body: bytes) -> None:
        self._play("append_record", application, number, body)

    def remove_record(self, application: str, number: int) -> None:
        self._play("remove_record", application, number)

    def applications(self) -> Sequence[str]:
        return list(self._play("applications") or ())

    def close(self) -> None:
        self._play("close")


def busy(retry_after: float | None = None) -> TransientError:
    """Return an error that passes."""
    error = TransientError.of("throttled", "too many calls")
    assert isinstance(error, TransientError)
    error.retry_after = retry_after
    return error


def failing(times: int, error: Callable[[], Exception] = busy, then: Iterable[Any] | None = None) -> Callable[..., Any]:
    """Return a script that raises so many times, and returns `then` from then on."""
    left = times

    def play(*_args: Any) -> Any:
        nonlocal left
        left -= 1
        if left >= 0:
            raise error()
        return then

    return play
