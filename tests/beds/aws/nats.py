"""NAT gateways as AWS has them: they take their time to come and to go, keep their address until then, and share it with nobody."""

from __future__ import annotations

from typing import Any

from moto.core.responses import ActionResult
from moto.ec2.models import ec2_backends
from moto.ec2.models.nat_gateways import NatGatewayBackend
from moto.ec2.responses.nat_gateways import NatGateways

from aws.protocols import Call, Refusal
from aws.settings import SETTINGS

_LEFT = "calls_left"


def install() -> None:
    """Put the patches in place, once for a process."""
    NatGateways.create_nat_gateway = _answered_once(NatGateways.create_nat_gateway)
    NatGatewayBackend.create_nat_gateway = _created(NatGatewayBackend.create_nat_gateway)
    NatGatewayBackend.delete_nat_gateway = _deleted
    NatGatewayBackend.describe_nat_gateways = _described(NatGatewayBackend.describe_nat_gateways)


def check_release(call: Call) -> None:
    """Refuse to give an address back that something has. Raises Refusal."""
    name = call.parameters.get("AllocationId")
    for address in ec2_backends[call.account][call.region].addresses:
        if address.allocation_id == name and (address.eni or address.instance):
            raise Refusal("InvalidIPAddress.InUse", f"Address {address.public_ip} is in use.")


def _answered_once(stock: Any) -> Any:
    def create(response: Any) -> Any:
        token = f"nat {response._get_param('ClientToken')}"
        given = {name: response._get_param(name) for name in ("SubnetId", "AllocationId", "ConnectivityType")}
        if token in SETTINGS.tokens:
            asked, name = SETTINGS.tokens[token]
            if asked != given:
                raise Refusal("IdempotentParameterMismatch", "The client token was used with other parameters before.")
            return ActionResult({"NatGateway": response.ec2_backend.nat_gateways[name]})
        result = stock(response)
        if response._get_param("ClientToken"):
            SETTINGS.tokens[token] = (given, result.result["NatGateway"].id)
        return result

    return create


def _created(stock: Any) -> Any:
    def create(backend: Any, subnet_id: str, allocation_id: str, *rest: Any, **given: Any) -> Any:
        address = next((one for one in backend.addresses if allocation_id and one.allocation_id == allocation_id), None)
        taken = address is not None and (address.eni or address.instance)
        nat = stock(backend, subnet_id, "" if taken else allocation_id, *rest, **given)
        nat.doom = f"Elastic IP address [{allocation_id}] is already associated" if taken else ""
        nic = nat._eni
        nic.requester_managed, nic.interface_type, nic.status = True, "nat_gateway", "in-use"
        nic.description = f"Interface for NAT Gateway {nat.id}"
        _change(backend, nat, "pending")
        return nat

    return create


def _deleted(backend: Any, nat_gateway_id: str) -> Any:
    nat = backend.nat_gateways.get(nat_gateway_id)
    if nat is None:
        raise Refusal("NatGatewayNotFound", f"The Nat Gateway {nat_gateway_id} was not found")
    if nat.state in ("pending", "available"):
        _change(backend, nat, "deleting")
    return nat


def _described(stock: Any) -> Any:
    def describe(backend: Any, filters: Any, nat_gateway_ids: Any) -> Any:
        found = stock(backend, filters, nat_gateway_ids)
        for name, values in (filters or {}).items():
            if name.startswith("tag:"):
                key = name.removeprefix("tag:")
                found = [one for one in found if any(tag["key"] == key and tag["value"] in values for tag in one.get_tags())]
        return found

    return describe


def describe_ticks(call: Call) -> None:
    """Let what comes and goes come nearer to it, as readers look. To be called after the answer."""
    backend = ec2_backends[call.account][call.region]
    for nat in backend.nat_gateways.values():
        if nat.state in ("pending", "deleting"):
            setattr(nat, _LEFT, getattr(nat, _LEFT) - 1)
            _settle(backend, nat)


def _change(backend: Any, nat: Any, state: str) -> None:
    nat.state = state
    setattr(nat, _LEFT, SETTINGS.nat_calls)
    _settle(backend, nat)


def _settle(backend: Any, nat: Any) -> None:
    if getattr(nat, _LEFT) > 0:
        return
    if nat.state == "pending" and not nat.doom:
        nat.state = "available"
        return
    nat.state = "failed" if nat.state == "pending" else "deleted"
    if nat.doom:
        nat.failure_code, nat.failure_message = "Resource.AlreadyAssociated", nat.doom
    backend.enis.pop(nat._eni.id, None)
    for address in backend.addresses:
        if address.eni is nat._eni:
            address.eni = address.association_id = None
