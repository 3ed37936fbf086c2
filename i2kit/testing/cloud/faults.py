"""What goes wrong with a cloud's calls, how often, and who throws the dice."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from fnmatch import fnmatchcase
from random import Random

from attrs import AttrsInstance, field, frozen
from attrs.validators import and_, ge, le

INSTANCES = "instances"
"""The quota of a cloud's VMs, whatever groups they are in."""


def _probability(default: float = 0.0) -> float:
    value: float = field(default=default, validator=and_(ge(0.0), le(1.0)))
    return value


def _in_order(_instance: AttrsInstance, _attribute: object, value: tuple[float, float]) -> None:
    if not 0 <= value[0] <= value[1]:
        raise ValueError(f"a range of seconds begins at its lower end, not below 0: {value}")


@frozen(kw_only=True)
class Faults:
    """How badly a cloud behaves; not at all unless something is given.

    Every call takes between the two `latency` seconds, half of it before its effect. `throttled`, `lost_answers` and `partial` are
    probabilities. A call that is *throttled* has no effect; it raises `TransientError`, which asks to wait `retry_after` seconds. One whose
    *answer is lost* has had its effect when it raises `TransientError`. A *partial* group change that adds members starts some of them at
    most, and raises `ProviderError` (code ``capacity``). `only` limits these three to calls that match one of its patterns, such as
    ``apply create InstanceGroup/*``, ``append_record *`` or ``health *``.

    `observe` and `health` answer with what was true up to `stale_seconds` ago, each call as it likes: what was seen once may be gone in the
    next answer. `observe` does not show a new resource for up to `eventual_seconds`. Release records are never stale: `append_record` is
    the lock, and `records` shows every record that was appended before.

    `quotas` are the most there may be by kind (``{"Balancer": 5}``), and of ``instances`` in all groups together: what goes beyond has no
    effect and raises `ProviderError` (code ``quota``).
    """

    latency: tuple[float, float] = field(default=(0.0, 0.0), validator=_in_order)
    throttled: float = _probability()
    retry_after: float | None = 1.0
    lost_answers: float = _probability()
    partial: float = _probability()
    only: tuple[str, ...] = ("*",)
    stale_seconds: float = field(default=0.0, validator=ge(0.0))
    eventual_seconds: float = field(default=0.0, validator=ge(0.0))
    quotas: Mapping[str, int] = field(factory=dict)

    def concern(self, call: str) -> bool:
        """Tell whether a call, its method followed by what it is about, is among those that the probabilities are for."""
        return any(fnmatchcase(call, pattern) for pattern in self.only)


FAULTLESS = Faults()
"""A cloud without fault."""


class Dice:
    """Random numbers that are the same under the same seed, in whatever order threads come.

    Each call has dice of its own: those of the third call of ``health web-1`` do not depend on how many other calls came in between.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._lock = threading.Lock()
        self._thrown: Counter[str] = Counter()

    def of(self, call: str) -> Random:
        """Return the dice of the next call of this name."""
        with self._lock:
            self._thrown[call] += 1
            number = self._thrown[call]
        return Random(f"{self._seed} {number} {call}")  # noqa: S311 - for tests, which want the same numbers every time
