"""What tests of groups look at: the groups as they are observed, and what AWS says itself."""

from __future__ import annotations

from typing import Any

from aws.bed import REGION
from aws.sample import Sample

from i2kit.plan import ObservedResource
from i2kit.resources import InstanceGroup
from i2kit.testing.context import SampleContext
from i2kit.testing.samples import Samples
from i2kit_aws import groups, images, networks, secrets
from i2kit_aws.site import Site

SAMPLES = Samples(environment="prod", provider="aws", format="aws", architecture="x86_64")
ZONES = [f"{REGION}{letter}" for letter in "abc"]


def prepare(site: Site, context: SampleContext) -> None:
    """Make what groups stand on: a network, an image and a Secret."""
    for one in (SAMPLES.network(), SAMPLES.image(), SAMPLES.secret()):
        context.offer(one)
    networks.ensure(site, SAMPLES.network(), context)
    images.ensure(site, SAMPLES.image(), context)
    secrets.ensure(site, SAMPLES.secret(), context)


def seen(site: Site) -> dict[str, ObservedResource]:
    return {one.resource.name: one for one in groups.observe(site)}


def whole(site: Site, group: InstanceGroup) -> bool:
    """Whether a group is as it is asked for, and nothing is wrong with it."""
    one = seen(site).get(group.name)
    return one is not None and (one.resource, one.faults) == (group, ())


def scaling_group(aws: Sample, group: InstanceGroup) -> dict[str, Any]:
    return dict(aws.scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[group.name])["AutoScalingGroups"][0])


def instances(aws: Sample) -> list[dict[str, Any]]:
    found = [one for some in aws.ec2.describe_instances()["Reservations"] for one in some["Instances"]]
    return [one for one in found if one["State"]["Name"] in ("pending", "running")]


def template(aws: Sample, group: InstanceGroup) -> dict[str, Any]:
    versions = aws.ec2.describe_launch_template_versions(LaunchTemplateName=group.name, Versions=["$Latest"])
    return dict(versions["LaunchTemplateVersions"][0]["LaunchTemplateData"])
