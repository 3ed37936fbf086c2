"""Networks as AWS keeps them: nothing goes while something uses it, balancers have interfaces, and nothing stays behind."""

from __future__ import annotations

import copy
import unittest.mock
import uuid
from typing import Any

from moto.ec2.models import ec2_backends
from moto.ec2.models.subnets import SubnetBackend
from moto.ec2.models.vpcs import VPCBackend
from moto.elbv2 import models as elbv2
from moto.elbv2.models import ELBv2Backend
from moto.elbv2.utils import make_arn_for_load_balancer as make_arn

from aws.protocols import Call, Refusal
from aws.settings import SETTINGS

_GONE = "balancer_gone"


def install() -> None:
    """Put the patches in place, once for a process."""
    SubnetBackend.delete_subnet = _subnet_deleted(SubnetBackend.delete_subnet)
    VPCBackend.delete_vpc = _vpc_deleted(VPCBackend.delete_vpc)
    ELBv2Backend.create_load_balancer = _balancer_created(ELBv2Backend.create_load_balancer)
    ELBv2Backend.create_listener = _listener_created(ELBv2Backend.create_listener)
    ELBv2Backend.create_target_group = _target_group_created(ELBv2Backend.create_target_group)
    ELBv2Backend.delete_load_balancer = _balancer_deleted(ELBv2Backend.delete_load_balancer)


def _depends(kind: str, name: str) -> Refusal:
    return Refusal("DependencyViolation", f"The {kind} '{name}' has dependencies and cannot be deleted.")


def check_group(call: Call) -> None:
    """Refuse to delete security groups that something uses. Raises Refusal."""
    backend = ec2_backends[call.account][call.region]
    name = call.parameters.get("GroupId") or call.parameters.get("GroupName", "")
    group = backend.get_security_group_by_name_or_id(name)
    if group is None:
        return
    if group.name == "default":
        raise Refusal("CannotDelete", f'the specified group: "{group.id}" name: "default" cannot be deleted by a user')
    others = [one for groups in backend.groups.values() for one in groups.values() if one.id != group.id]
    rules = [rule for one in others for rule in [*one.ingress_rules, *one.egress_rules]]
    named = any((rule.source_group or {}).get("GroupId") == group.id for rule in rules)
    if named or any(group.id in [one.id for one in nic.group_set] for nic in backend.enis.values()):
        raise Refusal("DependencyViolation", f"resource {group.id} has a dependent object")


def check_subnet(call: Call) -> None:
    """Refuse to delete subnets with interfaces in them. Raises Refusal."""
    name = call.parameters["SubnetId"]
    if any(nic.subnet.id == name for nic in ec2_backends[call.account][call.region].enis.values()):
        raise _depends("subnet", name)


def check_vpc(call: Call) -> None:
    """Refuse to delete networks with something in them. Raises Refusal."""
    backend = ec2_backends[call.account][call.region]
    name = call.parameters["VpcId"]
    gateways = [one for one in backend.internet_gateways.values() if one.vpc and one.vpc.id == name]
    groups = [one for one in backend.groups.get(name, {}).values() if one.name != "default"]
    nats = [one for one in backend.nat_gateways.values() if one.vpc_id == name and one.state != "deleted"]
    if gateways or groups or nats or any(nic.vpc_id == name for nic in backend.enis.values()):
        raise _depends("vpc", name)


def check_attach(call: Call) -> None:
    """Refuse a second internet gateway for a network. Raises Refusal."""
    name = call.parameters["VpcId"]
    backend = ec2_backends[call.account][call.region]
    if any(one.vpc and one.vpc.id == name for one in backend.internet_gateways.values()):
        raise Refusal("InvalidParameterValue", f"Network {name} already has an internet gateway attached")


def check_detach(call: Call) -> None:
    """Refuse to detach an internet gateway from a network with public addresses. Raises Refusal."""
    name = call.parameters["VpcId"]
    nics = [nic for nic in ec2_backends[call.account][call.region].enis.values() if nic.vpc_id == name]
    if any(nic.public_ip or getattr(nic, "internet_facing", False) for nic in nics):
        detail = "Please unmap those public address(es) before detaching the gateway."
        raise Refusal("DependencyViolation", f"Network {name} has some mapped public address(es). {detail}")


def check_interface(call: Call) -> None:
    """Refuse to delete interfaces that are AWS's own or in use. Raises Refusal."""
    nic = ec2_backends[call.account][call.region].enis.get(call.parameters["NetworkInterfaceId"])
    if nic is not None and nic.requester_managed:
        raise Refusal("AuthFailure", "You do not have permission to access the specified resource.")
    if nic is not None and nic.instance is not None:
        raise Refusal("InvalidParameterValue", f"Network interface '{nic.id}' is currently in use.")


def _subnet_deleted(stock: Any) -> Any:
    def delete(backend: Any, subnet_id: str) -> Any:
        subnet = stock(backend, subnet_id)
        for acl in backend.network_acls.values():
            for key in [key for key, one in acl._associations.items() if one.subnet_id == subnet_id]:
                acl._associations.pop(key)
        for table in backend.route_tables.values():
            for key in [key for key, one in table._associations.items() if one == subnet_id]:
                table._associations.pop(key)
        return subnet

    return delete


def _vpc_deleted(stock: Any) -> Any:
    def delete(backend: Any, vpc_id: str) -> Any:
        gone = stock(backend, vpc_id)
        for key in [key for key, one in backend.network_acls.items() if one.vpc_id == vpc_id]:
            backend.network_acls.pop(key)
        backend.groups.pop(vpc_id, None)
        return gone

    return delete


def _balancer_created(stock: Any) -> Any:
    def create(backend: Any, name: str, security_groups: list[str], subnet_ids: list[str], *rest: Any, **kwargs: Any) -> Any:
        asked = (sorted(security_groups or []), sorted(subnet_ids or []), kwargs.get("scheme"), kwargs.get("loadbalancer_type"))
        for one in backend.load_balancers.values():
            if one.name == name:
                if one.__dict__.get("asked") == asked:
                    return one
                message = f"A load balancer with the same name '{name}' exists, but with different settings"
                raise Refusal("DuplicateLoadBalancerName", message)
        kind = {"network": "net", "gateway": "gwy"}.get(kwargs.get("loadbalancer_type") or "", "app")
        with unittest.mock.patch.object(
            elbv2, "make_arn_for_load_balancer", lambda **given: make_arn(**given).replace("/app/", f"/{kind}/")
        ):
            balancer = stock(backend, name, security_groups, subnet_ids, *rest, **kwargs)
        balancer.asked = asked
        # No two ever have the same name for the world, whatever they are called.
        balancer.dns_name = f"{name}-{uuid.uuid4().hex[:16]}.elb.{backend.region_name}.amazonaws.com"
        short = balancer.arn.rpartition(":loadbalancer/")[2]
        balancer.nics = []
        for subnet in balancer.subnets:
            nic = backend.ec2_backend.create_network_interface(
                subnet, [], group_ids=list(security_groups or []), description=f"ELB {short}"
            )
            nic.requester_managed, nic.requester_id, nic.status = True, "amazon-elb", "in-use"
            nic.interface_type = "network_load_balancer" if balancer.type == "network" else "interface"
            nic.internet_facing = balancer.scheme != "internal"
            if not security_groups and balancer.type == "network":
                nic._group_set = []
            balancer.nics.append(nic)
        return balancer

    return create


def _target_group_created(stock: Any) -> Any:
    def create(backend: Any, name: str, **given: Any) -> Any:
        asked = {key: value for key, value in given.items() if key != "tags"}
        for one in backend.target_groups.values():
            if one.name == name:
                if one.__dict__.get("asked") == asked:
                    return one
                message = f"A target group with the same name '{name}' exists, but with different settings"
                raise Refusal("DuplicateTargetGroupName", message)
        group = stock(backend, name, **given)
        group.asked = asked
        return group

    return create


def _listener_created(stock: Any) -> Any:
    def create(backend: Any, load_balancer_arn: str, protocol: str, port: Any, *rest: Any, **given: Any) -> Any:
        asked = copy.deepcopy((protocol, rest, {key: value for key, value in given.items() if key != "tags"}))
        balancer = backend.load_balancers.get(load_balancer_arn)
        for one in balancer.listeners.values() if balancer else []:
            if str(one.port) == str(port):
                if one.__dict__.get("asked") == asked:
                    return one
                message = "A listener already exists on this port for this load balancer"
                raise Refusal("DuplicateListener", f"{message} '{load_balancer_arn}'")
        listener = stock(backend, load_balancer_arn, protocol, port, *rest, **given)
        listener.asked = asked
        return listener

    return create


def _balancer_deleted(stock: Any) -> Any:
    def delete(backend: Any, arn: str) -> None:
        balancer = backend.load_balancers.get(arn)
        stock(backend, arn)
        for nic in balancer.nics if balancer else []:
            setattr(nic, _GONE, SETTINGS.interface_calls)
        _sweep(backend.ec2_backend)

    return delete


def _sweep(backend: Any) -> None:
    for key in [key for key, nic in backend.enis.items() if getattr(nic, _GONE, None) == 0]:
        backend.enis.pop(key)


def describe_ticks(call: Call) -> None:
    """Let the interfaces of deleted balancers come nearer to their end, as readers look at them. To be called after the answer."""
    backend = ec2_backends[call.account][call.region]
    for nic in backend.enis.values():
        left = getattr(nic, _GONE, None)
        if left:
            setattr(nic, _GONE, left - 1)
    _sweep(backend)
