"""Instance types: what each has, and which of them a group may get. Pure; no SDK is needed to know it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from attrs import evolve, frozen

from i2kit.errors import Problem
from i2kit.resources import InstanceGroup
from i2kit_aws import prices

OPTION = "instance-type"
"""The annotation at a Deployment that names the type of its VMs."""

# What the families' `large` costs in us-east-1: what is preferred. Elsewhere the order is the same.
_LARGE = prices.REGIONS[prices.DEFAULT_REGION].large
_GIB_PER_VCPU = {"c": 2, "m": 4, "r": 8}
_MULTIPLES = {"6i": (2, 4, 8, 12, 16, 24, 32), "7i": (2, 4, 8, 12, 16, 24, 48), "7g": (2, 4, 8, 12, 16)}
_BURSTABLE_MIB = {"nano": 512, "micro": 1024, "small": 2048, "medium": 4096, "large": 8192, "xlarge": 16384, "2xlarge": 32768}


@frozen(kw_only=True)
class InstanceType:
    """An instance type; of those that fit a group, it gets the one of the least `dollars` (an hour, in us-east-1).

    One that is `burstable` has its whole CPU only now and then, or for a surcharge.
    """

    name: str
    vcpus: int
    memory_mib: int
    architecture: str
    dollars: float = 0.0
    burstable: bool = False

    @property
    def family(self) -> str:
        """What its name begins with, such as ``m7g``."""
        return self.name.partition(".")[0]

    @property
    def larges(self) -> float:
        """How many times the family's `large` it is: within a family prices go with the size exactly."""
        return self.memory_mib / _BURSTABLE_MIB["large"] if self.burstable else self.vcpus / 2

    def shortfall(self, group: InstanceGroup) -> str:
        """Say why a group's members do not run on it; empty when they do."""
        if self.architecture != group.architecture:
            return f"it is {self.architecture}, and the image of {group.name} is {group.architecture}"
        if self.memory_mib < group.memory_mib:
            return f"it has {self.memory_mib} MiB of memory, and {group.name} needs {group.memory_mib}"
        if self.vcpus * 1000 < group.cpu_millis:
            return f"it has {self.vcpus} vCPUs, and {group.name} needs {group.cpu_millis} thousandths of one"
        return ""


def _sizes(family: str) -> Iterator[tuple[str, int, int]]:
    """Yield a family's sizes with their vCPUs and MiB; bare metal, which takes minutes to start, is not among them."""
    if family.startswith("t"):
        vcpus = {"xlarge": 4, "2xlarge": 8}
        yield from ((size, vcpus.get(size, 2), mib) for size, mib in _BURSTABLE_MIB.items())
        return
    sizes = {"large": 2, "xlarge": 4} | {f"{multiple}xlarge": 4 * multiple for multiple in _MULTIPLES[family[1:]]}
    if family.endswith("g"):
        sizes["medium"] = 1
    yield from ((size, count, count * _GIB_PER_VCPU[family[0]] << 10) for size, count in sizes.items())


def _listed() -> Iterator[InstanceType]:
    for family, large in _LARGE.items():
        burstable = family.startswith("t")
        for size, vcpus, mib in _sizes(family):
            found = InstanceType(
                name=f"{family}.{size}",
                vcpus=vcpus,
                memory_mib=mib,
                architecture="aarch64" if family.endswith("g") else "x86_64",
                burstable=burstable,
            )
            yield evolve(found, dollars=large * found.larges)


TYPES: Mapping[str, InstanceType] = {one.name: one for one in _listed()}
"""The instance types that i2kit knows: Nitro all of them, which boot from NVMe and by UEFI or BIOS, with ENA."""

GREATEST_MILLIS = 1000 * max(one.vcpus for one in TYPES.values())
GREATEST_MIB = max(one.memory_mib for one in TYPES.values())

# Whoever asks for more than two cores means to use them: what bursts is taken up to `large`.
_MOST_BURSTABLE_VCPUS = 2


def fitting(group: InstanceGroup) -> tuple[InstanceType, ...]:
    """Return the types that a group may get unless it asks for one, the cheapest first."""
    found = (one for one in TYPES.values() if not one.shortfall(group) and (not one.burstable or one.vcpus <= _MOST_BURSTABLE_VCPUS))
    return tuple(sorted(found, key=lambda one: (one.dollars, one.name)))


def asked(group: InstanceGroup) -> str:
    """Return the type that a group's annotation names; empty when there is none."""
    return group.options.get(OPTION, "")


def problem(group: InstanceGroup) -> Problem | None:
    """Return what is wrong with a group's type as far as the catalogue knows it. Pure."""
    if not asked(group):
        return None if fitting(group) else _unfitting(group)
    known = TYPES.get(asked(group))
    why = known.shortfall(group) if known else ""
    return wrong(group, why) if why else None


def planned(group: InstanceGroup) -> InstanceType | None:
    """Return the type that a group gets where everything is offered; None when it asks for one that is not in the catalogue. Pure."""
    if asked(group):
        return TYPES.get(asked(group))
    return next(iter(fitting(group)), None)


def wrong(group: InstanceGroup, why: str) -> Problem:
    """Return the problem that a group's type, or that it finds none, is."""
    what = f"instance type {asked(group)} of {group.name}" if asked(group) else f"no instance type for {group.name}"
    hint = f"name another one by the annotation aws.i2kit.dev/{OPTION}"
    return Problem(code="aws-instance-type", message=f"{what}: {why}", hint=hint)


def _unfitting(group: InstanceGroup) -> Problem:
    needs = f"{group.cpu_millis} thousandths of a core and {group.memory_mib} MiB on {group.architecture}"
    return wrong(group, f"it needs {needs}, and none in the catalogue has that")
