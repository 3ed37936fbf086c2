"""What ``provider:`` and ``network:`` in environment.yml may say for AWS."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attrs import field, frozen

from i2kit.environment import Environment
from i2kit.errors import InvalidInput, Problem

SETTINGS = {
    "region": "the region, such as eu-west-1 (default: AWS_REGION, AWS_DEFAULT_REGION)",
    "account": "the account's number; credentials for another one are refused",
    "profile": "the profile of the AWS configuration to use (default: AWS's own chain)",
    "tags": "a mapping of tags that everything gets besides i2kit's own",
}
DEFAULT_CIDR = "10.83.0.0/16"
NETWORK = {
    "private": "whether VMs run in private subnets behind a NAT gateway (default: false, they have public addresses)",
    "cidr": f"the addresses of the VPC that i2kit makes (default: {DEFAULT_CIDR})",
    "vpc": "an existing VPC to use instead of one's own, with `subnets`",
    "subnets": "the existing VPC's subnets: in each zone at most one public and one private, in which VMs run if there is one",
}

# AWS keeps "aws:" for itself, and i2kit tells its own resources by "i2kit:".
_OWN_PREFIXES = ("aws:", "i2kit:")
# What every service that is used takes: EC2 takes all characters, load balancers, parameters and roles these; snapshots the fewest of them.
_TAG_NAME, _TAG_VALUE = re.compile(r"[\w .:/=+@-]{1,127}"), re.compile(r"[\w .:/=+@-]{0,255}")
_TAGS_EXPECTED = "names of 1 to 127 and values of at most 255 letters, digits, spaces and _.:/=+-@"
_MOST_TAGS = 25
# A VPC is at most a /16; up to six subnets of it need sixteen addresses each at the least, and VMs more than that.
_GREATEST, _SMALLEST = 16, 24


@frozen(kw_only=True)
class NetworkSettings:
    """The environment's network: one that i2kit makes, or an existing VPC (`vpc`) and the subnets of it in which VMs run."""

    private: bool = False
    cidr: str = DEFAULT_CIDR
    vpc: str | None = None
    subnets: tuple[str, ...] = ()


@frozen(kw_only=True)
class Settings:
    """An environment's settings; `profile` None is AWS's own chain."""

    region: str
    account: str | None = None
    profile: str | None = None
    tags: dict[str, str] = field(factory=dict)
    network: NetworkSettings = NetworkSettings()

    @classmethod
    def of(cls, environment: Environment) -> Settings:
        """Return an environment's settings; raise `InvalidInput` with everything that is wrong with them."""
        given = environment.settings
        if problems := wrong(environment):
            raise InvalidInput(problems)
        account = given.get("account")
        return cls(
            region=_region(given),
            account=None if account is None else str(account),
            profile=given.get("profile"),
            tags={str(name): str(value) for name, value in (given.get("tags") or {}).items()},
            network=_network(environment.network),
        )


def _region(given: Mapping[str, Any]) -> str:
    return str(given.get("region") or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "")


def _network(given: Mapping[str, Any]) -> NetworkSettings:
    return NetworkSettings(
        private=given.get("private", False),
        cidr=given.get("cidr", DEFAULT_CIDR),
        vpc=given.get("vpc"),
        subnets=tuple(given.get("subnets", ())),
    )


def wrong(environment: Environment) -> Sequence[Problem]:
    """List what is wrong with an environment's settings."""
    found = (*_wrong(environment.settings), *_wrong_network(environment.network))
    return [environment.wrong(path, message, expected=expected) for path, message, expected in found]


_Wrong = tuple[str, str, str]
"""Where in environment.yml, what is wrong, and what was expected."""


def _wrong(given: Mapping[str, Any]) -> Iterator[_Wrong]:
    for name in sorted(given.keys() - SETTINGS.keys()):
        yield f"provider.{name}", "is unknown", f"one of {', '.join(SETTINGS)}"
    if not re.fullmatch(r"[a-z]{2}(-[a-z]+)+-[0-9]+", region := _region(given)):
        yield "provider.region", f"is {region!r}" if region else "is not given, nor AWS_REGION", "a region such as eu-west-1"
    if "account" in given and not re.fullmatch(r"[0-9]{12}", str(given["account"])):
        yield "provider.account", f"is {given['account']!r}", 'the twelve digits of an account in quotes, such as "123456789012"'
    if "profile" in given and not (isinstance(given["profile"], str) and given["profile"]):
        yield "provider.profile", f"is {given['profile']!r}", "the name of a profile"
    tags = given.get("tags") or {}
    if not isinstance(tags, Mapping):
        yield "provider.tags", f"is {tags!r}", "a mapping of names to values"
        return
    for name, value in tags.items():
        if str(name).startswith(_OWN_PREFIXES) or str(name) == "Name":
            yield "provider.tags", f"has {name!r}", "names other than Name and those that begin with aws: or i2kit:"
        if not isinstance(value, str | int) or not _TAG_NAME.fullmatch(str(name)) or not _TAG_VALUE.fullmatch(str(value)):
            yield f"provider.tags[{name}]", f"is {value!r}", _TAGS_EXPECTED
    if len(tags) > _MOST_TAGS:
        yield "provider.tags", f"has {len(tags)} tags", f"at most {_MOST_TAGS}: AWS takes 50 with i2kit's own"


def _wrong_network(given: Mapping[str, Any]) -> Iterator[_Wrong]:
    if not isinstance(given.get("private", False), bool):
        yield "network.private", f"is {given['private']!r}", "true or false"
    if "cidr" in given and not _is_block(given["cidr"]):
        yield "network.cidr", f"is {given['cidr']!r}", f"an IPv4 network from /{_GREATEST} to /{_SMALLEST}, such as {DEFAULT_CIDR}"
    if "vpc" in given and not _is_id("vpc", given["vpc"]):
        yield "network.vpc", f"is {given['vpc']!r}", "the id of a VPC, such as vpc-0123456789abcdef0"
    subnets = given.get("subnets")
    if "subnets" in given and not (isinstance(subnets, list) and subnets and all(_is_id("subnet", one) for one in subnets)):
        yield "network.subnets", f"is {subnets!r}", "a list of subnets' ids, such as [subnet-0123456789abcdef0]"
    elif subnets and len(set(subnets)) < len(subnets):
        yield "network.subnets", "has a subnet twice", "every subnet once"
    if "vpc" in given and "subnets" not in given:
        yield "network.subnets", "is not given", "the subnets of network.vpc in which VMs run"
    if "subnets" in given and "vpc" not in given:
        yield "network.vpc", "is not given", "the VPC that has network.subnets"
    for name in ("private", "cidr") if "vpc" in given else ():
        if name in given:
            yield f"network.{name}", "does not go with network.vpc", "one or the other: an existing VPC is used as it is"


def _is_block(value: object) -> bool:
    try:
        return isinstance(value, str) and _GREATEST <= ipaddress.IPv4Network(value).prefixlen <= _SMALLEST
    except ValueError:
        return False


def _is_id(kind: str, value: object) -> bool:
    return isinstance(value, str) and bool(re.fullmatch(rf"{kind}-[0-9a-f]{{8,17}}", value))
