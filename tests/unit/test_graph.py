"""A plan as a drawing, in three languages."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from shutil import which
from xml.etree import ElementTree

import pytest
from attrs import evolve
from cli.sample import BALANCER, GROUP, IMAGE, NETWORK, PLAN, RECORD, SECRET, group
from hypothesis import given, settings
from hypothesis import strategies as st

from i2kit.drawing import _CHARACTER
from i2kit.errors import InvalidInput
from i2kit.graph import FORMATS, dot, graph, graph_of, mermaid
from i2kit.plan import Plan
from i2kit.resources import Backend, BalancerPort, Volume

GOLDEN = Path(__file__).parents[1] / "data" / "graph"
SVG = "{http://www.w3.org/2000/svg}"

CANARY = group("web-new", "web")
WIDE = evolve(
    PLAN,
    application="shop",
    resources=(
        NETWORK,
        SECRET,
        IMAGE,
        GROUP,
        CANARY,
        group("db", "a-workload-whose-name-goes-on-to-the-end"),
        evolve(BALANCER, backends=(Backend(group=GROUP.name, weight=90), Backend(group=CANARY.name, weight=10))),
        evolve(
            BALANCER,
            name="db-balancer",
            service="db",
            scope="internal",
            ports=(BalancerPort(port=53, target_port=5353, protocol="UDP"), BalancerPort(port=5432, target_port=5432)),
            backends=(Backend(group="db"),),
        ),
        RECORD,
        evolve(RECORD, name="a-workload-whose-name-goes-on-to-the-end.default.svc.cluster.local", balancer="db-balancer"),
        Volume(name="data", mark=GROUP.mark, size=3 << 29),
    ),
)
EMPTY = Plan(environment="local", application="hello", provider="local", resources=(), fingerprint="")
PLANS = {"hello": PLAN, "wide": WIDE, "empty": EMPTY}


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", PLANS)
def test_the_drawing_is_exactly(name: str, form: str) -> None:
    golden = GOLDEN / f"{name}.{form}"
    drawn = graph(PLANS[name], form)
    if os.environ.get("I2KIT_GOLDEN") == "write":
        golden.write_text(drawn)
    assert drawn == golden.read_text()


def test_arrows_lead_from_names_to_images() -> None:
    edges = {(edge.source.split("/")[0], edge.target.split("/")[0]) for edge in graph_of(PLAN).edges}
    assert edges == {
        ("DnsRecord", "Balancer"),
        ("Balancer", "InstanceGroup"),
        ("InstanceGroup", "Image"),
        ("InstanceGroup", "Secret"),
    }


def test_shares_are_shown_where_traffic_is_divided() -> None:
    assert [edge.label for edge in graph_of(WIDE).edges if edge.source == f"Balancer/{BALANCER.name}"] == ["90%", "10%"]
    assert {edge.label for edge in graph_of(PLAN).edges} == {""}


def test_what_is_not_in_the_plan_is_not_pointed_at() -> None:
    assert graph_of(evolve(PLAN, resources=(RECORD, GROUP))).edges == ()


def test_an_unknown_language_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidInput, match="expected one of mermaid, dot, svg"):
        graph(PLAN, "png")


# What YAML, XML, HTML, Mermaid and DOT could stumble over, and anything else.
texts = st.text(alphabet=st.one_of(st.sampled_from("\"'<>&#;\\[]{}()|`%\n\r\t\x00\x1b\u2028-=. end"), st.characters()), min_size=1)


def named(text: str) -> Plan:
    """Return a plan with `text` in every place that a drawing shows."""
    return Plan(
        environment=text,
        application=text,
        provider=text,
        fingerprint="",
        resources=(
            evolve(NETWORK, dns_zone=text),
            evolve(SECRET, secret=text, keys=(text,)),
            evolve(IMAGE, format=text, builder=text),
            evolve(GROUP, architecture=text),
            evolve(BALANCER, service=text),
            evolve(RECORD, name=text),
        ),
    )


def test_public_names_are_told_from_private_ones() -> None:
    drawn = graph(evolve(named("x"), resources=(evolve(RECORD, name="shop.example.com", scope="public"),)), "dot")
    assert "public DNS record, A\\nshop.example.com" in drawn


def printable(text: str) -> str:
    return "".join(one if one.isprintable() else "\ufffd" for one in text)


@given(texts)
@settings(deadline=None)
def test_svg_is_valid_xml_and_shows_the_text_whatever_it_is(text: str) -> None:
    root = ElementTree.fromstring(graph(named(text), "svg"))
    titles = [element.text or "" for element in root.iter(f"{SVG}title")]
    assert f"DNS record, A - {printable(text)}" in titles
    allowed = {"svg", "title", "defs", "marker", "path", "rect", "text", "g"}
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= allowed


@given(texts)
@settings(deadline=None)
def test_no_text_leaves_its_box(text: str) -> None:
    root = ElementTree.fromstring(graph(named(text), "svg"))
    for box in root.iter(f"{SVG}g"):
        (frame,) = box.iter(f"{SVG}rect")
        for line in box.iter(f"{SVG}text"):
            assert float(line.get("x", "")) + len(line.text or "") * _CHARACTER <= float(frame.get("x", "")) + float(frame.get("width", ""))
            assert float(frame.get("y", "")) < float(line.get("y", "")) < float(frame.get("y", "")) + float(frame.get("height", ""))


@given(texts)
@settings(deadline=None)
def test_mermaid_text_cannot_end_its_quotes(text: str) -> None:
    harmless = mermaid(graph_of(named("x")))
    drawn = mermaid(graph_of(named(text)))
    assert len(drawn.splitlines()) == len(harmless.splitlines())
    shape = re.compile(r'"[^"]*"')
    body, plain = (page.split("\n---\n", 1)[1] for page in (drawn, harmless))
    assert shape.sub('""', body) == shape.sub('""', plain)
    labels = "".join(shape.findall(body)).replace("<br/>", "")
    assert not set(labels) & set("<>&\\`[]{}|;\n") - {";"}
    assert re.sub(r"#[0-9]+;", "", labels).count(";") == 0


@given(texts)
@settings(deadline=None)
def test_dot_text_cannot_end_its_quotes(text: str) -> None:
    shape = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
    drawn, harmless = dot(graph_of(named(text))), dot(graph_of(named("x")))
    assert shape.sub('""', drawn) == shape.sub('""', harmless)
    assert len(drawn.split("\n")) == len(harmless.split("\n"))


@pytest.mark.skipif(which("dot") is None, reason="Graphviz is not installed; the golden files and the quoting tests hold the language")
@pytest.mark.parametrize("plan", [PLAN, WIDE, EMPTY, named("\\\"<b>&\n'#;{}|\x00")])
def test_graphviz_takes_the_drawing(plan: Plan) -> None:
    ended = subprocess.run(["dot", "-Tplain"], input=graph(plan, "dot"), text=True, capture_output=True, check=True, timeout=60)
    assert ended.stdout.count("\nnode ") == len(graph_of(plan).nodes)
    assert ended.stderr == ""


def test_boxes_do_not_overlap_and_lie_on_the_page() -> None:
    root = ElementTree.fromstring(graph(WIDE, "svg"))
    boxes = [
        tuple(float(rect.get(name, "")) for name in ("x", "y", "width", "height"))
        for box in root.iter(f"{SVG}g")
        for rect in box.iter(f"{SVG}rect")
    ]
    assert len(boxes) == len(graph_of(WIDE).nodes)
    for number, (x, y, width, height) in enumerate(boxes):
        assert 0 < x < x + width < float(root.get("width", ""))
        assert 0 < y < y + height < float(root.get("height", ""))
        for other_x, other_y, other_width, other_height in boxes[number + 1 :]:
            assert x + width <= other_x or other_x + other_width <= x or y + height <= other_y or other_y + other_height <= y
