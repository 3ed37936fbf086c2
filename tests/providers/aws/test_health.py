"""Who is ready: by every balancer in front, by the group and the instance themselves, and by consoles where no balancer checks."""

from __future__ import annotations

from pathlib import Path

import pytest
from aws.bed import Bed
from awsfronts import Fronts, balancer

from i2kit.consoles import Told
from i2kit.plan import GroupHealth, InstanceState
from i2kit.resources import BalancerPort, InstanceGroup
from i2kit_aws import health, members, targets
from i2kit_aws.members import Member
from i2kit_aws.site import Site
from i2kit_aws.targets import Health

HTTP = BalancerPort(port=8080, target_port=8080, name="http")
METRICS = BalancerPort(port=9100, target_port=9000)
READY = 'i2kit {"event": "start"}\r\ni2kit {"event": "readiness", "ready": true, "reason": ""}\r\n'
UNREADY = 'i2kit {"event": "readiness", "ready": false, "reason": "web: connection refused"}\r\n'


@pytest.fixture
def fronts(site: Site, bed: Bed, tmp_path: Path) -> Fronts:
    return Fronts.quickly(site, bed, tmp_path)


def of(fronts: Fronts, group: InstanceGroup) -> GroupHealth:
    return health.of_group(fronts.site, group.name)


def reasons(found: GroupHealth) -> list[str]:
    return sorted(one.reason for one in found.instances)


def test_members_that_balancers_find_healthy_are_ready(fronts: Fronts) -> None:
    group = fronts.group()
    fronts.ensure(balancer(group, ports=(HTTP, METRICS)))
    found = of(fronts, group)
    assert (found.ready, [one.state for one in found.instances]) == (2, ["running", "running"])
    assert all(one.address and one.group == group.name for one in found.instances)


def test_a_group_that_is_not_there_has_no_members(fronts: Fronts) -> None:
    assert health.of_group(fronts.site, "nobody") == GroupHealth(ready=0, instances=())


@pytest.mark.parametrize(
    ("state", "word", "reason"),
    [
        ("unhealthy", "running", "Health checks failed (Target.FailedHealthChecks)"),
        ("initial", "starting", "Target registration is in progress (Elb.RegistrationInProgress)"),
        ("draining", "running", "Target deregistration is in progress (Target.DeregistrationInProgress)"),
    ],
)
def test_who_is_not_healthy_at_one_of_the_ports_is_not_ready(fronts: Fronts, state: str, word: str, reason: str) -> None:
    group = fronts.group()
    fronts.ensure(balancer(group, ports=(HTTP, METRICS)))
    sick = fronts.aws.members(group.name)[0]["InstanceId"]
    fronts.bed.health(state, target_group=targets.of_group(fronts.site, group.name)[0], instance=sick)
    found = of(fronts, group)
    (one,) = [one for one in found.instances if not one.ready]
    assert (found.ready, one.id, one.state, one.reason) == (1, sick, word, reason)


def test_a_group_without_a_share_is_judged_by_its_balancer_too(fronts: Fronts) -> None:
    group, other = fronts.group("1"), fronts.group("2")
    fronts.ensure(balancer(group, other, weights=(100, 0)))
    for one in fronts.aws.members(other.name):
        fronts.bed.health("unhealthy", instance=one["InstanceId"])
    assert (of(fronts, group).ready, of(fronts, other).ready) == (2, 0)


def test_a_target_counts_only_while_its_instance_is_in_service(fronts: Fronts) -> None:
    group = fronts.group()
    fronts.ensure(balancer(group))
    first, second = (one["InstanceId"] for one in fronts.aws.members(group.name))
    fronts.bed.health("healthy")
    fronts.bed.lifecycle(first, "Terminating:Wait")
    fronts.bed.state(second, "pending")
    found = {one.id: one for one in of(fronts, group).instances}
    assert not found[first].ready
    assert (found[first].state, found[second].state) == ("stopping", "starting")


def test_a_target_group_that_is_not_used_yet_judges_nobody(fronts: Fronts) -> None:
    group = fronts.group()
    wanted = balancer(group)
    fronts.ensure(wanted)
    fronts.aws.elb.delete_listener(ListenerArn=fronts.listeners(wanted)[0]["ListenerArn"])
    for one in fronts.aws.members(group.name):
        fronts.bed.console(one["InstanceId"], READY)
    assert of(fronts, group).ready == 2


def test_without_a_balancer_the_consoles_tell(fronts: Fronts) -> None:
    group = fronts.group(size=3)
    first, second, _silent = (one["InstanceId"] for one in fronts.aws.members(group.name))
    fronts.bed.console(first, READY)
    fronts.bed.console(second, READY + UNREADY)
    found = of(fronts, group)
    assert found.ready == 1
    assert reasons(found) == ["", "its console does not tell yet whether it is ready", "web: connection refused"]
    assert sorted(one.state for one in found.instances) == ["running", "running", "starting"]


def test_a_guest_that_gave_up_has_failed(fronts: Fronts) -> None:
    group = fronts.group(size=1)
    (one,) = fronts.aws.members(group.name)
    fronts.bed.console(one["InstanceId"], 'i2kit {"event": "fatal", "reason": "no secret db"}\n')
    (found,) = of(fronts, group).instances
    assert (found.state, found.ready, found.reason) == ("failed", False, "no secret db")


def test_what_a_container_wrote_is_no_readiness(fronts: Fronts) -> None:
    group = fronts.group(size=1)
    (one,) = fronts.aws.members(group.name)
    forged = "[web] " + "x" * 64 + READY
    # EC2 cuts the beginning away, wherever that is.
    fronts.bed.console(one["InstanceId"], forged[forged.index("i2kit") :].partition("\n")[2] + "[web] hello\n" * 6000)
    assert of(fronts, group).ready == 0


def test_requests_are_one_for_each_target_group_whatever_the_number_of_members(fronts: Fronts) -> None:
    groups = [fronts.group("1", size=3), fronts.group("2", size=1)]
    fronts.ensure(balancer(*groups, ports=(HTTP, METRICS)))
    found = {one.name: members.of_group(fronts.site, one.name) for one in groups}
    asked = fronts.actions(lambda: health.judged(fronts.site, found))
    assert sorted(one.partition(":")[2] for one in asked) == ["DescribeTargetGroups", *["DescribeTargetHealth"] * 4]
    asked = fronts.actions(lambda: health.judged(fronts.site, {groups[0].name: found[groups[0].name]}))
    assert [one.partition(":")[2] for one in asked] == ["DescribeTargetHealth"] * 2
    assert fronts.actions(lambda: health.judged(fronts.site, {"nobody": ()})) == []


WELL = Health(state="healthy")


@pytest.mark.parametrize(
    ("member", "state", "reason"),
    [
        (
            Member(id="i", lifecycle="Pending:Wait", state="running"),
            "starting",
            "it is Pending:Wait in its group, and its instance running",
        ),
        (
            Member(id="i", lifecycle="InService", state="shutting-down"),
            "stopping",
            "it is InService in its group, and its instance shutting-down",
        ),
        (Member(id="i", lifecycle="Standby", state="running"), "running", "it is Standby in its group, and its instance running"),
        (
            Member(id="i", lifecycle="InService", state="stopped", reason="Client.UserInitiatedShutdown"),
            "stopped",
            "Client.UserInitiatedShutdown",
        ),
        (
            Member(id="i", lifecycle="Terminated", state="terminated"),
            "stopped",
            "it is Terminated in its group, and its instance terminated",
        ),
        (Member(id="i", state="failed", reason="no capacity"), "failed", "no capacity"),
    ],
)
def test_who_is_not_in_service_is_not_ready_whatever_its_balancer_says(member: Member, state: InstanceState, reason: str) -> None:
    found = health.instance(member, "web", [{"i": WELL}], None)
    assert (found.state, found.ready, found.reason) == (state, False, reason)


def test_a_member_that_is_no_target_yet_is_starting() -> None:
    member = Member(id="i", lifecycle="InService", state="running")
    found = health.instance(member, "web", [{"i": WELL}, {"other": WELL}], None)
    assert (found.state, found.ready, found.reason) == ("starting", False, "it is not a target of its balancer yet")
    assert health.instance(member, "web", [{"i": WELL}], None).ready
    assert health.instance(member, "web", [], Told(ready=True, reason="")).ready
    assert not health.instance(member, "web", [], None).ready


def test_that_a_target_group_is_used_shows_in_its_targets_too() -> None:
    """Stock moto does not keep whose listeners forward to a target group."""
    idle = Health(state="unused", reason="Target.NotInUse")
    assert health.checking([(False, {"i": idle}), (False, {}), (True, None)]) == []
    assert health.checking([(False, {"i": WELL}), (True, {"i": idle}), (True, {})]) == [{"i": WELL}, {"i": idle}, {}]
