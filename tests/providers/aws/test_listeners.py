"""Listeners of a balancer: one at a number, TLS where the annotations say so, shares in forward actions."""

from __future__ import annotations

import doctest
import re
from typing import Any

import pytest
from attrs import evolve

from i2kit.resources import BalancerPort
from i2kit.testing.samples import Samples
from i2kit_aws import guards, listeners, targets

SAMPLES = Samples(environment="prod", provider="aws", format="aws")
HTTP = BalancerPort(port=80, target_port=8080, name="http")
HTTPS = BalancerPort(port=443, target_port=8080, name="https")
DNS = BalancerPort(port=53, target_port=53, protocol="UDP")
ARN = "arn:aws:acm:eu-west-1:123456789012:certificate/12345678-1234-1234-1234-123456789012"


def asked(*ports: BalancerPort, **options: str) -> Any:
    named = {name.replace("_", "-"): value for name, value in options.items()}
    return evolve(SAMPLES.balancer(SAMPLES.group()), ports=ports or (HTTP, HTTPS, DNS), options=named)


def spoken(balancer: Any) -> dict[int, str]:
    return {one.port: one.protocol for one in listeners.planned(balancer)}


def test_without_a_certificate_nothing_is_tls() -> None:
    assert spoken(asked()) == {80: "TCP", 443: "TCP", 53: "UDP"}


def test_a_certificate_is_for_all_tcp_ports() -> None:
    assert spoken(asked(certificate=ARN)) == {80: "TLS", 443: "TLS", 53: "UDP"}


@pytest.mark.parametrize("text", ["443", " 443 ", "443,", "443 443"])
def test_or_for_those_that_are_named(text: str) -> None:
    assert spoken(asked(certificate=ARN, tls_ports=text)) == {80: "TCP", 443: "TLS", 53: "UDP"}


def test_a_tls_listener_speaks_tcp_to_members_and_offers_no_old_protocol() -> None:
    (one,) = listeners.planned(asked(HTTPS, certificate=ARN))
    assert one.target_protocol == "TCP"
    assert one.settings == {"Protocol": "TLS", "SslPolicy": listeners.TLS_POLICY, "Certificates": [{"CertificateArn": ARN}]}
    assert "TLS13" in listeners.TLS_POLICY


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"certificate": "my-cert"}, "not the ARN of an ACM certificate"),
        ({"certificate": ""}, "not the ARN of an ACM certificate"),
        ({"certificate": ARN.replace("acm", "iam")}, "not the ARN of an ACM certificate"),
        ({"certificate": ARN.replace("eu-west-1", "us-east-1")}, "of region us-east-1; .* its own region, eu-west-1"),
        ({"certificate": ARN.replace("123456789012:", "210987654321:")}, "of account 210987654321; .* its own account, 123456789012"),
        ({"tls-ports": "443"}, "tls-ports is given without certificate"),
        ({"certificate": ARN, "tls-ports": "8443"}, r"'8443', which is none of the Service's TCP ports \(80, 443\)"),
        ({"certificate": ARN, "tls-ports": "https"}, "'https', which is none of"),
        ({"certificate": ARN, "tls-ports": "53"}, "'53', which is none of"),
    ],
)
def test_annotations_that_cannot_be_meant_are_told(options: dict[str, str], why: str) -> None:
    (found,) = listeners.wrong(evolve(asked(), options=options), "eu-west-1", "123456789012")
    assert re.search(why, found)


def test_tls_at_a_number_with_udp_is_told() -> None:
    both = asked(HTTPS, evolve(HTTPS, protocol="UDP"), certificate=ARN, tls_ports="443")
    (found,) = listeners.wrong(both, "eu-west-1", None)
    assert "at which the Service has UDP too" in found


def test_right_annotations_are_right() -> None:
    assert [*listeners.wrong(asked(certificate=ARN, tls_ports="443"), "eu-west-1", "123456789012")] == []
    assert [*listeners.wrong(asked(), "eu-west-1", None)] == []


def test_shares_are_told_as_they_were_given() -> None:
    actions = listeners.forward([("arn:a", 90), ("arn:b", 0)])
    assert listeners.shares_of({"DefaultActions": actions}) == [("arn:a", 90), ("arn:b", 0)]


@pytest.mark.parametrize(
    "action",
    [
        {"Type": "forward", "TargetGroupArn": "arn:a"},
        {"Type": "forward", "TargetGroupArn": "arn:a", "ForwardConfig": {"TargetGroups": [{"TargetGroupArn": "arn:a"}]}},
    ],
)
def test_a_target_group_that_stands_alone_has_everything(action: dict[str, Any]) -> None:
    assert listeners.shares_of({"DefaultActions": [action]}) == [("arn:a", 100)]


def test_the_order_in_which_aws_tells_target_groups_changes_nothing() -> None:
    (one,) = listeners.planned(asked(HTTP))
    there = {"Protocol": "TCP", "DefaultActions": listeners.forward([("arn:b", 10), ("arn:a", 90)])}
    assert listeners.mended(one, [("arn:a", 90), ("arn:b", 10)], there) == {}
    assert listeners.mended(one, [("arn:a", 91), ("arn:b", 9)], there).keys() == {"DefaultActions"}


def test_ports_keep_place_and_name_and_follow_from_the_protocol_without_tags() -> None:
    (dns,) = listeners.planned(asked(DNS, evolve(DNS, protocol="TCP", name="dns")))
    assert (dns.protocol, dict(dns.facts)) == ("TCP_UDP", {"udp": "0", "tcp": "1 dns"})
    told = {"Protocol": "TCP_UDP", "Port": 53}
    assert sorted(place for place, _ in listeners.ports_of(told, dns.facts, 53)) == [0, 1]
    bare = [port for _, port in listeners.ports_of({"Protocol": "TLS", "Port": 443}, {}, 8080)]
    assert bare == [evolve(HTTPS, name="")]


def test_examples_are_true() -> None:
    for module in (listeners, targets, guards):
        assert doctest.testmod(module).failed == 0
