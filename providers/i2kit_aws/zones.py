"""The environment's private zone: `svc.cluster.local` of its VPC, by which a Service is called in all manifests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from attrs import frozen

from i2kit.resources import CLUSTER_DOMAIN, Network
from i2kit_aws.gateway import absent
from i2kit_aws.site import Site

NAME = CLUSTER_DOMAIN
KEPT = "private zones"
"""The key under which a driver remembers the environment's zones."""

_PREFIX = "i2kit"
# Route 53 takes a thousand changes at once, and 32,000 characters.
_BATCH = 100


@frozen(kw_only=True)
class Zone:
    """A private zone, and what it was made with: the environment (as marks carry it) and the VPC."""

    id: str
    environment: str
    vpc: str

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Zone | None:
        """Read what Route 53 tells of a zone; None when i2kit did not make it.

        >>> Zone.of({"Id": "/hostedzone/Z1", "CallerReference": "i2kit/prod/vpc-1/sg-1"})
        Zone(id='Z1', environment='prod', vpc='vpc-1')
        >>> Zone.of({"Id": "/hostedzone/Z1", "CallerReference": "by hand"})
        """
        prefix, environment, vpc, _ = [*str(told.get("CallerReference")).split("/"), "", "", ""][:4]
        if prefix != _PREFIX or not vpc:
            return None
        return cls(id=_plain(str(told["Id"])), environment=environment, vpc=vpc)


def _plain(zone: str) -> str:
    return zone.rpartition("/")[2]


def reference(environment: str, vpc: str, group: str) -> str:
    """Return the caller reference of the zone of an environment in a VPC: two runs that do not know of each other make one zone.

    It has no tags in its creating call, so this is its mark. Route 53 does not say whether the reference of a zone that was deleted can be
    used again; that of the security group in it is another one each time the network is made.
    """
    return f"{_PREFIX}/{environment}/{vpc}/{group}"


def ours(site: Site) -> list[Zone]:
    """Return the private zones that are the environment's."""
    return [zone for one in _named(site) if (zone := Zone.of(one)) and zone.environment == site.label]


def _named(site: Site) -> Iterable[Mapping[str, Any]]:
    # They come in order, beginning with the name that was asked for.
    for one in site.gateway.pages("route53", "ListHostedZonesByName", "HostedZones", DNSName=NAME):
        if str(one["Name"]).rstrip(".") != NAME:
            return
        if one.get("Config", {}).get("PrivateZone"):
            yield one


def answering(site: Site, vpc: str) -> list[str]:
    """Return the ids of the zones that answer for the name in a VPC, whoever made them."""
    asked = {"VPCId": vpc, "VPCRegion": site.settings.region}
    # Route 53 knows nothing of a VPC that was made, or removed, a moment ago.
    unknown = absent("InvalidVPCId", "InvalidInput")
    listed = unknown(lambda: list(site.gateway.pages("route53", "ListHostedZonesByVPC", "HostedZoneSummaries", **asked))) or ()
    return [_plain(str(one["HostedZoneId"])) for one in listed if str(one["Name"]).rstrip(".") == NAME]


def owner(site: Site, zone: str) -> str:
    """Return the environment that a zone was made for, as marks carry it; empty when i2kit did not make it, or may not see it."""
    told = absent("NoSuchHostedZone", "AccessDenied")(lambda: site.gateway.call("route53", "GetHostedZone", Id=zone)) or {}
    made = Zone.of({"Id": zone, **told.get("HostedZone", {})})
    return made.environment if made else ""


def create(site: Site, network: Network, vpc: str, group: str) -> None:
    """Make the environment's zone of a VPC; `group` is the security group of its members."""
    given = {
        "Name": NAME,
        "VPC": {"VPCRegion": site.settings.region, "VPCId": vpc},
        "CallerReference": reference(site.label, vpc, group),
        "HostedZoneConfig": {"PrivateZone": True, "Comment": f"network {network.name} of i2kit's environment {site.label}"},
    }
    # It may have been made by a run that was not told so, or by another one; whose it is shows when it is looked for again.
    absent("HostedZoneAlreadyExists", "ConflictingDomainExists")(lambda: site.gateway.call("route53", "CreateHostedZone", **given))


def associate(site: Site, zone: str, vpc: str) -> None:
    """Let a zone answer in a VPC."""
    given = {"VPCRegion": site.settings.region, "VPCId": vpc}
    absent("ConflictingDomainExists")(lambda: site.gateway.call("route53", "AssociateVPCWithHostedZone", HostedZoneId=zone, VPC=given))


def remove(site: Site, zone: str) -> None:
    """Delete a zone of the environment with all that is in it."""

    def emptied() -> None:
        listed = site.gateway.pages("route53", "ListResourceRecordSets", "ResourceRecordSets", HostedZoneId=zone)
        records = [one for one in listed if one["Type"] not in ("NS", "SOA")]
        for first in range(0, len(records), _BATCH):
            changes = [{"Action": "DELETE", "ResourceRecordSet": one} for one in records[first : first + _BATCH]]
            site.gateway.call("route53", "ChangeResourceRecordSets", HostedZoneId=zone, ChangeBatch={"Changes": changes})
        site.gateway.call("route53", "DeleteHostedZone", Id=zone)

    absent("NoSuchHostedZone")(emptied)
