"""A plan as a drawing: boxes and arrows, written as Mermaid, Graphviz' DOT or SVG. Pure, and the same bytes for the same plan."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal, get_args

from attrs import frozen

from i2kit.errors import InvalidInput, Problem
from i2kit.plan import Plan
from i2kit.resources import Balancer, BalancerPort, DnsRecord, Image, InstanceGroup, Kind, Network, Resource, Secret, Volume, key

Format = Literal["mermaid", "dot", "svg"]
FORMATS: tuple[Format, ...] = get_args(Format)

# What lies inside the environment's network, and is drawn inside its frame.
INSIDE: frozenset[Kind] = frozenset({"DnsRecord", "Balancer", "InstanceGroup"})

COLOURS: dict[Kind, tuple[str, str]] = {
    "DnsRecord": ("#f3e8fd", "#7b3fb5"),
    "Balancer": ("#e3f0fc", "#1f6fb2"),
    "InstanceGroup": ("#e4f5e6", "#2c7d39"),
    "Image": ("#fdf1dd", "#a8690a"),
    "Secret": ("#fde7e7", "#b23434"),
    "Volume": ("#eeeeee", "#5c5c5c"),
    "Network": ("#fafbfc", "#8a94a0"),
}
"""Fill and line of each kind's boxes."""


@frozen(kw_only=True)
class Node:
    """One box: `caption` says what it is, `title` which one, `lines` more about it; `id` is the resource's key."""

    id: str
    kind: Kind
    caption: str
    title: str
    lines: tuple[str, ...] = ()

    @property
    def text(self) -> tuple[str, ...]:
        """Everything that is written in the box, line by line."""
        return (self.caption, self.title, *self.lines)


@frozen(kw_only=True)
class Edge:
    """An arrow from the box that uses to the one that is used."""

    source: str
    target: str
    label: str = ""


@frozen(kw_only=True)
class Graph:
    """Boxes and arrows; `frame` names the network that encloses what lies inside it, empty when there is none."""

    title: str
    frame: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]


def graph_of(plan: Plan) -> Graph:
    """Return the drawing of a plan: names lead to balancers, balancers to groups, groups to their image and secrets."""
    nodes = tuple(_node(resource) for resource in plan.resources if not isinstance(resource, Network))
    known = {node.id for node in nodes}
    edges = (edge for resource in plan.resources for edge in _edges(resource))
    networks = (resource for resource in plan.resources if isinstance(resource, Network))
    return Graph(
        title=f"{plan.application} in {plan.environment} ({plan.provider})",
        frame=next((f"network {network.name}, DNS zone {network.dns_zone}" for network in networks), ""),
        nodes=nodes,
        edges=tuple(edge for edge in edges if edge.source in known and edge.target in known),
    )


def graph(plan: Plan, form: str = "mermaid") -> str:
    """Draw a plan as `form`: ``mermaid``, ``dot`` or ``svg``. Raises `InvalidInput` for any other.

    >>> nothing = Plan(environment="local", application="web", provider="local", resources=(), fingerprint="")
    >>> print(graph(nothing))
    ---
    title: "web in local (local)"
    ---
    flowchart LR
    <BLANKLINE>
    """
    match form:
        case "mermaid":
            return mermaid(graph_of(plan))
        case "dot":
            return dot(graph_of(plan))
        case "svg":
            from i2kit.drawing import svg

            return svg(graph_of(plan))
    raise InvalidInput(
        Problem(code="unknown-format", message=f"no graph can be drawn as {form!r}", expected=f"one of {', '.join(FORMATS)}")
    )


def mermaid(drawn: Graph) -> str:
    """Write a graph in Mermaid's language, as Markdown pages of most forges show it."""
    names = _numbered(drawn)
    inside = [node for node in drawn.nodes if drawn.frame and node.kind in INSIDE]
    outside = [node for node in drawn.nodes if node not in inside]
    lines = ["---", f"title: {_quoted(drawn.title)}", "---", "flowchart LR"]
    if inside:
        lines.append(f'  subgraph network["{_mermaid_text(drawn.frame)}"]')
        lines += [f"    {_mermaid_node(node, names[node.id])}" for node in inside]
        lines.append("  end")
    lines += [f"  {_mermaid_node(node, names[node.id])}" for node in outside]
    for edge in drawn.edges:
        label = f'|"{_mermaid_text(edge.label)}"|' if edge.label else ""
        lines.append(f"  {names[edge.source]} -->{label} {names[edge.target]}")
    for kind in dict.fromkeys(node.kind for node in drawn.nodes):
        fill, line = COLOURS[kind]
        lines.append(f"  classDef {kind} fill:{fill},stroke:{line},color:#1b1f24")
    return "\n".join(lines) + "\n"


def dot(drawn: Graph) -> str:
    """Write a graph in Graphviz' language."""
    names = _numbered(drawn)
    inside = [node for node in drawn.nodes if drawn.frame and node.kind in INSIDE]
    outside = [node for node in drawn.nodes if node not in inside]
    lines = [
        f"digraph {_quoted(drawn.title)} {{",
        f'  graph [rankdir=LR, label={_quoted(drawn.title)}, labelloc=t, fontname="sans-serif"];',
        '  node [shape=box, style="filled,rounded", fontname="sans-serif", fontsize=11];',
        '  edge [fontname="sans-serif", fontsize=10, color="#57606a"];',
    ]
    if inside:
        lines += ["  subgraph cluster_network {", f'    label={_quoted(drawn.frame)}; style=rounded; color="{COLOURS["Network"][1]}";']
        lines += [f"    {_dot_node(node, names[node.id])}" for node in inside]
        lines.append("  }")
    lines += [f"  {_dot_node(node, names[node.id])}" for node in outside]
    for edge in drawn.edges:
        label = f" [label={_quoted(edge.label)}]" if edge.label else ""
        lines.append(f"  {names[edge.source]} -> {names[edge.target]}{label};")
    return "\n".join([*lines, "}"]) + "\n"


def _node(resource: Resource) -> Node:
    caption, title, lines = _words(resource)
    return Node(id=key(resource), kind=resource.kind, caption=caption, title=title, lines=tuple(lines))


def _words(resource: Resource) -> tuple[str, str, Iterable[str]]:
    match resource:
        case DnsRecord():
            return f"{'public ' if resource.scope == 'public' else ''}DNS record, {resource.type}", resource.name, ()
        case Balancer():
            checks = f"checks {resource.health_path} on {resource.health_port}"
            return f"balancer, {resource.scope}", resource.service, [*(_port(port) for port in resource.ports), checks]
        case InstanceGroup():
            machine = f"{resource.memory_mib} MiB, {resource.cpu_millis / 1000:g} CPU, {resource.architecture}"
            machines = f"{resource.replicas} VM{'' if resource.replicas == 1 else 's'} of {machine}"
            workload = f"{resource.mark.namespace}/{resource.mark.workload}"
            return "instance group", workload, [machines, f"revision {resource.mark.revision}"]
        case Image():
            return "image", resource.name, [f"{resource.format}, {resource.architecture}", f"built by {resource.builder}"]
        case Secret():
            return "secret", resource.secret, [f"version {resource.version}", f"keys {', '.join(resource.keys)}"]
        case Volume():
            return "volume", resource.name, [f"{resource.size / 2**30:g} GiB"]
        case Network():
            return "network", resource.name, [f"DNS zone {resource.dns_zone}"]


def _port(port: BalancerPort) -> str:
    name = f"{port.name} " if port.name else ""
    return f"{name}{port.protocol} {port.port} to {port.target_port}"


def _edges(resource: Resource) -> Iterator[Edge]:
    source = key(resource)
    match resource:
        case DnsRecord():
            yield Edge(source=source, target=f"Balancer/{resource.balancer}")
        case Balancer():
            whole = sum(backend.weight for backend in resource.backends)
            for backend in resource.backends:
                # A share says something only where there is more than one.
                share = f"{backend.weight / whole:.0%}" if len(resource.backends) > 1 and whole else ""
                yield Edge(source=source, target=f"InstanceGroup/{backend.group}", label=share)
        case InstanceGroup():
            yield Edge(source=source, target=f"Image/{resource.image}")
            for name in dict.fromkeys(resource.boot.secrets.values()):
                yield Edge(source=source, target=f"Secret/{name}")


def _numbered(drawn: Graph) -> dict[str, str]:
    return {node.id: f"n{number}" for number, node in enumerate(drawn.nodes)}


def _mermaid_node(node: Node, name: str) -> str:
    return f'{name}["{"<br/>".join(_mermaid_text(line) for line in node.text)}"]:::{node.kind}'


def _mermaid_text(text: str) -> str:
    """Write everything that could mean something to Mermaid, or to the HTML it makes, as a character number."""
    return "".join(one if one.isalnum() or one in " .,-/%_" else f"#{ord(one)};" for one in text)


def _dot_node(node: Node, name: str) -> str:
    fill, line = COLOURS[node.kind]
    label = "\\n".join(_quoted(one)[1:-1] for one in node.text)
    return f'{name} [label="{label}", fillcolor="{fill}", color="{line}"];'


def _quoted(text: str) -> str:
    """Quote for DOT and for YAML, which agree on these two escapes; neither takes control characters in a label."""
    plain = "".join(one if one.isprintable() else "\ufffd" for one in text)
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'
