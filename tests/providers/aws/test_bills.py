"""What resources cost a month on AWS."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from i2kit.cost import Cost
from i2kit.environment import Environment
from i2kit.resources import Balancer, InstanceGroup, Network, Resource
from i2kit.strategy import Scaling
from i2kit.testing.samples import Samples
from i2kit_aws import catalogue, prices
from i2kit_aws.plugin import PROVIDER

SAMPLES = Samples(environment="prod", provider="aws", format="aws", architecture="x86_64")
# As AWS's pages have them, by the hour.
KNOWN = {
    ("us-east-1", "t3.nano"): 0.0052,
    ("us-east-1", "t3.2xlarge"): 0.3328,
    ("us-east-1", "t4g.small"): 0.0168,
    ("us-west-2", "c6i.xlarge"): 0.17,
    ("us-west-2", "m7g.4xlarge"): 0.6528,
    ("eu-west-1", "t3.micro"): 0.0114,
    ("eu-west-1", "m6i.2xlarge"): 0.428,
    ("eu-central-1", "t4g.medium"): 0.0384,
    ("eu-central-1", "r6i.32xlarge"): 9.728,
}


def environment(region: str = "us-east-1", **network: Any) -> Environment:
    return Environment(name="prod", provider="aws", settings={"region": region}, network=network)


def bill(*resources: Resource, **where: Any) -> Cost:
    assert PROVIDER.cost is not None
    found = PROVIDER.cost(environment(**where), resources)
    assert found is not None
    return found


def application(replicas: int = 2, *, public: bool = False, **group: Any) -> tuple[Resource, ...]:
    def changed(one: Resource) -> Resource:
        if isinstance(one, InstanceGroup):
            return evolve(one, memory_mib=1000, **group)
        return evolve(one, scope="public") if public and isinstance(one, Balancer) else one

    return tuple(changed(one) for one in SAMPLES.workload(replicas=replicas))


def items(cost: Cost) -> dict[str, float]:
    return {one.what: round(one.monthly, 3) for one in cost.items}


def said(cost: Cost, words: str) -> bool:
    return any(words in note for note in cost.notes)


@pytest.mark.parametrize("region", prices.REGIONS)
def test_every_type_of_the_catalogue_has_a_price_in_every_region_of_the_table(region: str) -> None:
    known = prices.REGIONS[region].large
    for one in catalogue.TYPES.values():
        assert known[one.family] * one.larges >= 0.004, one.name
    assert set(known) == {one.family for one in catalogue.TYPES.values()}


@pytest.mark.parametrize(("region", "name"), KNOWN)
def test_prices_are_those_of_aws(region: str, name: str) -> None:
    type_ = catalogue.TYPES[name]
    assert prices.REGIONS[region].large[type_.family] * type_.larges == pytest.approx(KNOWN[region, name], abs=0.0001)


def test_an_application_s_bill_has_a_line_for_each_kind_of_thing() -> None:
    cost = bill(*application(public=True))
    assert (cost.currency, cost.place, cost.date) == ("USD", "us-east-1", prices.DATE)
    assert items(cost) == {
        "2 x t3.micro": 15.184,
        "2 x gp3 volume of 1 GiB": 0.16,
        "1 x Network Load Balancer": 16.425,
        "5 x public IPv4 address": 18.25,
        "1 x private hosted zone": 0.5,
    }
    assert str(cost).startswith(f"about $50.52 a month (prices of us-east-1, {prices.DATE}): 2 x t3.micro $15.18, ")


def test_what_depends_on_use_is_named_and_not_guessed() -> None:
    cost = bill(*application())
    for words in ("traffic", "LCU", "burstable", "snapshots of images ($0.05"):
        assert said(cost, words), words
    assert not said(cost, "NAT")
    assert not said(bill(SAMPLES.network()), "LCU")


def test_private_members_have_no_addresses_and_a_nat_gateway() -> None:
    cost = bill(*application(public=True), private=True)
    assert items(cost)["1 x NAT gateway"] == 32.85
    assert "4 x public IPv4 address" in items(cost)
    assert said(cost, "NAT")


def test_an_existing_network_s_own_things_are_not_counted() -> None:
    cost = bill(*application(public=True), vpc="vpc-12345678", subnets=["subnet-12345678", "subnet-87654321"])
    assert "2 x public IPv4 address" in items(cost)
    assert said(cost, "where the existing subnets give them")


def test_members_and_addresses_that_there_are_none_of_have_no_line() -> None:
    assert set(items(bill(*application(replicas=0)))) == {"1 x Network Load Balancer", "1 x private hosted zone"}
    assert set(items(bill(*(one for one in application(replicas=0) if not isinstance(one, Network))))) == {"1 x Network Load Balancer"}


def test_groups_of_one_type_are_one_line_and_an_unknown_type_is_named() -> None:
    both = (*application(2), *SAMPLES.workload(workload="api", replicas=3))
    assert {name for name in items(bill(*both)) if "t3" in name} == {"2 x t3.micro", "3 x t3.nano"}
    cost = bill(*application(options={catalogue.OPTION: "z9.huge"}))
    assert not any("z9" in name or "t3" in name for name in items(cost))
    assert said(cost, "instances of z9.huge")


def test_what_scaling_may_cost_more_is_told() -> None:
    cost = bill(*application(scaling=Scaling(minimum=2, maximum=12, cpu_percent=50)))
    assert items(cost)["2 x t3.micro"] == 15.184
    assert said(cost, "up to $75.92 for default/web when it grows from 2 to 12")


def test_a_region_that_the_table_does_not_have_is_told() -> None:
    cost = bill(*application(), region="ap-south-1")
    assert cost.place == "us-east-1"
    assert cost.notes[0] == "what ap-south-1 costs more or less than us-east-1"


@pytest.mark.parametrize("region", ["eu-west-1", "eu-central-1", "us-west-2"])
def test_regions_that_the_table_has_are_shown_at_their_own_prices(region: str) -> None:
    cost = bill(*application(), region=region)
    assert cost.place == region
    assert not said(cost, "more or less")
    assert (cost.monthly == bill(*application()).monthly) == (region == "us-west-2")


def test_large_images_take_larger_volumes() -> None:
    disks = tuple(evolve(one, root="disk") if one.kind == "Image" else one for one in application())
    assert said(bill(*disks), "images that are larger")
    assert not said(bill(*application()), "images that are larger")
