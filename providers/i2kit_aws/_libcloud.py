"""libcloud's share of the gateway: the EC2 requests that its driver makes without losing anything. Private to the gateway.

libcloud signs the request, and has the connection; its answer is handed on as it came. What libcloud would make of it leaves out too
much: further pages, tags of some kinds, and everything where a server's XML has another namespace.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import requests
from attrs import field, frozen
from libcloud.compute.drivers.ec2 import BaseEC2NodeDriver, EC2Connection, EC2Response

LOST = requests.exceptions.RequestException
"""What is raised when no answer came."""

# Seconds to be connected in, and between two pieces of an answer.
_TIMEOUT = (10, 60)

Parameters = Mapping[str, Any]
Method = Callable[[Any], object]


@frozen(kw_only=True)
class Access:
    """Where EC2 is, and who asks, by which program. `authorities` is a file of certificates, where the user has their own."""

    url: str
    region: str
    key: str = field(repr=False)
    secret: str = field(repr=False)
    token: str | None = field(repr=False)
    authorities: str | None = None
    agent: str = ""


@frozen(kw_only=True)
class Answer:
    """An answer as it came."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def ask(thread: threading.local, access: Access, method: Method) -> Answer:
    """Make a request that `carried` returned, by this thread's driver: one that is shared may return another's answer. Raises `LOST`."""
    if getattr(thread, "access", None) != access:
        thread.access, thread.driver = access, _Driver(access)
    try:
        method(thread.driver)
    except _Answered as answered:
        return answered.answer
    raise AssertionError("every method of the table makes a request")


def carried(operation: str, parameters: Parameters) -> Method | None:
    """Return how libcloud's driver makes a request to EC2; None when it cannot make just this one."""
    row = CARRIED.get(operation)
    # Its signature is of %20 where it sends +.
    if row is None or _spaced(parameters) or not row.takes_just(parameters):
        return None
    try:
        arguments = {argument: convert(parameters[name]) for name, (argument, convert) in row.takes.items() if name in parameters}
    except (ValueError, TypeError, LookupError):
        # Not what libcloud takes, or nothing that anybody takes: boto3 says which.
        return None
    return lambda driver: getattr(driver, row.method)(**row.always, **arguments)


class _Answered(Exception):
    """Leaves libcloud's method with the answer."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer = answer


class _Response(EC2Response):
    def __init__(self, response: requests.Response, connection: object) -> None:
        raise _Answered(Answer(status=response.status_code, headers=response.headers, body=response.content))


class _Connection(EC2Connection):
    responseCls = _Response  # noqa: N815 - libcloud's name
    driver: Any

    def request(self, *given: Any, **named: Any) -> Any:
        # Whatever the environment says: what is to be made again, the gateway makes again.
        return super().request(*given, **named | {"retry_failed": False})  # type: ignore[no-untyped-call]

    def connect(self, *given: Any, **named: Any) -> None:
        super().connect(*given, **named)  # type: ignore[no-untyped-call]
        made: Any = self.connection
        # Without this, a line of ~/.netrc takes the place of the signature.
        made.session.auth = lambda request: request
        made.ca_cert = self.driver.access.authorities


class _Driver(BaseEC2NodeDriver):
    """EC2 in any region, also in those that are newer than libcloud."""

    connectionCls = _Connection  # noqa: N815 - libcloud's name
    name = "Amazon EC2"

    def __init__(self, access: Access) -> None:
        self.access = access
        self.region_name = access.region
        self.token = access.token
        self.signature_version = "4"
        url = urlsplit(access.url)
        host = f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname
        given = {"secure": url.scheme == "https", "host": host, "port": url.port, "timeout": _TIMEOUT}
        super().__init__(key=access.key, secret=access.secret, **given)  # type: ignore[no-untyped-call]
        self.connection.request_path = url.path
        self.connection.ua.append(access.agent)


def _spaced(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_spaced, value.values()))
    return any(map(_spaced, value)) if isinstance(value, list | tuple) else " " in str(value)


def _same(value: Any) -> Any:
    return value


def _id(value: str) -> SimpleNamespace:
    """Return what libcloud's methods want of a resource."""
    return SimpleNamespace(id=value)


def _only(values: Sequence[str]) -> str:
    """Return the one of a list. Raises ValueError when there are more, which libcloud does not take."""
    (value,) = values
    return value


def _filters(values: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return filters by their names. Raises ValueError for two of a name, which libcloud does not take."""
    filters = {str(one["Name"]): list(one["Values"]) for one in values}
    if len(filters) < len(values):
        raise ValueError
    return filters


@frozen
class _Row:
    """A method of libcloud's driver, and of which parameters its arguments are made; others it has not."""

    method: str
    takes: Mapping[str, tuple[str, Callable[[Any], Any]]]
    always: Mapping[str, Any] = field(factory=dict)
    optional: bool = field(default=False, kw_only=True)

    def takes_just(self, parameters: Parameters) -> bool:
        """Say whether the method makes a request of just these parameters."""
        return parameters.keys() <= self.takes.keys() if self.optional else parameters.keys() == self.takes.keys()


def _listing(method: str, ids: str, argument: str, filters: str = "filters") -> _Row:
    return _Row(method, {ids: (argument, _same), "Filters": (filters, _filters)}, optional=True)


_GATEWAY, _NETWORK, _SUBNET, _TABLE = ("gateway", _id), ("network", _id), ("subnet", _id), ("route_table", _id)
_ROUTE = {"RouteTableId": _TABLE, "DestinationCidrBlock": ("cidr", _same), "GatewayId": ("internet_gateway", _id)}

CARRIED: Mapping[str, _Row] = {
    "AssociateRouteTable": _Row("ex_associate_route_table", {"RouteTableId": _TABLE, "SubnetId": _SUBNET}),
    "AttachInternetGateway": _Row("ex_attach_internet_gateway", {"InternetGatewayId": _GATEWAY, "VpcId": _NETWORK}),
    "CreateRoute": _Row("ex_create_route", _ROUTE),
    "DeleteInternetGateway": _Row("ex_delete_internet_gateway", {"InternetGatewayId": _GATEWAY}),
    "DeleteRouteTable": _Row("ex_delete_route_table", {"RouteTableId": _TABLE}),
    "DeleteSecurityGroup": _Row("ex_delete_security_group_by_id", {"GroupId": ("group_id", _same)}),
    "DeleteSnapshot": _Row("destroy_volume_snapshot", {"SnapshotId": ("snapshot", _id)}),
    "DeleteSubnet": _Row("ex_delete_subnet", {"SubnetId": _SUBNET}),
    "DeleteVpc": _Row("ex_delete_network", {"VpcId": ("vpc", _id)}),
    "DeregisterImage": _Row("delete_image", {"ImageId": ("image", _id)}),
    "DescribeImages": _Row(
        "list_images",
        {"ImageIds": ("ex_image_ids", _same), "Owners": ("ex_owner", _only), "Filters": ("ex_filters", _filters)},
        optional=True,
    ),
    "DescribeInstances": _listing("list_nodes", "InstanceIds", "ex_node_ids", "ex_filters"),
    "DescribeInternetGateways": _listing("ex_list_internet_gateways", "InternetGatewayIds", "gateway_ids"),
    "DescribeRouteTables": _listing("ex_list_route_tables", "RouteTableIds", "route_table_ids"),
    "DescribeSecurityGroups": _listing("ex_get_security_groups", "GroupIds", "group_ids"),
    "DescribeSnapshots": _Row(
        "list_snapshots", {"SnapshotIds": ("snapshot", lambda ids: _id(_only(ids))), "OwnerIds": ("owner", _only)}, optional=True
    ),
    "DescribeSubnets": _listing("ex_list_subnets", "SubnetIds", "subnet_ids"),
    "DescribeVpcs": _listing("ex_list_networks", "VpcIds", "network_ids"),
    "DetachInternetGateway": _Row("ex_detach_internet_gateway", {"InternetGatewayId": _GATEWAY, "VpcId": _NETWORK}),
    "DisassociateRouteTable": _Row("ex_dissociate_route_table", {"AssociationId": ("subnet_association", _same)}),
    "ModifySubnetAttribute": _Row(
        "ex_modify_subnet_attribute",
        {"SubnetId": _SUBNET, "MapPublicIpOnLaunch": ("value", lambda given: str(given["Value"]).lower())},
        {"attribute": "auto_public_ip"},
    ),
    "ReleaseAddress": _Row(
        "ex_release_address",
        {"AllocationId": ("elastic_ip", lambda one: SimpleNamespace(extra={"allocation_id": one}))},
        {"domain": "vpc"},
    ),
    "ReplaceRoute": _Row("ex_replace_route", _ROUTE),
    "ReplaceRouteTableAssociation": _Row(
        "ex_replace_route_table_association", {"AssociationId": ("subnet_association", _same), "RouteTableId": _TABLE}
    ),
}
"""What libcloud carries, by EC2's names; docs/providers/coverage.md has the whole table, with the reasons."""
