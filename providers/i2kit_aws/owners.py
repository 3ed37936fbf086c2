"""Whose a DNS name is: a TXT record beside it, made in the same batch, has the mark and what the plan says of it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, cast

from i2kit.resources import DnsRecord, Mark
from i2kit_aws.balancers import Address

PREFIX = "i2kit-owner."
OWNER_SECONDS = 300
CNAME_SECONDS = 60

RecordSet = Mapping[str, Any]
"""A record as Route 53 takes and tells it."""

_MARK = ("environment", "application", "namespace", "workload")
_VERSION = "i2kit"


def text(record: DnsRecord) -> str:
    """Return the value of the owner's TXT record: a string for each fact, since one string ends at 255 characters.

    >>> text(DnsRecord(name="web.default.svc.cluster.local", mark=Mark(environment="prod"), balancer="web-1", network="prod-1"))
    '"i2kit=1" "environment=prod" "balancer=web-1" "network=prod-1" "type=A" "scope=private"'
    """
    facts = {_VERSION: str(record.mark.schema)} | {name: getattr(record.mark, name) for name in _MARK}
    facts |= {"balancer": record.balancer, "network": record.network, "type": record.type, "scope": record.scope}
    return strings(facts)


def strings(facts: Mapping[str, str]) -> str:
    """Return facts as the value of a TXT record."""
    return " ".join(f'"{name}={value}"' for name, value in facts.items() if value)


def facts_of(told: RecordSet) -> dict[str, str]:
    """Return the facts that a TXT record has; none when it is not i2kit's."""
    values = " ".join(str(one.get("Value")) for one in told.get("ResourceRecords") or ())
    facts = dict(one.split("=", 1) for one in re.findall(r'"([^"]*)"', values) if "=" in one)
    return facts if facts.get(_VERSION, "").isdigit() else {}


def record_of(told: RecordSet) -> DnsRecord | None:
    """Return the record that an owner's TXT record is of; None when it is no such thing.

    >>> value = '"i2kit=1" "environment=prod" "balancer=web-1" "network=prod-1" "type=A" "scope=public"'
    >>> told = {"Name": "i2kit-owner.www.example.com.", "Type": "TXT", "ResourceRecords": [{"Value": value}]}
    >>> one = record_of(told)
    >>> one.name, one.scope, one.balancer, one.mark.environment
    ('www.example.com', 'public', 'web-1', 'prod')
    """
    name, facts = name_of(told), facts_of(told)
    if told.get("Type") != "TXT" or not name.startswith(PREFIX) or not facts.get("environment"):
        return None
    return DnsRecord(
        name=name.removeprefix(PREFIX),
        mark=Mark(schema=int(facts[_VERSION]), **{one: facts.get(one, "") for one in _MARK}),
        balancer=facts.get("balancer", ""),
        network=facts.get("network", ""),
        type=cast(Literal["A", "CNAME"], facts.get("type", "A")),
        scope=cast(Literal["private", "public"], facts.get("scope", "private")),
    )


def name_of(told: RecordSet) -> str:
    """Return a record's name as the plan writes names."""
    return str(told["Name"]).rstrip(".").lower()


def owner_set(record: DnsRecord) -> dict[str, Any]:
    """Return the owner's record."""
    return {"Name": f"{PREFIX}{record.name}", "Type": "TXT", "TTL": OWNER_SECONDS, "ResourceRecords": [{"Value": text(record)}]}


def answer_set(record: DnsRecord, address: Address) -> dict[str, Any]:
    """Return the record that answers: an alias of the balancer, which costs nothing and follows its addresses, or a CNAME."""
    if record.type == "CNAME":
        return {"Name": record.name, "Type": "CNAME", "TTL": CNAME_SECONDS, "ResourceRecords": [{"Value": address.dns_name}]}
    alias = {"HostedZoneId": address.zone, "DNSName": address.dns_name, "EvaluateTargetHealth": False}
    return {"Name": record.name, "Type": "A", "AliasTarget": alias}


def leads_to(told: RecordSet) -> str:
    """Return the name that a record is an alias or CNAME of, or its values; in small letters, without a final dot.

    >>> leads_to({"AliasTarget": {"DNSName": "Web-1.elb.amazonaws.com."}}), leads_to({"ResourceRecords": [{"Value": "192.0.2.1"}]})
    ('web-1.elb.amazonaws.com', '192.0.2.1')
    """
    values = [str(one["Value"]) for one in told.get("ResourceRecords") or ()]
    return (str(told["AliasTarget"]["DNSName"]) if told.get("AliasTarget") else ", ".join(values)).rstrip(".").lower()
