"""Strategies: from a Deployment's spec.strategy and its annotations to a `Strategy`."""

from __future__ import annotations

from i2kit.manifest.annotations import CANARY_STEPS, PROMOTION, STRATEGY, own_annotations
from i2kit.manifest.table import Tree
from i2kit.strategy import Strategy

_DEFAULT = Strategy()


def strategy(metadata: Tree, spec: Tree) -> Strategy:
    """Return how a Deployment goes from one revision to the next; what does not fit together is a problem."""
    own, written = own_annotations(metadata), spec.sub("strategy")
    _check_options(own)
    kubernetes = _kubernetes(written)
    chosen = own.get(STRATEGY)
    if chosen is None:
        return kubernetes
    if kubernetes.type == "recreate":
        written.problem(
            "conflicting-strategy",
            f"Recreate is given together with the annotation {STRATEGY}: {chosen}",
            "type",
            expected="one strategy",
            hint="remove one of the two",
        )
    elif written:
        spec.notice(
            f"ignored: the annotation {STRATEGY}: {chosen} decides; maxSurge and maxUnavailable belong to rolling updates", "strategy"
        )
    if chosen == "canary":
        _check_steps(own)
        return Strategy(type="canary", steps=own.get(CANARY_STEPS, ()))
    return Strategy(type="blue-green", promotion=own.get(PROMOTION, "automatic"))


def _kubernetes(tree: Tree) -> Strategy:
    """Read Kubernetes' own field, by Kubernetes' rules."""
    if tree.get("type") == "Recreate":
        if "rollingUpdate" in tree:
            tree.problem(
                "conflicting-strategy",
                "rollingUpdate is given together with type Recreate",
                "rollingUpdate",
                expected="type RollingUpdate, or no rollingUpdate",
                hint="remove it",
            )
        return Strategy(type="recreate")
    rolling = tree.sub("rollingUpdate")
    surge = rolling.get("maxSurge", _DEFAULT.max_surge)
    unavailable = rolling.get("maxUnavailable", _DEFAULT.max_unavailable)
    if surge.value == unavailable.value == 0:
        rolling.problem(
            "out-of-range",
            "maxSurge and maxUnavailable are both 0, and nothing could ever be replaced",
            "maxUnavailable",
            expected="at least one of them above 0",
        )
    return Strategy(max_surge=surge, max_unavailable=unavailable)


def _check_options(own: Tree) -> None:
    """Each strategy has options of its own."""
    for option, needed in ((CANARY_STEPS, "canary"), (PROMOTION, "blue-green")):
        given = own.get(STRATEGY)
        if option not in own or given == needed or own.broken(STRATEGY):
            continue
        own.problem(
            "conflicting-strategy",
            f"has no effect {f'with the strategy {given}' if given else f'without the annotation {STRATEGY}'}",
            option,
            expected=f"{STRATEGY}: {needed}",
            hint="a canary waits where its steps say pause" if given == "canary" else "remove it",
        )


def _check_steps(own: Tree) -> None:
    if CANARY_STEPS not in own and not own.broken(CANARY_STEPS):
        own.problem(
            "missing-field",
            f"a canary needs the annotation {CANARY_STEPS}",
            STRATEGY,
            expected="the shares of the traffic and the pauses",
            hint=f'add {CANARY_STEPS}: "20%, pause"',
        )
