"""What ``provider:`` in environment.yml may say for AWS."""

from __future__ import annotations

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

# AWS keeps "aws:" for itself, and i2kit tells its own resources by "i2kit:".
_OWN_PREFIXES = ("aws:", "i2kit:")


@frozen(kw_only=True)
class Settings:
    """An environment's settings; `profile` None is AWS's own chain."""

    region: str
    account: str | None = None
    profile: str | None = None
    tags: dict[str, str] = field(factory=dict)

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
        )


def _region(given: Mapping[str, Any]) -> str:
    return str(given.get("region") or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "")


def wrong(environment: Environment) -> Sequence[Problem]:
    """List what is wrong with an environment's settings."""
    return [*_wrong(environment.settings)]


def _wrong(given: Mapping[str, Any]) -> Iterator[Problem]:
    for name in sorted(given.keys() - SETTINGS.keys()):
        yield _problem(f"provider.{name} is unknown", f"one of {', '.join(SETTINGS)}")
    if not re.fullmatch(r"[a-z]{2}(-[a-z]+)+-[0-9]+", region := _region(given)):
        message = f"provider.region is {region!r}" if region else "provider.region is not given, nor AWS_REGION"
        yield _problem(message, "a region such as eu-west-1")
    if "account" in given and not re.fullmatch(r"[0-9]{12}", str(given["account"])):
        yield _problem(f"provider.account is {given['account']!r}", 'the twelve digits of an account in quotes, such as "123456789012"')
    if "profile" in given and not (isinstance(given["profile"], str) and given["profile"]):
        yield _problem(f"provider.profile is {given['profile']!r}", "the name of a profile")
    tags = given.get("tags") or {}
    if not isinstance(tags, Mapping):
        yield _problem(f"provider.tags is {tags!r}", "a mapping of names to values")
        return
    for name, value in tags.items():
        if str(name).startswith(_OWN_PREFIXES) or str(name) == "Name":
            yield _problem(f"provider.tags has {name!r}", "names other than Name and those that begin with aws: or i2kit:")
        if not 0 < len(str(name)) <= 128 or not isinstance(value, str | int) or len(str(value)) > 256:
            yield _problem(f"provider.tags[{name}] is {value!r}", "names of at most 128 and values of at most 256 characters")


def _problem(message: str, expected: str) -> Problem:
    return Problem(code="setting", message=message, expected=expected)
