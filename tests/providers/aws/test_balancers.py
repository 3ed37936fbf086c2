"""Balancers: made as planned, seen field by field, moved by one request for each port, mended, and gone without a trace."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from aws.bed import Bed
from aws.sample import Sample
from awsfronts import DRAIN_SECONDS, SAMPLES, Fronts, balancer

from i2kit.environment import Environment
from i2kit.errors import InvalidInput, ProviderError
from i2kit.resources import Backend, BalancerPort, InstanceGroup
from i2kit.testing.cloud.clock import FakeClock
from i2kit_aws import balancers, health, listeners, networks, targets
from i2kit_aws.site import Site

HTTP = BalancerPort(port=8080, target_port=8080, name="http")
METRICS = BalancerPort(port=9100, target_port=9000)
DNS = BalancerPort(port=53, target_port=5353, name="dns", protocol="UDP")
DNS_TCP = BalancerPort(port=53, target_port=5353, name="dns-tcp")


@pytest.fixture
def fronts(site: Site, bed: Bed, tmp_path: Path) -> Fronts:
    return Fronts.quickly(site, bed, tmp_path)


@pytest.fixture
def group(fronts: Fronts) -> InstanceGroup:
    return fronts.group()


@pytest.mark.parametrize("scope", ["internal", "public"])
def test_a_balancer_is_seen_as_it_was_planned(site: Site, bed: Bed, tmp_path: Path, scope: str) -> None:
    fronts = Fronts.of(site, bed, tmp_path)
    group = fronts.group()
    wanted = balancer(group, scope=scope, ports=(METRICS, HTTP, DNS))
    fronts.ensure(wanted)
    seen = fronts.seen()
    assert (seen.resource, seen.faults) == (wanted, ())
    name = fronts.front(wanted)["DNSName"]
    urls = (f"http://{name}:9100", f"http://{name}:8080", f"udp://{name}:53")
    assert seen.endpoints == (urls if scope == "public" else ())
    assert balancers.address(fronts.site, wanted.name).dns_name == name


def test_the_second_time_nothing_is_changed(fronts: Fronts, group: InstanceGroup) -> None:
    wanted = balancer(group, ports=(HTTP, METRICS))
    fronts.ensure(wanted)
    assert fronts.changes(lambda: fronts.ensure(wanted)) == []


@pytest.mark.parametrize(("scope", "scheme"), [("internal", "internal"), ("public", "internet-facing")])
def test_a_balancer_has_its_security_groups_and_zones_from_the_start(fronts: Fronts, group: InstanceGroup, scope: str, scheme: str) -> None:
    wanted = balancer(group, scope=scope)
    fronts.ensure(wanted)
    place, front = networks.locate(fronts.site), fronts.front(wanted)
    assert (front["Scheme"], front["Type"], front["VpcId"]) == (scheme, "network", place.vpc)
    assert set(front["SecurityGroups"]) == {fronts.guard(wanted)["GroupId"], place.balancers}
    assert len(front["AvailabilityZones"]) == len(place.subnets)
    (made,) = [one["parameters"] for one in fronts.bed.journal() if one["action"].endswith(":CreateLoadBalancer")]
    assert made["SecurityGroups"]
    assert {one["Key"] for one in made["Tags"]} >= {"i2kit:environment", "i2kit:application", "i2kit:workload"}


def let_in(fronts: Fronts, wanted: Any) -> set[tuple[str, int, str]]:
    found = set()
    for rule in fronts.guard(wanted)["IpPermissions"]:
        sources = [one["CidrIp"] for one in rule["IpRanges"]] + [one["GroupId"] for one in rule["UserIdGroupPairs"]]
        found |= {(rule["IpProtocol"], rule["FromPort"], one) for one in sources}
    return found


def test_a_public_balancer_lets_everybody_in_at_its_ports_alone(fronts: Fronts, group: InstanceGroup) -> None:
    wanted = balancer(group, scope="public", ports=(HTTP, DNS))
    fronts.ensure(wanted)
    assert let_in(fronts, wanted) == {("tcp", 8080, "0.0.0.0/0"), ("udp", 53, "0.0.0.0/0")}


def test_an_internal_balancer_lets_members_and_the_vpc_in(fronts: Fronts, group: InstanceGroup) -> None:
    wanted = balancer(group)
    fronts.ensure(wanted)
    place = networks.locate(fronts.site)
    assert let_in(fronts, wanted) == {("tcp", 8080, one) for one in (place.members, *place.cidrs)}


def test_members_are_checked_by_readyz_alone(fronts: Fronts, group: InstanceGroup) -> None:
    fronts.ensure(balancer(group, ports=(HTTP, DNS)))
    for one in fronts.target_groups():
        checked = (one["HealthCheckProtocol"], one["HealthCheckPort"], one["HealthCheckPath"], one["Matcher"]["HttpCode"])
        assert checked == ("HTTP", "10256", "/readyz", "200")
        assert (one["HealthCheckIntervalSeconds"], one["HealthyThresholdCount"], one["UnhealthyThresholdCount"]) == (5, 2, 2)
        assert len(one["TargetGroupName"]) <= 32
        label = fronts.tags(one["TargetGroupArn"])
        assert (label["i2kit:group"], label["i2kit:port"]) == (group.name, {"TCP": "8080", "UDP": "53"}[one["Protocol"]])


@pytest.mark.parametrize(
    ("scope", "port", "preserved", "cut"),
    [("internal", HTTP, "false", "false"), ("public", HTTP, "true", "false"), ("internal", DNS, "true", "true")],
)
def test_clients_addresses_are_hidden_only_where_members_would_meet_their_own(
    fronts: Fronts, group: InstanceGroup, scope: str, port: BalancerPort, preserved: str, cut: str
) -> None:
    fronts.ensure(balancer(group, scope=scope, ports=(port,)))
    (one,) = fronts.target_groups()
    found = fronts.attributes(one["TargetGroupArn"])
    assert found["preserve_client_ip.enabled"] == preserved
    assert found["deregistration_delay.timeout_seconds"] == str(DRAIN_SECONDS)
    assert found["deregistration_delay.connection_termination.enabled"] == cut


def test_the_groups_members_are_targets(fronts: Fronts, group: InstanceGroup) -> None:
    fronts.ensure(balancer(group, ports=(HTTP, METRICS)))
    arns = {one["TargetGroupArn"] for one in fronts.target_groups()}
    assert fronts.attached(group) == arns == set(targets.of_group(fronts.site, group.name))
    for arn in arns:
        assert len(fronts.aws.health(arn)) == 2


def test_target_groups_of_a_group_that_is_not_there_yet_wait_for_it(fronts: Fronts) -> None:
    group = SAMPLES.group()
    fronts.ensure(balancer(group))
    (arn,) = targets.of_group(fronts.site, group.name)
    assert fronts.seen().resource.backends == (Backend(group=group.name, weight=100),)
    fronts.group()
    fronts.aws.scaling.attach_load_balancer_target_groups(AutoScalingGroupName=group.name, TargetGroupARNs=[arn])
    assert set(fronts.aws.health(arn).values()) == {"healthy"}


def test_weights_move_by_one_request_for_each_port(fronts: Fronts, group: InstanceGroup) -> None:
    other = fronts.group("2")
    before = balancer(group, other, weights=(90, 10), ports=(HTTP, METRICS))
    fronts.ensure(before)
    after = balancer(group, other, weights=(10, 90), ports=(HTTP, METRICS))
    assert fronts.changes(lambda: fronts.ensure(after)) == ["ModifyListener", "ModifyListener"]
    assert fronts.weights(after) == {"8080": {group.name: 10, other.name: 90}, "9100": {group.name: 10, other.name: 90}}
    assert fronts.seen().resource == after


def test_a_group_without_a_share_is_checked_all_the_same(fronts: Fronts, group: InstanceGroup) -> None:
    fronts.ensure(balancer(group))
    other = fronts.group("2")
    after = balancer(group, other, weights=(100, 0))
    fronts.ensure(after)
    assert fronts.weights(after)["8080"] == {group.name: 100, other.name: 0}
    (arn,) = targets.of_group(fronts.site, other.name)
    assert set(fronts.aws.health(arn).values()) == {"healthy"}
    assert fronts.seen().resource == after


@pytest.mark.parametrize("weights", [(), (0,)], ids=["no group", "no share"])
def test_where_nobody_is_to_get_traffic_it_goes_nowhere(fronts: Fronts, group: InstanceGroup, weights: tuple[int, ...]) -> None:
    wanted = balancer(*([group] if weights else []), weights=weights)
    fronts.ensure(wanted)
    assert fronts.weights(wanted)["8080"] == {**({group.name: 0} if weights else {}), "": 1}
    seen = fronts.seen()
    assert (seen.resource, seen.faults) == (wanted, ())
    fronts.ensure(balancer(group))
    assert len(fronts.target_groups()) == 1


def test_a_switch_to_a_group_that_nobody_has_checked_waits_until_it_is_healthy(fronts: Fronts, group: InstanceGroup) -> None:
    fronts.ensure(balancer(group))
    other = fronts.group("2")
    after = balancer(other)
    made = fronts.changes(lambda: fronts.ensure(after))
    assert made.count("ModifyListener") == 2
    first, last = [one["parameters"] for one in fronts.bed.journal() if one["action"].endswith(":ModifyListener")]
    weights = [[one["Weight"] for one in given["DefaultActions"][0]["ForwardConfig"]["TargetGroups"]] for given in (first, last)]
    assert weights == [[100, 0], [100]]
    assert fronts.seen().resource == after


def test_a_switch_to_a_group_that_never_gets_healthy_is_made_all_the_same(fronts: Fronts, group: InstanceGroup) -> None:
    fronts.ensure(balancer(group))
    other = fronts.group("2")
    for member in fronts.aws.members(other.name):
        fronts.bed.health("unhealthy", instance=member["InstanceId"])
    fronts.ensure(balancer(other))
    assert fronts.weights(balancer(other)) == {"8080": {other.name: 100}}


def test_what_leaves_goes_after_its_drain(fronts: Fronts, group: InstanceGroup) -> None:
    other = fronts.group("2")
    fronts.ensure(balancer(group, other))
    (old,) = targets.of_group(fronts.site, group.name)
    made = fronts.changes(lambda: fronts.ensure(balancer(other)))
    assert made == ["CreateTags", "ModifyListener", "DetachLoadBalancerTargetGroups", "DeleteTargetGroup"]
    assert fronts.attached(group) == set()
    assert old not in {one["TargetGroupArn"] for one in fronts.target_groups()}


def test_who_does_not_leave_is_waited_for_as_long_as_members_drain_and_not_for_ever(
    fronts: Fronts, group: InstanceGroup, clock: FakeClock
) -> None:
    other = fronts.group("2")
    fronts.ensure(balancer(group, other))
    (old,) = targets.of_group(fronts.site, group.name)
    # Nobody detaches what somebody else has registered.
    stray = fronts.aws.members(other.name)[0]["InstanceId"]
    fronts.aws.elb.register_targets(TargetGroupArn=old, Targets=[{"Id": stray}])
    before = clock.now()
    fronts.ensure(balancer(other))
    assert DRAIN_SECONDS + 60 < clock.now() - before < DRAIN_SECONDS + 180
    assert old not in {one["TargetGroupArn"] for one in fronts.target_groups()}
    assert any("finish their connections" in one for one in fronts.context.messages)


def test_another_target_port_is_another_target_group(fronts: Fronts, group: InstanceGroup) -> None:
    fronts.ensure(balancer(group))
    (before,) = targets.of_group(fronts.site, group.name)
    after = balancer(group, ports=(evolve(HTTP, target_port=9090),))
    fronts.ensure(after)
    (now,) = targets.of_group(fronts.site, group.name)
    assert now != before
    assert fronts.attached(group) == {now}
    assert fronts.seen().resource == after


def test_ports_come_go_and_are_renamed(fronts: Fronts, group: InstanceGroup) -> None:
    fronts.ensure(balancer(group, ports=(HTTP, METRICS)))
    after = balancer(group, ports=(DNS, evolve(HTTP, name="web")))
    fronts.ensure(after)
    assert fronts.seen().resource == after
    assert fronts.seen().faults == ()
    assert {one["Port"] for one in fronts.target_groups()} == {8080, 5353}


def test_a_number_for_tcp_and_udp_is_one_listener(fronts: Fronts, group: InstanceGroup) -> None:
    wanted = balancer(group, ports=(DNS, HTTP, DNS_TCP))
    fronts.ensure(wanted)
    assert [(one["Port"], one["Protocol"]) for one in fronts.listeners(wanted)] == [(53, "TCP_UDP"), (8080, "TCP")]
    seen = fronts.seen()
    assert (seen.resource, seen.faults) == (wanted, ())


def test_a_number_for_tcp_and_udp_with_two_meanings_is_refused(fronts: Fronts, group: InstanceGroup) -> None:
    with pytest.raises(ProviderError, match=r"port 53 for TCP and for UDP with different targetPorts.*\[unsupported\]"):
        fronts.ensure(balancer(group, ports=(DNS, evolve(DNS_TCP, target_port=54))))


def test_a_change_of_scope_makes_the_load_balancer_anew(fronts: Fronts, group: InstanceGroup) -> None:
    fronts.ensure(balancer(group))
    after = balancer(group, scope="public")
    fronts.ensure(after)
    seen = fronts.seen()
    assert (seen.resource, seen.faults) == (after, ())
    (one,) = fronts.target_groups()
    assert fronts.attributes(one["TargetGroupArn"])["preserve_client_ip.enabled"] == "true"


def certificate(fronts: Fronts, name: str = "shop.example.com") -> str:
    return str(fronts.bed.client("acm").request_certificate(DomainName=name)["CertificateArn"])


def test_tls_ends_at_the_balancer_at_the_ports_that_are_named(fronts: Fronts, group: InstanceGroup) -> None:
    options = {"certificate": certificate(fronts), "tls-ports": "443"}
    https = BalancerPort(port=443, target_port=8080, name="https")
    wanted = balancer(group, scope="public", ports=(https, HTTP), options=options)
    fronts.ensure(wanted)
    secure, plain = fronts.listeners(wanted)
    assert (secure["Port"], secure["Protocol"], plain["Protocol"]) == (443, "TLS", "TCP")
    assert (secure["Certificates"][0]["CertificateArn"], secure["SslPolicy"]) == (options["certificate"], listeners.TLS_POLICY)
    assert {one["Protocol"] for one in fronts.target_groups()} == {"TCP"}
    seen, name = fronts.seen(), fronts.front(wanted)["DNSName"]
    assert (seen.resource, seen.faults) == (wanted, ())
    assert seen.endpoints == (f"https://{name}", f"http://{name}:8080")


def test_certificates_are_changed_in_place(fronts: Fronts, group: InstanceGroup) -> None:
    plain = balancer(group)
    fronts.ensure(plain)
    for options in ({"certificate": certificate(fronts)}, {"certificate": certificate(fronts, "other.example.com")}, {}):
        wanted = evolve(plain, options=options)
        made = fronts.changes(partial(fronts.ensure, wanted))
        assert [one for one in made if one.endswith("Listener")] == ["ModifyListener"]
        seen = fronts.seen()
        assert (seen.resource, seen.faults) == (wanted, ())


def test_a_certificate_that_somebody_changed_is_seen(fronts: Fronts, group: InstanceGroup) -> None:
    wanted = balancer(group, options={"certificate": certificate(fronts)})
    fronts.ensure(wanted)
    other = [{"CertificateArn": certificate(fronts, "other.example.com")}]
    (listener,) = fronts.listeners(wanted)
    fronts.aws.elb.modify_listener(ListenerArn=listener["ListenerArn"], Certificates=other)
    assert fronts.seen().faults == ("port 8080 does not speak TLS as the annotations say",)
    fronts.ensure(wanted)
    assert fronts.seen().faults == ()


def test_wrong_annotations_touch_nothing(fronts: Fronts, group: InstanceGroup) -> None:
    wanted = balancer(group, options={"certificate": "my-certificate"})
    with pytest.raises(InvalidInput, match=r"Service web: aws.i2kit.dev/certificate is 'my-certificate'.*\[aws-annotation\]"):
        fronts.ensure(wanted)
    assert balancers.observe(fronts.site) == ()


def test_a_service_may_be_called_internal(fronts: Fronts, group: InstanceGroup) -> None:
    wanted = evolve(SAMPLES.balancer(group, service="internal-api"))
    fronts.ensure(wanted)
    seen = fronts.seen()
    assert (seen.resource, seen.faults) == (wanted, ())
    assert balancers.address(fronts.site, wanted.name).dns_name
    fronts.delete(wanted)
    assert balancers.observe(fronts.site) == ()


def test_a_balancer_that_is_not_there_has_no_address(fronts: Fronts) -> None:
    with pytest.raises(ProviderError, match=r"\[no-balancer\]"):
        balancers.address(fronts.site, "web")


def test_what_somebody_else_made_is_left_alone(fronts: Fronts, group: InstanceGroup) -> None:
    wanted = balancer(group)
    fronts.aws.elb.create_load_balancer(Name=wanted.name, Type="network", Scheme="internal", Subnets=fronts.aws.subnets)
    with pytest.raises(ProviderError, match=r"not this environment's.*\[aws-name-taken\]"):
        fronts.ensure(wanted)
    assert fronts.seen().faults == ("its load balancer is gone",)
    fronts.delete(wanted)
    assert balancers.observe(fronts.site) == ()
    assert fronts.front(wanted)["LoadBalancerName"] == wanted.name


def test_other_environments_are_not_seen(fronts: Fronts, group: InstanceGroup, as_user: Bed, tmp_path: Path) -> None:
    fronts.ensure(balancer(group))
    other = Site.of(Environment(name="test", provider="aws", settings={"region": fronts.bed.region}))
    assert balancers.observe(other) == ()
    assert targets.of_group(other, group.name) == ()


def test_looking_at_many_takes_no_more_requests_than_at_one(fronts: Fronts, group: InstanceGroup) -> None:
    fronts.ensure(balancer(group))
    one = fronts.actions(lambda: balancers.observe(fronts.site))
    for number in range(5):
        fronts.ensure(evolve(SAMPLES.balancer(group, service=f"service-{number}"), ports=(HTTP, METRICS)))
    many = fronts.actions(lambda: balancers.observe(fronts.site))
    assert len(balancers.observe(fronts.site)) == 6
    pages = ("GetResources",)
    assert set(many) == set(one)
    assert [name for name in many if not name.endswith(pages)] == [name for name in one if not name.endswith(pages)]


def test_stock_moto_does_as_well(stock: Sample, monkeypatch: pytest.MonkeyPatch, environment: Environment, tmp_path: Path) -> None:
    for name, value in stock.bed.environment.items():
        monkeypatch.setenv(name, value)
    fronts = Fronts.of(Site.of(environment), stock.bed, tmp_path)
    group, other = fronts.group("1"), fronts.group("2")
    fronts.ensure(balancer(group, scope="public", ports=(HTTP, DNS)))
    after = balancer(group, other, weights=(90, 10), scope="public", ports=(HTTP, DNS))
    for wanted in (after, balancer(other, scope="public", ports=(HTTP, DNS))):
        fronts.ensure(wanted)
        seen = fronts.seen()
        assert (seen.resource, seen.faults) == (wanted, ())
        assert health.of_group(fronts.site, other.name).ready == 2
    fronts.delete(after)
    assert balancers.observe(fronts.site) == ()
    assert fronts.target_groups() == []
    assert fronts.attached(other) == set()
