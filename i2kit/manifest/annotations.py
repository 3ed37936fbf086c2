"""Annotations: free ones, and those under ``i2kit.dev/``, which are fields like any other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from attrs import frozen
from yaml.nodes import MappingNode, Node, ScalarNode

from i2kit.manifest import syntax
from i2kit.manifest.canaries import CanarySteps
from i2kit.manifest.fieldtypes import Choice, MapOf, Text
from i2kit.manifest.hostnames import HostNames
from i2kit.manifest.page import INVALID, Page, did_you_mean
from i2kit.manifest.table import Row, Struct, Tree, supported

PREFIX = "i2kit.dev/"
STRATEGY = f"{PREFIX}strategy"
CANARY_STEPS = f"{PREFIX}canary-steps"
PROMOTION = f"{PREFIX}promotion"
HOSTNAME = f"{PREFIX}hostname"

_ROLLING = "it is Kubernetes' own: write spec.strategy: {type: RollingUpdate}"
_RECREATE = "it is Kubernetes' own: write spec.strategy: {type: Recreate}"
_STRATEGIES = Choice(
    "blue-green",
    "canary",
    refused={"rolling-update": _ROLLING, "RollingUpdate": _ROLLING, "recreate": _RECREATE, "Recreate": _RECREATE},
)


class _Keys(Tree):
    """The annotations of one object as fields; their paths have brackets."""

    __slots__ = ()

    def at(self, name: str) -> str:
        return f"{self.path}[{name}]"


@frozen(eq=False)
class _Known(Struct):
    """The annotations that a kind knows under the prefix."""

    def fields(self, prefix: str = "") -> Iterator[tuple[str, Row]]:
        return ((f"{prefix.removesuffix('.')}[{row.name}]", row) for row in self.rows)


class Annotated(dict[str, str]):
    """Annotations as they were written; `own` are those under the prefix, read."""

    __slots__ = ("own",)

    def __init__(self, values: dict[str, str], own: Tree) -> None:
        super().__init__(values)
        self.own = own


class Annotations(MapOf):
    """Annotation names and strings; one under the prefix that is not among `known` is a problem."""

    def __init__(self, owner: str, *known: Row) -> None:
        super().__init__(Text(), "mapping of annotation names to strings", syntax.qualified_name)
        self._owner = owner
        self._known = {row.name: row for row in known}
        self.long_form = _Known("annotations", known)

    def item(self, key: str, node: Node, path: str, page: Page) -> Any:
        """Leave the values of one's own annotations to their types."""
        return node.value if key.startswith(PREFIX) else super().item(key, node, path, page)

    def read_pairs(self, pairs: list[tuple[Node, Node]], node: MappingNode, path: str, page: Page) -> Any:
        """Return `Annotated`, or a plain mapping where a kind knows no annotations of its own."""
        own = _Keys(page, path, node.start_mark.line)
        values = super().read_pairs(pairs, node, path, page)
        before = len(page.problems)
        for key_node, value_node in pairs:
            key = key_node.value if key_node.__class__ is ScalarNode else ""
            if key.startswith(PREFIX) and key not in own.lines and not syntax.qualified_name(key):
                own.lines[key] = key_node.start_mark.line
                self._read_own(key, value_node, own)
        own.failed = len(page.problems) > before
        if values is INVALID:
            return INVALID
        return Annotated(values, own) if self._known else values

    def _read_own(self, key: str, node: Node, own: Tree) -> None:
        row = self._known.get(key)
        if row is not None:
            value = row.read(node, own.at(key), own.page)
            if value is not INVALID:
                own[key] = value
            return
        own.page.sweep(node, own.at(key))
        own.problem(
            "unknown-annotation",
            f"{self._owner} has no annotation {key[:80]!r}",
            key,
            expected=f"one of {', '.join(self._known)}" if self._known else f"no annotation under {PREFIX}",
            hint=self._hint(key),
        )

    def _hint(self, key: str) -> str:
        for kind, rows in _OF_KINDS.items():
            if key in {row.name for row in rows}:
                return f"it belongs into the metadata of the {kind} itself"
        if not self._known:
            return "remove it"
        # With the prefix, which all of them share, any two would be near each other.
        near = did_you_mean(key.removeprefix(PREFIX)[:80], (name.removeprefix(PREFIX) for name in self._known))
        return near.replace("'", f"'{PREFIX}", 1)


def own_annotations(metadata: Tree) -> Tree:
    """Return the annotations under the prefix as fields."""
    given = metadata.get("annotations")
    return given.own if isinstance(given, Annotated) else _Keys(metadata.page, metadata.at("annotations"), metadata.line)


DEPLOYMENT_ANNOTATIONS = (
    supported(STRATEGY, _STRATEGIES, "instead of spec.strategy"),
    supported(CANARY_STEPS, CanarySteps(), 'with canary, and required there; such as "10%, pause, 50%, 5m"'),
    supported(PROMOTION, Choice("automatic", "manual"), "with blue-green; `automatic` when absent"),
)
SERVICE_ANNOTATIONS = (
    supported(HOSTNAME, HostNames(), "with type LoadBalancer: public names that answer with its address, with commas between them"),
)
_OF_KINDS = {"Deployment": DEPLOYMENT_ANNOTATIONS, "Service": SERVICE_ANNOTATIONS}
