"""Troubles on demand: rules that a request may meet, kept in the server's process."""

from __future__ import annotations

import fnmatch
import random
import threading
from typing import Any

from attrs import define, field

from aws.protocols import Call

KINDS = ("error", "cut", "slow", "stale", "die", "hold")
MOMENTS = ("before", "after", "answered")


@define(kw_only=True)
class Rule:
    """One trouble. The patterns are fnmatch's over ``service:Action``; a rule with `times` left and `skip` used up takes effect."""

    action: str
    kind: str
    moment: str = "before"
    times: int = 1
    skip: int = 0
    share: float = 1.0
    seed: int = 1
    where: dict[str, Any] = field(factory=dict)
    code: str = "InternalError"
    message: str = "An internal error has occurred"
    status: int = 500
    seconds: float = 0.0
    pid: int = 0
    number: int = 0
    met: int = 0
    reached: threading.Event = field(factory=threading.Event)
    released: threading.Event = field(factory=threading.Event)
    dice: random.Random = field(init=False)

    def __attrs_post_init__(self) -> None:
        if self.kind not in KINDS or self.moment not in MOMENTS:
            raise ValueError(f"a rule is of one of the kinds {KINDS}, at one of the moments {MOMENTS}")
        self.dice = random.Random(self.seed)

    def strikes(self, call: Call) -> bool:
        """Say whether the rule takes effect on a call, and count it."""
        if not fnmatch.fnmatchcase(call.action, self.action) or not self.times:
            return False
        if any(call.parameters.get(name) != value for name, value in self.where.items()):
            return False
        if self.kind == "stale" and not call.reads:
            return False
        if self.share < 1 and self.dice.random() >= self.share:
            return False
        self.met += 1
        if self.met <= self.skip:
            return False
        self.times -= 1 if self.times > 0 else 0
        return True


class Faults:
    """All rules, and whether the client counts as dead: then no request of it has an effect or an answer."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next = 1
        self.rules: dict[int, Rule] = {}
        self.dead = False

    def add(self, **rule: Any) -> int:
        """Add a rule and return its number. Raises ValueError and TypeError for what is none."""
        with self._lock:
            made = Rule(number=self._next, **rule)
            self.rules[made.number] = made
            self._next += 1
            return made.number

    def clear(self) -> None:
        """Forget all rules, let go who is held, and let the client live."""
        with self._lock:
            for rule in self.rules.values():
                rule.released.set()
            self.rules.clear()
            self.dead = False

    def striking(self, call: Call) -> list[Rule]:
        """Return the rules that take effect on a call."""
        with self._lock:
            return [rule for rule in self.rules.values() if rule.strikes(call)]
