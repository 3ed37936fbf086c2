"""What stands in the way on AWS: found before the first change, all of it at once, and nothing is touched by looking."""

from __future__ import annotations

import doctest
import logging
from typing import Any

import pytest
from attrs import evolve
from aws.bed import REGION, Bed
from aws.sample import Sample

from i2kit.errors import Problem, TransientError
from i2kit.plan import Change, ObservedResource
from i2kit.resources import Balancer, BalancerPort, DnsRecord, InstanceGroup, Resource
from i2kit.testing.context import SampleContext
from i2kit.testing.samples import Samples
from i2kit_aws import catalogue, listeners, networks, preflight, quotas
from i2kit_aws.quotas import Quota
from i2kit_aws.settings import NetworkSettings
from i2kit_aws.site import Site

SAMPLES = Samples(environment="prod", provider="aws", format="aws", architecture="x86_64")
ACCOUNT = "123456789012"


def created(*resources: Resource) -> list[Change]:
    return [Change(action="create", resource=one, reason="") for one in resources]


def first_deploy(replicas: int = 2, *, secret: str | None = None, **group: Any) -> list[Change]:
    resources = SAMPLES.workload(replicas=replicas, secret=secret)
    return created(*(evolve(one, **group) if isinstance(one, InstanceGroup) else one for one in resources))


def balancer(**changes: Any) -> Change:
    (found,) = (one for one in SAMPLES.workload() if isinstance(one, Balancer))
    return Change(action="create", resource=evolve(found, **changes), reason="")


def private(site: Site) -> Site:
    return evolve(site, settings=evolve(site.settings, network=NetworkSettings(private=True)))


def messages(found: list[Problem]) -> list[str]:
    return [one.message for one in found]


def test_the_examples_are_true() -> None:
    assert doctest.testmod(quotas).failed == 0


def test_a_first_deploy_has_room_in_a_new_account_and_looking_touches_nothing(site: Site, bed: Bed) -> None:
    assert preflight.problems(site, first_deploy(secret="1")) == []
    assert not [one["action"] for one in bed.journal() if one["effect"]]
    assert bed.inventory() == {}


# Quotas.


# What a first deploy of two members with a Secret needs of each.
NEEDED = {
    quotas.VCPUS: 4,
    quotas.VPCS: 1,
    quotas.GATEWAYS: 1,
    quotas.SECURITY_GROUPS: 3,
    quotas.BALANCERS: 1,
    quotas.TARGET_GROUPS: 1,
    quotas.GROUPS: 1,
    quotas.TEMPLATES: 1,
    quotas.ZONES: 1,
    quotas.ROLES: 1,
}


@pytest.mark.parametrize("quota", NEEDED, ids=lambda one: one.what)
def test_each_quota_is_held_against_what_is_there_and_what_comes(site: Site, bed: Bed, quota: Quota) -> None:
    used, more = quota.used(site), NEEDED[quota]
    bed.quota(quota.service, quota.code, used + more - 1)
    (problem,) = preflight.problems(site, first_deploy(secret="1"))
    assert problem.code == "aws-quota"
    assert problem.message == f"the account may have {used + more - 1} {quota.what}; {used} are in use, and this needs {more} more"
    assert quota.code in problem.hint
    bed.quota(quota.service, quota.code, used + more)
    assert preflight.problems(site, first_deploy(secret="1")) == []


def test_a_nat_gateway_needs_an_elastic_ip(site: Site, bed: Bed) -> None:
    bed.quota("ec2", quotas.ADDRESSES.code, 0)
    assert preflight.problems(site, first_deploy()) == []
    assert messages(preflight.problems(private(site), first_deploy())) == [
        "the account may have 0 Elastic IPs; 0 are in use, and this needs 1 more"
    ]


def test_all_quotas_come_at_once(site: Site, bed: Bed) -> None:
    for quota in NEEDED:
        bed.quota(quota.service, quota.code, 0)
    assert len(preflight.problems(site, first_deploy(secret="1"))) == len(NEEDED)


def test_what_is_there_counts(site: Site, bed: Bed, aws: Sample) -> None:
    aws.group(size=3)  # t3.micro, of two vCPUs each
    bed.quota("ec2", quotas.VCPUS.code, 9)
    (problem,) = preflight.problems(site, first_deploy(replicas=2))
    assert "may have 9 vCPUs of standard on-demand instances; 6 are in use, and this needs 4 more" in problem.message
    assert preflight.problems(site, first_deploy(replicas=1)) == []


def test_only_members_on_top_of_those_there_are_need_room(site: Site, bed: Bed, context: SampleContext) -> None:
    networks.ensure(site, SAMPLES.network(), context)
    bed.quota("ec2", quotas.VCPUS.code, 2)
    there = SAMPLES.group(replicas=5)
    for replicas, fits in ((4, True), (6, True), (7, False)):
        change = Change(action="update", resource=evolve(there, replicas=replicas), reason="", observed=ObservedResource(resource=there))
        assert (preflight.problems(site, [change]) == []) == fits, replicas


def test_a_balancer_that_moves_needs_target_groups_for_its_new_groups_alone(site: Site, bed: Bed) -> None:
    one, two = SAMPLES.group("1"), SAMPLES.group("2")
    ports = (BalancerPort(port=80, target_port=8080), BalancerPort(port=53, target_port=53, protocol="UDP"))
    before, after = (evolve(SAMPLES.balancer(*groups), ports=ports) for groups in ((one,), (one, two)))
    change = Change(action="update", resource=after, reason="", observed=ObservedResource(resource=before))
    bed.quota("elasticloadbalancing", quotas.BALANCERS.code, 0)
    bed.quota("elasticloadbalancing", quotas.TARGET_GROUPS.code, 1)
    assert messages(preflight.problems(site, [change])) == ["the account may have 1 target groups; 0 are in use, and this needs 2 more"]


def test_a_network_that_is_there_needs_nothing(site: Site, bed: Bed, context: SampleContext) -> None:
    network = SAMPLES.network()
    networks.ensure(site, network, context)
    for quota in (quotas.VPCS, quotas.GATEWAYS, quotas.ZONES, quotas.SECURITY_GROUPS):
        bed.quota(quota.service, quota.code, 0)
    broken = Change(action="update", resource=network, reason="", observed=ObservedResource(resource=network))
    assert preflight.problems(site, [broken]) == []


def test_types_of_other_quotas_do_not_count_as_standard(site: Site, bed: Bed, context: SampleContext) -> None:
    networks.ensure(site, SAMPLES.network(), context)
    bed.quota("ec2", quotas.VCPUS.code, 0)
    for name, count in (("g4dn.xlarge", 0), ("m5.xlarge", 1)):
        group = evolve(SAMPLES.group(), options={catalogue.OPTION: name})
        assert len(preflight.problems(site, created(group))) == count, name


def test_quotas_that_aws_does_not_tell_are_taken_for_enough(site: Site, bed: Bed) -> None:
    for quota in NEEDED:
        bed.quota(quota.service, quota.code, 0)
    bed.faults.fail("servicequotas:*", times=-1, code="NoSuchResourceException", status=400)
    assert preflight.problems(site, first_deploy()) == []


def test_where_aws_tells_the_default_alone_that_counts(site: Site, bed: Bed) -> None:
    bed.quota("vpc", quotas.VPCS.code, 0)
    bed.faults.fail("servicequotas:GetServiceQuota", times=-1, code="NoSuchResourceException", status=400)
    assert messages(preflight.problems(site, first_deploy())) == ["the account may have 0 VPCs; 1 are in use, and this needs 1 more"]


def test_credentials_that_may_not_see_quotas_are_a_warning(site: Site, bed: Bed, caplog: pytest.LogCaptureFixture) -> None:
    bed.quota("vpc", quotas.VPCS.code, 0)
    bed.faults.fail("servicequotas:*", times=-1, code="AccessDeniedException", status=400)
    with caplog.at_level(logging.WARNING, logger="i2kit_aws"):
        assert preflight.problems(site, first_deploy()) == []
    assert any("quota-unknown" in one.getMessage() for one in caplog.records)


def test_credentials_that_may_not_count_are_a_warning(site: Site, bed: Bed, caplog: pytest.LogCaptureFixture) -> None:
    bed.faults.fail("iam:GetAccountSummary", times=-1, code="AccessDenied", status=403)
    with caplog.at_level(logging.WARNING, logger="i2kit_aws"):
        assert preflight.problems(site, first_deploy(secret="1")) == []
    assert caplog.records


def test_it_bears_throttling_and_says_when_aws_does_not_answer(site: Site, bed: Bed) -> None:
    bed.faults.throttle("*", share=0.3, seed=1, times=-1)
    assert preflight.problems(site, first_deploy()) == []
    bed.faults.clear()
    bed.faults.throttle("ec2:DescribeInstances", times=-1)
    with pytest.raises(TransientError):
        preflight.problems(site, first_deploy())


def test_stock_moto_is_no_hindrance(site: Site, stock: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", stock.bed.url)
    assert preflight.problems(Site.of(site.environment), first_deploy(secret="1")) == []


# Instance types, networks, names, certificates.


def test_an_instance_type_that_is_not_to_be_had_is_told(site: Site) -> None:
    (problem,) = preflight.problems(site, first_deploy(options={catalogue.OPTION: "z9.huge"}))
    assert (problem.code, "AWS does not know it" in problem.message) == ("aws-instance-type", True)
    (problem,) = preflight.problems(site, first_deploy(options={catalogue.OPTION: "t3.nano"}, memory_mib=4096))
    assert "it has 512 MiB" in problem.message


def test_a_network_that_does_not_fit_is_told_beside_the_rest(site: Site, bed: Bed) -> None:
    bed.quota("elasticloadbalancing", quotas.BALANCERS.code, 0)
    named = evolve(site, settings=evolve(site.settings, network=NetworkSettings(vpc="vpc-0123abcd", subnets=("subnet-0123abcd",))))
    found = preflight.problems(named, first_deploy())
    assert {one.code for one in found} == {"aws-network-unfit", "aws-quota"}
    assert "there is no VPC vpc-0123abcd" in messages(found)


def test_an_existing_network_needs_no_vpc(site: Site, bed: Bed, aws: Sample) -> None:
    for quota in (quotas.VPCS, quotas.GATEWAYS):
        bed.quota(quota.service, quota.code, 0)
    aws.ec2.modify_vpc_attribute(VpcId=aws.vpc, EnableDnsHostnames={"Value": True})
    named = evolve(site, settings=evolve(site.settings, network=NetworkSettings(vpc=aws.vpc, subnets=tuple(aws.subnets))))
    assert preflight.problems(named, first_deploy()) == []


def public(name: str) -> DnsRecord:
    return evolve(SAMPLES.public_record(SAMPLES.balancer(SAMPLES.group()), "x"), name=name)


def test_a_public_name_needs_a_zone(site: Site, aws: Sample) -> None:
    (problem,) = preflight.problems(site, created(public("shop.example.com")))
    assert problem.code == "aws-no-public-zone"
    aws.dns.create_hosted_zone(Name="example.com", CallerReference="1")
    site.memory.forget("public zones")
    assert preflight.problems(site, created(public("shop.example.com"))) == []


def certificate(bed: Bed, *, issued: bool = True) -> str:
    acm = bed.client("acm")
    arn = str(acm.request_certificate(DomainName="shop.example.com")["CertificateArn"])
    for _ in range(5 if issued else 0):
        acm.describe_certificate(CertificateArn=arn)
    return arn


def test_a_certificate_has_to_be_there(site: Site) -> None:
    arn = f"arn:aws:acm:{REGION}:{ACCOUNT}:certificate/none"
    (problem,) = preflight.problems(site, [balancer(options={listeners.CERTIFICATE: arn})])
    assert (problem.code, problem.message.endswith(f"{arn} is not there")) == ("aws-certificate", True)


def test_a_certificate_has_to_be_issued(site: Site, bed: Bed) -> None:
    arn = certificate(bed)
    status = bed.client("acm").describe_certificate(CertificateArn=arn)["Certificate"]["Status"]
    found = preflight.problems(site, [balancer(options={listeners.CERTIFICATE: arn})])
    assert messages(found) == ([] if status == "ISSUED" else [f"Service web: the certificate {arn} is {status.lower().replace('_', ' ')}"])


def test_annotations_and_ports_that_cannot_be_are_told(site: Site) -> None:
    (problem,) = preflight.problems(site, [balancer(options={listeners.CERTIFICATE: "mine"})])
    assert (problem.code, "not the ARN of an ACM certificate" in problem.message) == ("aws-annotation", True)
    ports = (BalancerPort(port=53, target_port=53), BalancerPort(port=53, target_port=54, protocol="UDP"))
    (problem,) = preflight.problems(site, [balancer(ports=ports)])
    assert "with different targetPorts" in problem.message


def test_nothing_is_asked_of_what_goes(site: Site, bed: Bed) -> None:
    for quota in NEEDED:
        bed.quota(quota.service, quota.code, 0)
    going = [evolve(one, action="delete") for one in first_deploy(secret="1")]
    assert preflight.problems(site, going) == []
    assert bed.calls() == {}
