"""A graph as SVG: boxes in columns from names to images, arrows between them.

Needs no other program, and the same bytes for the same graph.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from xml.sax.saxutils import escape

from attrs import frozen

from i2kit.graph import COLOURS, INSIDE, Edge, Graph, Node
from i2kit.resources import Kind

_COLUMN: dict[Kind, int] = {"DnsRecord": 0, "Balancer": 1, "InstanceGroup": 2, "Image": 3, "Secret": 3, "Volume": 3, "Network": 3}
# Neighbours decide where a box goes, so the column that has neighbours on both sides is laid first.
_ORDER = (2, 1, 0, 3)

_CHARACTER = 7.3
"""Width of a character in the fixed-width fonts of `_FONT` at 12 px; a little more than real, so that text never leaves its box."""
_LONGEST = 46
_LINE = 17
_PADDING = 12
_GAP = 22
_LANE = 84
_MARGIN = 28
_TITLE = 34
_FONT = "'DejaVu Sans Mono','Menlo','Consolas','Liberation Mono',monospace"
_INK, _FAINT = "#1b1f24", "#57606a"


@frozen(kw_only=True)
class Box:
    """Where a node stands, in pixels from the upper left corner."""

    node: Node
    x: float
    y: float
    width: float
    height: float

    @property
    def middle(self) -> float:
        """The height of its middle."""
        return self.y + self.height / 2


def svg(graph: Graph) -> str:
    """Draw a graph as SVG."""
    boxes = _laid_out(graph)
    frame = _frame(graph, boxes.values())
    right = max([box.x + box.width for box in boxes.values()] + [frame.x + frame.width if frame else 0, len(graph.title) * 9.0])
    bottom = max([box.y + box.height for box in boxes.values()] + [frame.y + frame.height if frame else 0, _TITLE])
    width, height = round(right + _MARGIN), round(bottom + _MARGIN)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'font-family="{_FONT}" font-size="12">',
        f"<title>{_text(graph.title)}</title>",
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        f'<path d="M0,0 L8,4 L0,8 z" fill="{_FAINT}"/></marker></defs>',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text x="{_MARGIN}" y="{_MARGIN}" font-size="15" font-weight="bold" fill="{_INK}">{_text(graph.title)}</text>',
        *(_drawn_frame(frame) if frame else ()),
        *_arrows(graph.edges, boxes),
        *(line for box in boxes.values() for line in _drawn(box)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _laid_out(graph: Graph) -> dict[str, Box]:
    """Stack each column's boxes in the order, and as near as they fit, of what they are connected with."""
    columns: dict[int, list[Node]] = defaultdict(list)
    for node in graph.nodes:
        columns[_COLUMN[node.kind]].append(node)
    widths = {number: max(_width(node) for node in nodes) for number, nodes in columns.items()}
    neighbours: dict[str, list[str]] = defaultdict(list)
    for edge in graph.edges:
        neighbours[edge.source].append(edge.target)
        neighbours[edge.target].append(edge.source)
    boxes: dict[str, Box] = {}
    top = _TITLE + _MARGIN + (_LINE * 2 if graph.frame else 0)
    for number in (one for one in _ORDER if one in columns):
        left = _MARGIN * 2 + sum(widths[other] + _LANE for other in widths if other < number)
        wanted = {node.id: _wanted(node, neighbours[node.id], boxes) for node in columns[number]}
        free = float(top)
        for node in sorted(columns[number], key=lambda one: wanted[one.id]):
            height = _height(node)
            y = max(free, wanted[node.id] - height / 2)
            boxes[node.id] = Box(node=node, x=left, y=y, width=widths[number], height=height)
            free = y + height + _GAP
    return {node.id: boxes[node.id] for node in graph.nodes}


def _wanted(node: Node, neighbours: Sequence[str], boxes: dict[str, Box]) -> float:
    placed = [boxes[one].middle for one in neighbours if one in boxes]
    return sum(placed) / len(placed) if placed else 0.0


def _width(node: Node) -> float:
    return max(len(_shortened(line)) for line in node.text) * _CHARACTER + 2 * _PADDING


def _height(node: Node) -> float:
    return len(node.text) * _LINE + 2 * _PADDING - 4


def _frame(graph: Graph, boxes: Iterable[Box]) -> Box | None:
    inside = [box for box in boxes if box.node.kind in INSIDE]
    if not graph.frame or not inside:
        return None
    x, y = min(box.x for box in inside) - _MARGIN, min(box.y for box in inside) - 2 * _LINE
    right = max(box.x + box.width for box in inside) + _MARGIN
    bottom = max(box.y + box.height for box in inside) + _MARGIN
    node = Node(id="", kind="Network", caption="network", title=graph.frame)
    return Box(node=node, x=x, y=y, width=right - x, height=bottom - y)


def _drawn_frame(frame: Box) -> Iterable[str]:
    fill, line = COLOURS["Network"]
    room = int((frame.width - 2 * _PADDING) / _CHARACTER)
    yield (
        f'<rect x="{frame.x:.0f}" y="{frame.y:.0f}" width="{frame.width:.0f}" height="{frame.height:.0f}" rx="10" '
        f'fill="{fill}" stroke="{line}" stroke-dasharray="5 4"/>'
    )
    title = _text(_shortened(frame.node.title, room))
    yield f'<text x="{frame.x + _PADDING:.0f}" y="{frame.y + _LINE + 2:.0f}" fill="{_FAINT}">{title}</text>'


def _drawn(box: Box) -> Iterable[str]:
    fill, line = COLOURS[box.node.kind]
    yield f"<g><title>{_text(' - '.join(box.node.text))}</title>"
    yield (
        f'<rect x="{box.x:.0f}" y="{box.y:.0f}" width="{box.width:.0f}" height="{box.height:.0f}" rx="6" fill="{fill}" stroke="{line}"/>'
    )
    for number, text in enumerate(box.node.text):
        y = box.y + _PADDING + 9 + number * _LINE
        style = (f'fill="{line}" font-size="11"', f'fill="{_INK}" font-weight="bold"')[number] if number < 2 else f'fill="{_INK}"'
        yield f'<text x="{box.x + _PADDING:.0f}" y="{y:.0f}" {style}>{_text(_shortened(text))}</text>'
    yield "</g>"


def _arrows(edges: Sequence[Edge], boxes: dict[str, Box]) -> Iterable[str]:
    """Draw the arrows; those of one side of a box share it evenly, in the order of where they go, so that they do not cross there."""
    leaving: dict[str, list[Edge]] = defaultdict(list)
    arriving: dict[str, list[Edge]] = defaultdict(list)
    for edge in edges:
        leaving[edge.source].append(edge)
        arriving[edge.target].append(edge)
    for edge in edges:
        source, target = boxes[edge.source], boxes[edge.target]
        out = sorted(leaving[edge.source], key=lambda one: boxes[one.target].middle)
        come = sorted(arriving[edge.target], key=lambda one: boxes[one.source].middle)
        x1, y1 = source.x + source.width, source.y + source.height * (out.index(edge) + 1) / (len(out) + 1)
        x2, y2 = target.x - 1, target.y + target.height * (come.index(edge) + 1) / (len(come) + 1)
        bend = (x1 + x2) / 2
        yield (
            f'<path d="M{x1:.1f},{y1:.1f} C{bend:.1f},{y1:.1f} {bend:.1f},{y2:.1f} {x2:.1f},{y2:.1f}" fill="none" '
            f'stroke="{_FAINT}" stroke-width="1.3" marker-end="url(#head)"/>'
        )
        if edge.label:
            yield (
                f'<text x="{bend:.1f}" y="{(y1 + y2) / 2 - 4:.1f}" text-anchor="middle" font-size="11" fill="{_FAINT}" stroke="#ffffff" '
                f'stroke-width="3" paint-order="stroke">{_text(_shortened(edge.label, 12))}</text>'
            )


def _shortened(text: str, longest: int = _LONGEST) -> str:
    """Cut the middle out of a long text: names differ at both ends."""
    if len(text) <= longest:
        return text
    half = (longest - 1) // 2
    return f"{text[:half]}\u2026{text[-half:]}"


def _text(text: str) -> str:
    # XML cannot hold most control characters and no lone surrogate, not even escaped.
    return escape("".join(one if one.isprintable() else "\ufffd" for one in text))
