"""The steps of a canary, as an annotation gives them: ``10%, pause, 50%, 5m``."""

from __future__ import annotations

import re
from typing import Any

from attrs import frozen
from yaml.nodes import Node

from i2kit.manifest.fieldtypes import Text
from i2kit.manifest.page import INVALID, Page
from i2kit.strategy import CanaryStep

PAUSE = "pause"
_SHARE = re.compile(r"([0-9]{1,9})%")
_DURATION = re.compile(r"(?=[0-9])(?:([0-9]{1,9})h)?(?:([0-9]{1,9})m)?(?:([0-9]{1,9})s)?|([0-9]{1,9})")
_LONGEST_SECONDS = (1 << 31) - 1
_EXPECTED = (
    "percentages from 1% to 99%, each greater than the one before, and behind each at most one pause (30s, 5m, 1h or the word pause)"
)


@frozen
class _Mistake:
    """What is wrong with one item, and what may have been meant."""

    message: str
    hint: str = ""


class CanarySteps:
    """Percentages of the traffic, each with the pause that follows it."""

    name = "percentages and pauses"

    def __init__(self) -> None:
        self._text = Text()

    def __call__(self, node: Node, path: str, page: Page) -> Any:
        """Return a tuple of `CanaryStep`; every item that is wrong is a problem of its own."""
        text = self._text(node, path, page)
        if not isinstance(text, str):
            return INVALID
        steps, mistakes = canary_steps(text)
        for mistake in mistakes:
            page.problem("invalid-canary-steps", mistake.message, node.start_mark.line, path, expected=_EXPECTED, hint=mistake.hint)
        return INVALID if mistakes else steps


def canary_steps(text: str) -> tuple[tuple[CanaryStep, ...], list[_Mistake]]:
    """Read the steps, and say what is wrong with them.

    >>> [(step.weight, step.pause_seconds) for step in canary_steps("10%, pause, 50%, 1h30m, 90%")[0]]
    [(10, None), (50, 5400), (90, 0)]
    """
    steps: list[CanaryStep] = []
    mistakes: list[_Mistake] = []
    may_pause = False
    for item in (part.strip() for part in text.split(",")):
        share = _SHARE.fullmatch(item)
        if share is not None:
            weight = int(share[1])
            mistakes += _weight_mistakes(weight, item, steps)
            steps.append(CanaryStep(weight=weight))
            may_pause = True
            continue
        pause = _pause_seconds(item)
        if isinstance(pause, _Mistake):
            mistakes.append(pause)
        elif not steps:
            mistakes.append(_Mistake(f"begins with the pause {item!r}", _percent_hint(item)))
        elif not may_pause:
            mistakes.append(_Mistake(f"has a second pause, {item!r}, behind {steps[-1].weight}%", _percent_hint(item)))
        else:
            steps[-1] = CanaryStep(weight=steps[-1].weight, pause_seconds=pause)
        may_pause = False
    return tuple(steps), mistakes


def _weight_mistakes(weight: int, item: str, steps: list[CanaryStep]) -> list[_Mistake]:
    if not 1 <= weight <= 99:
        return [_Mistake(f"has the step {item}", "remove it: all the traffic follows the last step by itself" if weight == 100 else "")]
    if steps and weight <= steps[-1].weight:
        return [_Mistake(f"has {item} behind {steps[-1].weight}%")]
    return []


def _pause_seconds(item: str) -> int | _Mistake | None:
    if item == PAUSE:
        return None
    parts = _DURATION.fullmatch(item)
    if parts is None:
        meant = re.fullmatch(r"([0-9]+)\s+%", item)
        hint = f"write {PAUSE}" if item.lower() == PAUSE else f"write {meant[1]}%" if meant else ""
        return _Mistake(f"has the item {item[:40]!r}" if item else "has an empty item", hint)
    hours, minutes, seconds, bare = (int(part or 0) for part in parts.groups())
    total = hours * 3600 + minutes * 60 + seconds + bare
    return total if total <= _LONGEST_SECONDS else _Mistake(f"has the pause {item[:40]}", "write pause to wait until somebody promotes it")


def _percent_hint(item: str) -> str:
    """A bare number is seconds; a percentage may have been meant."""
    return f"write {item}% for a share of the traffic" if re.fullmatch("[1-9][0-9]?", item) else ""
