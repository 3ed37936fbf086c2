"""Balancers where something goes wrong: what drifts is seen and mended, who dies at a request goes on, and nothing stays behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aws.bed import Bed
from awsfronts import Fronts, balancer

from i2kit.errors import I2kitError, Interrupted, ProviderError
from i2kit.resources import Balancer, BalancerPort, Resource
from i2kit_aws import balancers, networks, targets
from i2kit_aws.site import Site

HTTP = BalancerPort(port=8080, target_port=8080, name="http")
METRICS = BalancerPort(port=9100, target_port=9000)


@pytest.fixture
def fronts(site: Site, bed: Bed, tmp_path: Path) -> Fronts:
    return Fronts.quickly(site, bed, tmp_path)


def arn_of(fronts: Fronts, wanted: Balancer) -> str:
    return str(fronts.front(wanted)["LoadBalancerArn"])


def listener_gone(fronts: Fronts, wanted: Balancer) -> None:
    fronts.aws.elb.delete_listener(ListenerArn=fronts.listeners(wanted)[0]["ListenerArn"])


def listener_moved(fronts: Fronts, wanted: Balancer) -> None:
    first, second = fronts.listeners(wanted)
    fronts.aws.elb.modify_listener(ListenerArn=first["ListenerArn"], DefaultActions=second["DefaultActions"])


def all_rules_gone(fronts: Fronts, wanted: Balancer) -> None:
    guard = fronts.guard(wanted)
    fronts.aws.ec2.revoke_security_group_ingress(GroupId=guard["GroupId"], IpPermissions=guard["IpPermissions"])


def everybody_let_in(fronts: Fronts, wanted: Balancer) -> None:
    ranges = [{"IpProtocol": "tcp", "FromPort": 0, "ToPort": 65535, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
    fronts.aws.ec2.authorize_security_group_ingress(GroupId=fronts.guard(wanted)["GroupId"], IpPermissions=ranges)


def someone_let_in(fronts: Fronts, wanted: Balancer) -> None:
    more = [{"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "192.0.2.0/24"}]}]
    fronts.aws.ec2.authorize_security_group_ingress(GroupId=fronts.guard(wanted)["GroupId"], IpPermissions=more)


def balancers_group_gone(fronts: Fronts, wanted: Balancer) -> None:
    fronts.aws.elb.set_security_groups(LoadBalancerArn=arn_of(fronts, wanted), SecurityGroups=[fronts.guard(wanted)["GroupId"]])


def zone_gone(fronts: Fronts, wanted: Balancer) -> None:
    some = list(networks.locate(fronts.site).subnets.values())[:2]
    fronts.aws.elb.set_subnets(LoadBalancerArn=arn_of(fronts, wanted), Subnets=some)


def detached(fronts: Fronts, wanted: Balancer) -> None:
    group = wanted.backends[0].group
    arns = list(targets.of_group(fronts.site, group))[:1]
    fronts.aws.scaling.detach_load_balancer_target_groups(AutoScalingGroupName=group, TargetGroupARNs=arns)


def checked_otherwise(fronts: Fronts, wanted: Balancer) -> None:
    arn = targets.of_group(fronts.site, wanted.backends[0].group)[0]
    fronts.aws.elb.modify_target_group(TargetGroupArn=arn, HealthCheckIntervalSeconds=30)


def target_group_gone(fronts: Fronts, wanted: Balancer) -> None:
    listener = fronts.listeners(wanted)[0]
    fronts.aws.elb.delete_listener(ListenerArn=listener["ListenerArn"])
    fronts.aws.elb.delete_target_group(TargetGroupArn=listener["DefaultActions"][0]["ForwardConfig"]["TargetGroups"][0]["TargetGroupArn"])


def load_balancer_gone(fronts: Fronts, wanted: Balancer) -> None:
    fronts.aws.elb.delete_load_balancer(LoadBalancerArn=arn_of(fronts, wanted))


@pytest.mark.parametrize(
    "trouble",
    [
        listener_gone,
        listener_moved,
        all_rules_gone,
        everybody_let_in,
        someone_let_in,
        balancers_group_gone,
        zone_gone,
        detached,
        checked_otherwise,
        target_group_gone,
        load_balancer_gone,
    ],
)
def test_what_drifts_is_seen_and_mended(fronts: Fronts, trouble: Callable[[Fronts, Balancer], None]) -> None:
    wanted = balancer(fronts.group(), ports=(HTTP, METRICS))
    fronts.ensure(wanted)
    trouble(fronts, wanted)
    seen = fronts.seen()
    assert (seen.resource, seen.faults) != (wanted, ())
    fronts.ensure(wanted)
    seen = fronts.seen()
    assert (seen.resource, seen.faults) == (wanted, ())
    assert len(fronts.target_groups()) == 2
    assert fronts.attached_to(wanted) == {one["TargetGroupArn"] for one in fronts.target_groups()}


def test_attributes_are_mended_whenever_the_balancer_is_applied(fronts: Fronts) -> None:
    wanted = balancer(fronts.group())
    fronts.ensure(wanted)
    (one,) = fronts.target_groups()
    before = fronts.attributes(one["TargetGroupArn"])
    changed = [{"Key": "preserve_client_ip.enabled", "Value": "true"}, {"Key": "deregistration_delay.timeout_seconds", "Value": "300"}]
    fronts.aws.elb.modify_target_group_attributes(TargetGroupArn=one["TargetGroupArn"], Attributes=changed)
    one_zone = [{"Key": "load_balancing.cross_zone.enabled", "Value": "false"}]
    fronts.aws.elb.modify_load_balancer_attributes(LoadBalancerArn=arn_of(fronts, wanted), Attributes=one_zone)
    assert fronts.changes(lambda: fronts.ensure(wanted)) == ["ModifyLoadBalancerAttributes", "ModifyTargetGroupAttributes"]
    assert fronts.attributes(one["TargetGroupArn"]) == before


def test_deletion_leaves_nothing(fronts: Fronts) -> None:
    group = fronts.group()
    before = fronts.bed.inventory()
    wanted = balancer(group, ports=(HTTP, METRICS))
    fronts.ensure(wanted)
    fronts.bed.set(interface_calls=3)
    fronts.delete(wanted)
    assert fronts.bed.inventory() == before
    assert fronts.attached(group) == set()
    assert balancers.observe(fronts.site) == ()
    assert any("interfaces" in one for one in fronts.context.messages)
    fronts.delete(wanted)
    assert fronts.bed.inventory() == before


def test_interfaces_that_never_go_are_not_waited_for_for_ever(fronts: Fronts) -> None:
    wanted = balancer(fronts.group())
    fronts.ensure(wanted)
    fronts.bed.set(interface_calls=100_000)
    with pytest.raises(ProviderError, match=r"still uses security group sg-.*\[aws-slow\]"):
        fronts.delete(wanted)
    assert fronts.seen().faults == ("its load balancer is gone",)


def test_who_is_asked_to_stop_stops_waiting(fronts: Fronts) -> None:
    wanted = balancer(fronts.group())
    fronts.ensure(wanted)
    fronts.bed.set(interface_calls=100_000)
    fronts.context.cancelled = True
    with pytest.raises(Interrupted):
        fronts.delete(wanted)


def test_a_load_balancer_that_cannot_be_set_up_is_told_in_aws_words(fronts: Fronts, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = balancer(fronts.group())
    fronts.ensure(wanted)
    state = {"Code": "failed", "Reason": "no addresses left"}
    monkeypatch.setattr(balancers, "_described", lambda site, name: {"State": state})  # moto sets every load balancer up at once
    with pytest.raises(ProviderError, match="no addresses left"):
        balancers._await_active(fronts.site, wanted, {"State": {"Code": "provisioning"}}, fronts.context)


def test_a_fifth_of_the_calls_throttled_delay_and_nothing_more(fronts: Fronts) -> None:
    group = fronts.group()
    before = fronts.bed.inventory()
    wanted = balancer(group, ports=(HTTP, METRICS))
    fronts.bed.faults.throttle("*", times=-1, share=0.2, seed=3)
    fronts.ensure(wanted)
    seen = fronts.seen()
    fronts.delete(wanted)
    fronts.bed.faults.clear()
    assert (seen.resource, seen.faults) == (wanted, ())
    assert fronts.bed.inventory() == before


@pytest.mark.parametrize("action", ["CreateLoadBalancer", "CreateTargetGroup", "CreateListener", "CreateSecurityGroup", "ModifyListener"])
def test_a_lost_answer_makes_no_twin(fronts: Fronts, action: str) -> None:
    groups = [fronts.group("1"), fronts.group("2")]
    fronts.bed.faults.cut(f"*:{action}", moment="after")
    fronts.ensure(balancer(groups[0]))
    wanted = balancer(*groups)
    fronts.ensure(wanted)
    seen = fronts.seen()
    assert (seen.resource, seen.faults) == (wanted, ())
    found = fronts.bed.inventory()
    assert [len(found[f"elasticloadbalancing:{kind}"]) for kind in ("balancer", "listener", "target-group")] == [1, 1, 2]


def test_answers_that_are_old_do_no_harm(fronts: Fronts) -> None:
    group = fronts.group()
    wanted = balancer(group)
    fronts.ensure(wanted)
    before = fronts.shape()
    fronts.bed.faults.stale("elasticloadbalancing:Describe*", times=-1)
    fronts.ensure(wanted)
    fronts.bed.faults.clear()
    assert fronts.shape() == before


def test_what_the_index_of_tags_does_not_show_yet_is_asked_for(fronts: Fronts) -> None:
    group = fronts.group()
    fronts.ensure(balancer(group))
    fronts.seen()
    wanted = balancer(group, ports=(HTTP, METRICS))
    fronts.ensure(wanted)
    fronts.bed.faults.stale("tag:GetResources", times=-1)
    seen = fronts.seen()
    assert (seen.resource, seen.faults) == (wanted, ())


STEPS: dict[str, Callable[[Fronts, list[Any]], tuple[Callable[[], object], Callable[[], object]]]] = {
    # What is done beforehand, and what is killed.
    "create": lambda fronts, groups: (lambda: None, lambda: fronts.ensure(balancer(groups[0], ports=(HTTP, METRICS)))),
    "switch": lambda fronts, groups: (
        lambda: fronts.ensure(balancer(groups[0])),
        lambda: fronts.ensure(balancer(groups[1])),
    ),
    "rescope": lambda fronts, groups: (
        lambda: fronts.ensure(balancer(groups[0])),
        lambda: fronts.ensure(balancer(groups[0], scope="public")),
    ),
    "delete": lambda fronts, groups: (
        lambda: fronts.ensure(balancer(groups[0], ports=(HTTP, METRICS))),
        lambda: fronts.delete(balancer(groups[0])),
    ),
}


def seen(fronts: Fronts) -> list[tuple[Resource, tuple[str, ...]]]:
    return [(one.resource, one.faults) for one in balancers.observe(fronts.site)]


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_killed_at_any_change_and_run_again_it_is_as_if_nothing_had_been(fronts: Fronts, step: str, moment: str) -> None:
    groups = [fronts.group("1"), fronts.group("2")]
    empty = fronts.bed.inventory()
    begin, work = STEPS[step](fronts, groups)
    begin()
    actions = fronts.changes(work)
    whole, last = fronts.shape(), seen(fronts)
    for number in range(len(actions)):
        fronts.delete(balancer(groups[0]))
        assert fronts.bed.inventory() == empty
        begin()
        fronts.bed.faults.die(f"*:{actions[number]}", moment=moment, skip=actions[:number].count(actions[number]))
        with pytest.raises(I2kitError):
            work()
        fronts.bed.faults.clear()
        balancers.observe(fronts.site)
        work()
        assert fronts.shape() == whole, actions[number]
        assert seen(fronts) == last
