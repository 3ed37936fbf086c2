"""Listeners in the bed: what AWS keeps of them, and moto does not."""

from __future__ import annotations

import pytest
from aws.sample import Sample, code
from botocore.exceptions import ClientError

LISTENERS = ["elasticloadbalancing:listener"]


def tagged(aws: Sample) -> list[str]:
    found = aws.bed.client("resourcegroupstaggingapi").get_resources(ResourceTypeFilters=LISTENERS)
    return [one["ResourceARN"] for one in found["ResourceTagMappingList"]]


def owners(aws: Sample, target_group: str) -> list[str]:
    return list(aws.elb.describe_target_groups(TargetGroupArns=[target_group])["TargetGroups"][0]["LoadBalancerArns"])


def test_listeners_are_found_by_their_tags(aws: Sample, stock: Sample) -> None:
    for account, known in ((aws, True), (stock, False)):
        made = account.listener(account.balancer(), account.target_group(), Tags=[{"Key": "team", "Value": "shop"}])
        assert tagged(account) == ([made] if known else [])


def test_a_target_group_knows_whose_listeners_forward_to_it_now(aws: Sample, stock: Sample) -> None:
    for account, follows in ((aws, True), (stock, False)):
        balancer, first, second = account.balancer(), account.target_group("first"), account.target_group("second")
        listener = account.listener(balancer, first)
        account.elb.modify_listener(ListenerArn=listener, DefaultActions=[{"Type": "forward", "TargetGroupArn": second}])
        assert (owners(account, first), owners(account, second)) == (([], [balancer]) if follows else ([balancer], []))


def certificate(aws: Sample, name: str) -> str:
    return str(aws.bed.client("acm").request_certificate(DomainName=name)["CertificateArn"])


def test_a_listener_takes_tls_another_certificate_and_leaves_it(aws: Sample) -> None:
    listener = aws.listener(aws.balancer(), aws.target_group())
    for name in ("a.example.com", "b.example.com"):
        arn = certificate(aws, name)
        changed = aws.elb.modify_listener(ListenerArn=listener, Protocol="TLS", Certificates=[{"CertificateArn": arn}])["Listeners"][0]
        assert (changed["Protocol"], changed["Certificates"]) == ("TLS", [{"CertificateArn": arn}])
    changed = aws.elb.modify_listener(ListenerArn=listener, Protocol="TCP")["Listeners"][0]
    assert (changed["Protocol"], changed.get("Certificates", [])) == ("TCP", [])


def test_tls_needs_a_certificate_that_is_there(aws: Sample) -> None:
    listener = aws.listener(aws.balancer(), aws.target_group())
    missing = certificate(aws, "a.example.com")[:-4] + "beef"
    for given in ({}, {"Certificates": [{"CertificateArn": missing}]}):
        with pytest.raises(ClientError) as error:
            aws.elb.modify_listener(ListenerArn=listener, Protocol="TLS", **given)
        assert code(error) == ("CertificateNotFound" if given else "ValidationError")


def test_stock_moto_takes_no_tls_of_a_network_load_balancer(stock: Sample) -> None:
    listener = stock.listener(stock.balancer(), stock.target_group())
    with pytest.raises(ClientError) as error:
        stock.elb.modify_listener(ListenerArn=listener, Protocol="TLS")
    assert code(error) == "UnsupportedProtocol"


def test_fifty_tags_are_allowed(aws: Sample) -> None:
    balancer = aws.balancer()
    aws.elb.add_tags(ResourceArns=[balancer], Tags=[{"Key": f"key-{number}", "Value": "x"} for number in range(50)])
    with pytest.raises(ClientError) as error:
        aws.elb.add_tags(ResourceArns=[balancer], Tags=[{"Key": "one more", "Value": "x"}])
    assert code(error) == "TooManyTags"
