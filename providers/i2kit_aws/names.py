"""DNS names: in the environment's private zone, and in the account's public ones; each with its owner beside it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from i2kit.driver import Context
from i2kit.plan import ObservedResource
from i2kit.resources import DnsRecord
from i2kit_aws import balancers, networks, owners, public_zones, recordsets, zones
from i2kit_aws.gateway import absent
from i2kit_aws.listeners import front_name
from i2kit_aws.owners import RecordSet
from i2kit_aws.site import Site
from i2kit_aws.zones import Zone


def observe(site: Site) -> Sequence[ObservedResource]:
    """Return the environment's names; a fault where one does not answer with the address of the balancer that it is for.

    A request for every three hundred records of the private zone, and as many for each public zone that has names of the environment.
    """
    there = [one for zone in site.memory.renew(zones.KEPT, lambda: zones.ours(site)) or () for one in _records(site, zone)]
    public: dict[str, list[str]] = defaultdict(list)
    for name, called in public_zones.noted(there).items():
        public[called].append(name)
    for called, names in public.items():
        there += public_zones.records(site, called, names)
    own = [record for one in there if (record := owners.record_of(one)) and record.mark.environment == site.label]
    addresses = _addresses(site) if own else {}
    answers = {(owners.name_of(one), str(one["Type"])): owners.leads_to(one) for one in there}
    return [ObservedResource(resource=one, faults=tuple(faults(one, answers, addresses))) for one in own]


def _records(site: Site, zone: Zone) -> list[RecordSet]:
    listed = site.gateway.pages("route53", "ListResourceRecordSets", "ResourceRecordSets", HostedZoneId=zone.id)
    return absent("NoSuchHostedZone")(lambda: list(listed)) or []


def faults(record: DnsRecord, answers: Mapping[tuple[str, str], str], addresses: Mapping[str, str]) -> Iterable[str]:
    """Yield what is wrong with a name: `answers` are by name and type, `addresses` are the balancers' own names. Pure."""
    answer, address = answers.get((record.name, record.type)), addresses.get(front_name(record.balancer))
    if answer is None:
        yield f"it has no {record.type} record"
    elif address is None:
        yield f"it answers with {answer}, and there is no balancer {record.balancer}"
    elif answer != address:
        yield f"it answers with {answer}, and {record.balancer} is {address}"


def _addresses(site: Site) -> dict[str, str]:
    """Return the names by which AWS knows all balancers of the account and region."""
    told = site.gateway.pages("elbv2", "DescribeLoadBalancers", "LoadBalancers")
    return {str(one["LoadBalancerName"]): str(one["DNSName"]).rstrip(".").lower() for one in told}


def ensure(site: Site, record: DnsRecord, context: Context) -> None:
    """Let a name answer with its balancer's address.

    Raises `ProviderError` when it is another's (code ``aws-name-taken``), or there is no zone for it (``aws-no-public-zone``).
    """
    address = balancers.address(site, record.balancer)
    private = networks.locate(site).zone
    if record.scope == "private":
        recordsets.claim(site, private, record, address, alone=True)
        return
    zone, before = public_zones.zone_for(site, record.name), public_zones.noted_zone(site, private, record.name)
    if before and before != zone:
        # A zone of a longer suffix has been made since; from now on nobody asks the old one.
        recordsets.give_up(site, before, record)
    if before != zone:
        public_zones.write_note(site, private, record.name, zone)
    recordsets.claim(site, zone, record, address, alone=False)


def delete(site: Site, record: DnsRecord, context: Context) -> None:
    """Remove a name, if it is ours; nothing happens when it is not there."""
    private = [one.id for one in site.memory.recall(zones.KEPT, lambda: zones.ours(site))]
    if record.scope == "private":
        for zone in private:
            recordsets.give_up(site, zone, record)
        return
    notes = {one: public_zones.noted_zone(site, one, record.name) for one in private}
    for zone in sorted({*notes.values()} - {""}) or public_zones.fitting(site, record.name):
        recordsets.give_up(site, zone, record)
    for one, zone in notes.items():
        if zone:
            public_zones.remove_note(site, one, record.name, zone)
