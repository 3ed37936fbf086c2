"""The state of one run: what waits, what is under way, and what has become of the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

from attrs import define, field

from i2kit.courses import Course, Stage
from i2kit.plan import Change, ChangeOutcome, GroupHealth
from i2kit.steps import Position
from i2kit.world import World

Call = tuple[tuple[str, ...], Callable[[], Any], Callable[[Any], None]]
"""Keys of what a call is about, the call, and what is done with its answer."""


@define(kw_only=True)
class UnderWay:
    """The state of one run; only the loop touches it.

    `waiting` are changes that are made as they are; those that belong to rollouts are made by their `courses`. `running` maps what is
    under way to the keys that it is about and to what is done with its answer.
    """

    stage: Stage
    waiting: dict[str, Change]
    courses: dict[str, Course]
    running: dict[Future[Any], tuple[tuple[str, ...], Callable[[Any], None]]] = field(factory=dict)
    looks: dict[Future[GroupHealth], tuple[str, int, float]] = field(factory=dict)
    looked: dict[str, tuple[int, float]] = field(factory=dict)
    applied: set[str] = field(factory=set)
    ready: set[str] = field(factory=set)
    outcomes: dict[str, ChangeOutcome] = field(factory=dict)
    moved: bool = False
    chosen: list[Call] = field(factory=list)
    writing: Future[None] | None = None
    clearing: Future[None] | None = None

    @property
    def changes(self) -> Mapping[str, Change]:
        """The changes that were found, by their keys."""
        return self.stage.changes

    @property
    def world(self) -> World:
        """What is known to be there."""
        return self.stage.world

    @property
    def busy(self) -> bool:
        """Whether anything is left to be done or waited for."""
        return bool(self.waiting or self.under_way or not all(course.over for course in self.courses.values()))

    @property
    def under_way(self) -> bool:
        """Whether calls are under way, but for looks."""
        return bool(self.running or self.writing)

    @property
    def doing(self) -> list[str]:
        """The keys of what is under way or about to be."""
        about = [*(keys for keys, _ in self.running.values()), *(keys for keys, _, _ in self.chosen)]
        return sorted({name for keys in about for name in keys})

    @property
    def positions(self) -> dict[str, Position]:
        """Where rollouts stand that are not at their end, or pause."""
        return {name: course.rollout.position for name, course in self.courses.items() if not course.over or course.paused}

    def stopped(self, name: str) -> ChangeOutcome | None:
        """Return the outcome of a change because of which others cannot be made."""
        outcome = self.outcomes.get(name)
        return outcome if outcome and outcome.result in ("failed", "skipped", "paused", "aborted") else None
