"""Services: from their fields to `Service`s, tied to the workloads that they select."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from i2kit.manifest.annotations import HOSTNAME, own_annotations
from i2kit.manifest.objects import Unread, namespace_of
from i2kit.manifest.page import did_you_mean
from i2kit.manifest.table import Tree
from i2kit.manifest.workloads import Service, ServicePort, Workload
from i2kit.resources import HEALTH_PORT


class Selectable:
    """The workloads that Services and budgets may select, found by label without looking at each one.

    Where some workload could not be read, a Service that selects nothing may still be right: `unread` tells.
    """

    def __init__(self, workloads: Iterable[Workload], *, broken: frozenset[tuple[str, str]], unread: Unread) -> None:
        self.unread = unread
        self.broken = broken
        self._values: dict[tuple[str, str], list[str]] = defaultdict(list)
        self._by_label: dict[tuple[str, str, str], list[Workload]] = defaultdict(list)
        self._by_namespace: dict[str, list[Workload]] = defaultdict(list)
        for workload in workloads:
            self._by_namespace[workload.namespace].append(workload)
            for key, value in workload.pod.labels.items():
                found = self._by_label[workload.namespace, key, value]
                if not found:
                    self._values[workload.namespace, key].append(value)
                found.append(workload)

    def select(self, namespace: str, selector: dict[str, str]) -> list[Workload]:
        """Return the workloads of the namespace whose Pods bear all the labels; all of them where none is wanted."""
        if not selector:
            return self._by_namespace.get(namespace, [])
        candidates = min((self._by_label.get((namespace, *item), []) for item in selector.items()), key=len)
        return [found for found in candidates if selector.items() <= found.pod.labels.items()]

    def labels(self, namespace: str, key: str) -> list[str]:
        """Return the values that a label has in the namespace."""
        return self._values.get((namespace, key), [])


def service(tree: Tree, selectable: Selectable) -> Service:
    """Make a Service of its tree."""
    meta, spec = tree.sub("metadata"), tree.sub("spec")
    namespace = namespace_of(tree)
    selected = _selected(spec, namespace, selectable) if "spec" in tree else []
    return Service(
        name=meta.get("name", ""),
        namespace=namespace,
        type=spec.get("type", "ClusterIP"),
        ports=_ports(spec, selected, selectable),
        workloads=tuple(workload.name for workload in selected),
        where=meta.where("name"),
        annotations=dict(meta.get("annotations") or {}),
        hostnames=_hostnames(own_annotations(meta), spec),
    )


def _hostnames(own: Tree, spec: Tree) -> tuple[str, ...]:
    names: tuple[str, ...] = own.get(HOSTNAME, ())
    if names and spec.get("type") != "LoadBalancer" and not spec.broken("type"):
        own.problem(
            "not-published",
            f"{names[0]} is to be a public name of a Service that is reached from inside only",
            HOSTNAME,
            expected="spec.type LoadBalancer",
            hint="write type: LoadBalancer, or remove the annotation",
        )
    return names


def check_hostnames(services: Sequence[tuple[Service, Tree]]) -> None:
    """Say where two Services have the same public name."""
    first: dict[str, Service] = {}
    for service, tree in services:
        for name in service.hostnames:
            other = first.setdefault(name, service)
            if other is not service:
                own_annotations(tree.sub("metadata")).problem(
                    "duplicate-hostname",
                    f"{name} is a name of Service {other.name} in namespace {other.namespace} as well",
                    HOSTNAME,
                    expected="every public name at one Service",
                )


def _selected(spec: Tree, namespace: str, selectable: Selectable) -> list[Workload]:
    selector: dict[str, str] = spec.get("selector") or {}
    if not selector:
        if not spec.broken("selector"):
            spec.problem(
                "missing-field",
                "the Service has no selector; endpoints of one's own are not supported",
                "selector",
                expected="labels of a workload's Pods",
            )
        return []
    found = selectable.select(namespace, selector)
    if not found and not selectable.unread.may_hold(*selector.values()) and not spec.broken("selector"):
        shown = ", ".join(f"{key}={value}" for key, value in selector.items())
        spec.problem(
            "selects-nothing",
            f"the selector {shown} matches no workload's Pods in namespace {namespace}",
            "selector",
            expected="labels that a Pod template among the manifests has",
            hint=_near_label(selector, namespace, selectable),
        )
    return found


def _near_label(selector: dict[str, str], namespace: str, selectable: Selectable) -> str:
    for key, value in selector.items():
        if not selectable.select(namespace, {key: value}):
            return did_you_mean(value, selectable.labels(namespace, key))
    return ""


def _ports(spec: Tree, selected: Sequence[Workload], selectable: Selectable) -> tuple[ServicePort, ...]:
    trees = spec.get("ports") or []
    if "ports" in spec and not trees and not spec.failed:
        spec.problem("missing-field", "the Service has no ports", "ports", expected="at least one")
    found: list[ServicePort] = []
    for tree in trees:
        if "port" not in tree:
            continue
        port, name, protocol = tree["port"], tree.get("name", ""), tree.get("protocol", "TCP")
        if any((other.port, other.protocol) == (port, protocol) for other in found):
            tree.problem("duplicate-port", f"{protocol} port {port} stands here twice", "port", expected="every port once")
        if name and any(other.name == name for other in found):
            tree.problem("duplicate-name", f"a second port is called {name!r}", "name", expected="every port name once")
        if not name and len(trees) > 1 and not tree.broken("name"):
            tree.problem("missing-field", "a port of several needs a name", expected="a name for each port", hint="add name:")
        target = _target(tree, port, protocol, selected, selectable)
        found.append(ServicePort(port=port, target_port=target, name=name, protocol=protocol))
    return tuple(found)


def _target(tree: Tree, port: int, protocol: str, selected: Sequence[Workload], selectable: Selectable) -> int:
    """Return the number of the target port; 0 where it cannot be known, which is noted."""
    wanted: Any = tree.get("targetPort", port)
    if isinstance(wanted, int):
        if wanted == HEALTH_PORT and not tree.broken("targetPort"):
            tree.problem("reserved-port", f"{HEALTH_PORT} answers health checks only", "targetPort", expected="another port")
        return wanted
    numbers = {workload.name: _named(workload, wanted, protocol) for workload in selected}
    for workload in selected:
        if numbers[workload.name] is None and (workload.namespace, workload.name) not in selectable.broken:
            names = [
                port.name for container in workload.pod.containers for port in container.ports if port.name and port.protocol == protocol
            ]
            tree.problem(
                "unknown-port",
                f"no container of {workload.kind} {workload.name} has a {protocol} port called {wanted!r}",
                "targetPort",
                expected=f"one of {', '.join(names)}" if names else "a port number, or a name given under the container's ports",
                hint=did_you_mean(wanted, names),
            )
    distinct = sorted({number for number in numbers.values() if number is not None})
    if len(distinct) > 1:
        tree.problem(
            "ambiguous-port",
            f"{wanted!r} is {' and '.join(map(str, distinct))} in different workloads",
            "targetPort",
            expected="one number: a balancer has one target port for all its backends",
        )
    return distinct[0] if distinct else 0


def _named(workload: Workload, name: str, protocol: str) -> int | None:
    for container in workload.pod.containers:
        for port in container.ports:
            if port.name == name and port.protocol == protocol:
                return port.container_port
    return None
