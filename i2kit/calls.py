"""How drivers are called: so many at once, so many a second, again after what passes by itself, and not for ever.

Everything between a command and its driver that has to do with time stands here, so that a driver is written without it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from contextvars import copy_context
from random import Random
from types import TracebackType
from typing import TypeVar

from attrs import evolve, frozen

from i2kit.clock import Clock, SystemClock
from i2kit.driver import Artefact, CallLimits, Context, Driver, LogLine, Provider, Record, preflight
from i2kit.errors import ConflictingRecord, Problem, ProviderError, TransientError
from i2kit.log import logger
from i2kit.manifest.workloads import SecretValue
from i2kit.pace import Pace
from i2kit.plan import Change, GroupHealth, Observed

T = TypeVar("T")

LONGEST_WAIT_SECONDS = 300.0
"""A provider that asks to be left alone for longer than this is believed, and not called again."""

# Waits are cut into pieces, between which it is asked whether the run is to stop.
_SLICE_SECONDS = 0.25
# Clocks are not finer than this near the present time; a shorter sleep might let no time pass at all.
_LEAST_SECONDS = 0.001


def limited(provider: Provider, driver: Driver, clock: Clock) -> Driver:
    """Return `driver`, called as `provider` wants it."""
    return Calls(driver, provider.calls, clock=clock)


def delay(limits: CallLimits, failures: int, asked: float | None, dice: Random) -> float:
    """Return how long to wait after so many failures (1 or more), in seconds: random, so that not everybody comes back at once.

    >>> from random import Random
    >>> delay(CallLimits(first_delay_seconds=0.0, greatest_delay_seconds=0.0), 3, 2.5, Random(1))
    2.5
    """
    ceiling = min(limits.greatest_delay_seconds, limits.first_delay_seconds * 2.0 ** min(failures - 1, 64))
    return max(0.0, asked or 0.0) + dice.uniform(0.0, ceiling)


class Bucket:
    """Lets calls through at `rate` a second, and up to `burst` of them at once after a rest. Thread-safe."""

    def __init__(self, rate: float, burst: int, clock: Clock) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._lock = threading.Lock()
        self._tokens = float(burst)
        self._filled = clock.now()

    def take(self) -> None:
        """Return when another call may begin."""
        while wait := self._try():
            # Not promised beforehand but asked again: a sleep may be longer than meant, and several that were must not begin at once.
            self._clock.sleep(max(wait, _LEAST_SECONDS))

    def _try(self) -> float:
        """Take a token and return 0, or return the seconds until there is one."""
        with self._lock:
            now = self._clock.now()
            self._tokens = min(float(self._burst), self._tokens + max(0.0, now - self._filled) * self._rate)
            self._filled = now
            if self._tokens >= 1.0:
                self._tokens -= 1.0
                return 0.0
            return (1.0 - self._tokens) / self._rate


class _Places:
    """Room for so many at once; whoever is urgent comes in before all others that wait."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._urgent = 0
        self._changed = threading.Condition()

    def take(self, *, urgent: bool) -> None:
        with self._changed:
            self._urgent += urgent
            try:
                self._changed.wait_for(lambda: self._free and (urgent or not self._urgent))
                self._free -= 1
            finally:
                self._urgent -= urgent
                # Those that made way for this one may find another place.
                self._changed.notify_all()

    def give(self) -> None:
        with self._changed:
            self._free += 1
            self._changed.notify_all()


class _Slot:
    """The right to be one of the calls under way: a place in each of `places`, taken in one order."""

    def __init__(self, *places: _Places, urgent: bool = False) -> None:
        self._places = places
        self._urgent = urgent

    def __enter__(self) -> None:
        for one in self._places:
            one.take(urgent=self._urgent)

    def __exit__(self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        for one in reversed(self._places):
            one.give()


@frozen(kw_only=True)
class _Building:
    """The context of a change that gives its slot away for as long as an image is built, which is no call."""

    context: Context
    slot: _Slot

    def secret(self, name: str) -> Mapping[str, SecretValue]:
        return self.context.secret(name)

    def artefact(self, name: str) -> Artefact:
        self.slot.__exit__(None, None, None)
        try:
            return self.context.artefact(name)
        finally:
            self.slot.__enter__()

    def progress(self, message: str) -> None:
        self.context.progress(message)

    def check(self) -> None:
        self.context.check()


class Retries:
    """Makes what fails with `TransientError` again, as `limits` say; waits go by `clock`, and `dice` decide how long they are. Thread-safe.

    For whoever calls something over a network; a driver that makes many requests for one change keeps each from failing the whole. With
    `paced` each kind of call (`about`) gets a pace of its own when it is throttled again and again.
    """

    def __init__(self, limits: CallLimits, *, clock: Clock | None = None, dice: Random | None = None, paced: bool = False) -> None:
        self._limits = limits
        self._paces: dict[str, Pace] | None = {} if paced else None
        self._clock = clock or SystemClock()
        self._dice = dice or Random()  # noqa: S311 - jitter
        self._closed = threading.Event()

    def pace(self, about: str) -> Pace | None:
        """Return the pace of a kind of call; None when there are no paces."""
        return None if self._paces is None else self._paces.get(about) or self._paces.setdefault(about, Pace())

    def call(self, about: str, work: Callable[[], T], *, context: Context | None = None) -> T:
        """Return what `work` does once it succeeds; raise what it raises for good, or when it was tried often enough.

        Between tries `context` may stop the run. What lasts is raised as `TransientError` with the number of tries in its message.
        """
        pace, away = self.pace(about), 0
        for attempt in range(1, self._limits.attempts + 1):
            try:
                return work() if pace is None else self._in_turn(work, pace, away, context)
            except TransientError as error:
                away = away + 1 if error.throttled else 0
                if attempt == self._limits.attempts or (error.retry_after or 0.0) > LONGEST_WAIT_SECONDS:
                    raise _lasting(error, attempt) from error
                seconds = delay(self._limits, attempt, error.retry_after, self._dice)
                code = error.problems[0].code if error.problems else ""
                logger("i2kit.calls").info("call-failed", call=about, attempt=attempt, code=code, again_in=round(seconds, 3))
                if context:
                    context.progress(f"{'; '.join(one.message for one in error.problems)}; again in {seconds:.1f} s")
                self._wait(seconds, context, error)
        raise AssertionError("there is at least one attempt")

    @property
    def closed(self) -> bool:
        """Whether nobody wants anything any more."""
        return self._closed.is_set()

    def close(self) -> None:
        """Let calls that wait to be made again fail with what they failed with."""
        self._closed.set()

    def _in_turn(self, work: Callable[[], T], pace: Pace, away: int, context: Context | None) -> T:
        """Do `work`, which was turned away so many times, when it is its turn."""
        now = self._clock.now()
        begun = pace.begin(now)
        self._wait(begun - now, context)
        try:
            made = work()
        except TransientError as error:
            if error.throttled:
                pace.turned_away(begun, self._clock.now(), away + 1)
            raise
        pace.went_well()
        return made

    def _wait(self, seconds: float, context: Context | None, error: TransientError | None = None) -> None:
        """Let the time pass; raise what `context` does when the run is to stop. Once this was closed, raise `error`, or wait no longer."""
        left = seconds
        while left > 0:
            if self.closed:
                if error:
                    raise error
                return
            if context:
                context.check()
            self._clock.sleep(min(left, _SLICE_SECONDS))
            left -= _SLICE_SECONDS


class Calls:
    """A driver that calls another one within `limits`; waits go by `clock`, and `dice` decide how long they are. Thread-safe.

    All calls but `append_record` are idempotent, and simply made again. A record whose answer was lost is read to find out whose it is.
    An error that lasts is raised as the provider's, with the number of tries in its message.
    """

    def __init__(self, driver: Driver, limits: CallLimits, *, clock: Clock | None = None, dice: Random | None = None) -> None:
        self._driver = driver
        self._limits = limits
        clock = clock or SystemClock()
        self._retries = Retries(limits, clock=clock, dice=dice)
        self._bucket = Bucket(limits.calls_per_second, limits.burst, clock) if limits.calls_per_second else None
        # A run whose records wait would lose its lease. So what may take for ever leaves one place to what is given up in time, and where
        # several wait for that one, records come first: the longest that they wait is until one look is given up.
        places, endless = _Places(limits.concurrency), _Places(max(1, limits.concurrency - 1))
        self._record_slot, self._slot, self._endless_slot = _Slot(places, urgent=True), _Slot(places), _Slot(endless, places)

    def observe(self) -> Observed:
        """See `Driver.observe`; raises `ProviderError` (code ``call-timeout``) when there is no answer in time."""
        return self._call("observe", lambda: self._in_time("observe", self._driver.observe))

    def health(self, group: str) -> GroupHealth:
        """See `Driver.health`; raises `ProviderError` (code ``call-timeout``) when there is no answer in time."""
        return self._call(f"health {group}", lambda: self._in_time(f"health {group}", lambda: self._driver.health(group)))

    def preflight(self, changes: Sequence[Change]) -> Sequence[Problem]:
        """See `Driver.preflight`; raises `ProviderError` (code ``call-timeout``) when there is no answer in time."""
        return self._call("preflight", lambda: self._in_time("preflight", lambda: preflight(self._driver, changes)))

    def apply(self, change: Change, context: Context) -> None:
        """See `Driver.apply`; between tries the run may be stopped, and the change's deadline holds."""
        wrapped = _Building(context=context, slot=self._endless_slot)

        def work() -> None:
            context.check()
            self._driver.apply(change, wrapped)

        self._call(f"apply {change.action} {change.key}", work, slot=self._endless_slot, context=context)

    def logs(self, group: str, *, tail: int | None = None, follow: bool = False) -> Iterator[LogLine]:
        """See `Driver.logs`; made again only as long as there was no line."""
        about = f"logs {group}"

        def begin() -> tuple[Iterator[LogLine], LogLine | None]:
            lines = self._driver.logs(group, tail=tail, follow=follow)
            return lines, next(lines, None)

        # Whoever follows may wait for ever for the first line, and must not hold up others.
        lines, first = self._call(about, begin, slot=nullcontext() if follow else self._endless_slot)
        try:
            if first is not None:
                yield first
                yield from lines
        finally:
            if isinstance(lines, Generator):
                lines.close()

    def records(self, application: str) -> Sequence[Record]:
        """See `Driver.records`; raises `ProviderError` (code ``call-timeout``) when there is no answer in time."""
        about = f"records {application}"
        return self._call(about, lambda: self._in_time(about, lambda: self._driver.records(application)), slot=self._record_slot)

    def append_record(self, application: str, number: int, body: bytes) -> None:
        """See `Driver.append_record`; a record that is there because an earlier try's answer was lost is no conflict.

        It is known by its body: no two runs write the same one.
        """
        lost = False

        def work() -> None:
            nonlocal lost
            try:
                self._driver.append_record(application, number, body)
            except TransientError:
                lost = True
                raise

        try:
            self._call(f"append_record {application} {number}", work, slot=self._record_slot)
        except ConflictingRecord:
            if not (lost and any(one.number == number and one.body == body for one in self.records(application))):
                raise

    def remove_record(self, application: str, number: int) -> None:
        """See `Driver.remove_record`."""
        about = f"remove_record {application} {number}"
        self._call(about, lambda: self._driver.remove_record(application, number), slot=self._endless_slot)

    def applications(self) -> Sequence[str]:
        """See `Driver.applications`; raises `ProviderError` (code ``call-timeout``) when there is no answer in time."""
        return self._call("applications", lambda: self._in_time("applications", self._driver.applications))

    def close(self) -> None:
        """See `Driver.close`; calls that wait to be made again are not."""
        self._retries.close()
        self._driver.close()

    def _call(
        self, about: str, work: Callable[[], T], *, slot: AbstractContextManager[None] | None = None, context: Context | None = None
    ) -> T:
        """Make a call until it succeeds, fails for good, or was tried often enough; each try has its slot, no wait has one."""

        def one_try() -> T:
            with slot or self._slot:
                if self._bucket:
                    self._bucket.take()
                return work()

        return self._retries.call(about, one_try, context=context)

    def _in_time(self, about: str, work: Callable[[], T]) -> T:
        """Return the answer to a call, or abandon it: it may go on in its thread, but nobody waits, and its slot is free."""
        answers: list[T] = []
        errors: list[BaseException] = []
        answered = threading.Event()

        def ask() -> None:
            try:
                answers.append(work())
            except BaseException as error:  # whatever it is, it is for the caller
                errors.append(error)
            finally:
                answered.set()

        threading.Thread(target=copy_context().run, args=(ask,), name="i2kit-call", daemon=True).start()
        if not answered.wait(self._limits.call_seconds):
            raise ProviderError.of(
                "call-timeout",
                f"the provider did not answer {about} within {self._limits.call_seconds:g} s",
                hint="see whether it can be reached; running the same command again is safe",
            )
        if errors:
            raise errors[0]
        return answers[0]


def _lasting(error: TransientError, attempts: int) -> TransientError:
    """Return the error that a call ends with which was tried often enough, or is not to be made again so soon."""
    asked = error.retry_after or 0.0
    told = "tried once" if attempts == 1 else f"tried {attempts} times"
    told += f"; the provider asks to wait for {asked:.0f} s" if asked > LONGEST_WAIT_SECONDS else ""
    lasting = TransientError(evolve(one, message=f"{one.message} ({told})") for one in error.problems)
    lasting.retry_after = error.retry_after
    return lasting
