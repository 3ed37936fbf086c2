"""Everything that is in the account, by type: what a destroy must leave as it found it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from moto.acm.models import acm_backends
from moto.autoscaling.models import autoscaling_backends
from moto.cloudwatch.models import cloudwatch_backends
from moto.ebs.models import ebs_backends
from moto.ec2.models import ec2_backends
from moto.elb.models import elb_backends
from moto.elbv2.models import elbv2_backends
from moto.iam.models import iam_backends
from moto.route53.models import route53_backends
from moto.s3.models import s3_backends
from moto.secretsmanager.models import secretsmanager_backends
from moto.ssm.models import ssm_backends

_EC2 = (
    ("vpc", "vpcs"),
    ("internet-gateway", "internet_gateways"),
    ("nat-gateway", "nat_gateways"),
    ("route-table", "route_tables"),
    ("network-acl", "network_acls"),
    ("network-interface", "enis"),
    ("volume", "volumes"),
    ("snapshot", "snapshots"),
    ("image", "amis"),
    ("launch-template", "launch_templates"),
    ("key-pair", "keypairs"),
    ("dhcp-options", "dhcp_options_sets"),
    ("vpc-endpoint", "vpc_end_points"),
    ("profile-association", "iam_instance_profile_associations"),
)


def taken() -> dict[str, list[str]]:
    """Return the names of all resources by type, such as ``ec2:vpc``; what is terminated, deleted or failed counts as gone."""
    found: dict[str, list[str]] = {}
    for kind, name in _all():
        found.setdefault(kind, []).append(name)
    return {kind: sorted(names) for kind, names in sorted(found.items())}


def _all() -> Iterator[tuple[str, str]]:
    for backend in _each(ec2_backends):
        yield from _ec2(backend)
    for backend in _each(autoscaling_backends):
        yield from (("autoscaling:group", one) for one in backend.autoscaling_groups)
        yield from (("autoscaling:policy", one) for one in backend.policies)
        yield from (("autoscaling:launch-configuration", one) for one in backend.launch_configurations)
    for backend in _each(elbv2_backends):
        yield from (("elasticloadbalancing:balancer", one.name) for one in backend.load_balancers.values())
        yield from (("elasticloadbalancing:target-group", one.name) for one in backend.target_groups.values())
        yield from (("elasticloadbalancing:listener", arn) for one in backend.load_balancers.values() for arn in one.listeners)
    for backend in _each(elb_backends):
        yield from (("elasticloadbalancing:classic", one) for one in backend.load_balancers)
    for backend in _each(ebs_backends):
        # A snapshot that was deleted is not dropped here by moto.
        yield from (("ebs:snapshot", one) for one in backend.snapshots if one in backend.ec2_backend.snapshots)
    yield from _others()


def _ec2(backend: Any) -> Iterator[tuple[str, str]]:
    held = {kind: dict(getattr(backend, attribute, {})) for kind, attribute in _EC2}
    held["subnet"] = {name: one for zone in backend.subnets.values() for name, one in zone.items()}
    held["security-group"] = {name: one for groups in backend.groups.values() for name, one in groups.items()}
    defaults = {name for name, one in backend.vpcs.items() if one.is_default}
    for kind, named in held.items():
        for name, one in named.items():
            if not _default(kind, name, one, defaults) and getattr(one, "state", "") not in ("deleted", "terminated", "failed"):
                yield f"ec2:{kind}", str(name)
    yield from (("ec2:address", one.allocation_id or one.public_ip) for one in backend.addresses)
    yield from (("ec2:instance", one.id) for one in backend.all_instances() if one.state != "terminated")


def _default(kind: str, name: str, one: Any, networks: set[str]) -> bool:
    """Whether AWS made something with the account: moto makes it with the first call to a region."""
    if kind == "vpc":
        return name in networks
    if getattr(one, "vpc_id", None) not in networks:
        return False
    marks = {"subnet": "default_for_az", "network-acl": "default", "route-table": "main_association_id", "security-group": "is_default"}
    return kind in marks and bool(getattr(one, marks[kind], False))


def _others() -> Iterator[tuple[str, str]]:
    for backend in _each(ssm_backends):
        yield from (("ssm:parameter", name) for name, versions in backend._parameters.items() if versions)
    for backend in _each(route53_backends):
        for zone in backend.zones.values():
            yield "route53:zone", zone.name
            yield from (("route53:record", f"{one.name} {one.type}") for one in zone.rrsets)
    for backend in _each(s3_backends):
        for bucket in backend.buckets.values():
            yield "s3:bucket", bucket.name
            yield from (("s3:object", f"{bucket.name}/{key}") for key in bucket.keys)
    for backend in _each(iam_backends):
        yield from (("iam:role", one.name) for one in backend.roles.values())
        yield from (("iam:instance-profile", one.name) for one in backend.instance_profiles.values())
        yield from (("iam:policy", arn) for arn in backend.managed_policies if ":aws:policy/" not in arn)
        yield from (("iam:user", name) for name in backend.users)
    for backend in _each(cloudwatch_backends):
        yield from (("cloudwatch:alarm", name) for name in backend.alarms)
    for backend in _each(acm_backends):
        yield from (("acm:certificate", arn) for arn in backend._certificates)
    for backend in _each(secretsmanager_backends):
        yield from (("secretsmanager:secret", name) for name in backend.secrets)


def _each(backends: Any) -> list[Any]:
    return [backend for regions in list(backends.values()) for backend in list(regions.values())]
