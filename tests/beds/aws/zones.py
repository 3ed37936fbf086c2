"""Zones and records of Route 53 as AWS keeps them: batches go through whole, and a record is made once and deleted as it is."""

from __future__ import annotations

from typing import Any

from moto.core.responses import ActionResult
from moto.route53.models import Route53Backend, route53_backends
from moto.route53.responses import Route53

from aws.protocols import Call, Refusal

_Key = tuple[str, str, str]


def install() -> None:
    """Put the patches in place, once for a process."""
    Route53Backend.change_resource_record_sets = _changed(Route53Backend.change_resource_record_sets)
    Route53.list_hosted_zones_by_name = _listed_by_name


def _listed_by_name(response: Any) -> ActionResult:
    """Tell a page of all zones from a name on, in the order of their labels from the last to the first; moto tells those of the name."""
    name, size = response._get_param("DNSName"), int(response._get_param("MaxItems") or 100)
    first = (_backwards(name or ""), response._get_param("HostedZoneId") or "")
    zones = sorted(response.backend.zones.values(), key=lambda one: (_backwards(one.name), one.resource_id))
    zones = [one for one in zones if (_backwards(one.name), one.resource_id) >= first]
    result = {"DNSName": name, "HostedZones": zones[:size], "IsTruncated": len(zones) > size, "MaxItems": str(size)}
    more = {"NextDNSName": zones[size].name, "NextHostedZoneId": zones[size].resource_id} if len(zones) > size else {}
    return ActionResult({**result, **more})


def _backwards(name: str) -> list[str]:
    return _plain(name).split(".")[::-1]


def _changed(stock: Any) -> Any:
    def change(backend: Any, zoneid: str, change_list: list[dict[str, Any]]) -> Any:
        # moto takes what was made once, deleted and is made again for what is there, when other names come behind it.
        zone = backend.get_hosted_zone(zoneid)
        here = {_key(one.name, one.type, one.set_identifier) for one in zone.rrsets}
        for value in change_list:
            record = value["ResourceRecordSet"]
            key = _key(record["Name"], record["Type"], record.get("SetIdentifier"))
            while value["Action"] == "CREATE" and key not in here and value in zone.rr_changes:
                zone.rr_changes.remove(value)
        return stock(backend, zoneid, change_list)

    return change


def check_zone(call: Call) -> None:
    """Refuse a zone that was made before, or that hides another. Raises Refusal."""
    name, reference = call.parameters["Name"], call.parameters["CallerReference"]
    network = call.parameters.get("VPC", {}).get("VPCId")
    for zone in route53_backends[call.account]["aws"].zones.values():
        if zone.caller_reference == reference:
            message = f"A hosted zone has already been created with the specified caller reference {reference}."
            raise Refusal("HostedZoneAlreadyExists", message, 409)
        here = [one["vpc_id"] for one in zone.vpcs]
        if network in here and _plain(zone.name) == _plain(name):
            message = f"The VPC {network} is already associated with a private hosted zone of the name {name}."
            raise Refusal("ConflictingDomainExists", message)


def check_records(call: Call) -> None:
    """Refuse batches of changes that do not fit what is there. Raises Refusal."""
    zone = route53_backends[call.account]["aws"].zones.get(call.parameters["HostedZoneId"].rpartition("/")[2])
    if zone is None:
        return
    held = {_key(one.name, one.type, one.set_identifier): _value(one.ttl, one.resource_records, one.alias_target) for one in zone.rrsets}
    wrong = []
    for change in call.parameters.get("ChangeBatch", {}).get("Changes", []):
        record = change["ResourceRecordSet"]
        key = _key(record["Name"], record["Type"], record.get("SetIdentifier"))
        value = _value(record.get("TTL"), record.get("ResourceRecords"), record.get("AliasTarget"))
        wrong += _wrong(change["Action"], key, value, held)
        if change["Action"] == "DELETE":
            held.pop(key, None)
        else:
            held[key] = value
    if wrong:
        raise Refusal("InvalidChangeBatch", f"[{', '.join(wrong)}]")


def _wrong(action: str, key: _Key, value: Any, held: dict[_Key, Any]) -> list[str]:
    name, kind, _ = key
    what = f"resource record set [name='{name}.', type='{kind}']"
    if action == "CREATE" and key in held:
        return [f"Tried to create {what} but it already exists"]
    if action == "DELETE" and key not in held:
        return [f"Tried to delete {what} but it was not found"]
    if action == "DELETE" and held[key] != value:
        return [f"Tried to delete {what} but the values provided do not match the current values"]
    beside = {there for whose, there, _ in held if whose == name and there != kind}
    if action != "DELETE" and beside and "CNAME" in {kind, *beside}:
        return [f"RRSet of type {kind} with DNS name {name}. is not permitted as it conflicts with other records with the same DNS name"]
    return []


def _key(name: str, kind: str, identifier: str | None) -> _Key:
    return _plain(name), kind, identifier or ""


def _plain(name: str) -> str:
    return name.rstrip(".").lower()


def _value(ttl: Any, records: list[dict[str, Any]] | None, alias: dict[str, Any] | None) -> Any:
    if alias:
        return _plain(str(alias.get("DNSName"))), str(alias.get("HostedZoneId"))
    return int(ttl or 0), sorted(str(one["Value"]) for one in records or [])
