"""What HAProxy is to do, as data: listeners, the servers behind them with their weights, and the configuration they make. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from attrs import frozen

from i2kit.resources import Balancer

_GREATEST_WEIGHT = 256


@frozen(kw_only=True)
class Server:
    """A VM behind a listener: `port` serves, `health_port` is checked; `weight` from 0 to 256."""

    name: str
    address: str
    port: int
    health_port: int
    weight: int

    @property
    def line(self) -> str:
        """The server's address and options, as the configuration and ``add server`` both take them."""
        return f"{self.address}:{self.port} check port {self.health_port} inter 1s rise 1 fall 2 weight {self.weight}"


@frozen(kw_only=True)
class Listener:
    """One port of a balancer on its address."""

    name: str
    address: str
    port: int
    health_path: str
    servers: tuple[Server, ...]

    def head(self) -> str:
        """Return the section without its servers: what only a reload can change."""
        return (
            f"listen {self.name}\n"
            f"    bind {self.address}:{self.port}\n"
            f"    option httpchk GET {self.health_path}\n"
            "    http-check expect status 200\n"
        )


@frozen(kw_only=True)
class ServerState:
    """A server as HAProxy has it: `up` when it gets traffic, `admin` 0 when nobody forced it into another state."""

    listener: str
    name: str
    address: str
    port: int
    up: bool
    admin: int
    weight: int


def listeners(balancer: Balancer, vip: str, members: Mapping[str, Sequence[tuple[str, str]]]) -> tuple[Listener, ...]:
    """Return a balancer's listeners; `members` maps its groups to their VMs, each with name and address."""
    weights = server_weights({one.group: (one.weight, len(members.get(one.group, ()))) for one in balancer.backends})
    return tuple(
        Listener(
            # A changed target is another listener: an address that a running server has cannot mean two things.
            name=f"{balancer.name}:{port.port}:{port.target_port}",
            address=vip,
            port=port.port,
            health_path=balancer.health_path,
            servers=tuple(
                Server(
                    name=name,
                    address=address,
                    port=port.target_port,
                    health_port=balancer.health_port,
                    weight=weights[backend.group],
                )
                for backend in balancer.backends
                for name, address in members.get(backend.group, ())
            ),
        )
        for port in balancer.ports
    )


def server_weights(groups: Mapping[str, tuple[int, int]]) -> dict[str, int]:
    """Return the weight of each group's single servers, given every group's share of the traffic and number of members.

    >>> server_weights({"old": (90, 3), "new": (10, 1)})
    {'old': 256, 'new': 85}
    """
    shares = {name: weight / members if members else 0.0 for name, (weight, members) in groups.items()}
    greatest = max(shares.values(), default=0.0)
    if not greatest:
        return dict.fromkeys(groups, 0)
    scaled = {name: round(share / greatest * _GREATEST_WEIGHT) for name, share in shares.items()}
    # A group with any share at all must not be rounded out of the traffic.
    return {name: max(1, weight) if shares[name] else 0 for name, weight in scaled.items()}


def held_back(wanted: Sequence[Listener], there: Sequence[ServerState], staying: Collection[str]) -> set[tuple[str, str]]:
    """Return the servers (listener, name) that are to lose their traffic and have to keep it, since none that is to have it is up.

    Only members that are `staying` can; a listener that is to have no traffic at all holds nobody back.
    """
    shares = {listener.name: {server.name for server in listener.servers if server.weight} for listener in wanted}
    serving = {(one.listener, one.name) for one in there if one.up and one.admin == 0 and one.weight}
    waiting = {listener for listener, names in shares.items() if names and not any((listener, name) in serving for name in names)}
    return {(listener, name) for listener, name in serving if listener in waiting and name in staying}


def fingerprint(wanted: Sequence[Listener]) -> str:
    """Return what tells two configurations apart that differ in more than servers."""
    return hashlib.sha256("".join(one.head() for one in wanted).encode()).hexdigest()[:16]


def render(wanted: Sequence[Listener], *, control: Path, states: Path) -> str:
    """Return HAProxy's configuration; `control` is its command socket, `states` the file with the states that servers start in."""
    head = f"""\
global
    description {fingerprint(wanted)}
    stats socket {control} mode 600 level admin expose-fd listeners
    server-state-file {states}
    hard-stop-after 300s
    nbthread 1
    maxconn 4096
defaults
    mode tcp
    balance roundrobin
    option redispatch
    option clitcpka
    option srvtcpka
    srvtcpka-idle 5s
    srvtcpka-intvl 2s
    srvtcpka-cnt 3
    retries 3
    timeout connect 2s
    timeout check 3s
    timeout client 24h
    timeout server 24h
    load-server-state-from-file global
"""
    sections = [one.head() + "".join(f"    server {server.name} {server.line}\n" for server in one.servers) for one in wanted]
    return head + "".join(sections)


def starting_states(wanted: Sequence[Listener], up: Iterable[tuple[str, str]] = ()) -> str:
    """Return the state file: every server is down until its first check succeeds, but those in `up` (listener, server).

    Without it a server that HAProxy has never checked counts as up, and a booting VM would get traffic.
    """
    serving = set(up)
    lines = ["1", f"# {' '.join(STATE_FIELDS)}"]
    for number, listener in enumerate(wanted, 1):
        for index, server in enumerate(listener.servers, 1):
            is_up = (listener.name, server.name) in serving
            operation, health, check, result = (2, 2, 6, 3) if is_up else (0, 0, 8, 2)
            lines.append(
                f"{number} {listener.name} {index} {server.name} {server.address} {operation} 0 {server.weight} {server.weight} 0 "
                f"{check} {result} {health} 6 0 0 0 - {server.port} - 0 {server.health_port} - - 0"
            )
    return "\n".join(lines) + "\n"


# In the order of HAProxy 2.6's version 1 of the format; newer ones add fields behind.
STATE_FIELDS = (
    "be_id",
    "be_name",
    "srv_id",
    "srv_name",
    "srv_addr",
    "srv_op_state",
    "srv_admin_state",
    "srv_uweight",
    "srv_iweight",
    "srv_time_since_last_change",
    "srv_check_status",
    "srv_check_result",
    "srv_check_health",
    "srv_check_state",
    "srv_agent_state",
    "bk_f_forced_id",
    "srv_f_forced_id",
    "srv_fqdn",
    "srv_port",
    "srvrecord",
    "srv_use_ssl",
    "srv_check_port",
    "srv_check_addr",
    "srv_agent_addr",
    "srv_agent_port",
)


def parse_states(text: str) -> tuple[ServerState, ...]:
    """Read the answer to ``show servers state`` (HAProxy's management guide, section 9.3)."""
    found, fields = [], list(STATE_FIELDS)
    for line in text.splitlines():
        if line.startswith("#"):
            fields = line[1:].split()
        elif len(values := line.split()) == len(fields):
            row = dict(zip(fields, values, strict=True))
            found.append(
                ServerState(
                    listener=row["be_name"],
                    name=row["srv_name"],
                    address=row["srv_addr"],
                    port=int(row["srv_port"]),
                    up=row["srv_op_state"] == "2",
                    admin=int(row["srv_admin_state"]),
                    weight=int(row["srv_uweight"]),
                )
            )
    return tuple(found)


def parse_sessions(text: str) -> dict[tuple[str, str], int]:
    """Read the answer to ``show stat``: the current sessions of every server, by listener and name."""
    lines = text.splitlines()
    fields = lines[0].lstrip("# ").split(",") if lines else []
    rows = (dict(zip(fields, line.split(","), strict=False)) for line in lines[1:] if line)
    return {(row["pxname"], row["svname"]): int(row["scur"] or 0) for row in rows}
