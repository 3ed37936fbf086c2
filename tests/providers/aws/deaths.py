"""Runs that die after each of their effects: whoever runs next has to manage."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from attrs import evolve, frozen
from aws.bed import Bed

from i2kit.calls import Retries
from i2kit.driver import CallLimits
from i2kit.errors import ProviderError
from i2kit_aws.site import Site

Work = Callable[[Site], object]


@frozen(kw_only=True)
class Death:
    """How far a run came: to `action`, the effect number `made` of `effects` in all."""

    action: str
    made: int
    effects: int

    def __str__(self) -> str:
        return f"died after {self.action}, effect {self.made} of {self.effects}"


def deaths(bed: Bed, site: Site, work: Work, *, first: Work = lambda site: None) -> Iterator[Death]:
    """Let `work` die after each of its effects, without an answer, once `first` is done; yield after each death.

    What it reads changes nothing: so these are all the states in which it can leave the account, but for the one it began with. Whoever
    takes a death leaves the account as it was found.
    """
    first(site)
    since = len(bed.journal())
    work(site)
    requests = bed.journal(since)
    effects = [(number, entry["action"]) for number, entry in enumerate(requests) if entry["effect"]]
    assert effects, "it changes nothing"
    yield Death(action=effects[-1][1], made=len(effects), effects=len(effects))
    for made, (number, action) in enumerate(effects, 1):
        first(site)
        # What it asks differs from run to run, what it does does not.
        bed.faults.die(action, "after", skip=sum(entry["action"] == action for entry in requests[:number]))
        _try(work, site)
        bed.faults.clear()
        yield Death(action=action, made=made, effects=len(effects))


def _try(work: Work, site: Site) -> None:
    limits = CallLimits(attempts=1, first_delay_seconds=0.0, greatest_delay_seconds=0.0)
    mortal = evolve(site, gateway=evolve(site.gateway, retries=Retries(limits)))
    try:
        work(mortal)
    except ProviderError:
        return
    raise AssertionError("it outlived its own death")
