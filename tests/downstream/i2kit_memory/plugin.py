"""Registers the provider; nothing here runs before i2kit is asked for it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from i2kit.capabilities import Capability, Level, Support
from i2kit.driver import DRIVER_API, Limits, Provider
from i2kit.environment import Environment
from i2kit.errors import Problem
from i2kit.hookspecs import hookimpl
from i2kit_memory.driver import MemoryDriver
from i2kit_memory.region import region_of

CAPABILITIES = {
    **dict.fromkeys(
        (
            Capability.GROUPS,
            Capability.BALANCER_TCP,
            Capability.BALANCER_UDP,
            Capability.BALANCER_INTERNAL,
            Capability.BALANCER_PUBLIC,
            Capability.WEIGHTS,
            Capability.PRIVATE_DNS,
            Capability.PUBLIC_DNS,
            Capability.SECRETS,
        ),
        Level(support=Support.EMULATED, reason="it is written down; no VM runs and nothing listens"),
    ),
    Capability.SELF_HEALING: Level(support=Support.NOT_IMPLEMENTED, reason="`i2kit deploy` replaces what is gone"),
}


def limits() -> Limits:
    """Return limits like a real cloud's: tight names find mistakes early."""
    return Limits(max_memory_mib=65536, max_cpu_millis=64000, max_replicas=100, name_lengths={"Balancer": 32, "Network": 32})


def check(environment: Environment) -> Sequence[Problem]:
    """List what is wrong with the environment's settings; touch nothing."""
    path = environment.settings.get("path")
    if path is None or (isinstance(path, str) and Path(path).parent.is_dir()):
        return ()
    return (
        Problem(
            code="memory-path",
            message=f"provider.path is {path!r}",
            expected="the name of a file in a folder that exists",
            hint="make the folder, or leave `path` out",
        ),
    )


PROVIDER = Provider(
    name="memory",
    summary="keeps everything in memory or in one file; boots nothing",
    api=DRIVER_API,
    formats=("kernel+initrd", "qcow2-bios"),
    capabilities=CAPABILITIES,
    limits=limits,
    connect=lambda environment: MemoryDriver(region_of(environment)),
    check=check,
    settings={"path": "a JSON file that holds the cloud, shared by all processes that name it"},
)


@hookimpl
def i2kit_register_providers() -> Iterable[Provider]:
    """Yield the one provider of this distribution."""
    yield PROVIDER
