"""PodDisruptionBudgets: they limit evictions, and there are none here; what they say is told beside what a rollout keeps."""

from __future__ import annotations

from i2kit.manifest.objects import namespace_of
from i2kit.manifest.selectors import expression_holds, valid_expression
from i2kit.manifest.services import Selectable
from i2kit.manifest.table import Tree
from i2kit.manifest.workloads import Workload
from i2kit.strategy import Amount


def report_budget(tree: Tree, selectable: Selectable) -> None:
    """Note which workloads a budget matches, and how many members their rollouts keep.

    A budget never limits a rollout, as in Kubernetes. Both bounds at once are a problem, and so is a wrong selector. That it matches
    nothing is not said where what it would match may stand in what could not be read.
    """
    meta, spec = tree.sub("metadata"), tree.sub("spec")
    if "minAvailable" in spec and "maxUnavailable" in spec:
        spec.problem("conflicting-fields", "has minAvailable and maxUnavailable", "maxUnavailable", expected="one of the two")
    bound = next((f"{name} {spec[name]}" for name in ("minAvailable", "maxUnavailable") if name in spec), "without a bound")
    matched = _matched(tree, selectable)
    if matched is None:
        return
    if matched:
        kept = "; ".join(_kept(workload, spec) for workload in matched)
        meta.notice(f"PodDisruptionBudget {meta.get('name')} ({bound}) does not limit rollouts, as in Kubernetes: {kept}", "name")
    elif not selectable.unread.may_hold(*(spec.sub("selector").get("matchLabels") or {}).values()):
        namespace = namespace_of(tree)
        meta.notice(f"PodDisruptionBudget {meta.get('name')} ({bound}) matches no workload in namespace {namespace}", "name")


def _matched(tree: Tree, selectable: Selectable) -> list[Workload] | None:
    """Return what a selector matches, None if it cannot be known; an empty one matches everything but in policy/v1beta1."""
    spec = tree.sub("spec")
    if tree.broken("spec") or spec.broken("selector"):
        return None
    if "selector" not in spec:
        return []
    selector: Tree = spec["selector"]
    wanted: dict[str, str] = selector.get("matchLabels") or {}
    expressions: list[Tree] = selector.get("matchExpressions") or []
    valid = [expression for expression in expressions if valid_expression(expression)]
    if selector.failed or len(valid) < len(expressions):
        return None
    if not wanted and not expressions and tree.get("apiVersion") == "policy/v1beta1":
        return []
    return [
        workload
        for workload in selectable.select(namespace_of(tree), wanted)
        if all(expression_holds(expression, workload.pod.labels) for expression in expressions)
    ]


def _kept(workload: Workload, spec: Tree) -> str:
    """Say how many members of a workload stay during a rollout, and when that is fewer than the budget asks for."""
    strategy, size = workload.strategy, workload.replicas
    if strategy.type == "recreate":
        least, why = 0, "Recreate"
    elif strategy.type == "rolling-update":
        surge, unavailable = strategy.limits(size)
        least = size - unavailable
        why = f"maxUnavailable {strategy.max_unavailable}" if surge or strategy.max_unavailable.of(size, up=False) else "one at a time"
    else:
        least, why = size, strategy.type
    asked = _asked(spec, size)
    less = f", fewer than the budget's {asked}" if least < asked else ""
    return f"the strategy of {workload.kind} {workload.name} ({why}) keeps at least {least} of {size}{less}"


def _asked(spec: Tree, size: int) -> int:
    """Return how many members a budget asks for; shares are rounded up, as Kubernetes does it."""
    least: Amount | None = spec.get("minAvailable")
    most: Amount | None = spec.get("maxUnavailable")
    if least is not None:
        return least.of(size, up=True)
    return max(0, size - most.of(size, up=True)) if most is not None else 0
