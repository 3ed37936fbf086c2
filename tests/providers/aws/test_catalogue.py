"""Instance types: the catalogue is AWS's, and a group gets the cheapest that fits and is offered."""

from __future__ import annotations

import pytest
from attrs import evolve
from aws.bed import Bed
from aws.sample import Sample

from i2kit.errors import ProviderError
from i2kit.resources import InstanceGroup
from i2kit.testing.context import SampleContext
from i2kit.testing.samples import Samples
from i2kit_aws import catalogue, offers
from i2kit_aws.catalogue import TYPES
from i2kit_aws.plugin import PROVIDER
from i2kit_aws.site import Site

ZONES = ("eu-west-1a", "eu-west-1b", "eu-west-1c")


def group(cpu_millis: int = 100, memory_mib: int = 128, architecture: str = "x86_64", **options: str) -> InstanceGroup:
    made = Samples(provider="aws", format="aws", architecture=architecture).group()
    return evolve(
        made, cpu_millis=cpu_millis, memory_mib=memory_mib, options={name.replace("_", "-"): one for name, one in options.items()}
    )


def test_what_the_catalogue_says_is_what_aws_says(aws: Sample) -> None:
    names = list(TYPES)
    pages = aws.ec2.get_paginator("describe_instance_types").paginate(Filters=[{"Name": "instance-type", "Values": names}])
    described = {one["InstanceType"]: one for page in pages for one in page["InstanceTypes"]}
    assert sorted(described) == sorted(TYPES)
    for name, one in described.items():
        arm = one["ProcessorInfo"]["SupportedArchitectures"] == ["arm64"]
        told = (one["VCpuInfo"]["DefaultVCpus"], one["MemoryInfo"]["SizeInMiB"], "aarch64" if arm else "x86_64", one["Hypervisor"])
        assert told == (TYPES[name].vcpus, TYPES[name].memory_mib, TYPES[name].architecture, "nitro"), name


def test_every_family_has_all_its_sizes(aws: Sample) -> None:
    families = sorted({name.partition(".")[0] for name in TYPES})
    wanted = [{"Name": "instance-type", "Values": [f"{family}.*" for family in families]}]
    pages = aws.ec2.get_paginator("describe_instance_types").paginate(Filters=wanted)
    known = {one["InstanceType"] for page in pages for one in page["InstanceTypes"] if not one["BareMetal"]}
    assert known == set(TYPES)


@pytest.mark.parametrize(
    ("cpu_millis", "memory_mib", "architecture", "chosen"),
    [
        (100, 128, "x86_64", "t3.nano"),
        (100, 513, "x86_64", "t3.micro"),
        (2000, 8192, "x86_64", "t3.large"),
        (2001, 1024, "x86_64", "c6i.xlarge"),
        (1000, 8193, "x86_64", "r6i.large"),
        (4000, 8193, "x86_64", "m6i.xlarge"),
        (192_000, 1 << 20, "x86_64", "r7i.48xlarge"),
        (100, 128, "aarch64", "t4g.nano"),
        (2001, 1024, "aarch64", "c7g.xlarge"),
        (64_000, 512 << 10, "aarch64", "r7g.16xlarge"),
    ],
)
def test_a_group_gets_the_cheapest_type_that_fits(cpu_millis: int, memory_mib: int, architecture: str, chosen: str) -> None:
    best = catalogue.planned(group(cpu_millis, memory_mib, architecture))
    assert best is not None
    assert best.name == chosen


def test_the_limits_are_those_of_the_greatest_type() -> None:
    limits = PROVIDER.limits()
    greatest = group(limits.max_cpu_millis, limits.max_memory_mib)
    assert catalogue.problem(greatest) is None
    assert catalogue.problem(evolve(greatest, cpu_millis=limits.max_cpu_millis + 1)) is not None
    assert catalogue.problem(evolve(greatest, memory_mib=limits.max_memory_mib + 1)) is not None


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        (group(instance_type="m7g.large"), "it is aarch64"),
        (group(memory_mib=513, instance_type="t3.nano"), "it has 512 MiB of memory"),
        (group(3000, instance_type="t3.large"), "it has 2 vCPUs"),
        (group(65_000, architecture="aarch64"), "none in the catalogue has that"),
    ],
)
def test_a_type_that_does_not_fit_is_refused_without_asking_aws(wanted: InstanceGroup, why: str) -> None:
    problem = catalogue.problem(wanted)
    assert problem is not None
    assert why in str(problem)


def test_annotations_are_registered_with_a_sentence_each() -> None:
    assert PROVIDER.annotations["InstanceGroup"].keys() == {"instance-type", "instance-profile"}


def test_of_types_that_fit_the_one_that_all_zones_offer_is_taken(site: Site, context: SampleContext) -> None:
    assert offers.choose(site, group(), ZONES, context) == offers.Choice(type="t3.nano", zones=ZONES)


def test_a_dearer_type_is_taken_where_the_cheapest_is_not_offered_everywhere(site: Site, context: SampleContext) -> None:
    told = {**dict.fromkeys(TYPES, frozenset(ZONES)), "t3.nano": frozenset(ZONES[:1]), "t3.micro": frozenset()}
    site.memory.recall("offers/x86_64", lambda: told)
    assert offers.choose(site, group(), ZONES, context).type == "t3.small"


def test_without_a_type_that_is_offered_everywhere_most_zones_count(site: Site, context: SampleContext) -> None:
    site.memory.recall("offers/x86_64", lambda: {"t3.nano": frozenset(ZONES[:1]), "t3.small": frozenset(ZONES[1:])})
    assert offers.choose(site, group(), ZONES, context) == offers.Choice(type="t3.small", zones=ZONES[1:])


def test_zones_are_asked_once_for_a_driver(as_user: Bed, site: Site, context: SampleContext) -> None:
    for _ in range(3):
        offers.choose(site, group(), ZONES, context)
    assert as_user.calls()["ec2:DescribeInstanceTypeOfferings"] == 1


def test_a_type_that_no_zone_offers_is_refused(site: Site, context: SampleContext) -> None:
    with pytest.raises(ProviderError, match="it is not offered in eu-west-9a"):
        offers.choose(site, group(instance_type="t3.large"), ["eu-west-9a"], context)


def test_an_asked_for_type_is_taken_although_it_is_dearer(site: Site, context: SampleContext) -> None:
    assert offers.choose(site, group(instance_type="m6i.large"), ZONES, context).type == "m6i.large"


def test_a_type_outside_of_the_catalogue_is_looked_up_and_told(site: Site, context: SampleContext) -> None:
    assert offers.choose(site, group(instance_type="m5.large"), ZONES, context).type == "m5.large"
    assert context.messages == ["m5.large is not in i2kit's catalogue; AWS says that it fits"]


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        (group(instance_type="m4.large"), "it is not built on AWS's Nitro system"),
        (group(instance_type="m6g.large"), "it is aarch64"),
        (group(memory_mib=9000, instance_type="m5.large"), "it has 8192 MiB"),
        (group(instance_type="m99.large"), "AWS does not know it"),
    ],
)
def test_a_type_outside_of_the_catalogue_has_to_fit_too(site: Site, context: SampleContext, wanted: InstanceGroup, why: str) -> None:
    with pytest.raises(ProviderError, match=why):
        offers.choose(site, wanted, ZONES, context)
