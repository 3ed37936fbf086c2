"""Deployments: from their fields to `Workload`s."""

from __future__ import annotations

from i2kit.manifest.objects import Objects, namespace_of
from i2kit.manifest.pods import pod
from i2kit.manifest.selectors import expression_holds, valid_expression
from i2kit.manifest.strategies import strategy
from i2kit.manifest.table import Tree
from i2kit.manifest.workloads import Workload

_SELECTOR_DEFAULTS = ("extensions/v1beta1", "apps/v1beta1")
_DEADLINE_SECONDS = 600
_HISTORY_LIMIT = 10


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
        annotations=dict(meta.get("annotations") or {}),
        min_ready_seconds=ready,
        progress_deadline_seconds=deadline,
        strategy=strategy(meta, spec),
        history_limit=spec.get("revisionHistoryLimit", _HISTORY_LIMIT),
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
        if valid_expression(expression) and not expression_holds(expression, labels):
            expression.problem(
                "selector-mismatch", "the selector does not match the labels of the Pod template", expected="labels of the template"
            )
