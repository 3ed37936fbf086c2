"""Service quotas: what AWS lets an account have, what is in use of it, and what would be too much."""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any

from attrs import evolve, frozen

from i2kit.errors import Problem
from i2kit.log import logger
from i2kit_aws import targets
from i2kit_aws.catalogue import TYPES
from i2kit_aws.gateway import FORBIDDEN, AwsError, Gateway, absent
from i2kit_aws.site import Site

_log = logger("i2kit_aws.quotas")
_ASKED_AT_ONCE = 8
_unknown = absent("NoSuchResourceException")
# Quotas of services that are in no region are told in this one.
_GLOBAL_REGION = "us-east-1"
_COMMERCIAL = "aws"
_MOST_TYPES = 100
# Standard on-demand instances are those of these families; some that begin alike have quotas of their own.
_STANDARD = re.compile(r"(?!inf|trn|mac|hpc|dl)[acdhimrtz][a-z-]*[0-9].*")


@frozen(kw_only=True)
class Quota:
    """A quota by Service Quotas' words for it; `what` it is of, for people, and how many are `used` of it."""

    service: str
    code: str
    what: str
    used: Callable[[Site], int]
    is_global: bool = False


def excess(site: Site, wanted: Mapping[Quota, int]) -> list[Problem]:
    """Return where an account has no room for as many more as are `wanted`; what AWS does not tell is taken for enough."""
    asked = {quota: more for quota, more in wanted.items() if more > 0}
    if not asked:
        return []
    with ThreadPoolExecutor(_ASKED_AT_ONCE) as pool, _worldwide(site, asked) as worldwide:
        limits = list(pool.map(lambda one: _limit(worldwide if one.is_global else site.gateway, one), asked))
        known = {quota: limit for quota, limit in zip(asked, limits, strict=True) if limit is not None}
        used = list(pool.map(lambda one: one.used(site), known))
    return [*_exceeded(asked, known, dict(zip(known, used, strict=True)))]


def _exceeded(asked: Mapping[Quota, int], limits: Mapping[Quota, int], used: Mapping[Quota, int]) -> Iterator[Problem]:
    for quota, limit in limits.items():
        if used[quota] + asked[quota] > limit:
            yield Problem(
                code="aws-quota",
                message=f"the account may have {limit} {quota.what}; {used[quota]} are in use, and this needs {asked[quota]} more",
                hint=f"ask AWS for more (Service Quotas, {quota.service} {quota.code}), or remove what is not needed",
            )


@contextmanager
def _worldwide(site: Site, quotas: Iterable[Quota]) -> Iterator[Gateway | None]:
    """Give the way to the region that knows the quotas of what is in no region; None where none is asked for, or another region does."""
    if not any(one.is_global for one in quotas):
        yield None
    elif site.settings.region == _GLOBAL_REGION:
        yield site.gateway
    elif site.gateway.partition != _COMMERCIAL:
        yield None
    else:
        with closing(Gateway.connect(evolve(site.settings, region=_GLOBAL_REGION))) as gateway:
            yield gateway


def _limit(gateway: Gateway | None, quota: Quota) -> int | None:
    """Return what AWS says; None when it does not, or not to us."""
    if gateway is None:
        return None
    try:
        told = _unknown(lambda: gateway.call("service-quotas", "GetServiceQuota", ServiceCode=quota.service, QuotaCode=quota.code)["Quota"])
        # Of some that were never changed AWS tells the default alone.
        told = told or _unknown(lambda: _default(gateway, quota))
    except AwsError as error:
        if error.code not in FORBIDDEN:
            raise
        _log.warning("aws.quota-unknown", quota=quota.what, error=str(error))
        return None
    return int(told["Value"]) if told else None


def _default(gateway: Gateway, quota: Quota) -> Mapping[str, Any] | None:
    listed = gateway.pages("service-quotas", "ListAWSDefaultServiceQuotas", "Quotas", ServiceCode=quota.service)
    return next((one for one in listed if one["QuotaCode"] == quota.code), None)


def _pages(service: str, operation: str, key: str, site: Site) -> int:
    return sum(1 for _ in site.gateway.pages(service, operation, key))


def _counted(service: str, operation: str, key: str) -> Callable[[Site], int]:
    return functools.partial(_pages, service, operation, key)


def _balancers(site: Site) -> int:
    return sum(one.get("Type") == "network" for one in site.gateway.pages("elbv2", "DescribeLoadBalancers", "LoadBalancers"))


def _vcpus(site: Site) -> int:
    """Count the vCPUs of standard instances that run on demand."""
    running = [{"Name": "instance-state-name", "Values": ["pending", "running"]}]
    sizes: Counter[str] = Counter()
    known = 0
    for reservation in site.gateway.pages("ec2", "DescribeInstances", "Reservations", Filters=running):
        for one in reservation.get("Instances") or ():
            if one.get("InstanceLifecycle") or not standard(str(one["InstanceType"])):
                continue
            if options := one.get("CpuOptions"):
                known += int(options["CoreCount"]) * int(options["ThreadsPerCore"])
            else:
                sizes[str(one["InstanceType"])] += 1
    each = vcpus_of(site, sizes)
    return known + sum(each.get(name, 0) * count for name, count in sizes.items())


def vcpus_of(site: Site, names: Iterable[str]) -> dict[str, int]:
    """Return how many vCPUs instances of these types have; AWS is asked for those that are not in the catalogue."""
    wanted = sorted(set(names))
    found = {name: TYPES[name].vcpus for name in wanted if name in TYPES}
    unknown = [name for name in wanted if name not in found]
    for first in range(0, len(unknown), _MOST_TYPES):
        told = site.gateway.call("ec2", "DescribeInstanceTypes", InstanceTypes=unknown[first : first + _MOST_TYPES])
        found |= {str(one["InstanceType"]): int(one["VCpuInfo"]["DefaultVCpus"]) for one in told.get("InstanceTypes") or ()}
    return found


def standard(name: str) -> bool:
    """Whether an instance type counts against the quota of standard ones.

    >>> [name for name in ("t3.micro", "m7g.large", "g5.xlarge", "inf2.xlarge", "im4gn.large", "p4d.24xlarge") if standard(name)]
    ['t3.micro', 'm7g.large', 'im4gn.large']
    """
    return _STANDARD.fullmatch(name) is not None


VCPUS = Quota(service="ec2", code="L-1216C47A", what="vCPUs of standard on-demand instances", used=_vcpus)
ADDRESSES = Quota(
    service="ec2", code="L-0263D0A3", what="Elastic IPs", used=lambda site: len(site.gateway.call("ec2", "DescribeAddresses")["Addresses"])
)
TEMPLATES = Quota(
    service="ec2", code="L-FB451C26", what="launch templates", used=_counted("ec2", "DescribeLaunchTemplates", "LaunchTemplates")
)
VPCS = Quota(service="vpc", code="L-F678F1CE", what="VPCs", used=_counted("ec2", "DescribeVpcs", "Vpcs"))
GATEWAYS = Quota(
    service="vpc", code="L-A4707A72", what="internet gateways", used=_counted("ec2", "DescribeInternetGateways", "InternetGateways")
)
SECURITY_GROUPS = Quota(
    service="vpc", code="L-E79EC296", what="security groups", used=_counted("ec2", "DescribeSecurityGroups", "SecurityGroups")
)
BALANCERS = Quota(service="elasticloadbalancing", code="L-69A177A2", what="Network Load Balancers", used=_balancers)
TARGET_GROUPS = Quota(
    service="elasticloadbalancing", code="L-B22855CB", what="target groups", used=lambda site: sum(1 for _ in targets.listed(site))
)
GROUPS = Quota(
    service="autoscaling",
    code="L-CDE20ADC",
    what="Auto Scaling groups",
    used=_counted("autoscaling", "DescribeAutoScalingGroups", "AutoScalingGroups"),
)
ZONES = Quota(
    service="route53",
    code="L-4EA4796A",
    what="hosted zones",
    used=lambda site: int(site.gateway.call("route53", "GetHostedZoneCount")["HostedZoneCount"]),
    is_global=True,
)
ROLES = Quota(
    service="iam",
    code="L-FE177D64",
    what="IAM roles",
    used=lambda site: int(site.gateway.call("iam", "GetAccountSummary")["SummaryMap"]["Roles"]),
    is_global=True,
)
