"""Troubles on demand: each seen with boto3, with what it did and did not do."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from aws.bed import Bed
from aws.sample import Sample, code
from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError


def vpcs(bed: Bed) -> int:
    return len(bed.inventory().get("ec2:vpc", []))


def create(aws: Sample, number: int = 1) -> None:
    aws.ec2.create_vpc(CidrBlock=f"10.{number}.0.0/16")


def refused(aws: Sample, number: int = 1) -> str:
    with pytest.raises(ClientError) as error:
        create(aws, number)
    return code(error)


def test_a_throttled_call_goes_well_when_it_is_tried_often_enough(aws: Sample) -> None:
    aws.bed.faults.throttle("ec2:CreateVpc", times=2)
    assert [refused(aws), refused(aws)] == ["RequestLimitExceeded"] * 2
    assert vpcs(aws.bed) == 0
    create(aws)
    assert [one["status"] for one in aws.bed.journal()] == [503, 503, 200]
    assert [one["met"] for one in aws.bed.journal()] == [["error before"], ["error before"], []]


@pytest.mark.parametrize(
    ("service", "action", "wanted"), [("ssm", "ssm:DescribeParameters", "ThrottlingException"), ("autoscaling", "*", "Throttling")]
)
def test_services_have_their_own_words_for_too_fast(bed: Bed, service: str, action: str, wanted: str) -> None:
    bed.faults.throttle(action)
    client = bed.client(service)
    with pytest.raises(ClientError) as error:
        client.describe_parameters() if service == "ssm" else client.describe_auto_scaling_groups()
    assert code(error) == wanted


def test_boto3_itself_takes_it_for_throttling(bed: Bed) -> None:
    bed.faults.throttle("ssm:DescribeParameters", times=2)
    patient = bed.client("ssm", retries={"total_max_attempts": 3, "mode": "standard"})
    assert patient.describe_parameters()["ResponseMetadata"]["RetryAttempts"] == 2


def test_a_failure_before_the_effect_and_one_after_it(aws: Sample) -> None:
    aws.bed.faults.fail("ec2:CreateVpc")
    assert (refused(aws), vpcs(aws.bed)) == ("InternalError", 0)
    aws.bed.faults.fail("ec2:CreateVpc", moment="after", code="Unavailable", status=503)
    assert (refused(aws), vpcs(aws.bed)) == ("Unavailable", 1)
    assert [one["effect"] for one in aws.bed.journal()] == [False, True]


@pytest.mark.parametrize(("moment", "made"), [("before", 0), ("after", 1)])
def test_a_line_that_is_cut_before_the_effect_and_after_it(aws: Sample, moment: str, made: int) -> None:
    aws.bed.faults.cut("ec2:CreateVpc", moment)
    with pytest.raises(ConnectionClosedError):
        create(aws)
    assert vpcs(aws.bed) == made
    create(aws, 2)
    assert vpcs(aws.bed) == made + 1


def test_an_answer_that_is_too_slow(aws: Sample) -> None:
    aws.bed.faults.slow("ec2:CreateVpc", 1.0)
    hasty = aws.bed.client("ec2", read_timeout=0.1)
    with pytest.raises(ReadTimeoutError):
        hasty.create_vpc(CidrBlock="10.1.0.0/16")
    assert aws.bed.journal()[0]["met"] == ["slow before"]
    # The request is still on its way when the account has become another's.
    aws.bed.reset()
    create(aws)
    assert vpcs(aws.bed) == 1


def test_skip_where_and_share_choose_the_calls(aws: Sample) -> None:
    aws.bed.faults.fail("ec2:CreateVpc", skip=1)
    create(aws)
    assert refused(aws) == "InternalError"
    aws.bed.faults.fail("ec2:CreateVpc", where={"CidrBlock": "10.9.0.0/16"})
    create(aws, 2)
    assert refused(aws, 9) == "InternalError"

    def struck() -> list[int]:
        aws.bed.reset()
        aws.bed.faults.throttle("ec2:DescribeVpcs", times=-1, share=0.2, seed=7)
        for _ in range(40):
            with contextlib.suppress(ClientError):
                aws.ec2.describe_vpcs()
        return [one["number"] for one in aws.bed.journal() if one["status"] == 503]

    assert 2 <= len(struck()) <= 16
    assert struck() == struck()


def test_stale_reads_show_what_was(aws: Sample) -> None:
    def seen() -> int:
        return len(aws.ec2.describe_vpcs(Filters=[{"Name": "isDefault", "Values": ["false"]}])["Vpcs"])

    assert seen() == 0
    aws.bed.faults.stale("ec2:DescribeVpcs", times=2)
    create(aws)
    assert [seen() for _ in range(3)] == [0, 0, 1]


def test_what_was_never_asked_before_is_not_stale(aws: Sample) -> None:
    aws.bed.faults.stale("ec2:*")
    made = aws.ec2.create_vpc(CidrBlock="10.1.0.0/16")["Vpc"]["VpcId"]
    assert aws.ec2.describe_vpcs(VpcIds=[made])["Vpcs"]


@pytest.mark.parametrize(("moment", "made"), [("before", 0), ("after", 1), ("answered", 1)])
def test_a_client_that_dies_at_a_call_has_no_effect_any_more(aws: Sample, moment: str, made: int) -> None:
    aws.bed.faults.die("ec2:Create*", moment, skip=1)
    create(aws)
    if moment == "answered":
        create(aws, 2)
    else:
        with pytest.raises(ConnectionClosedError):
            create(aws, 2)
    for _ in range(2):
        with pytest.raises(ConnectionClosedError):
            create(aws, 3)
    assert vpcs(aws.bed) == 1 + made
    aws.bed.faults.clear()
    create(aws, 4)
    assert vpcs(aws.bed) == 2 + made


CLIENT = """
import boto3, os, sys
sys.stdin.readline()
ec2 = boto3.client("ec2")
for number in range(4):
    ec2.create_vpc(CidrBlock=f"10.{number}.0.0/16")
"""


@pytest.mark.parametrize(("moment", "made"), [("before", 1), ("after", 2), ("answered", 2)])
def test_a_process_is_killed_at_a_call(bed: Bed, moment: str, made: int) -> None:
    command = [sys.executable, "-c", CLIENT]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=bed.environment
    ) as child:
        try:
            bed.faults.die("ec2:CreateVpc", moment, skip=1, pid=child.pid)
            assert child.stdin
            child.stdin.write(b"\n")
            child.stdin.flush()
            assert child.wait(60) == -9
        finally:
            child.kill()
    assert vpcs(bed) == made


def test_two_calls_are_put_in_order_by_holding_one(aws: Sample) -> None:
    aws.bed.faults.cut("ec2:DescribeVpcs")
    held = aws.bed.faults.hold("ec2:CreateVpc", "after")
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(create, aws)
        try:
            assert held.reached()
            # The effect is there, the answer is not.
            assert vpcs(aws.bed) == 1
            assert not first.done()
        finally:
            held.release()
        first.result(30)


def test_a_rule_that_is_none_is_refused(bed: Bed) -> None:
    with pytest.raises(RuntimeError, match="one of the kinds"):
        bed.faults.add("ec2:*", "tickle")
    with pytest.raises(RuntimeError, match="KeyError"):
        bed.set(mood="good")


def test_how_often_a_rule_was_met_is_counted(aws: Sample) -> None:
    number = aws.bed.faults.fail("ec2:CreateVpc", skip=2)
    create(aws)
    create(aws, 2)
    assert aws.bed.faults.met(number) == 2
