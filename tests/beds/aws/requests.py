"""The requests that the provider's code names, found by reading it."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import botocore.session

from i2kit_aws.permissions import permission

SOURCES = Path(__file__).parents[3] / "providers/i2kit_aws"
SERVICES = ("acm", "autoscaling", "ebs", "ec2", "elbv2", "iam", "resourcegroupstaggingapi", "route53", "service-quotas", "ssm", "sts")
# They name requests without making them.
TABLES = ("_clients.py", "_libcloud.py", "permissions.py")


@functools.cache
def operations(service: str) -> frozenset[str]:
    """Return the names of a service's requests."""
    return frozenset(botocore.session.Session().get_service_model(service).operation_names)


def requests(tree: ast.AST) -> Iterator[tuple[str, ...]]:
    """Yield what a module asks for: the permission of each request, or several where a name alone does not tell the service."""
    told = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and len(node.args) > 1:
            service, operation = node.args[:2]
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if name in ("call", "pages") and isinstance(service, ast.Constant) and isinstance(operation, ast.Constant):
                told.add(operation)
                assert operation.value in operations(service.value), f"{service.value} has no {operation.value}"
                yield (permission(service.value, operation.value),)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in told:
            named = tuple(permission(service, node.value) for service in SERVICES if node.value in operations(service))
            if named:
                yield named


def asked() -> dict[tuple[str, ...], str]:
    """Return all requests of the provider, and where one of each kind is."""
    found = {}
    for path in sorted(SOURCES.glob("*.py")):
        if path.name not in TABLES:
            found |= dict.fromkeys(requests(ast.parse(path.read_text())), path.name)
    return found
