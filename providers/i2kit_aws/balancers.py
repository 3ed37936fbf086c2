"""Network Load Balancers, their listeners and target groups."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from i2kit.driver import Context
from i2kit.errors import ProviderError
from i2kit.plan import ObservedResource
from i2kit.resources import Balancer
from i2kit_aws.gateway import absent
from i2kit_aws.site import Site


@frozen(kw_only=True)
class Address:
    """What a name is to be an alias of: a balancer's own name, and the hosted zone that Route 53 knows it in."""

    dns_name: str
    zone: str


def address(site: Site, balancer: str) -> Address:
    """Return the address of the balancer called `balancer`. Raises `ProviderError` (code ``no-balancer``) when there is none."""
    gone = absent("LoadBalancerNotFound")
    found = gone(lambda: site.gateway.call("elbv2", "DescribeLoadBalancers", Names=[balancer]))
    for one in (found or {}).get("LoadBalancers") or ():
        return Address(dns_name=str(one["DNSName"]), zone=str(one["CanonicalHostedZoneId"]))
    raise ProviderError.of("no-balancer", f"Balancer {balancer} does not exist")


def observe(site: Site) -> Sequence[ObservedResource]:
    """Return what is there of the environment."""
    raise NotImplementedError


def ensure(site: Site, balancer: Balancer, context: Context) -> None:
    """Make it as it is asked for."""
    raise NotImplementedError


def delete(site: Site, balancer: Balancer, context: Context) -> None:
    """Remove it; nothing happens when it is not there."""
    raise NotImplementedError
