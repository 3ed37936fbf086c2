"""The account's public hosted zones: which one a name belongs into, and the note in the private zone that it was put there.

Public zones are not ours and may be large. So that our names in them are found again, the environment's private zone has a TXT record for
each, written before the name is claimed and removed after it is given up.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from i2kit.errors import ProviderError
from i2kit.names import digest
from i2kit.resources import CLUSTER_DOMAIN
from i2kit_aws.gateway import AwsError
from i2kit_aws.owners import OWNER_SECONDS, PREFIX, RecordSet, facts_of, name_of, strings
from i2kit_aws.site import Site

_KEPT = "public zones"
_NOTE = "i2kit-public-"
_HASH = 16


def zone_for(site: Site, name: str) -> str:
    """Return the id of the public zone of the longest suffix of a name.

    Raises `ProviderError` (code ``aws-no-public-zone``) when the account has none, or several of that suffix.
    """
    zones = site.memory.recall(_KEPT, lambda: _public(site))
    suffix, ids = longest(zones, name)
    if len(ids) == 1:
        return ids[0]
    site.memory.forget(_KEPT)
    known = ", ".join(sorted({one for one, _ in zones})) or "none at all"
    what = f"several for {suffix}: {', '.join(ids)}" if ids else f"none for it; it has {known}"
    raise ProviderError.of(
        "aws-no-public-zone",
        f"{name} needs a public hosted zone, and the account has {what}",
        hint="make the zone, and have its domain's registrar name its name servers"
        if not ids
        else "only one of them is asked by others: delete the other",
    )


def fitting(site: Site, name: str) -> list[str]:
    """Return the ids of the zones that a name may be in."""
    return longest(site.memory.recall(_KEPT, lambda: _public(site)), name)[1]


def _public(site: Site) -> list[tuple[str, str]]:
    zones = site.gateway.pages("route53", "ListHostedZones", "HostedZones")
    return [(name_of(one), str(one["Id"]).rpartition("/")[2]) for one in zones if not one.get("Config", {}).get("PrivateZone")]


def longest(zones: Iterable[tuple[str, str]], name: str) -> tuple[str, list[str]]:
    """Return the longest of the zones' names that a name ends with, and the ids of the zones called so. Pure.

    >>> longest([("example.com", "Z1"), ("shop.example.com", "Z2"), ("op.example.com", "Z3")], "www.shop.example.com")
    ('shop.example.com', ['Z2'])
    """
    fitting = [one for one in zones if f".{name}".endswith(f".{one[0]}")]
    suffix = max((one[0] for one in fitting), key=len, default="")
    return suffix, sorted(zone for called, zone in fitting if called == suffix)


def note(name: str, zone: str) -> dict[str, Any]:
    """Return the note that a name is in a public zone. Pure."""
    called = f"{_NOTE}{digest(name)[:_HASH]}.{CLUSTER_DOMAIN}"
    value = strings({"i2kit": "1", "name": name, "zone": zone})
    return {"Name": called, "Type": "TXT", "TTL": OWNER_SECONDS, "ResourceRecords": [{"Value": value}]}


def noted(told: Iterable[RecordSet]) -> dict[str, str]:
    """Return from the records of the private zone the public names, with the zones that they are in. Pure."""
    notes = [facts_of(one) for one in told if one["Type"] == "TXT" and name_of(one).startswith(_NOTE)]
    return {one["name"]: one["zone"] for one in notes if one.get("name") and one.get("zone")}


def noted_zone(site: Site, private: str, name: str) -> str:
    """Return the public zone that a name was noted to be in; empty when it was not."""
    called = name_of(note(name, ""))
    told = site.gateway.call(
        "route53", "ListResourceRecordSets", HostedZoneId=private, StartRecordName=called, StartRecordType="TXT", MaxItems="1"
    )
    return noted(one for one in told.get("ResourceRecordSets") or () if name_of(one) == called).get(name, "")


def write_note(site: Site, private: str, name: str, zone: str) -> None:
    """Note that a name is to be in a public zone."""
    _change(site, private, "UPSERT", note(name, zone))


def remove_note(site: Site, private: str, name: str, zone: str) -> None:
    """Remove the note; nothing happens when it is not there."""
    try:
        _change(site, private, "DELETE", note(name, zone))
    except AwsError as error:
        if error.code not in ("InvalidChangeBatch", "NoSuchHostedZone"):
            raise


def _change(site: Site, private: str, action: str, record: Mapping[str, Any]) -> None:
    changes = {"Changes": [{"Action": action, "ResourceRecordSet": record}]}
    site.gateway.call("route53", "ChangeResourceRecordSets", HostedZoneId=private, ChangeBatch=changes)


def records(site: Site, zone: str, names: Collection[str]) -> list[RecordSet]:
    """Return the records of names in a public zone, and of their owners: read from their common domain on, until all were seen."""
    wanted = {*names, *(PREFIX + name for name in names)}
    missing, found = {*wanted}, list[RecordSet]()
    try:
        for one in site.gateway.pages(
            "route53", "ListResourceRecordSets", "ResourceRecordSets", HostedZoneId=zone, StartRecordName=common(names)
        ):
            missing.discard(name_of(one))
            if name_of(one) in wanted:
                found.append(one)
            elif not missing:
                break
    except AwsError as error:
        if error.code != "NoSuchHostedZone":
            raise
    return found


def common(names: Collection[str]) -> str:
    """Return the longest domain that all names are in: in Route 53's order it comes before them. Pure.

    >>> common(["www.shop.example.com", "api.shop.example.com"]), common(["www.example.com"])
    ('shop.example.com', 'www.example.com')
    """
    reversed_labels = [name.split(".")[::-1] for name in names]
    shared = []
    for labels in zip(*reversed_labels, strict=False):
        if len(set(labels)) > 1:
            break
        shared.append(labels[0])
    return ".".join(shared[::-1])
