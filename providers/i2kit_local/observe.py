"""Looks at the real thing: namespace, addresses, processes, sockets, answers; never at what the last deploy believed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from attrs import evolve, frozen

from i2kit.endpoints import url
from i2kit.errors import ProviderError
from i2kit.plan import Instance, Observed, ObservedResource
from i2kit.resources import DnsRecord
from i2kit_local import dnsmasq, haproxy, slirp
from i2kit_local.balancing import Listener, ServerState, parse_sessions
from i2kit_local.health import instances
from i2kit_local.image_files import Images
from i2kit_local.region import Region
from i2kit_local.state import BalancerState, GroupState

_PROGRAMS = {dnsmasq.NAME: "dnsmasq", haproxy.NAME: "HAProxy", slirp.NAME: "slirp4netns"}
# BACKOFF is not among them: supervisor is about to try again.
_DOWN = frozenset({"STOPPED", "EXITED", "FATAL", "UNKNOWN"})


@frozen(kw_only=True)
class View:
    """What was seen of an environment's programs: states by supervisor, HAProxy's servers and listeners, ports published."""

    states: Mapping[str, str]
    vips: tuple[str, ...]
    servers: tuple[ServerState, ...] | None
    listening: frozenset[str]
    published: Mapping[tuple[int, str, int], int]


def observe(region: Region) -> Observed:
    """Return everything of the environment, with what is broken about it."""
    view, state = look(region), region.state
    groups, balancers = state.groups(), state.balancers()
    members = [(member, group.resource.health_port) for group in groups.values() for member in group.members]
    seen = instances(region.namespace, members, dict(view.states))
    found: list[ObservedResource] = []
    if (network := state.network()) is not None:
        found.append(ObservedResource(resource=network, faults=tuple(network_faults(region, view))))
    images = Images(state=state)
    found += [ObservedResource(resource=image, faults=images.faults(image)) for image in state.images()]
    found += [ObservedResource(resource=secret) for secret in state.secrets()]
    found += [observed_group(group, view.states, seen) for group in groups.values()]
    wanted = region.listeners()
    found += [observed_balancer(balancer, wanted, view, region.settings.publish) for balancer in balancers.values()]
    found += [_observed_name(region, record, balancers) for record in state.names()]
    return Observed(resources=tuple(found))


def look(region: Region) -> View:
    """Look at an environment's programs."""
    servers = region.haproxy.states()
    listening: frozenset[str] = frozenset()
    if servers is not None:
        try:
            rows = parse_sessions(region.haproxy.ask("show stat"))
            listening = frozenset(proxy for proxy, server in rows if server == "FRONTEND")
        except ProviderError:
            servers = None
    try:
        vips = region.namespace.vips() if region.namespace.exists() else ()
    except ProviderError:
        vips = ()
    return View(states=region.supervisor.states(), vips=vips, servers=servers, listening=listening, published=region.published())


def network_faults(region: Region, view: View) -> Iterator[str]:
    """Say what is broken about the network."""
    if not region.namespace.exists():
        yield "its namespace is gone"
    elif not region.namespace.has_bridge():
        yield "its bridge is gone"
    if not region.supervisor.running():
        yield "supervisord is not running"
    silent = region.silent()
    for program, name in _PROGRAMS.items():
        if name in silent or view.states.get(program, "UNKNOWN") in _DOWN:
            yield f"{name} is not running"


def observed_group(group: GroupState, states: Mapping[str, str], seen: Mapping[str, Instance]) -> ObservedResource:
    """Return a group as it is: its size is that of its members, those that are leaving among them. Pure."""
    faults = []
    for member in group.staying:
        state = states.get(member.program)
        if state is None:
            faults.append(f"member {member.id} is gone")
        elif state in _DOWN:
            faults.append(f"member {member.id} is not running")
    return ObservedResource(
        resource=evolve(group.resource, replicas=len(group.members)),
        faults=tuple(faults),
        instances=tuple(seen[member.id] for member in group.members),
    )


def observed_balancer(balancer: BalancerState, wanted: tuple[Listener, ...], view: View, address: str) -> ObservedResource:
    """Return a balancer as it is. Pure."""
    resource = balancer.resource
    faults = list(_balancer_faults(balancer, wanted, view))
    endpoints = []
    for port in resource.ports if resource.scope == "public" else ():
        here = balancer.published.get(port.port)
        if here is None or (here, balancer.vip, port.port) not in view.published:
            faults.append(f"port {port.port} is not published")
        else:
            endpoints.append(url(port.name, port.port, address, here))
    return ObservedResource(resource=resource, faults=tuple(faults), endpoints=tuple(endpoints))


def _balancer_faults(balancer: BalancerState, wanted: tuple[Listener, ...], view: View) -> Iterator[str]:
    if balancer.leaving:
        yield "its removal was not finished"
        return
    if balancer.vip not in view.vips:
        yield "its address is gone"
    if view.servers is None:
        yield "HAProxy is not running"
        return
    there = {(one.listener, one.name): one for one in view.servers}
    for listener in (one for one in wanted if one.address == balancer.vip):
        if listener.name not in view.listening:
            yield f"HAProxy does not listen on port {listener.port}"
            continue
        known = {server.name: server for server in listener.servers}
        for name, server in known.items():
            state = there.get((listener.name, name))
            if state is None or state.admin != 0 or (state.address, state.port) != (server.address, server.port):
                yield f"{name} gets no traffic from HAProxy"
            elif state.weight != server.weight:
                yield f"{name} has weight {state.weight} instead of {server.weight}"
        # One that is drained serves its last connections.
        strays = (one for one in view.servers if one.listener == listener.name and one.name not in known and one.admin == 0)
        for stray in strays:
            yield f"{stray.name} still gets traffic from HAProxy"


def _observed_name(region: Region, record: DnsRecord, balancers: Mapping[str, BalancerState]) -> ObservedResource:
    balancer = balancers.get(record.balancer)
    answer = region.dnsmasq.resolve(record.name) or []
    if not answer:
        return ObservedResource(resource=record, faults=("does not resolve",))
    if balancer is None or answer != [balancer.vip]:
        return ObservedResource(resource=record, faults=(f"resolves to {', '.join(answer)}, which is not its balancer",))
    return ObservedResource(resource=record)
