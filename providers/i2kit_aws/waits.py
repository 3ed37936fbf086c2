"""Waiting for what AWS takes its time over: how often it is asked, for how long, and what is said when that was not enough."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import sleep
from typing import TypeVar

from i2kit.driver import Context
from i2kit.errors import ProviderError
from i2kit_aws.gateway import AwsError

T = TypeVar("T")

HEARSAY_SECONDS = 60.0
"""How long it takes at most until all of AWS knows of a change."""
FIRST_SECONDS = 0.5
GREATEST_SECONDS = 5.0
_GROWTH = 1.5
# Waits are cut into pieces, between which it is asked whether the run is to stop.
_SLICE_SECONDS = 0.25


def until(look: Callable[[], T | None], context: Context, *, seconds: float, otherwise: str | Callable[[], str]) -> T:
    """Return what `look` returns once it is not None; it is asked at once, and then again and again, for about `seconds` in all.

    Raises `ProviderError` (code ``aws-slow``) with `otherwise` (or what it returns by then) as its message when that was not enough, and
    what `look` and `context` raise.
    """
    for pause in pauses(seconds):
        context.check()
        if (found := look()) is not None:
            return found
        rest(pause, context)
    if (found := look()) is not None:
        return found
    what = otherwise if isinstance(otherwise, str) else otherwise()
    hint = "run the same command again: it goes on from where this one stopped"
    raise ProviderError.of("aws-slow", f"{what} after {seconds:.0f} s", hint=hint)


def accepted(work: Callable[[], T], passing: Callable[[AwsError], bool], context: Context, *, seconds: float = HEARSAY_SECONDS) -> T:
    """Return what `work` does; where AWS refuses it with an error that is `passing`, it is done again, for about `seconds` in all.

    For requests that come before word of an earlier one has got around, or while something else goes on.
    """
    for pause in pauses(seconds):
        try:
            return work()
        except AwsError as error:
            if not passing(error):
                raise
        rest(pause, context)
    return work()


def pauses(seconds: float) -> Iterator[float]:
    """Yield how long to wait before each further question, in seconds: more and more, and `seconds` together.

    >>> [round(one, 2) for one in pauses(4)]
    [0.5, 0.75, 1.12, 1.62]
    """
    pause, left = FIRST_SECONDS, seconds
    while left > 0:
        yield min(pause, left)
        left -= pause
        pause = min(pause * _GROWTH, GREATEST_SECONDS)


def rest(seconds: float, context: Context) -> None:
    """Let so many seconds pass; raise what `context` does when the run is to stop."""
    while seconds > 0:
        context.check()
        sleep(min(seconds, _SLICE_SECONDS))
        seconds -= _SLICE_SECONDS


def unless(closed: Callable[[], bool], seconds: float) -> bool:
    """Let so many seconds pass, or fewer when it is `closed` by then; return whether it is."""
    while seconds > 0 and not closed():
        sleep(min(seconds, _SLICE_SECONDS))
        seconds -= _SLICE_SECONDS
    return closed()
