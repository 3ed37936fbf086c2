"""Runs that die at a request: before its effect, after the effect without the answer, after the answer; at each request in turn."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

from attrs import evolve, frozen
from aws.bed import Bed

from i2kit.calls import Retries
from i2kit.driver import CallLimits
from i2kit.environment import Environment
from i2kit.errors import ProviderError
from i2kit_aws.site import Site

MOMENTS = ("before", "after", "answered")


@frozen(kw_only=True)
class Death:
    """Where a run has died: at its request `number`, counted from 0. `site` is that of the one who runs next."""

    moment: str
    number: int
    site: Site

    def __str__(self) -> str:
        return f"{self.moment} request {self.number}"


def deaths(
    bed: Bed, environment: Environment, work: Callable[[Site], object], *, after: Callable[[Site], object] | None = None
) -> Iterator[Death]:
    """Let `work` die at every request that it makes in an account with nothing in it but what `after` made; yield after each death."""
    for moment in MOMENTS:
        for number in itertools.count():
            bed.reset()
            if after is not None:
                after(_site(environment))
            rule = bed.faults.die(moment=moment, skip=number)
            lived = _lives(environment, work)
            died = bed.faults.met(rule) > number
            bed.faults.clear()
            if not died:
                assert lived, f"it failed without dying {moment} request {number}"
                assert number, "it makes no request at all"
                break
            yield Death(moment=moment, number=number, site=_site(environment))


def _site(environment: Environment, attempts: int = 9) -> Site:
    site = Site.of(environment)
    limits = CallLimits(attempts=attempts, first_delay_seconds=0.0, greatest_delay_seconds=0.0)
    return evolve(site, gateway=evolve(site.gateway, retries=Retries(limits)))


def _lives(environment: Environment, work: Callable[[Site], object]) -> bool:
    try:
        # Whoever is dead tries nothing again.
        work(_site(environment, attempts=1))
    except ProviderError:
        return False
    return True
