"""Deployments: from their fields to `Workload`s."""

from __future__ import annotations

from i2kit.manifest.objects import Objects, namespace_of
from i2kit.manifest.pods import pod
from i2kit.manifest.table import Tree
from i2kit.manifest.workloads import Workload

_SELECTOR_DEFAULTS = ("extensions/v1beta1", "apps/v1beta1")
_DEADLINE_SECONDS = 600


def deployment(tree: Tree, objects: Objects) -> Workload:
    """Make a Workload of a Deployment."""
    meta, spec = tree.sub("metadata"), tree.sub("spec")
    namespace = namespace_of(tree)
    template = spec.sub("template")
    _check_selector(tree, spec, template)
    ready, deadline = spec.get("minReadySeconds", 0), spec.get("progressDeadlineSeconds", _DEADLINE_SECONDS)
    if deadline <= ready and not spec.broken("progressDeadlineSeconds"):
        spec.problem(
            "out-of-range",
            f"the deadline of {deadline} s is not after minReadySeconds",
            "progressDeadlineSeconds" if "progressDeadlineSeconds" in spec else "minReadySeconds",
            expected=f"progressDeadlineSeconds greater than {ready}",
        )
    return Workload(
        name=meta.get("name", ""),
        namespace=namespace,
        replicas=spec.get("replicas", 1),
        pod=pod(template, namespace, objects),
        where=meta.where("name"),
        labels=meta.get("labels") or {},
        annotations=meta.get("annotations") or {},
        min_ready_seconds=ready,
        progress_deadline_seconds=deadline,
    )


def _check_selector(tree: Tree, spec: Tree, template: Tree) -> None:
    """The selector must pick the template's own Pods."""
    if "spec" not in tree or spec.broken("selector"):
        return
    labels: dict[str, str] = template.sub("metadata").get("labels") or {}
    if "selector" not in spec:
        if tree.get("apiVersion") not in _SELECTOR_DEFAULTS:
            spec.problem("missing-field", "a Deployment needs the field 'selector'", hint="add selector: {matchLabels: ...}")
        return
    selector: Tree = spec["selector"]
    wanted: dict[str, str] = selector.get("matchLabels") or {}
    expressions: list[Tree] = selector.get("matchExpressions") or []
    if not wanted and not expressions and not selector.failed:
        spec.problem("missing-field", "the selector is empty", "selector", expected="matchLabels or matchExpressions")
    if template.sub("metadata").broken("labels") or template.broken("metadata") or spec.broken("template"):
        return
    if any(labels.get(key) != value for key, value in wanted.items()):
        shown = ", ".join(f"{key}={value}" for key, value in labels.items()) or "none"
        selector.problem(
            "selector-mismatch",
            "the selector does not match the labels of the Pod template",
            "matchLabels",
            expected=f"labels of the template ({shown})",
        )
    for expression in expressions:
        _check_expression(expression, labels)


def _check_expression(tree: Tree, labels: dict[str, str]) -> None:
    if "key" not in tree or "operator" not in tree or tree.broken("values"):
        return
    key, operator, values = tree["key"], tree["operator"], tree.get("values") or []
    if bool(values) != (operator in ("In", "NotIn")):
        tree.problem(
            "invalid-value",
            f"{operator} {'takes no' if values else 'needs'} values",
            "values",
            expected="values for In and NotIn, none for Exists and DoesNotExist",
        )
        return
    matches = {
        "In": labels.get(key) in values,
        "NotIn": labels.get(key) not in values,
        "Exists": key in labels,
        "DoesNotExist": key not in labels,
    }
    if not matches[operator]:
        tree.problem("selector-mismatch", "the selector does not match the labels of the Pod template", expected="labels of the template")
