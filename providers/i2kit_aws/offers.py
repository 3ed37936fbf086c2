"""Which zones offer which instance types, and the type that a group gets there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from attrs import frozen

from i2kit.driver import Context
from i2kit.errors import ProviderError
from i2kit.resources import InstanceGroup
from i2kit_aws.catalogue import TYPES, InstanceType, asked, fitting, problem, wrong
from i2kit_aws.gateway import AwsError
from i2kit_aws.site import Site

# AWS's words for what i2kit calls otherwise.
_ARCHITECTURES = {"arm64": "aarch64"}


@frozen(kw_only=True)
class Choice:
    """A group's instance type, and those of the environment's zones that offer it."""

    type: str
    zones: tuple[str, ...]


def choose(site: Site, group: InstanceGroup, zones: Collection[str], context: Context) -> Choice:
    """Return the type that a group asks for, or else the cheapest that fits and that all `zones` offer, or else most of them.

    Raises `ProviderError` (code ``aws-instance-type``) when there is none.
    """
    if found := problem(group):
        raise ProviderError(found)
    name = asked(group)
    if name and name not in TYPES:
        _check_unknown(site, group, context)
    offers = offered(site, group.architecture) if name in TYPES or not name else _offers(site, [name])
    names = [name] if name else [one.name for one in fitting(group)]
    best = max(names, key=lambda one: len(offers.get(one, frozenset()) & set(zones)))
    choice = Choice(type=best, zones=tuple(sorted(offers.get(best, frozenset()) & set(zones))))
    if not choice.zones:
        what = "it is not" if name else "none that fits is"
        raise ProviderError(wrong(group, f"{what} offered in {', '.join(sorted(zones))}"))
    return choice


def offered(site: Site, architecture: str) -> Mapping[str, frozenset[str]]:
    """Return which zones offer which types of the catalogue, asked once for a driver."""
    names = [one.name for one in TYPES.values() if one.architecture == architecture]
    return site.memory.recall(f"offers/{architecture}", lambda: _offers(site, names))


def _offers(site: Site, names: Sequence[str]) -> Mapping[str, frozenset[str]]:
    filters = [{"Name": "instance-type", "Values": list(names)}]
    found: dict[str, set[str]] = defaultdict(set)
    answers = site.gateway.pages(
        "ec2", "DescribeInstanceTypeOfferings", "InstanceTypeOfferings", LocationType="availability-zone", Filters=filters
    )
    for one in answers:
        found[str(one["InstanceType"])].add(str(one["Location"]))
    return {name: frozenset(zones) for name, zones in found.items()}


def _check_unknown(site: Site, group: InstanceGroup, context: Context) -> None:
    """Look at a type that the catalogue does not have as AWS describes it."""
    name = asked(group)
    try:
        answer = site.gateway.call("ec2", "DescribeInstanceTypes", InstanceTypes=[name])
    except AwsError as error:
        if error.code != "InvalidInstanceType":
            raise
        raise ProviderError(wrong(group, "AWS does not know it")) from error
    described = answer["InstanceTypes"][0]
    if why := _foreign(described) or _read(described, group.architecture).shortfall(group):
        raise ProviderError(wrong(group, why))
    context.progress(f"{name} is not in i2kit's catalogue; AWS says that it fits")


def _read(described: Mapping[str, Any], architecture: str) -> InstanceType:
    words = [_ARCHITECTURES.get(one, one) for one in described["ProcessorInfo"]["SupportedArchitectures"]]
    return InstanceType(
        name=described["InstanceType"],
        vcpus=described["VCpuInfo"]["DefaultVCpus"],
        memory_mib=described["MemoryInfo"]["SizeInMiB"],
        architecture=architecture if architecture in words else words[0],
    )


def _foreign(described: Mapping[str, Any]) -> str:
    """Say why the images, which have drivers for NVMe and ENA alone, do not run there; empty when they do."""
    if described.get("Hypervisor") != "nitro" and not described.get("BareMetal"):
        return "it is not built on AWS's Nitro system"
    return ""
