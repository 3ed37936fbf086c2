"""The way from texts to `Workloads`: read every document, then tie them together; every problem is collected."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from attrs import field, frozen
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from i2kit.errors import Problem, Where
from i2kit.manifest.autoscalers import scaled
from i2kit.manifest.budgets import report_budget
from i2kit.manifest.deployments import deployment
from i2kit.manifest.documents import documents
from i2kit.manifest.kinds import KINDS
from i2kit.manifest.objects import DEFAULT_NAMESPACE, Key, Objects, Unread, config_data, namespace_of, secret_data
from i2kit.manifest.page import Page, TooLarge, did_you_mean
from i2kit.manifest.scalars import NULLS
from i2kit.manifest.services import Selectable, check_hostnames, service
from i2kit.manifest.simplified import SIMPLIFIED, is_simplified, simplified
from i2kit.manifest.sources import Source
from i2kit.manifest.table import Tree
from i2kit.manifest.workloads import InvalidManifests, Notice, Service, Workload, Workloads

_SIMPLIFIED = "simplified form"
_SOURCE = "source"


class _Item(NamedTuple):
    """One object: its kind, and the fields that could be read."""

    kind: str
    tree: Tree


@frozen
class _Reading:
    """What has been read so far.

    `unknown` are documents of which it is not even known what they are, `refused` the kinds that were refused: what seems to be missing
    may stand in them; `unread` are their texts.
    """

    problems: list[Problem] = field(factory=list)
    notices: list[Notice] = field(factory=list)
    items: list[_Item] = field(factory=list)
    unknown: list[str] = field(factory=list)
    refused: list[str] = field(factory=list)
    unread: list[str] = field(factory=list)

    @property
    def gaps(self) -> int:
        return len(self.unknown) + len(self.refused)


@contextmanager
def _without_collector() -> Iterator[None]:
    """Keep the cyclic garbage collector from walking what is being read over and over: a third of the time, and nothing here is cyclic."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def load_sources(sources: Sequence[Source], names: Sequence[str], problems: Sequence[Problem]) -> Workloads:
    """Make Workloads of texts. `names` are the sources as the user gave them; `problems` what went wrong on the way to the texts.

    Raises `InvalidManifests` with all problems, in the order of the sources.
    """
    reading = _Reading(problems=list(problems))
    if problems:
        reading.unknown.append(_SOURCE)
    order = {source.name: index for index, source in enumerate(sources)}
    with _without_collector():
        for source in sources:
            _read_source(source, reading)
        workloads = _tie(reading, names, order)
    if not reading.items and not reading.problems and not reading.notices:
        where = Where(file=names[0]) if names else None
        reading.problems.append(
            Problem(code="no-objects", message="there is nothing in the manifests", where=where, expected="at least one object")
        )
    if reading.problems:
        found = sorted(reading.problems, key=lambda problem: _place(problem.where, order))
        raise InvalidManifests(found, readable=workloads, files=tuple(order))
    return workloads


def _place(where: Where | None, order: dict[str, int]) -> tuple[int, int]:
    return (order.get(where.file, -1), where.line or 0) if where else (-1, 0)


def _read_source(source: Source, reading: _Reading) -> None:
    before, size, merges = len(reading.problems), len(source.text), "<<" in source.text
    gaps, read = reading.gaps, list[range]()
    for document in documents(source.text, source.name, reading.problems):
        page = Page(source.name, size, reading.problems, reading.notices, offset=document.offset, merges=merges)
        known = reading.gaps
        try:
            _read_object(document.root, "", page, reading)
        except TooLarge:
            reading.unknown.append(source.name)
            page.problem("too-large", "aliases make this document too large", document.root.start_mark.line, "", hint="use fewer aliases")
        if reading.gaps == known:
            read.append(range(document.root.start_mark.line + document.offset, document.root.end_mark.line + document.offset + 1))
    if any(problem.code == "yaml-syntax" for problem in reading.problems[before:]):
        reading.unknown.append(source.name)
    if reading.gaps != gaps:
        reading.unread.append(_without(source.text, read))


def _without(text: str, read: Sequence[range]) -> str:
    """Return the lines of a text that are in no document that could be read."""
    lines = text.split("\n")
    for numbers in read:
        lines[numbers.start : numbers.stop] = [""] * len(lines[numbers.start : numbers.stop])
    return "\n".join(lines)


def _read_object(node: Node, path: str, page: Page, reading: _Reading) -> None:
    """Read one object: a document, or an item of a List."""
    if page.is_null(node):
        return  # an empty document, as between two separators
    if node.__class__ is not MappingNode:
        reading.unknown.append(path)
        page.wrong_type(node, path, "a Kubernetes object or the simplified form (a mapping)")
        return
    kind, version = _scalar(node, "kind"), _scalar(node, "apiVersion")
    if kind is None and version is None and is_simplified(node):
        _keep(_SIMPLIFIED, SIMPLIFIED(node, path, page), reading)
        return
    if kind == "List" and version in ("v1", None):
        _read_list(node, path, page, reading)
        return
    known = KINDS.get(kind or "")
    if known is None or version is None:
        reading.unknown.append(path)
        _unknown_kind(node, kind, version, path, page)
        return
    line = node.start_mark.line
    if known.verdict == "ignored":
        page.sweep(node, path)
        page.notice(line, path, f"{kind} is ignored: {known.reason}")
    elif known.verdict == "refused":
        page.sweep(node, path)
        reading.refused.append(known.name)
        page.problem("refused-kind", f"{kind} is refused: {known.reason}", line, path, hint="remove it")
    elif known.table is not None:
        _keep(known.name, known.table(node, path, page), reading)


def _keep(kind: str, tree: object, reading: _Reading) -> None:
    if isinstance(tree, Tree):
        version = tree.get("apiVersion")
        if version is not None and version not in KINDS[kind].api_versions:
            tree.problem(
                "unknown-api-version",
                f"{kind} has no apiVersion {version[:80]!r}",
                "apiVersion",
                expected=" or ".join(KINDS[kind].api_versions),
            )
        reading.items.append(_Item(kind, tree))
        named = tree if kind == _SIMPLIFIED else tree.sub("metadata")
        if "name" in named and not named.broken("namespace"):
            return
    reading.unknown.append(kind)


def _read_list(node: MappingNode, path: str, page: Page, reading: _Reading) -> None:
    if path:
        page.problem("refused-kind", "a List within a List is refused", node.start_mark.line, path)
        return
    seen: dict[str, int] = {}
    for key_node, value in page.pairs(node, path):
        key = page.key(key_node, path)
        if key is None:
            continue
        if key in seen:
            page.duplicate_key(key_node, key, seen[key])
            continue
        seen[key] = key_node.start_mark.line
        if key == "items" and value.__class__ is SequenceNode:
            page.visit(len(value.value))
            for index, item in enumerate(value.value):
                _read_object(item, f"items[{index}]", page, reading)
        elif key == "items" and not page.is_null(value):
            page.wrong_type(value, "items", "a list of objects")
        elif key not in ("items", "apiVersion", "kind", "metadata"):
            page.problem(
                "unknown-field", f"List has no field {key[:80]!r}", seen[key], key, expected="items", hint=did_you_mean(key, ["items"])
            )
        else:
            page.sweep(value, key)


def _scalar(node: MappingNode, name: str) -> str | None:
    """Return the string that a field of the top level has, as written."""
    for key, value in node.value:
        if key.value == name and key.__class__ is ScalarNode:
            if value.__class__ is not ScalarNode:
                return ""
            return None if not value.style and value.value in NULLS else value.value
    return None


def _unknown_kind(node: MappingNode, kind: str | None, version: str | None, path: str, page: Page) -> None:
    line = node.start_mark.line
    page.sweep(node, path)
    supported = [name for name, known in KINDS.items() if known.verdict == "supported"]
    if kind is None and version is None:
        page.problem(
            "missing-field",
            "the document has neither apiVersion and kind nor the simplified form's containers",
            line,
            path,
            expected="apiVersion, kind, metadata and spec; or name, replicas and containers",
        )
    elif kind is None or version is None:
        missing = "kind" if kind is None else "apiVersion"
        hint = f"add apiVersion: {KINDS[kind].api_versions[0]}" if kind in supported else f"add {missing}:"
        page.problem("missing-field", f"the object needs the field {missing!r}", line, path, hint=hint)
    if kind is not None and kind not in KINDS:
        page.problem(
            "unknown-kind",
            f"i2kit knows no kind {kind[:80]!r}",
            line,
            f"{path}.kind".lstrip("."),
            expected=", ".join(supported),
            hint=did_you_mean(kind[:80], KINDS),
        )


def _key(tree: Tree) -> Key:
    return namespace_of(tree), tree.sub("metadata").get("name", "")


def _check_duplicates(reading: _Reading) -> None:
    """Every kind, namespace and name once; the simplified form stands for a Deployment and a Service."""
    seen: dict[tuple[str, str, str], Where] = {}
    for kind, tree in reading.items:
        if kind == _SIMPLIFIED:
            named, kinds = tree, ["Deployment"]
            if any(container.get("ports") for container in tree.get("containers") or ()):
                kinds.append("Service")
            key = (DEFAULT_NAMESPACE, tree.get("name", ""))
        else:
            named, kinds, key = tree.sub("metadata"), [kind], _key(tree)
        if "name" not in named:
            continue
        for each in kinds:
            first = seen.setdefault((each, *key), named.where("name"))
            if first != named.where("name"):
                named.problem(
                    "duplicate-object",
                    f"a second {each} is called {key[1]!r} in namespace {key[0]}; the first is at {first.file}:{first.line}",
                    "name",
                    expected="every kind and name once in a namespace",
                )
                break


def _objects(reading: _Reading) -> Objects:
    objects = Objects(unread=_unread(reading))
    for kind, tree in reading.items:
        if kind == "ConfigMap":
            objects.configs.setdefault(_key(tree), config_data(tree))
        elif kind == "Secret":
            objects.secrets.setdefault(_key(tree), secret_data(tree))
        # Keys of an object that could not be read whole may be missing for that reason only.
        if tree.failed:
            objects.failed.add((kind, *_key(tree)))
    return objects


def _unread(reading: _Reading) -> Unread:
    """Return what could not be read; of a source that was not there at all nothing is known."""
    return Unread(text="\n".join(reading.unread), everything=_SOURCE in reading.unknown)


def _unread_labels(reading: _Reading) -> Unread:
    """Return where labels may be that could not be read."""
    templates = [tree.sub("spec").sub("template") for kind, tree in reading.items if kind == "Deployment" and tree.failed]
    unknown = any("labels" not in template.sub("metadata") for template in templates)
    return Unread(everything=True) if unknown else _unread(reading)


def _note_unused(reading: _Reading, objects: Objects) -> None:
    """Say which ConfigMaps and Secrets have no effect because no workload refers to them."""
    for kind, tree in reading.items:
        used = {"ConfigMap": objects.used_configs, "Secret": objects.used_secrets | objects.used_pull_secrets}.get(kind)
        if used is not None and _key(tree) not in used:
            reading.notices.append(Notice(where=tree.sub("metadata").where("name"), message=f"{kind} is ignored: no workload refers to it"))


def _tie(reading: _Reading, names: Sequence[str], order: dict[str, int]) -> Workloads:
    """Resolve what refers to what."""
    _check_duplicates(reading)
    objects = _objects(reading)
    broken: set[Key] = set()
    workloads: list[Workload] = []
    services: list[Service] = []
    for kind, tree in reading.items:
        if kind == "Deployment":
            workloads.append(deployment(tree, objects))
            if tree.sub("spec").sub("template").failed or "spec" not in tree:
                broken.add((workloads[-1].namespace, workloads[-1].name))
        elif kind == _SIMPLIFIED:
            workload, balanced = simplified(tree)
            workloads.append(workload)
            services += [balanced] if balanced else []
    workloads = scaled(workloads, [tree for kind, tree in reading.items if kind == "HorizontalPodAutoscaler"], objects.unread)
    selectable = Selectable(workloads, broken=frozenset(broken), unread=_unread_labels(reading))
    read = [(service(tree, selectable), tree) for kind, tree in reading.items if kind == "Service"]
    check_hostnames(read)
    services += [one for one, _ in read]
    for kind, tree in reading.items:
        if kind == "PodDisruptionBudget":
            report_budget(tree, selectable)
    _note_unused(reading, objects)
    wanted = {(workload.namespace, name) for workload in workloads for name in workload.pod.pull_secrets}
    return Workloads(
        workloads=tuple(workloads),
        services=tuple(services),
        secrets=tuple(found for key, found in objects.secrets.items() if key in objects.used_secrets),
        pull_secrets=tuple(found for key, found in objects.secrets.items() if key in wanted),
        notices=tuple(sorted(reading.notices, key=lambda notice: _place(notice.where, order))),
        sources=tuple(names),
    )
