"""Listeners of a Network Load Balancer as they should be: protocols, certificates, and how they share the traffic. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from attrs import field, frozen

from i2kit.errors import ProviderError
from i2kit.resources import Balancer, BalancerPort

CERTIFICATE = "certificate"
TLS_PORTS = "tls-ports"
ANNOTATIONS = {
    CERTIFICATE: "the ARN of an ACM certificate of the environment's region: the balancer speaks TLS with it",
    TLS_PORTS: "the ports at which it does, such as 443 or 443,8443 (default: all TCP ports)",
}
"""What a Service may say under ``aws.i2kit.dev/``."""

TLS_POLICY = "ELBSecurityPolicy-TLS13-1-2-Res-2021-06"
"""TLS 1.3 and 1.2 with forward secrecy and authenticated encryption: the policy that AWS recommends, in all its partitions."""

WHOLE = 100
"""The weight of a target group that stands alone: AWS tells none, and it makes no difference."""

_ARN = re.compile(r"arn:(aws[a-z-]*):acm:([a-z0-9-]+):([0-9]{12}):certificate/[A-Za-z0-9-]+")


@frozen(kw_only=True)
class Listener:
    """One listener: `port` outside, `target_port` on the members; `facts` are the Service's ports it serves, as its tags have them."""

    port: int
    protocol: Literal["TCP", "UDP", "TCP_UDP", "TLS"]
    target_port: int
    facts: Mapping[str, str] = field(factory=dict)
    certificate: str = ""

    @property
    def target_protocol(self) -> str:
        """What the members are spoken to with: TLS ends at the balancer."""
        return "TCP" if self.protocol == "TLS" else self.protocol

    @property
    def settings(self) -> dict[str, Any]:
        """What AWS is told of it besides its port and where it forwards to."""
        if self.protocol != "TLS":
            return {"Protocol": self.protocol}
        return {"Protocol": "TLS", "SslPolicy": TLS_POLICY, "Certificates": [{"CertificateArn": self.certificate}]}


def front_name(balancer: str) -> str:
    """Return the name of the load balancer of a balancer: AWS keeps names that begin with ``internal-`` for itself.

    >>> front_name("internal-api-16293f49")
    'inner-api-16293f49'
    """
    return "inner-" + balancer.removeprefix("internal-") if balancer.startswith("internal-") else balancer


def planned(balancer: Balancer) -> tuple[Listener, ...]:
    """Return a balancer's listeners. Ports of the same number for TCP and UDP are one, since AWS has one listener at a number.

    Raises `ProviderError` (code ``unsupported``) when these two mean different ports of the members.
    """
    together: dict[int, dict[str, tuple[int, BalancerPort]]] = {}
    for index, port in enumerate(balancer.ports):
        together.setdefault(port.port, {})[port.protocol] = (index, port)
    return tuple(_listener(balancer, ports) for ports in together.values())


def _listener(balancer: Balancer, ports: Mapping[str, tuple[int, BalancerPort]]) -> Listener:
    (first, *others) = [port for _, port in ports.values()]
    if any(one.target_port != first.target_port for one in others):
        raise ProviderError.of(
            "unsupported",
            f"Service {balancer.service} has port {first.port} for TCP and for UDP with different targetPorts",
            hint="a Network Load Balancer sends both to one port of the members: give the ports other numbers",
        )
    secure = not others and first.protocol == "TCP" and first.port in tls_ports(balancer)
    return Listener(
        port=first.port,
        protocol="TCP_UDP" if others else "TLS" if secure else first.protocol,
        target_port=first.target_port,
        facts={protocol.lower(): f"{index} {port.name}".strip() for protocol, (index, port) in ports.items()},
        certificate=balancer.options.get(CERTIFICATE, "") if secure else "",
    )


def ports_of(listener: Mapping[str, Any], facts: Mapping[str, str], target_port: int) -> list[tuple[int, BalancerPort]]:
    """Return the Service's ports that a listener serves, each with its place among them, given the facts of the listener's tags.

    Without facts (somebody removed its tags) they follow from its protocol, and stand last.
    """
    protocols: dict[str, Literal["TCP", "UDP"]] = {"tcp": "TCP", "udp": "UDP"}
    spoken = str(listener["Protocol"]).lower().replace("tls", "tcp").split("_")
    found = []
    for protocol in (one for one in spoken if one in protocols):
        place, _, name = facts.get(protocol, "").partition(" ")
        port = BalancerPort(port=int(listener["Port"]), target_port=target_port, name=name, protocol=protocols[protocol])
        found.append((int(place) if place.isdigit() else 1 << 16, port))
    return found


def tls_ports(balancer: Balancer) -> frozenset[int]:
    """Return the numbers of the ports at which a balancer speaks TLS."""
    if not balancer.options.get(CERTIFICATE):
        return frozenset()
    given = balancer.options.get(TLS_PORTS)
    if given is None:
        return frozenset(one.port for one in balancer.ports if one.protocol == "TCP")
    return frozenset(int(one) for one in _numbers(given) if one.isdigit())


def _numbers(text: str) -> list[str]:
    return [one for one in re.split(r"[,\s]+", text) if one]


def wrong(balancer: Balancer, region: str, account: str | None) -> Iterator[str]:
    """Say what is wrong with a balancer's annotations, for an environment in that region and, where it is known, account."""
    arn, given = balancer.options.get(CERTIFICATE), balancer.options.get(TLS_PORTS)
    if arn is not None:
        parts = _ARN.fullmatch(arn)
        if parts is None:
            yield f"{CERTIFICATE} is {arn!r}, not the ARN of an ACM certificate (arn:aws:acm:REGION:ACCOUNT:certificate/ID)"
        elif parts[2] != region:
            yield f"{CERTIFICATE} is of region {parts[2]}; a balancer takes certificates of its own region, {region}"
        elif account and parts[3] != account:
            yield f"{CERTIFICATE} is of account {parts[3]}; a balancer takes certificates of its own account, {account}"
    if given is not None:
        if arn is None:
            yield f"{TLS_PORTS} is given without {CERTIFICATE}"
        numbers = [one.port for one in balancer.ports if one.protocol == "TCP"]
        both = {one.port for one in balancer.ports if one.protocol == "UDP"}
        for one in _numbers(given):
            if not one.isdigit() or int(one) not in numbers:
                yield f"{TLS_PORTS} has {one!r}, which is none of the Service's TCP ports ({', '.join(map(str, numbers)) or 'none'})"
            elif int(one) in both:
                yield f"{TLS_PORTS} has {one}, at which the Service has UDP too: a Network Load Balancer has one listener at a number"


def forward(shares: Sequence[tuple[str, int]]) -> list[dict[str, Any]]:
    """Return a listener's actions that divide the traffic among target groups (ARN, weight)."""
    groups = [{"TargetGroupArn": arn, "Weight": weight} for arn, weight in shares]
    return [{"Type": "forward", "ForwardConfig": {"TargetGroups": groups}}]


def shares_of(listener: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Return the target groups (ARN, weight) that a listener divides its traffic among."""
    for action in listener.get("DefaultActions") or ():
        groups = (action.get("ForwardConfig") or {}).get("TargetGroups") or ()
        if groups:
            return [(str(one["TargetGroupArn"]), WHOLE if one.get("Weight") is None else int(one["Weight"])) for one in groups]
        if action.get("TargetGroupArn"):
            return [(str(action["TargetGroupArn"]), WHOLE)]
    return []


def mended(wanted: Listener, shares: Sequence[tuple[str, int]], there: Mapping[str, Any]) -> dict[str, Any]:
    """Return what has to be changed of a listener that is `there`, as AWS takes it; empty when it is as it should be."""
    changes: dict[str, Any] = {}
    if differs(wanted, there):
        changes |= wanted.settings
    # In which order AWS tells target groups says nothing.
    if changes or sorted(shares_of(there)) != sorted(shares):
        changes["DefaultActions"] = forward(shares)
    return changes


def differs(wanted: Listener, there: Mapping[str, Any]) -> bool:
    """Whether a listener speaks another protocol than it should, or with another certificate or policy."""
    if there.get("Protocol") != wanted.protocol:
        return True
    if wanted.protocol != "TLS":
        return False
    certificates = [one.get("CertificateArn") for one in there.get("Certificates") or ()]
    return certificates[:1] != [wanted.certificate] or there.get("SslPolicy") != TLS_POLICY
