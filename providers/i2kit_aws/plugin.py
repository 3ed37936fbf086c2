"""Registers AWS; the driver and the SDKs are loaded when it is connected to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from i2kit.capabilities import Capability, Level, Support
from i2kit.cost import Cost
from i2kit.driver import DRIVER_API, CallLimits, Driver, Limits, Provider
from i2kit.environment import Environment
from i2kit.errors import Problem
from i2kit.hookspecs import hookimpl
from i2kit.resources import Resource
from i2kit_aws import catalogue, listeners
from i2kit_aws.settings import NETWORK, SETTINGS

_FULL = Level(support=Support.FULL)

CAPABILITIES = {
    Capability.GROUPS: _FULL,
    Capability.ORDINALS: Level(
        support=Support.NOT_IMPLEMENTED, reason="members with a disk and a name of their own come with StatefulSets"
    ),
    Capability.SELF_HEALING: _FULL,
    Capability.BALANCER_TCP: _FULL,
    Capability.BALANCER_UDP: _FULL,
    Capability.BALANCER_INTERNAL: _FULL,
    Capability.BALANCER_PUBLIC: _FULL,
    Capability.WEIGHTS: _FULL,
    Capability.PRIVATE_DNS: _FULL,
    Capability.PUBLIC_DNS: _FULL,
    Capability.SECRETS: _FULL,
    Capability.VOLUMES: Level(support=Support.NOT_IMPLEMENTED, reason="disks come with StatefulSets"),
    Capability.AUTOSCALING: _FULL,
}
# ELBv2's names end at 32; an image's name has its digest's first sixteen digits besides.
NAME_LENGTHS = {"InstanceGroup": 63, "Balancer": 32, "Network": 63, "Image": 63, "Secret": 63}

ANNOTATIONS = {
    catalogue.OPTION: "the instance type of the Deployment's VMs, such as m7g.large; without it the cheapest that fits",
    "instance-profile": "the name of an instance profile for the Deployment's VMs, where i2kit is to make no role for their Secrets",
}


def limits() -> Limits:
    """Return what the largest instance that i2kit takes has, and what AWS says of names and user data."""
    return Limits(
        max_memory_mib=catalogue.GREATEST_MIB,
        max_cpu_millis=catalogue.GREATEST_MILLIS,
        max_replicas=1000,
        boot_config_bytes=16 << 10,
        secrets_in_boot_config=False,
        name_lengths=NAME_LENGTHS,
    )


def connect(environment: Environment) -> Driver:
    """Return the driver of an environment."""
    from i2kit_aws.driver import AwsDriver

    return AwsDriver(environment)


def check(environment: Environment) -> Sequence[Problem]:
    """List what is wrong with the environment's settings, and what is missing on this machine."""
    from i2kit_aws.requirements import missing
    from i2kit_aws.settings import wrong

    return [*wrong(environment), *missing()]


def cost(environment: Environment, resources: Sequence[Resource]) -> Cost:
    """Return what resources cost a month, by the price table."""
    from i2kit_aws.bills import cost as bill

    return bill(environment, resources)


PROVIDER = Provider(
    name="aws",
    summary="Amazon Web Services: Auto Scaling groups, Network Load Balancers, Route 53",
    api=DRIVER_API,
    formats=("aws",),
    capabilities=CAPABILITIES,
    limits=limits,
    connect=connect,
    check=check,
    settings=SETTINGS,
    network=NETWORK,
    annotations={"InstanceGroup": ANNOTATIONS, "Balancer": listeners.ANNOTATIONS},
    # Requests are tried again one by one in the gateway; a change is only when that was not enough.
    calls=CallLimits(concurrency=16, attempts=2, call_seconds=300.0),
    platform="aws",
    lag_seconds=10.0,
    cost=cost,
)


@hookimpl
def i2kit_register_providers() -> Iterable[Provider]:
    """Yield the one provider of this plug-in."""
    yield PROVIDER
