"""The one door to AWS: what is tried again and what is not, and as whom it asks."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from aws.bed import REGION, Bed
from botocore.exceptions import ClientError

from i2kit.errors import InvalidInput, MissingCredentials, ProviderError, TransientError
from i2kit.testing.cloud.clock import FakeClock
from i2kit_aws import gateway as module
from i2kit_aws.gateway import AwsError, Gateway, absent
from i2kit_aws.settings import Settings
from i2kit_aws.tags import ENVIRONMENT, specification

# By libcloud, and by boto3.
BOTH = [("ec2", "DescribeVpcs"), ("ec2", "DescribeAddresses")]
ANOTHER = "111122223333"


@pytest.fixture
def gateway(as_user: Bed) -> Iterator[Gateway]:
    gateway = Gateway.connect(Settings(region=REGION))
    yield gateway
    gateway.close()


@pytest.mark.parametrize(("service", "operation"), BOTH)
@pytest.mark.parametrize("trouble", ["throttle", "fail", "cut"])
def test_what_passes_is_tried_again(gateway: Gateway, bed: Bed, clock: FakeClock, service: str, operation: str, trouble: str) -> None:
    before = clock.now()
    getattr(bed.faults, trouble)(f"{service}:{operation}", times=3)
    gateway.call(service, operation)
    assert bed.calls() == {f"{service}:{operation}": 4}
    assert 0 < clock.now() - before < 0.25 + 0.5 + 1.0


@pytest.mark.parametrize(("service", "operation"), BOTH)
def test_what_does_not_pass_ends(gateway: Gateway, bed: Bed, service: str, operation: str) -> None:
    bed.faults.throttle(f"{service}:{operation}", times=-1)
    with pytest.raises(TransientError, match=rf"{operation}: RequestLimitExceeded: .* \(tried 9 times\) \[aws-unavailable\]"):
        gateway.call(service, operation)
    assert bed.calls() == {f"{service}:{operation}": 9}


@pytest.mark.parametrize(("service", "operation"), BOTH)
def test_what_is_refused_is_not_tried_again(gateway: Gateway, bed: Bed, service: str, operation: str) -> None:
    bed.faults.fail(f"{service}:{operation}", code="UnauthorizedOperation", status=403)
    with pytest.raises(AwsError, match=r"aws-policy.md has the policy that i2kit needs \[aws-refused\]") as error:
        gateway.call(service, operation)
    assert (error.value.code, bed.calls()) == ("UnauthorizedOperation", {f"{service}:{operation}": 1})


@pytest.mark.parametrize(("service", "operation"), BOTH)
def test_what_is_no_request_is_not_sent(gateway: Gateway, bed: Bed, service: str, operation: str) -> None:
    with pytest.raises(ProviderError, match="aws-refused"):
        gateway.call(service, operation, Filters="all")
    assert bed.calls() == {}


def test_what_is_gone_needs_no_deleting(gateway: Gateway) -> None:
    assert absent("InvalidVpcID.NotFound")(lambda: gateway.call("ec2", "DeleteVpc", VpcId="vpc-1")) is None
    with pytest.raises(AwsError):
        absent("InvalidSubnetID.NotFound")(lambda: gateway.call("ec2", "DeleteVpc", VpcId="vpc-1"))


def test_who_is_asked_to_come_back_later_does() -> None:
    said = {"Error": {"Code": "Throttling"}, "ResponseMetadata": {"HTTPStatusCode": 400, "HTTPHeaders": {"retry-after": "7"}}}
    error = module._refused("ec2:DescribeVpcs", "DescribeVpcs", ClientError(said, "DescribeVpcs"))
    assert isinstance(error, TransientError)
    assert error.retry_after == 7.0


def test_all_of_many_threads_get_through_when_a_fifth_is_throttled(gateway: Gateway, bed: Bed) -> None:
    bed.faults.throttle("*", times=-1, share=0.2, seed=3)

    def work(number: int) -> int:
        return sum(1 for _ in range(20) if gateway.call(*BOTH[number % 2]))

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(work, range(16))) == [20] * 16


def test_what_is_throttled_again_and_again_gets_a_pace_of_its_own(gateway: Gateway, bed: Bed) -> None:
    bed.faults.throttle("ec2:DescribeVpcs", times=3)
    bed.faults.fail("ec2:DescribeSubnets", times=5)
    for operation in ("DescribeVpcs", "DescribeSubnets"):
        gateway.call("ec2", operation)
    paces = [gateway.retries.pace(f"ec2:{operation}") for operation in ("DescribeVpcs", "DescribeSubnets")]
    assert [one is not None and one.rate < math.inf for one in paces] == [True, False]


def test_nothing_but_who_asks_is_asked_before_the_account_is_checked(as_user: Bed) -> None:
    mine = Gateway.connect(Settings(region=REGION, account="123456789012"))
    for _ in range(3):
        mine.check_account()
    assert as_user.calls() == {"sts:GetCallerIdentity": 1}
    with pytest.raises(InvalidInput, match=r"for account 123456789012, .* in account 999988887777.*\[aws-account\]"):
        Gateway.connect(Settings(region=REGION, account="999988887777")).check_account()


def test_threads_that_ask_who_they_are_at_once_ask_once(gateway: Gateway, bed: Bed) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: gateway.account, range(8))) == {"123456789012"}
    assert (gateway.partition, bed.calls()) == ("aws", {"sts:GetCallerIdentity": 1})


def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")


@pytest.fixture
def configuration(as_user: Bed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The user's own configuration, in which all credentials are."""
    nobody(monkeypatch)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    return tmp_path


def keys(folder: Path, key: str, profile: str = "default") -> None:
    (folder / "credentials").write_text(f"[{profile}]\naws_access_key_id = {key}\naws_secret_access_key = secret\n")


def asks_as(gateway: Gateway) -> str:
    credentials = gateway.sessions.session().core.get_credentials()
    assert credentials
    return str(credentials.access_key)


@pytest.mark.parametrize(("service", "operation"), [*BOTH, ("sts", "GetCallerIdentity")])
def test_without_credentials_it_says_how_to_get_some(configuration: Path, bed: Bed, service: str, operation: str) -> None:
    with pytest.raises(MissingCredentials, match=r"Unable to locate credentials.*as for the aws command.*\[aws-credentials\]"):
        Gateway.connect(Settings(region=REGION)).call(service, operation)
    assert bed.calls() == {}


@pytest.mark.parametrize("code", ["InvalidClientTokenId", "AuthFailure", "ExpiredToken"])
def test_credentials_that_are_not_valid_are_as_good_as_none(gateway: Gateway, bed: Bed, code: str) -> None:
    bed.faults.fail("ec2:DescribeVpcs", times=-1, code=code, status=401)
    with pytest.raises(MissingCredentials, match=r"as for the aws command.*\[aws-credentials\]"):
        gateway.call("ec2", "DescribeVpcs")


def test_a_profile_that_is_not_there_is_named(configuration: Path) -> None:
    keys(configuration, "AKIAONE")
    with pytest.raises(MissingCredentials, match=r"nobody.*aws-credentials"):
        Gateway.connect(Settings(region=REGION, profile="nobody")).call("ec2", "DescribeVpcs")


def test_an_endpoint_that_is_none_is_no_matter_of_credentials(as_user: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "somewhere")
    with pytest.raises(ProviderError, match=r"somewhere.*aws-configuration"):
        Gateway.connect(Settings(region=REGION)).call("ec2", "DescribeVpcs")


def test_a_single_sign_on_that_has_ended_is_said(configuration: Path) -> None:
    session = "[sso-session work]\nsso_start_url = https://sso.example/start\nsso_region = eu-west-1\n"
    whose = f"sso_session = work\nsso_account_id = {ANOTHER}\nsso_role_name = deploy\n"
    (configuration / "config").write_text(f"[profile work]\n{whose}{session}")
    with pytest.raises(MissingCredentials, match=r"aws sso login.*aws-credentials"):
        Gateway.connect(Settings(region=REGION, profile="work")).call("ec2", "DescribeVpcs")


@pytest.mark.parametrize(("service", "operation"), BOTH)
@pytest.mark.parametrize("code", ["ExpiredToken", "RequestExpired"])
def test_credentials_that_expire_midway_are_read_again(configuration: Path, bed: Bed, service: str, operation: str, code: str) -> None:
    keys(configuration, "AKIAONE")
    gateway = Gateway.connect(Settings(region=REGION))
    gateway.call(service, operation)
    assert asks_as(gateway) == "AKIAONE"
    keys(configuration, "AKIATWO")
    bed.faults.fail(f"{service}:{operation}", code=code, status=400)
    gateway.call(service, operation)
    assert asks_as(gateway) == "AKIATWO"
    assert bed.calls()[f"{service}:{operation}"] == 3


PROCESS = """
import datetime, json, pathlib
told = pathlib.Path(__file__).with_suffix(".log")
told.write_text((told.read_text() if told.exists() else "") + "asked ")
later = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)
given = {"AccessKeyId": "AKIAONE", "SecretAccessKey": "secret", "SessionToken": "t", "Expiration": later.isoformat()}
print(json.dumps({"Version": 1, **given}))
"""


def test_a_process_that_gives_credentials_is_asked_again_once_for_all_threads(configuration: Path, bed: Bed) -> None:
    program = configuration / "give.py"
    program.write_text(PROCESS)
    (configuration / "config").write_text(f"[default]\ncredential_process = {sys.executable} {program}\n")
    gateway = Gateway.connect(Settings(region=REGION))
    gateway.call("ec2", "DescribeVpcs")
    held = bed.faults.hold("ec2:DescribeAddresses", times=4)
    bed.faults.fail("ec2:DescribeAddresses", times=4, code="ExpiredToken", status=400)
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(gateway.call, "ec2", "DescribeAddresses") for _ in range(4)]
        end = time.monotonic() + 30
        while bed.faults.met(held.number) < 4:
            assert time.monotonic() < end
        held.release()
        for one in asked:
            one.result(30)
    assert program.with_suffix(".log").read_text().split() == ["asked", "asked"]


def profile_of_a_role(folder: Path, account: str, name: str = "deploy") -> None:
    keys(folder, "AKIAIOSFODNN7EXAMPLE", "base")
    role = f"arn:aws:iam::{account}:role/{name}"
    (folder / "config").write_text(f"[profile deploy]\nrole_arn = {role}\nsource_profile = base\n")


def test_a_role_of_another_account_is_assumed_for_both_libraries(configuration: Path, bed: Bed) -> None:
    profile_of_a_role(configuration, ANOTHER)
    gateway = Gateway.connect(Settings(region=REGION, profile="deploy", account=ANOTHER))
    gateway.check_account()
    marked = specification({ENVIRONMENT: "prod"}, "vpc")
    made = gateway.call("ec2", "CreateVpc", CidrBlock="10.0.0.0/16", TagSpecifications=marked)["Vpc"]["VpcId"]
    assert [one["VpcId"] for one in gateway.pages("ec2", "DescribeVpcs", "Vpcs", VpcIds=[made])] == [made]
    assert bed.calls() == {"sts:AssumeRole": 1, "sts:GetCallerIdentity": 1, "ec2:CreateVpc": 1, "ec2:DescribeVpcs": 1}
    # What is in this account is not in that one.
    assert not [one for one in bed.client("ec2").describe_vpcs()["Vpcs"] if one["VpcId"] == made]


def test_a_role_that_may_not_be_assumed_is_a_matter_of_credentials(configuration: Path, bed: Bed) -> None:
    profile_of_a_role(configuration, ANOTHER)
    bed.faults.fail("sts:AssumeRole", times=-1, code="AccessDenied", status=403)
    with pytest.raises(MissingCredentials, match=r"^AssumeRole: AccessDenied.*aws-credentials"):
        Gateway.connect(Settings(region=REGION, profile="deploy")).call("ec2", "DescribeVpcs")


@pytest.mark.parametrize("asked", [True, False])
def test_credentials_that_come_in_place_of_expired_ones_are_of_the_same_account(configuration: Path, bed: Bed, asked: bool) -> None:
    """Whether the account was seen before, or stands in the environment only."""
    profile_of_a_role(configuration, ANOTHER)
    gateway = Gateway.connect(Settings(region=REGION, profile="deploy", account=None if asked else ANOTHER))
    if asked:
        assert gateway.account == ANOTHER
    gateway.call("ec2", "DescribeVpcs")
    profile_of_a_role(configuration, "444455556666")
    bed.faults.fail("ec2:CreateVpc", code="ExpiredToken", status=400)
    with pytest.raises(ProviderError, match=rf"for account 444455556666 instead of {ANOTHER}.*\[aws-account\]"):
        gateway.call("ec2", "CreateVpc", CidrBlock="10.0.0.0/16")
    assert bed.inventory() == {}


def test_nothing_of_credentials_shows(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway.call("ec2", "DescribeVpcs")
    gateway.call("ec2", "DescribeAddresses")
    session = gateway.sessions.session()
    shown: list[Any] = [gateway, session, session._access(session.client("ec2"))]
    assert "of-no-account" not in json.dumps([repr(one) for one in shown])
