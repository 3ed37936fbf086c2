"""HAProxy's configuration, states and weights, as data."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from i2kit.resources import Backend
from i2kit.testing.samples import Samples
from i2kit_local.balancing import (
    ServerState,
    fingerprint,
    held_back,
    listeners,
    parse_sessions,
    parse_states,
    render,
    server_weights,
    starting_states,
)

SAMPLES = Samples()
GROUP = SAMPLES.group()
BALANCER = SAMPLES.balancer(GROUP)
MEMBERS = {GROUP.name: [("web-0", "10.88.0.16"), ("web-1", "10.88.0.17")]}
(LISTENER,) = listeners(BALANCER, "10.88.128.1", MEMBERS)


def test_a_balancer_becomes_a_listener_that_checks_readyz_on_the_health_port() -> None:
    text = render([LISTENER], control=Path("/r/h.sock"), states=Path("/r/states"))
    assert text.endswith(f"""\
listen {BALANCER.name}:8080:8080
    bind 10.88.128.1:8080
    option httpchk GET /readyz
    http-check expect status 200
    server web-0 10.88.0.16:8080 check port 10256 inter 1s rise 1 fall 2 weight 256
    server web-1 10.88.0.17:8080 check port 10256 inter 1s rise 1 fall 2 weight 256
""")


def test_the_fingerprint_tells_listeners_apart_and_not_servers() -> None:
    (fewer,) = listeners(BALANCER, "10.88.128.1", {GROUP.name: MEMBERS[GROUP.name][:1]})
    (moved,) = listeners(BALANCER, "10.88.128.2", MEMBERS)
    assert fingerprint([LISTENER]) == fingerprint([fewer])
    assert fingerprint([LISTENER]) != fingerprint([moved])


def test_servers_start_down_but_for_those_known_to_be_up() -> None:
    text = starting_states([LISTENER], [(LISTENER.name, "web-1")])
    assert [(one.name, one.up, one.address, one.port) for one in parse_states(text)] == [
        ("web-0", False, "10.88.0.16", 8080),
        ("web-1", True, "10.88.0.17", 8080),
    ]


def test_states_of_a_newer_haproxy_with_more_fields_are_read() -> None:
    text = "1\n# be_id be_name srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_port more\n3 l s 10.88.0.16 2 8 7 80 x\n\n"
    (state,) = parse_states(text)
    assert (state.listener, state.up, state.admin, state.weight) == ("l", True, 8, 7)


def test_sessions_are_read_by_listener_and_server() -> None:
    assert parse_sessions("# pxname,svname,scur,x\nl,FRONTEND,2,\nl,s,1,\n") == {("l", "FRONTEND"): 2, ("l", "s"): 1}
    assert parse_sessions("") == {}


def test_weights_are_shares_of_groups_not_of_servers() -> None:
    balancer = evolve(BALANCER, backends=(Backend(group="old", weight=90), Backend(group="new", weight=10)))
    members = {"old": [(f"old-{n}", "10.88.0.1") for n in range(9)], "new": [("new-0", "10.88.0.2")]}
    (listener,) = listeners(balancer, "10.88.128.1", members)
    assert {server.weight for server in listener.servers} == {256}


def server(name: str, *, up: bool = True, weight: int = 1, admin: int = 0) -> ServerState:
    return ServerState(listener=LISTENER.name, name=name, address="10.88.0.1", port=8080, up=up, admin=admin, weight=weight)


@pytest.mark.parametrize(
    "successor",
    [
        [],
        [server("web-0", up=False)],
        [server("web-0", admin=8)],
    ],
)
def test_those_that_serve_are_held_back_until_a_successor_is_up(successor: list[ServerState]) -> None:
    old = [server("old-0"), server("old-1", up=False), server("old-2", admin=8), server("old-3", weight=0), server("leaving-0")]
    staying = {"web-0", "web-1", "old-0", "old-1", "old-2", "old-3"}
    assert held_back([LISTENER], [*old, *successor], staying) == {(LISTENER.name, "old-0")}
    assert held_back([LISTENER], [*old, server("web-1")], staying) == set()


def test_nobody_is_held_back_where_no_traffic_is_wanted() -> None:
    assert held_back([], [server("old-0")], {"old-0"}) == set()
    off = evolve(LISTENER, servers=tuple(evolve(one, weight=0) for one in LISTENER.servers))
    assert held_back([off], [server("old-0")], {"old-0"}) == set()


@pytest.mark.parametrize("groups", [{}, {"empty": (100, 0)}, {"off": (0, 3)}])
def test_nobody_there_or_nobody_wanted_is_no_error(groups: dict[str, tuple[int, int]]) -> None:
    assert set(server_weights(groups).values()) <= {0}


@given(st.dictionaries(st.text(min_size=1), st.tuples(st.integers(0, 1000), st.integers(1, 50)), max_size=4))
def test_any_share_gets_traffic_and_none_more_than_haproxy_takes(groups: dict[str, tuple[int, int]]) -> None:
    weights = server_weights(groups)
    assert all((weights[name] > 0) == (share > 0) for name, (share, _) in groups.items())
    assert all(weight <= 256 for weight in weights.values())
