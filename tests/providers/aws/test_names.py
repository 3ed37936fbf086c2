"""DNS names: claimed with their owner, found again, repaired, and never over what is another's."""

from __future__ import annotations

import doctest
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from attrs import evolve, frozen
from aws.bed import Bed
from aws.sample import Sample

from i2kit.environment import Environment
from i2kit.errors import ProviderError, TransientError
from i2kit.resources import DnsRecord, Mark
from i2kit_aws import names, networks, owners, public_zones

from .networking import Ground, run_until_done

PRIVATE = "web.default.svc.cluster.local"
PUBLIC = "www.shop.example"


@frozen(kw_only=True)
class Names:
    """An environment with a network, and what its names are asked for; every call is a run of its own."""

    ground: Ground
    aws: Sample

    def record(self, name: str = PRIVATE, balancer: str = "web-1", **changed: Any) -> DnsRecord:
        mark = Mark(environment=self.ground.environment.name, application="shop", namespace="default", workload="web")
        scope = "private" if name.endswith(".cluster.local") else "public"
        return evolve(DnsRecord(name=name, mark=mark, balancer=balancer, network=self.ground.network.name, scope=scope), **changed)

    def ensure(self, record: DnsRecord) -> None:
        names.ensure(self.ground.site, record, self.ground.context)

    def delete(self, record: DnsRecord) -> None:
        names.delete(self.ground.site, record, self.ground.context)

    def observed(self) -> dict[DnsRecord, tuple[str, ...]]:
        return {one.resource: one.faults for one in names.observe(self.ground.site)}  # type: ignore[misc]

    def balancer(self, name: str = "web-1") -> str:
        """Make a balancer; return the name that AWS gives it."""
        given = {"Type": "network", "Scheme": "internal", "Subnets": list(networks.locate(self.ground.site).subnets.values())}
        return str(self.aws.elb.create_load_balancer(Name=name, **given)["LoadBalancers"][0]["DNSName"]).lower()

    def zone(self, name: str) -> str:
        """Make a public zone."""
        made = self.aws.dns.create_hosted_zone(Name=name, CallerReference=f"{name} {len(self.ground.bed.journal())}")
        return str(made["HostedZone"]["Id"]).rpartition("/")[2]

    @property
    def private(self) -> str:
        return networks.locate(self.ground.site).zone

    def change(self, zone: str, action: str, *records: Mapping[str, Any]) -> None:
        changes = [{"Action": action, "ResourceRecordSet": one} for one in records]
        self.aws.dns.change_resource_record_sets(HostedZoneId=zone, ChangeBatch={"Changes": changes})

    def stands(self, zone: str) -> dict[tuple[str, str], str]:
        """What is in a zone but its own NS and SOA: name and type, and what they lead to."""
        told = self.aws.dns.list_resource_record_sets(HostedZoneId=zone)["ResourceRecordSets"]
        return {(owners.name_of(one), one["Type"]): owners.leads_to(one) for one in told if one["Type"] not in ("NS", "SOA")}


@pytest.fixture
def named(as_user: Bed, tmp_path: Path, environment: Environment, aws: Sample) -> Names:
    ground = Ground.of(as_user, tmp_path, environment)
    ground.ensure()
    return Names(ground=ground, aws=aws)


def by_hand(name: str = PUBLIC, kind: str = "A", value: str = "192.0.2.1") -> dict[str, Any]:
    return {"Name": name, "Type": kind, "TTL": 60, "ResourceRecords": [{"Value": value}]}


@pytest.mark.parametrize("module", [owners, public_zones])
def test_the_examples_are_true(module: ModuleType) -> None:
    assert doctest.testmod(module).failed == 0


def test_everything_that_a_plan_says_of_a_name_is_in_its_owner() -> None:
    long = {name: name[0] * 40 for name in ("environment", "application", "namespace", "workload")}
    record = DnsRecord(name=PUBLIC, mark=Mark(**long), balancer="b" * 32, network="n" * 63, type="CNAME", scope="public")
    told = {**owners.owner_set(record), "Name": f"i2kit-owner.{PUBLIC.upper()}."}
    assert owners.record_of(told) == record
    value = told["ResourceRecords"][0]["Value"]
    assert all(len(one) <= 255 for one in value.strip('"').split('" "'))


@pytest.mark.parametrize("value", ['"hello"', '"i2kit=x" "environment=prod"', '"i2kit=1"', ""])
def test_a_text_that_is_no_owner_s_is_none(value: str) -> None:
    assert owners.record_of({"Name": "i2kit-owner.www.shop.example.", "Type": "TXT", "ResourceRecords": [{"Value": value}]}) is None


# In the private zone.


def test_a_name_is_an_alias_of_its_balancer_with_its_owner_beside_it(named: Names) -> None:
    address = named.balancer()
    named.ensure(named.record())
    assert named.stands(named.private) == {
        (PRIVATE, "A"): address,
        (f"i2kit-owner.{PRIVATE}", "TXT"): owners.text(named.record()).lower(),
    }
    assert named.observed() == {named.record(): ()}


def test_a_new_name_is_one_change(named: Names) -> None:
    named.balancer()
    named.ensure(named.record())
    asked = [one for one in named.ground.bed.journal() if one["action"].startswith("route53:ChangeResourceRecordSets")]
    assert [[each["Action"] for each in one["parameters"]["ChangeBatch"]["Changes"]] for one in asked] == [["CREATE", "CREATE"]]
    assert "route53:ListResourceRecordSets" not in named.ground.bed.calls()


def test_a_cname_leads_to_it_too(named: Names) -> None:
    address = named.balancer()
    record = named.record(type="CNAME")
    named.ensure(record)
    assert named.stands(named.private)[PRIVATE, "CNAME"] == address
    assert named.observed() == {record: ()}
    named.ensure(named.record())
    assert named.observed() == {named.record(): ()}
    named.ensure(record)
    assert named.observed() == {record: ()}
    named.delete(record)
    assert named.stands(named.private) == {}


def test_making_it_again_leaves_it_as_it_is(named: Names) -> None:
    named.balancer()
    for _ in range(2):
        named.ensure(named.record())
    assert named.observed() == {named.record(): ()}


def test_a_name_moves_to_another_balancer(named: Names) -> None:
    named.balancer()
    other = named.balancer("web-2")
    named.ensure(named.record())
    moved = named.record(balancer="web-2")
    named.ensure(moved)
    assert named.stands(named.private)[PRIVATE, "A"] == other
    assert named.observed() == {moved: ()}


def test_a_name_without_its_balancer_is_refused(named: Names) -> None:
    with pytest.raises(ProviderError, match=r"Balancer web-1 does not exist"):
        named.ensure(named.record())
    assert named.stands(named.private) == {}


def test_a_name_that_leads_elsewhere_is_said_and_repaired(named: Names) -> None:
    address = named.balancer()
    named.ensure(named.record())
    named.change(named.private, "UPSERT", by_hand(PRIVATE))
    assert named.observed() == {named.record(): (f"it answers with 192.0.2.1, and web-1 is {address}",)}
    named.ensure(named.record())
    assert named.observed() == {named.record(): ()}


def test_a_name_that_does_not_answer_is_said_and_repaired(named: Names) -> None:
    named.balancer()
    named.ensure(named.record())
    [answer] = [
        one for one in named.aws.dns.list_resource_record_sets(HostedZoneId=named.private)["ResourceRecordSets"] if one["Type"] == "A"
    ]
    named.change(named.private, "DELETE", answer)
    assert named.observed() == {named.record(): ("it has no A record",)}
    named.ensure(named.record())
    assert named.observed() == {named.record(): ()}


def test_a_balancer_that_is_gone_or_another_is_said_and_repaired(named: Names) -> None:
    first = named.balancer()
    named.ensure(named.record())
    [told] = named.aws.elb.describe_load_balancers()["LoadBalancers"]
    named.aws.elb.delete_load_balancer(LoadBalancerArn=told["LoadBalancerArn"])
    assert named.observed() == {named.record(): (f"it answers with {first}, and there is no balancer web-1",)}
    second = named.balancer()
    assert named.observed() == {named.record(): (f"it answers with {first}, and web-1 is {second}",)}
    named.ensure(named.record())
    assert named.observed() == {named.record(): ()}


def test_a_record_that_somebody_made_in_our_zone_is_not_taken_over(named: Names) -> None:
    named.balancer()
    named.change(named.private, "CREATE", by_hand(PRIVATE))
    with pytest.raises(ProviderError, match=rf"{PRIVATE} cannot be made: it has a record that i2kit did not make: A 192\.0\.2\.1;"):
        named.ensure(named.record())
    named.delete(named.record())
    assert named.stands(named.private) == {(PRIVATE, "A"): "192.0.2.1"}
    assert named.observed() == {}


def test_another_application_s_name_is_refused(named: Names) -> None:
    named.balancer()
    named.ensure(named.record())
    other = named.record(mark=evolve(named.record().mark, application="blog"))
    with pytest.raises(ProviderError, match=r"it belongs to application 'shop' of environment 'prod'; .*\[aws-name-taken\]"):
        named.ensure(other)
    named.delete(other)
    assert named.observed() == {named.record(): ()}


def test_deleting_removes_exactly_ours(named: Names) -> None:
    named.balancer()
    other = named.record("api.default.svc.cluster.local")
    for one in (named.record(), other):
        named.ensure(one)
    named.change(named.private, "CREATE", by_hand(PRIVATE, "TXT", '"theirs"'))
    named.delete(named.record())
    assert named.observed() == {other: ()}
    assert named.stands(named.private)[PRIVATE, "TXT"] == '"theirs"'
    named.delete(named.record())
    assert named.observed() == {other: ()}


def test_a_name_that_somebody_pointed_elsewhere_is_deleted_too(named: Names) -> None:
    named.balancer()
    named.ensure(named.record())
    named.change(named.private, "UPSERT", by_hand(PRIVATE))
    named.delete(named.record())
    assert named.stands(named.private) == {}


def test_an_owner_that_is_alone_is_deleted(named: Names) -> None:
    named.balancer()
    named.change(named.private, "CREATE", owners.owner_set(named.record()))
    named.delete(named.record())
    assert named.stands(named.private) == {}


def test_deleting_in_an_environment_without_a_network_is_nothing(named: Names) -> None:
    named.ground.delete()
    named.delete(named.record())
    named.delete(named.record(PUBLIC))
    assert named.observed() == {}
    assert named.ground.bed.inventory() == {}


def test_names_of_another_environment_are_not_seen(named: Names) -> None:
    named.balancer()
    named.ensure(named.record())
    staging = evolve(named, ground=named.ground.other(name="staging"))
    staging.ground.ensure()
    assert staging.observed() == {}
    staging.ensure(staging.record())
    assert staging.observed() == {staging.record(): ()}
    assert named.observed() == {named.record(): ()}


def test_all_pages_of_the_zone_are_read(named: Names) -> None:
    address = named.balancer()
    made = [named.record(f"web-{number}.default.svc.cluster.local") for number in range(210)]
    alias = {"HostedZoneId": "Z2IFOLAFXWLO4F", "DNSName": address, "EvaluateTargetHealth": False}
    for first in range(0, len(made), 70):
        both = [(owners.owner_set(one), {"Name": one.name, "Type": "A", "AliasTarget": alias}) for one in made[first : first + 70]]
        named.change(named.private, "CREATE", *(each for pair in both for each in pair))
    since = len(named.ground.bed.journal())
    assert named.observed() == dict.fromkeys(made, ())
    assert named.ground.bed.calls(since)["route53:ListResourceRecordSets"] == 2


def test_observing_asks_no_more_for_more_names(named: Names) -> None:
    named.balancer()
    shop = named.zone("shop.example")
    for number in range(3):
        named.ensure(named.record(f"web-{number}.default.svc.cluster.local"))
        named.ensure(named.record(f"web-{number}.shop.example"))
    since = len(named.ground.bed.journal())
    assert len(named.observed()) == 6
    asked = [one["parameters"].get("HostedZoneId", one["action"]) for one in named.ground.bed.journal(since)]
    assert sorted(asked) == sorted(["route53:ListHostedZonesByName", named.private, shop, "elasticloadbalancing:DescribeLoadBalancers"])


# In public zones.


def test_a_public_name_is_in_the_zone_of_the_longest_suffix(named: Names) -> None:
    address = named.balancer()
    example, shop, other = named.zone("example"), named.zone("shop.example"), named.zone("op.example")
    record = named.record(PUBLIC)
    named.ensure(record)
    assert named.stands(shop) == {(PUBLIC, "A"): address, (f"i2kit-owner.{PUBLIC}", "TXT"): owners.text(record).lower()}
    assert named.stands(example) == named.stands(other) == {}
    assert named.observed() == {record: ()}


def test_a_zone_s_own_name_is_one_too(named: Names) -> None:
    named.balancer()
    shop = named.zone("shop.example")
    record = named.record("shop.example")
    named.ensure(record)
    assert named.observed() == {record: ()}
    named.delete(record)
    assert named.stands(shop) == {}


def test_private_and_public_names_go_without_a_trace(named: Names) -> None:
    named.balancer()
    shop = named.zone("shop.example")
    made = [named.record(), named.record(PUBLIC), named.record("api.shop.example")]
    for one in made:
        named.ensure(one)
    assert named.observed() == dict.fromkeys(made, ())
    for one in made:
        named.delete(one)
    assert named.observed() == {}
    assert named.stands(shop) == named.stands(named.private) == {}


def test_a_name_without_a_public_zone_is_refused(named: Names) -> None:
    named.balancer()
    named.zone("example.com")
    with pytest.raises(ProviderError, match=r"www\.shop\.example needs a public hosted zone.*it has example\.com; .*aws-no-public-zone"):
        named.ensure(named.record(PUBLIC))
    # The private one is no zone for it, whatever it is called.
    assert named.observed() == {}


def test_two_public_zones_of_a_name_are_refused(named: Names) -> None:
    named.balancer()
    zones = sorted([named.zone("shop.example"), named.zone("shop.example")])
    with pytest.raises(ProviderError, match=rf"the account has several for shop\.example: {', '.join(zones)}; only one"):
        named.ensure(named.record(PUBLIC))


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        ("A", "192.0.2.1", r"A 192\.0\.2\.1"),
        ("AAAA", "2001:db8::1", "AAAA 2001:db8::1"),
        ("CNAME", "elsewhere.example.", r"CNAME elsewhere\.example"),
    ],
)
def test_what_others_have_in_a_public_zone_is_not_touched(named: Names, kind: str, value: str, said: str) -> None:
    named.balancer()
    shop = named.zone("shop.example")
    named.change(shop, "CREATE", by_hand(PUBLIC, kind, value))
    before = named.stands(shop)
    with pytest.raises(ProviderError, match=rf"it has a record that i2kit did not make: {said}; remove that record first"):
        named.ensure(named.record(PUBLIC))
    named.delete(named.record(PUBLIC))
    assert named.stands(shop) == before


def test_a_text_at_the_owner_s_name_is_not_touched(named: Names) -> None:
    named.balancer()
    shop = named.zone("shop.example")
    named.change(shop, "CREATE", by_hand(f"i2kit-owner.{PUBLIC}", "TXT", '"mine"'))
    with pytest.raises(ProviderError, match=rf"did not make: a TXT record at i2kit-owner\.{PUBLIC}"):
        named.ensure(named.record(PUBLIC))
    named.delete(named.record(PUBLIC))
    assert named.stands(shop) == {(f"i2kit-owner.{PUBLIC}", "TXT"): '"mine"'}


def test_another_environment_s_public_name_is_refused(named: Names) -> None:
    named.balancer()
    named.zone("shop.example")
    named.ensure(named.record(PUBLIC))
    staging = evolve(named, ground=named.ground.other(name="staging"))
    staging.ground.ensure()
    with pytest.raises(ProviderError, match=r"it belongs to application 'shop' of environment 'prod'"):
        staging.ensure(staging.record(PUBLIC))
    staging.delete(staging.record(PUBLIC))
    assert staging.observed() == {}
    assert named.observed() == {named.record(PUBLIC): ()}


def test_a_name_that_is_taken_at_the_same_moment_is_refused(named: Names) -> None:
    named.balancer()
    shop = named.zone("shop.example")
    record = named.record(PUBLIC)
    named.delete(record)
    named.change(shop, "CREATE", by_hand())
    # What is read is what was there when it was to be deleted; making it is refused as a whole.
    rule = named.ground.bed.faults.stale("route53:ListResourceRecordSets", where={"HostedZoneId": shop})
    with pytest.raises(ProviderError, match=r"A 192\.0\.2\.1"):
        named.ensure(record)
    assert named.ground.bed.faults.met(rule) == 1
    assert named.stands(shop) == {(PUBLIC, "A"): "192.0.2.1"}


def test_a_zone_of_a_longer_suffix_takes_the_name_over(named: Names) -> None:
    named.balancer()
    shop = named.zone("shop.example")
    record = named.record(PUBLIC)
    named.ensure(record)
    www = named.zone(PUBLIC)
    named.ensure(record)
    assert named.stands(shop) == {}
    assert (PUBLIC, "A") in named.stands(www)
    assert named.observed() == {record: ()}


def test_a_public_zone_that_is_gone_takes_its_names_with_it(named: Names) -> None:
    named.balancer()
    shop = named.zone("shop.example")
    named.ensure(named.record(PUBLIC))
    for one in named.aws.dns.list_resource_record_sets(HostedZoneId=shop)["ResourceRecordSets"]:
        if one["Type"] not in ("NS", "SOA"):
            named.change(shop, "DELETE", one)
    named.aws.dns.delete_hosted_zone(Id=shop)
    assert named.observed() == {}
    named.delete(named.record(PUBLIC))
    assert named.stands(named.private) == {}


def test_a_public_name_of_a_private_zone_that_is_gone_is_ours_again(named: Names) -> None:
    named.balancer()
    shop = named.zone("shop.example")
    record = named.record(PUBLIC)
    named.ensure(record)
    named.change(named.private, "DELETE", public_zones.note(PUBLIC, shop))
    assert named.observed() == {}
    named.ensure(record)
    assert named.observed() == {record: ()}
    named.change(named.private, "DELETE", public_zones.note(PUBLIC, shop))
    named.delete(record)
    assert named.stands(shop) == {}


def test_many_other_records_in_a_public_zone_are_passed_over(named: Names) -> None:
    named.balancer()
    shop = named.zone("shop.example")
    named.change(shop, "CREATE", *(by_hand(f"a-{number}.shop.example") for number in range(320)))
    named.change(shop, "CREATE", *(by_hand(f"h-{number}.{PUBLIC}") for number in range(310)))
    record = named.record(PUBLIC)
    named.ensure(record)
    assert named.observed() == {record: ()}
    named.ensure(record)
    named.delete(record)
    assert named.observed() == {}
    assert len(named.stands(shop)) >= 100


# Troubles.


@pytest.mark.parametrize("name", [PRIVATE, PUBLIC])
def test_runs_that_die_after_each_change_make_and_remove_one_name(named: Names, name: str) -> None:
    named.balancer()
    shop = named.zone("shop.example")
    record = named.record(name)
    changes = 1 if name == PRIVATE else 2
    for moment in ("before", "after"):
        named.ground.bed.faults.die("route53:ChangeResourceRecordSets", moment=moment)
        with pytest.raises(TransientError):
            named.ensure(record)
        named.ground.bed.faults.clear()
        named.delete(record)
        assert named.stands(shop) == named.stands(named.private) == {}
    for _ in range(changes):
        named.ground.bed.faults.die("route53:ChangeResourceRecordSets", moment="after")
        with pytest.raises(TransientError):
            named.ensure(record)
        named.ground.bed.faults.clear()
    named.ensure(record)
    assert named.observed() == {record: ()}
    assert run_until_done(named.ground, lambda: named.delete(record), "route53:ChangeResourceRecordSets", 5) == changes
    assert named.observed() == {}
    assert named.stands(shop) == named.stands(named.private) == {}


def test_an_answer_that_was_lost_is_no_conflict(named: Names) -> None:
    named.balancer()
    named.zone("shop.example")
    named.ground.bed.faults.cut("route53:ChangeResourceRecordSets", moment="after", times=3)
    made = [named.record(), named.record(PUBLIC)]
    for one in made:
        named.ensure(one)
    assert named.observed() == dict.fromkeys(made, ())
    named.ground.bed.faults.cut("route53:ChangeResourceRecordSets", moment="after", times=3)
    for one in made:
        named.delete(one)
    assert named.observed() == {}


def test_a_zone_that_is_busy_is_asked_again(named: Names) -> None:
    named.balancer()
    named.ground.bed.faults.fail("route53:ChangeResourceRecordSets", times=3, code="PriorRequestNotComplete", status=400)
    named.ground.bed.faults.throttle("route53:*", times=4)
    named.ensure(named.record())
    assert named.observed() == {named.record(): ()}


def test_stock_moto_serves_too(
    stock: Sample, tmp_path: Path, environment: Environment, monkeypatch: pytest.MonkeyPatch, as_user: Bed
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", stock.bed.url)
    ground = Ground.of(stock.bed, tmp_path, environment)
    ground.ensure()
    named = Names(ground=ground, aws=stock)
    given = {"Type": "network", "Scheme": "internal", "Subnets": list(networks.locate(ground.site).subnets.values())}
    stock.elb.create_load_balancer(Name="web-1", **given)
    shop = str(stock.dns.create_hosted_zone(Name="shop.example", CallerReference="1")["HostedZone"]["Id"]).rpartition("/")[2]
    made = [named.record(), named.record(PUBLIC)]
    for one in made:
        named.ensure(one)
    assert named.observed() == dict.fromkeys(made, ())
    for one in made:
        named.delete(one)
    assert named.observed() == {}
    assert named.stands(shop) == {}
