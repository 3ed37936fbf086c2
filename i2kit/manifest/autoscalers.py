"""HorizontalPodAutoscalers: from their fields to the bounds of the workloads that they scale."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import evolve

from i2kit.errors import Where
from i2kit.manifest.objects import Unread, namespace_of
from i2kit.manifest.page import did_you_mean
from i2kit.manifest.table import Tree
from i2kit.manifest.workloads import Workload
from i2kit.strategy import Scaling

_CPU_PERCENT = 80
_LOWEST_DEFAULT = 1
_NO_EFFECT = "HorizontalPodAutoscaler has no effect, as in Kubernetes"


def scaled(workloads: Sequence[Workload], autoscalers: Sequence[Tree], unread: Unread) -> list[Workload]:
    """Return the workloads with the bounds that autoscalers give them; the number of replicas is moved between the bounds.

    A target that is not there, unless it may stand in what could not be read, and a second autoscaler of one target are problems.
    """
    found = list(workloads)
    places = {(one.namespace, one.name): at for at, one in reversed(list(enumerate(found)))}
    taken: dict[tuple[str, str], Where] = {}
    for tree in autoscalers:
        scaling = _scaling(tree)
        target = tree.sub("spec").sub("scaleTargetRef")
        if "name" not in target or "kind" not in target:
            continue
        key = (namespace_of(tree), target["name"])
        index = places.get(key)
        if index is None:
            if not unread.may_hold(key[1]):
                _missing(target, key, workloads)
            continue
        first = taken.setdefault(key, target.where("name"))
        if first != target.where("name"):
            target.problem(
                "duplicate-autoscaler",
                f"Deployment {key[1]} has an autoscaler already, at {first.file}:{first.line}",
                "name",
                expected="one HorizontalPodAutoscaler for a Deployment",
            )
        elif scaling is not None:
            found[index] = _bounded(found[index], scaling, tree)
    return found


def _bounded(workload: Workload, scaling: Scaling, tree: Tree) -> Workload:
    if workload.replicas == 0:
        tree.sub("metadata").notice(f"{_NO_EFFECT}: Deployment {workload.name} has 0 replicas", "name")
        return workload
    replicas = min(max(workload.replicas, scaling.minimum), scaling.maximum)
    return evolve(workload, replicas=replicas, scaling=scaling)


def _scaling(tree: Tree) -> Scaling | None:
    """Return the bounds and the target; None where that could not be read."""
    spec = tree.sub("spec")
    minimum = spec.get("minReplicas", _LOWEST_DEFAULT)
    percent = _cpu_percent(tree, spec)
    if "maxReplicas" not in spec:
        return None
    if spec["maxReplicas"] < minimum:
        spec.problem(
            "out-of-range",
            f"is {spec['maxReplicas']}, less than minReplicas ({minimum})",
            "maxReplicas",
            expected=f"an integer from {minimum}",
        )
        return None
    return Scaling(minimum=minimum, maximum=spec["maxReplicas"], cpu_percent=percent)


def _cpu_percent(tree: Tree, spec: Tree) -> int:
    old = tree.get("apiVersion") == "autoscaling/v1"
    stranger, right = ("metrics", "targetCPUUtilizationPercentage") if old else ("targetCPUUtilizationPercentage", "metrics")
    if stranger in spec and not tree.broken("apiVersion"):
        spec.problem("unknown-field", f"{tree['apiVersion']} has no field {stranger!r}", stranger, expected=right)
    percent: int = spec.get("targetCPUUtilizationPercentage", _CPU_PERCENT)
    for index, metric in enumerate(spec.get("metrics") or ()):
        if index and not metric.failed:
            metric.problem("conflicting-fields", "is a second metric", expected="one: the utilisation of the CPU")
        percent = _metric_percent(metric) or percent
    return percent


def _metric_percent(metric: Tree) -> int | None:
    """Return the target of a metric; what is missing of it is a problem."""
    if metric.failed:
        return None
    kind = metric["type"]
    if kind != "Resource":
        metric.problem("refused-value", f"{kind} is refused: clouds scale by the CPU of an instance", "type", expected="Resource")
        return None
    if "resource" not in metric:
        metric.problem("missing-field", "a metric of type Resource needs the field 'resource'", hint="add resource:")
        return None
    target: Tree = metric["resource"]["target"]
    if target["type"] != "Utilization":
        target.problem("refused-value", f"{target['type']} is refused: clouds measure CPU as a share", "type", expected="Utilization")
        return None
    if "averageUtilization" not in target:
        target.problem("missing-field", "a target of type Utilization needs the field 'averageUtilization'", hint="add averageUtilization:")
    percent: int | None = target.get("averageUtilization")
    return percent


def _missing(target: Tree, key: tuple[str, str], workloads: Sequence[Workload]) -> None:
    namespace, name = key
    elsewhere = sorted(one.namespace for one in workloads if one.name == name)
    near = did_you_mean(name, (one.name for one in workloads if one.namespace == namespace))
    target.problem(
        "missing-scale-target",
        f"there is no Deployment {name!r} in namespace {namespace}",
        "name",
        expected="a Deployment of that name among the manifests",
        hint=f"there is one in namespace {elsewhere[0]}" if elsewhere else near,
    )
