"""Registers the local region; what it is made of is loaded when it is connected to."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from i2kit.capabilities import Capability, Level, Support
from i2kit.driver import DRIVER_API, Driver, Limits, Provider
from i2kit.environment import Environment
from i2kit.errors import Problem
from i2kit.hookspecs import hookimpl

_FULL = Level(support=Support.FULL)

CAPABILITIES = {
    Capability.GROUPS: _FULL,
    Capability.ORDINALS: Level(
        support=Support.NOT_IMPLEMENTED, reason="members with a disk and a name of their own come with StatefulSets"
    ),
    Capability.SELF_HEALING: _FULL,
    Capability.BALANCER_TCP: _FULL,
    Capability.BALANCER_UDP: Level(support=Support.UNSUPPORTED, reason="HAProxy balances TCP only"),
    Capability.BALANCER_INTERNAL: _FULL,
    Capability.BALANCER_PUBLIC: Level(support=Support.EMULATED, reason="published on this machine's loopback address"),
    Capability.WEIGHTS: _FULL,
    Capability.PRIVATE_DNS: _FULL,
    Capability.PUBLIC_DNS: Level(support=Support.EMULATED, reason="answered inside the environment only, instead of the real one"),
    Capability.SECRETS: _FULL,
    Capability.VOLUMES: Level(support=Support.NOT_IMPLEMENTED, reason="disks come with StatefulSets"),
    Capability.AUTOSCALING: Level(support=Support.UNSUPPORTED, reason="nothing on this machine measures the load"),
}
# A member is called <group>-<slot>, which is its host name: at most 63 characters, of which the slot takes up to six.
NAME_LENGTHS = {"InstanceGroup": 56, "Balancer": 50, "Network": 63, "Image": 63, "Secret": 63}


def limits() -> Limits:
    """Return what this machine has."""
    total = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal:"))
    return Limits(
        max_memory_mib=int(total.split()[1]) // 1024,
        max_cpu_millis=1000 * (os.cpu_count() or 1),
        max_replicas=1000,
        name_lengths=NAME_LENGTHS,
    )


def connect(environment: Environment) -> Driver:
    """Return the driver of an environment."""
    from i2kit_local.driver import LocalDriver

    return LocalDriver(environment)


def check(environment: Environment) -> Sequence[Problem]:
    """List what this machine lacks, and what is wrong with the environment's settings."""
    from i2kit_local.settings import check as check_machine

    return check_machine(environment)


_SETTINGS = {
    "publish": "the address of this machine on which LoadBalancer Services are published (default 127.0.0.1)",
    "accelerator": "auto (KVM where it really works, the default), kvm, or tcg",
}

PROVIDER = Provider(
    name="local",
    summary="VMs on this machine under QEMU, without an account",
    api=DRIVER_API,
    formats=("kernel+initrd", "kernel+squashfs"),
    capabilities=CAPABILITIES,
    limits=limits,
    connect=connect,
    check=check,
    settings=_SETTINGS,
)


@hookimpl
def i2kit_register_providers() -> Iterable[Provider]:
    """Yield the one provider of this plug-in."""
    yield PROVIDER
