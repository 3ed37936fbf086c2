"""What environment.yml may tell AWS."""

from __future__ import annotations

from typing import Any

import pytest

from i2kit.environment import Environment
from i2kit.errors import InvalidInput
from i2kit_aws.plugin import PROVIDER
from i2kit_aws.settings import NetworkSettings, Settings

VPC = "vpc-0123456789abcdef0"
SUBNETS = ["subnet-0123456789abcdef0", "subnet-0fedcba987654321"]


def environment(network: dict[str, Any], **settings: Any) -> Environment:
    return Environment(name="prod", provider="aws", settings={"region": "eu-west-1"} | settings, network=network, source="prod.yml")


def problems(network: dict[str, Any], **settings: Any) -> list[tuple[str, str]]:
    with pytest.raises(InvalidInput) as caught:
        Settings.of(environment(network, **settings))
    return [(one.where.path, one.message) for one in caught.value.problems if one.where and one.where.file == "prod.yml" and one.expected]


def test_without_a_word_the_network_is_one_s_own_and_public() -> None:
    assert Settings.of(environment({})).network == NetworkSettings(private=False, cidr="10.83.0.0/16", vpc=None, subnets=())


def test_the_network_is_one_s_own_or_an_existing_one() -> None:
    own = Settings.of(environment({"private": True, "cidr": "10.7.0.0/20"})).network
    assert own == NetworkSettings(private=True, cidr="10.7.0.0/20")
    existing = Settings.of(environment({"vpc": VPC, "subnets": SUBNETS})).network
    assert existing == NetworkSettings(vpc=VPC, subnets=tuple(SUBNETS))


def test_everything_that_is_wrong_is_told_at_once_and_where() -> None:
    given = {"private": "yes", "cidr": "10.0.0.1/16", "vpc": "mine", "subnets": "subnet-1"}
    assert problems(given, region="moon", account=12) == [
        ("provider.region", "is 'moon'"),
        ("provider.account", "is 12"),
        ("network.private", "is 'yes'"),
        ("network.cidr", "is '10.0.0.1/16'"),
        ("network.vpc", "is 'mine'"),
        ("network.subnets", "is 'subnet-1'"),
        ("network.private", "does not go with network.vpc"),
        ("network.cidr", "does not go with network.vpc"),
    ]


@pytest.mark.parametrize(
    ("given", "path", "message"),
    [
        ({"vpc": VPC}, "network.subnets", "is not given"),
        ({"subnets": SUBNETS}, "network.vpc", "is not given"),
        ({"vpc": VPC, "subnets": []}, "network.subnets", "is []"),
        ({"vpc": VPC, "subnets": [VPC]}, "network.subnets", f"is ['{VPC}']"),
        ({"vpc": VPC, "subnets": [SUBNETS[0]] * 2}, "network.subnets", "has a subnet twice"),
        ({"vpc": VPC, "subnets": SUBNETS, "private": False}, "network.private", "does not go with network.vpc"),
        ({"vpc": None, "subnets": SUBNETS}, "network.vpc", "is None"),
        ({"cidr": "10.0.0.0/15"}, "network.cidr", "is '10.0.0.0/15'"),
        ({"cidr": "10.0.0.0/25"}, "network.cidr", "is '10.0.0.0/25'"),
        ({"cidr": 10}, "network.cidr", "is 10"),
        ({"cidr": "fd00::/16"}, "network.cidr", "is 'fd00::/16'"),
    ],
)
def test_mistakes_one_by_one(given: dict[str, Any], path: str, message: str) -> None:
    assert problems(given)[0] == (path, message)


@pytest.mark.parametrize(
    ("name", "value"), [("team", "one, two"), ("te#am", "x"), ("team", "x" * 256), ("t" * 128, "x"), ("team", ["x"]), ("", "x")]
)
def test_tags_are_those_that_every_service_takes(name: str, value: object) -> None:
    assert problems({}, tags={name: value})[-1] == (f"provider.tags[{name}]", f"is {value!r}")


def test_there_is_room_for_i2kits_own_tags() -> None:
    assert problems({}, tags={f"tag{number}": "x" for number in range(26)}) == [("provider.tags", "has 26 tags")]
    assert len(Settings.of(environment({}, tags={"Kosten Stelle": "Süd 1/2 a@b.c"})).tags) == 1


def test_keys_that_aws_does_not_know_are_refused_by_name() -> None:
    (told,) = (one for one in PROVIDER.problems(environment({"privat": True})) if one.where and one.where.path == "network.privat")
    assert told.expected == "one of cidr, private, subnets, vpc"
