"""One name in one hosted zone: claimed with its owner, or given up; never over anything that is another's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from i2kit.errors import ProviderError
from i2kit.resources import DnsRecord
from i2kit_aws.balancers import Address
from i2kit_aws.gateway import AwsError, absent
from i2kit_aws.owners import PREFIX, RecordSet, answer_set, leads_to, name_of, owner_set, record_of
from i2kit_aws.site import Site

# Of what may stand at a name, these answer whoever asks for an address.
_ANSWERING = ("A", "AAAA", "CNAME")
# How often it is looked again when what was read has changed meanwhile.
_TRIES = 4
_PAGE = "300"


@frozen(kw_only=True)
class Standing:
    """What stands at a name: the records that answer, and the owner's record, where there are any."""

    answers: tuple[RecordSet, ...] = ()
    owner: RecordSet | None = None

    @property
    def record(self) -> DnsRecord | None:
        """What the owner's record says."""
        return record_of(self.owner) if self.owner else None

    def belongs_to(self, record: DnsRecord) -> bool:
        """Whether the name is of the same environment and application as `record`."""
        own = self.record
        return own is not None and (own.mark.environment, own.mark.application) == (record.mark.environment, record.mark.application)


def claim(site: Site, zone: str, record: DnsRecord, address: Address, *, alone: bool) -> None:
    """Let a name answer with an address, and have its owner beside it, both or none.

    A zone in which we are `alone` is not looked at first: what is new is made, and what is there refuses that. Raises `ProviderError` (code
    ``aws-name-taken``) when the name is another's.
    """
    wanted = [answer_set(record, address), owner_set(record)]
    there, refusal = Standing() if alone else read(site, zone, record.name), ""
    for _ in range(_TRIES):
        refuse_taken(record, there)
        if there.owner is None and not there.answers:
            refusal = _refusal(site, zone, "CREATE", wanted)
        else:
            refusal = _refusal(site, zone, "UPSERT", wanted, before=_in_the_way(record, there))
        if not refusal:
            return
        there = read(site, zone, record.name)
    raise _unfit(record, refusal)


def _in_the_way(record: DnsRecord, there: Standing) -> list[RecordSet]:
    """Return what of ours cannot stand beside the record: a CNAME suffers nothing else at its name. Pure."""
    return [one for one in there.answers if one["Type"] != record.type and "CNAME" in (one["Type"], record.type)]


def refuse_taken(record: DnsRecord, there: Standing) -> None:
    """Raise `ProviderError` when a name is another's: of another environment or application, or of nobody that i2kit knows. Pure."""
    own = there.record
    if there.belongs_to(record) or not (there.owner or there.answers):
        return
    if own:
        whose = f"it belongs to application {own.mark.application!r} of environment {own.mark.environment!r}"
        hint = "take i2kit.dev/hostname from the Service there first, or give this one another name"
    else:
        stands = "; ".join(f"{one['Type']} {leads_to(one)}" for one in there.answers) or f"a TXT record at {PREFIX}{record.name}"
        whose = f"it has a record that i2kit did not make: {stands}"
        hint = "remove that record first, or give the Service another name"
    raise ProviderError.of("aws-name-taken", f"{record.name} cannot be made: {whose}", hint=hint)


def give_up(site: Site, zone: str, record: DnsRecord) -> None:
    """Remove a name with its owner, if it is ours; nothing else is touched."""
    refusal = ""
    for _ in range(_TRIES):
        there = absent("NoSuchHostedZone")(lambda: read(site, zone, record.name))
        if there is None or there.owner is None or not there.belongs_to(record):
            return
        kind = there.record.type if there.record else record.type
        refusal = _refusal(site, zone, "DELETE", [*(one for one in there.answers if one["Type"] == kind), there.owner])
        if not refusal:
            return
    raise _unfit(record, refusal)


def _unfit(record: DnsRecord, refusal: str) -> ProviderError:
    # It has one code for what changes at the same time and for what it never takes.
    return ProviderError.of("aws-slow", f"{record.name}: Route 53 refuses every change: {refusal}", hint="run the same command again")


def read(site: Site, zone: str, name: str) -> Standing:
    """Return what stands at a name. Its owner's record comes right behind it, unless there are very many other names below it."""
    first = _listed(site, zone, StartRecordName=name, MaxItems=_PAGE)
    owner = PREFIX + name
    if first.get("IsTruncated") and not any(name_of(one) == owner for one in _sets(first)):
        behind = _listed(site, zone, StartRecordName=owner, StartRecordType="TXT", MaxItems="1")
    else:
        behind = first
    owners = [one for one in _sets(behind) if name_of(one) == owner and one["Type"] == "TXT"]
    answers = (one for one in _sets(first) if name_of(one) == name and one["Type"] in _ANSWERING)
    return Standing(answers=tuple(answers), owner=owners[0] if owners else None)


def _listed(site: Site, zone: str, **given: str) -> Mapping[str, Any]:
    return site.gateway.call("route53", "ListResourceRecordSets", HostedZoneId=zone, **given)


def _sets(answer: Mapping[str, Any]) -> Sequence[RecordSet]:
    return answer.get("ResourceRecordSets") or ()


def _refusal(site: Site, zone: str, action: str, wanted: Sequence[RecordSet], before: Sequence[RecordSet] = ()) -> str:
    """Make changes, all or none; return why they do not fit what is there, empty when they did."""
    changes = [{"Action": "DELETE", "ResourceRecordSet": one} for one in before]
    changes += [{"Action": action, "ResourceRecordSet": one} for one in wanted]
    try:
        site.gateway.call("route53", "ChangeResourceRecordSets", HostedZoneId=zone, ChangeBatch={"Changes": changes})
    except AwsError as error:
        if error.code != "InvalidChangeBatch":
            raise
        return error.problems[0].message
    return ""
