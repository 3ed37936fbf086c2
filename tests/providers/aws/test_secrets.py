"""Secrets in the parameter store: whole, encrypted, seen without their values, and completed by whoever runs again."""

from __future__ import annotations

import base64
import random
from collections.abc import Mapping
from pathlib import Path

import pytest
from attrs import evolve
from aws.bed import REGION, Bed
from aws.sample import Sample

from i2kit.environment import Environment
from i2kit.errors import ProviderError
from i2kit.manifest.workloads import SecretValue
from i2kit.resources import Secret
from i2kit.testing.context import CANARY, SampleContext
from i2kit.testing.samples import Samples
from i2kit_aws import secrets
from i2kit_aws.site import Site

from .deaths import deaths

SAMPLES = Samples(environment="prod", provider="aws", format="aws")
LARGE = random.Random(1).randbytes(20_000)


@pytest.fixture
def environment() -> Environment:
    """An environment whose owner has tags of their own."""
    return Environment(name="prod", provider="aws", settings={"region": REGION, "tags": {"team": "shop"}})


class Values(SampleContext):
    """Hands out these values for every Secret."""

    def __init__(self, folder: Path, values: Mapping[str, bytes]) -> None:
        super().__init__(folder)
        self._values = {name: SecretValue(value) for name, value in values.items()}

    def secret(self, name: str) -> Mapping[str, SecretValue]:
        return self._values


def made_of(values: Mapping[str, bytes]) -> Secret:
    return evolve(SAMPLES.secret(), keys=tuple(sorted(values)))


def read_as_a_guest(aws: Sample, path: str) -> dict[str, bytes]:
    """The values below a path, put together as docs/reference/guest.md says."""
    pages = aws.ssm.get_paginator("get_parameters_by_path").paginate(Path=path, Recursive=True, WithDecryption=True)
    pieces: dict[str, dict[int, str]] = {}
    for one in (one for page in pages for one in page["Parameters"]):
        key, place = one["Name"].removeprefix(f"{path}/").rsplit("/", 1)
        index, count = map(int, place.split("."))
        assert index < count
        assert one["Type"] == "SecureString"
        assert len(one["Value"]) <= 4096
        assert one["Value"].startswith("b:")
        pieces.setdefault(key, {})[index] = one["Value"].removeprefix("b:")
    return {key: base64.b64decode("".join(text for _, text in sorted(found.items()))) for key, found in pieces.items()}


@pytest.mark.parametrize(
    "values",
    [
        {"password": b"swordfish", "user": b"ada"},
        {"empty": b""},
        {"certificate.pem": b"x" * 3069},
        {"just-fits": b"x" * 3070},
        {"large": LARGE, "UPPER_and.dots-": bytes(range(256))},
    ],
    ids=lambda values: ",".join(values),
)
def test_values_come_back_as_they_were(aws: Sample, site: Site, tmp_path: Path, values: dict[str, bytes]) -> None:
    secret = made_of(values)
    secrets.ensure(site, secret, Values(tmp_path, values))
    assert read_as_a_guest(aws, f"/i2kit/prod/secrets/{secret.name}") == values
    assert [one.resource for one in secrets.observe(site)] == [secret]


def test_a_secret_without_keys_is_there_too(aws: Sample, bed: Bed, site: Site, tmp_path: Path) -> None:
    secret = made_of({})
    secrets.ensure(site, secret, Values(tmp_path, {}))
    assert [(one.resource, one.faults) for one in secrets.observe(site)] == [(secret, ())]
    assert read_as_a_guest(aws, f"/i2kit/prod/secrets/{secret.name}") == {}
    secrets.delete(site, secret, Values(tmp_path, {}))
    assert bed.inventory() == {}


def test_parameters_carry_the_mark_and_the_users_own_tags(aws: Sample, site: Site, context: SampleContext) -> None:
    secret = SAMPLES.secret()
    context.offer(secret)
    secrets.ensure(site, secret, context)
    held = aws.ssm.list_tags_for_resource(ResourceType="Parameter", ResourceId=f"/i2kit/prod/secrets/{secret.name}/user/0.1")["TagList"]
    told = {one["Key"]: one["Value"] for one in held}
    assert told["i2kit:application"] == "sample"
    assert told["i2kit:environment"] == "prod"
    assert told["team"] == "shop"
    assert CANARY not in str(held)


def test_values_are_never_read_nor_shown(bed: Bed, site: Site, context: SampleContext) -> None:
    secret = SAMPLES.secret()
    context.offer(secret)
    secrets.ensure(site, secret, context)
    assert CANARY not in f"{secrets.observe(site)!r} {site!r} {context.messages}"
    assert set(bed.calls()) == {"ssm:PutParameter", "ssm:DescribeParameters"}


def test_a_second_time_nothing_changes(bed: Bed, site: Site, context: SampleContext) -> None:
    secret = SAMPLES.secret()
    context.offer(secret)
    secrets.ensure(site, secret, context)
    before = bed.inventory()
    secrets.ensure(site, secret, context)
    assert bed.inventory() == before
    secrets.delete(site, secret, context)
    secrets.delete(site, secret, context)
    assert bed.inventory() == {}


def test_a_name_that_aws_keeps_for_a_while_is_waited_for(bed: Bed, site: Site, context: SampleContext) -> None:
    secret = SAMPLES.secret()
    context.offer(secret)
    bed.faults.fail("ssm:PutParameter", code="ParameterAlreadyExists", status=400, times=3)
    secrets.ensure(site, secret, context)
    assert [(one.resource, one.faults) for one in secrets.observe(site)] == [(secret, ())]


def test_who_died_while_making_it_is_completed(bed: Bed, site: Site, tmp_path: Path) -> None:
    values = {"large": LARGE, "user": b"ada"}
    secret, context = made_of(values), Values(tmp_path, values)
    for death in deaths(bed, site, lambda site: secrets.ensure(site, secret, context)):
        (left,) = secrets.observe(site)
        assert (left.resource.name, bool(left.faults)) == (secret.name, death.made < death.effects), death
        secrets.ensure(site, secret, context)
        assert [(one.resource, one.faults) for one in secrets.observe(site)] == [(secret, ())], death
        secrets.delete(site, secret, context)
        assert bed.inventory() == {}, death


def test_who_died_while_deleting_it_is_completed(bed: Bed, site: Site, tmp_path: Path) -> None:
    values = {"large": LARGE * 2}
    secret, context = made_of(values), Values(tmp_path, values)

    def make(site: Site) -> None:
        secrets.ensure(site, secret, context)

    for death in deaths(bed, site, lambda site: secrets.delete(site, secret, context), first=make):
        secrets.delete(site, secret, context)
        assert bed.inventory() == {}, death


def test_answers_that_get_lost_do_no_harm(bed: Bed, site: Site, context: SampleContext) -> None:
    secret = SAMPLES.secret()
    context.offer(secret)
    for action in ("ssm:PutParameter", "ssm:DeleteParameters"):
        bed.faults.cut(action, moment="after")
    secrets.ensure(site, secret, context)
    assert [(one.resource, one.faults) for one in secrets.observe(site)] == [(secret, ())]
    secrets.delete(site, secret, context)
    assert bed.inventory() == {}


def test_what_died_while_it_was_made_can_be_deleted(bed: Bed, site: Site, tmp_path: Path) -> None:
    values = {"large": LARGE, "user": b"ada"}
    bed.faults.fail("ssm:PutParameter", times=-1, skip=3, code="AccessDeniedException", status=400)
    with pytest.raises(ProviderError, match="AccessDenied"):
        secrets.ensure(site, made_of(values), Values(tmp_path, values))
    seen = secrets.observe(site)
    assert len(seen) == 1
    secrets.delete(site, evolve(made_of(values), keys=()), Values(tmp_path, {}))
    assert bed.inventory() == {}


def test_throttling_is_waited_out(bed: Bed, site: Site, context: SampleContext) -> None:
    secret = SAMPLES.secret()
    context.offer(secret)
    bed.faults.throttle("ssm:*", times=2)
    secrets.ensure(site, secret, context)
    assert [one.resource for one in secrets.observe(site)] == [secret]


def test_a_full_account_is_told_with_what_helps(bed: Bed, site: Site, context: SampleContext) -> None:
    secret = SAMPLES.secret()
    context.offer(secret)
    bed.faults.fail("ssm:PutParameter", code="ParameterLimitExceeded", status=400)
    with pytest.raises(ProviderError, match="at most 10,000 of them in a region; `i2kit gc` removes"):
        secrets.ensure(site, secret, context)


def test_other_environments_and_other_peoples_parameters_are_left_alone(aws: Sample, bed: Bed, site: Site, context: SampleContext) -> None:
    aws.ssm.put_parameter(Name="/i2kit/prod/secrets/theirs/key", Value="x", Type="String", Description="their own")
    other = Site.of(Environment(name="prod-2", provider="aws", settings=site.environment.settings))
    one, two = SAMPLES.secret(), SAMPLES.secret("2")
    for secret in (one, two):
        context.offer(secret)
    secrets.ensure(other, one, context)
    secrets.ensure(site, two, context)
    secrets.ensure(site, evolve(two, name=f"{two.name}-more"), Values(Path(), {"user": b"ada", "password": b""}))
    assert [seen.resource.name for seen in secrets.observe(other)] == [one.name]
    secrets.delete(site, two, context)
    assert [seen.resource.name for seen in secrets.observe(site)] == [f"{two.name}-more"]
    assert [seen.resource.name for seen in secrets.observe(other)] == [one.name]


def test_looking_takes_a_request_for_fifty_parameters(bed: Bed, site: Site, context: SampleContext) -> None:
    for number in range(13):
        secret = SAMPLES.secret(str(number))
        context.offer(secret)
        secrets.ensure(site, secret, context)
    before = len(bed.journal())
    assert len(secrets.observe(site)) == 13
    assert bed.calls(before) == {"ssm:DescribeParameters": 1}
