"""The paper's simplified form: name, replicas, containers with image and ports; balancer and DNS record follow from it."""

from __future__ import annotations

import re
from typing import Any

from yaml.nodes import MappingNode, Node, ScalarNode

from i2kit.manifest import scalars, syntax
from i2kit.manifest.fieldtypes import Integer, ListOf, Text
from i2kit.manifest.objects import DEFAULT_NAMESPACE, Objects, Unread
from i2kit.manifest.page import INVALID, Page
from i2kit.manifest.podfields import CONTAINER_ROWS, NAME, PORT, PROTOCOL
from i2kit.manifest.pods import containers
from i2kit.manifest.table import Row, Struct, Tree, supported
from i2kit.manifest.workloads import Pod, Service, ServicePort, Workload

_PAIR = re.compile(r"([0-9]{1,5}):([0-9]{1,5})")
_EXPECTED = 'a port (80), "balancer:container" ("80:8080"), or a mapping with port and targetPort'
_MAPPED = Struct(
    "ports",
    (
        supported("name", NAME),
        supported("port", PORT, "of the balancer", required=True),
        supported("targetPort", PORT, "of the container; `port` when absent"),
        supported("protocol", PROTOCOL),
    ),
)


class PublishedPort:
    """A port of a container and of the balancer: a number, ``"80:8080"`` or a mapping."""

    name = '`80`, `"80:8080"` or mapping of port, targetPort, name, protocol'
    long_form = _MAPPED

    def __call__(self, node: Node, path: str, page: Page) -> Any:
        """Return a Tree with `port` and `targetPort`."""
        if node.__class__ is MappingNode:
            tree = _MAPPED(node, path, page)
            if "port" in tree:
                tree["containerPort"] = tree.get("targetPort", tree["port"])
            return tree
        if node.__class__ is not ScalarNode:
            return page.wrong_type(node, path, _EXPECTED)
        tree = Tree(page, path, node.start_mark.line)
        pair = _PAIR.fullmatch(node.value)
        if pair is not None and all(1 <= int(number) <= 65535 for number in pair.groups()):
            tree["port"], tree["containerPort"] = int(pair[1]), int(pair[2])
            return tree
        if node.style or scalars.plain_kind(node.value) != "integer":
            return page.wrong_type(node, path, _EXPECTED)
        tree["port"] = tree["containerPort"] = PORT(node, path, page)
        return tree if tree["port"] is not INVALID else INVALID


_OTHERWISE = ("name", "ports", "volumeMounts")
_CONTAINER = Struct(
    "container",
    (
        supported("name", NAME, "made from the image's name when absent"),
        supported("ports", ListOf(PublishedPort())),
        *(row for row in CONTAINER_ROWS if row.name not in _OTHERWISE),
    ),
)
SIMPLIFIED = Struct(
    "simplified form",
    (
        supported("name", Text("DNS label", syntax.service_name, "invalid-name"), required=True),
        supported("replicas", Integer(0, 1_000_000), "1 when absent"),
        Row(name="containers", verdict="supported", type=ListOf(_CONTAINER), required=True),
    ),
)


SIMPLIFIED_KIND = "simplified form"


def is_simplified(node: Node) -> bool:
    """Whether a document without apiVersion and kind is meant as the simplified form."""
    keys = {key.value for key, _ in node.value if key.__class__ is ScalarNode}
    return not keys & {"apiVersion", "kind", "metadata", "spec"} and "containers" in keys


def simplified(tree: Tree) -> tuple[Workload, Service | None]:
    """Make the Workload and, where there are ports, the LoadBalancer Service of the same name."""
    name = tree.get("name", "")
    trees: list[Tree] = tree.get("containers") or []
    _name_containers(trees)
    workload = Workload(
        name=name,
        namespace=DEFAULT_NAMESPACE,
        replicas=tree.get("replicas", 1),
        pod=Pod(containers=containers(tree, DEFAULT_NAMESPACE, Objects(unread=Unread(everything=True)), {}), labels={"app": name}),
        where=tree.where("name"),
    )
    published = [port for one in trees for port in one.get("ports") or () if "port" in port]
    if not published:
        return workload, None
    service = Service(
        name=name,
        namespace=DEFAULT_NAMESPACE,
        type="LoadBalancer",
        ports=_service_ports(published),
        workloads=(name,),
        where=tree.where("name"),
    )
    return workload, service


def _name_containers(trees: list[Tree]) -> None:
    """Name the containers that have no name after their images; the second of a name gets a number."""
    taken = {tree["name"] for tree in trees if "name" in tree}
    for tree in trees:
        if "name" in tree or "image" not in tree:
            continue
        last = tree["image"].split("@")[0].rsplit("/", 1)[-1].split(":")[0].lower()
        base = re.sub(r"[^a-z0-9]+", "-", last).strip("-")[:50].strip("-") or "container"
        name, number = base, 2
        while name in taken:
            name, number = f"{base}-{number}", number + 1
        taken.add(name)
        tree["name"] = name


def _service_ports(trees: list[Tree]) -> tuple[ServicePort, ...]:
    found: dict[tuple[int, str], ServicePort] = {}
    for tree in trees:
        port, protocol = tree["port"], tree.get("protocol", "TCP")
        name = tree.get("name") or ("" if len(trees) == 1 else f"{protocol.lower()}-{port}")
        if (port, protocol) in found:
            tree.problem("duplicate-port", f"{protocol} port {port} is published twice", expected="every port once")
        if name and any(other.name == name for other in found.values()):
            tree.problem("duplicate-name", f"a second port is called {name!r}", expected="every port name once")
        found[port, protocol] = ServicePort(port=port, target_port=tree["containerPort"], name=name, protocol=protocol)
    return tuple(found.values())
