"""What the tests of rollouts are worth: each fault that is planted here is caught by a check that passes without it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from rolling import Check, Members, explore, group, has_arrived, healthy, is_back, serves_only_with_members, start, stays_within, update
from shops import Shop, group_of, shop

from i2kit import rollout as rollouts
from i2kit.courses import Stage
from i2kit.driver import Context
from i2kit.errors import Held
from i2kit.journal import Journal
from i2kit.plan import Change
from i2kit.records import decode
from i2kit.resources import DnsRecord, key
from i2kit.steps import Pause, Rollout
from i2kit.strategy import Amount, Strategy
from i2kit.testing.cloud import FakeCloud, dies_after, never_ready
from i2kit.testing.cloud.driver import CloudDriver
from i2kit.world import Look

ROLLING = Strategy(max_surge=Amount(value=1), max_unavailable=Amount(value=0))
BLUE_GREEN, MANUAL = Strategy(type="blue-green"), Strategy(type="blue-green", promotion="manual")


def arrives(rollout: Rollout, check: Check = serves_only_with_members) -> None:
    found = explore(healthy(rollout), check)
    assert found.ends
    for end in found.ends:
        has_arrived(*end)


def keeps_bounds(_folder: Path) -> None:
    arrives(update(ROLLING, 3), stays_within(1, 0))


def switches_safely(_folder: Path) -> None:
    arrives(update(BLUE_GREEN, 2))


def comes_back(_folder: Path) -> None:
    for state in explore(healthy(update(ROLLING, 3)), lambda *_: None).states:
        for end in explore(state.give_up(), serves_only_with_members).ends:
            is_back(*end)


def gives_up_in_time(_folder: Path) -> None:
    for end in explore(healthy(update(ROLLING, 2)), lambda *_: None, failing=True).ends:
        is_back(*end)


def clears_up(_folder: Path) -> None:
    rollout = update(ROLLING, 2)
    rollout = evolve(rollout, olds=(*rollout.olds, group("stray", 2)))
    there = {"old": Members(size=2, ready=2), "stray": Members(size=2, ready=2)}
    for end in explore(start(rollout, there, {"old": 100}).give_up(), lambda *_: None).ends:
        is_back(*end)


def pauses(_folder: Path) -> None:
    ends = explore(healthy(update(MANUAL, 2)), serves_only_with_members, promote=False).ends
    assert ends
    assert all(isinstance(action, Pause) for _, action in ends)


def notices_who_dies_young(folder: Path) -> None:
    """A version whose members serve for 2 seconds is none, where they are to serve for 30."""
    at, new = Shop(cloud=FakeCloud(boot_seconds=1.0), folder=folder), shop("2", min_ready_seconds=30, deadline=60)
    assert at.operator().deploy(shop("1")).ok
    for workload in ("web", "worker"):
        at.cloud.behave(group_of(new, workload).name, dies_after(2.0))
    assert not at.operator().deploy(new).ok


def puts_names_back(folder: Path) -> None:
    """A name that a bad version had made another one before its run died is the old one again after the version was undone."""
    at = Shop(cloud=FakeCloud(), folder=folder)
    assert at.operator().deploy(shop("1")).ok
    (record,) = [one for one in shop("1").resources if isinstance(one, DnsRecord)]
    changed = (evolve(one, type="CNAME") if isinstance(one, DnsRecord) else one for one in shop("2").resources)
    new = evolve(shop("2"), resources=tuple(changed))
    assert at.killed(lambda run: run.deploy(new), key(record), "after_effect")
    for workload in ("web", "worker"):
        at.cloud.behave(group_of(new, workload).name, never_ready("its disk is full"))
    assert at.operator().deploy(new).rolled_back
    assert record in [one.resource for one in at.cloud.truth().resources], "the name is not what it was"


class Spying(CloudDriver):
    """Calls `before` ahead of every change."""

    before: Callable[[Change], None] = staticmethod(lambda _change: None)

    def apply(self, change: Change, context: Context) -> None:
        self.before(change)
        super().apply(change, context)


def spying(at: Shop, before: Callable[[Change], None]) -> Spying:
    driver = Spying(at.cloud.environment, at.cloud._store, at.cloud._front)
    driver.before = before
    return driver


def names_what_it_does(folder: Path) -> None:
    """The newest record names every change before it is made."""
    at = Shop(cloud=FakeCloud(), folder=folder)
    unnamed: list[str] = []

    def look(change: Change) -> None:
        named = {name for record in at.cloud.driver().records("sample") for name in decode(record).doing}
        unnamed.extend({change.key} - named)

    assert at.operator(spying(at, look)).deploy(shop("1")).ok
    assert unnamed == []


def holds(folder: Path) -> None:
    """Nobody else can deploy while a run is at work."""
    at = Shop(cloud=FakeCloud(), folder=folder)
    refused: list[bool] = []

    def intrude(_change: Change) -> None:
        if not refused:
            refused.append(False)
            try:
                at.operator().deploy(shop("2"))
            except Held:
                refused[:] = [True]

    with suppress(Held):  # the intruder displaced it
        at.operator(spying(at, intrude)).deploy(shop("1"))
    assert refused == [True], "a second run went on beside the first"


def stops_when_displaced(folder: Path) -> None:
    """A run from which another one takes over raises `Held`, and makes no change that it had not begun."""
    at = Shop(cloud=FakeCloud(), folder=folder)
    displaced: list[str] = []

    def displace(change: Change) -> None:
        if not displaced:
            displaced.append(change.key)
            assert at.operator(take_over=True).deploy(shop("2")).ok

    with pytest.raises(Held):
        at.operator(spying(at, displace)).deploy(shop("1"))


Plant = Callable[[pytest.MonkeyPatch], None]


def method(owner: Any, name: str, fault: Callable[..., Any]) -> Plant:
    """Plant `fault`, which is called with the real function and its arguments, in the place of a function."""
    real = getattr(owner, name).fget if isinstance(getattr(owner, name), property) else getattr(owner, name)
    replaced: Any = lambda *args, **kwargs: fault(real, *args, **kwargs)  # noqa: E731 - it has no name of its own
    return lambda patch: patch.setattr(owner, name, property(replaced) if isinstance(getattr(owner, name), property) else replaced)


def _blind_to_balancers(real: Callable[..., Any], scene: Any, overdue: bool) -> Any:
    return real(evolve(scene, seen=evolve(scene.seen, restored=True)), overdue)


def _one_less(real: Callable[..., Any], scene: Any, overdue: bool) -> Any:
    stable = evolve(scene.rollout.stable, replicas=scene.rollout.stable.replicas - 1)
    return real(evolve(scene, rollout=evolve(scene.rollout, stable=stable)), overdue)


def _unclaimed(_real: Callable[..., Any], journal: Journal, plan: Any, **_options: Any) -> str:
    journal.read()
    journal._plan = plan
    journal._append("claim", plan=plan)
    return ""


def _unwritten(_real: Callable[..., Any], *_args: Any, **_kwargs: Any) -> None:
    return None


def _unheard(real: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    try:
        real(*args, **kwargs)
    except Held:
        return


FAULTS: dict[str, tuple[Callable[[Path], None], Plant]] = {
    "the old group goes before the traffic moved": (switches_safely, method(rollouts._Scene, "shifted", lambda *_a, **_k: None)),
    "the new one counts as soon as it is there": (
        switches_safely,
        method(rollouts._Scene, "complete", lambda _real, scene: scene.new.size == scene.size),
    ),
    "maxSurge is ignored": (keeps_bounds, method(Strategy, "limits", lambda real, one, size: (real(one, size)[0] + 2, real(one, size)[1]))),
    "maxUnavailable is ignored": (keeps_bounds, method(Strategy, "limits", lambda real, one, size: (real(one, size)[0], size))),
    "balancers are not put back": (comes_back, method(rollouts, "_back", _blind_to_balancers)),
    "names are not put back": (
        puts_names_back,
        method(Stage, "_restorations", lambda real, *args: [one for one in real(*args) if not isinstance(one, DnsRecord)]),
    ),
    "the old revision is put back too small": (comes_back, method(rollouts, "_back", _one_less)),
    "what earlier runs left stays": (clears_up, method(Rollout, "strays", lambda _real, _rollout: ())),
    "a pause is not kept": (
        pauses,
        method(rollouts, "_paused", lambda real, stage, stages, position, now: real(evolve(stage, pause=0), stages, position, now)),
    ),
    "the deadline is ignored": (
        gives_up_in_time,
        method(rollouts, "next_step", lambda real, rollout, seen, _now: real(rollout, seen, seen.progressed)),
    ),
    "minReadySeconds is ignored": (
        notices_who_dies_young,
        method(Look, "available", lambda real, look, _seconds, now: real(look, 0, now)),
    ),
    "a claim that another run has is not respected": (holds, method(Journal, "claim", _unclaimed)),
    "steps are not written down": (names_what_it_does, method(Journal, "step", _unwritten)),
    "a displaced run goes on": (stops_when_displaced, method(Journal, "_append", _unheard)),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_caught(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check, plant = FAULTS[name]
    check(tmp_path)
    plant(monkeypatch)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        check(tmp_path)
