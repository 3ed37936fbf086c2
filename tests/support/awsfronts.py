"""A network and groups in the AWS bed for balancers to stand in front of, and what AWS then says of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from attrs import evolve, field, frozen
from aws.bed import Bed
from aws.sample import Sample

from i2kit.plan import ObservedResource
from i2kit.resources import Balancer, InstanceGroup
from i2kit.testing.context import SampleContext
from i2kit.testing.samples import Samples
from i2kit_aws import balancers, networks
from i2kit_aws.networks import Located
from i2kit_aws.plugin import limits
from i2kit_aws.site import Site

SAMPLES = Samples(environment="prod", application="shop", provider="aws", format="aws", limits=limits())
DRAIN_SECONDS = 7


@frozen(kw_only=True)
class Fronts:
    """An environment with a network; `group` adds groups, as Auto Scaling alone has them."""

    site: Site
    bed: Bed
    aws: Sample
    context: SampleContext
    made: set[str] = field(factory=set)

    @classmethod
    def of(cls, site: Site, bed: Bed, folder: Path) -> Fronts:
        """In a network that the provider has made."""
        context = SampleContext(folder)
        networks.ensure(site, SAMPLES.network(), context)
        return cls(site=site, bed=bed, aws=Sample(bed), context=context)

    @classmethod
    def quickly(cls, site: Site, bed: Bed, folder: Path) -> Fronts:
        """In one that has what balancers need of it, made in a quarter of the time, where the site is told to find it."""
        aws = Sample(bed)
        assert aws.gateway
        subnets = {aws.zone(number): one for number, one in enumerate(aws.subnets)}
        groups = {name: aws.security_group(name) for name in ("members", "balancers")}
        place = Located(vpc=aws.vpc, cidrs=("10.0.0.0/16",), subnets=subnets, outer=subnets, zone="Z0", **groups)
        site.memory.recall("network", lambda: place)
        assert networks.locate(site) is place
        return cls(site=site, bed=bed, aws=aws, context=SampleContext(folder))

    def group(self, version: str = "1", size: int = 2, drain: int = DRAIN_SECONDS) -> InstanceGroup:
        """An Auto Scaling group of one version of the workload."""
        group = SAMPLES.group(version, replicas=size)
        labels = {"i2kit:environment": self.site.label, "i2kit:drain": str(drain)}
        labelled = [{"Key": key, "Value": value, "PropagateAtLaunch": True} for key, value in labels.items()]
        subnets = ",".join(networks.locate(self.site).subnets.values())
        self.aws.group(group.name, size, VPCZoneIdentifier=subnets, Tags=labelled)
        return group

    def ensure(self, balancer: Balancer) -> None:
        balancers.ensure(self.site, balancer, self.context)

    def delete(self, balancer: Balancer) -> None:
        balancers.delete(self.site, balancer, self.context)

    def seen(self) -> ObservedResource:
        """The one balancer of the environment."""
        (found,) = balancers.observe(self.site)
        return found

    def front(self, balancer: Balancer) -> dict[str, Any]:
        """What AWS says of the load balancer."""
        return dict(self.aws.elb.describe_load_balancers(Names=[balancer.name])["LoadBalancers"][0])

    def listeners(self, balancer: Balancer) -> list[dict[str, Any]]:
        """What AWS says of its listeners."""
        found = self.aws.elb.describe_listeners(LoadBalancerArn=self.front(balancer)["LoadBalancerArn"])["Listeners"]
        return sorted(found, key=lambda one: int(one["Port"]))

    def weights(self, balancer: Balancer) -> dict[str, dict[str, int]]:
        """How each port divides its traffic: by the groups that the target groups' tags name."""
        found = {}
        for listener in self.listeners(balancer):
            shares = listener["DefaultActions"][0]["ForwardConfig"]["TargetGroups"]
            found[str(listener["Port"])] = {self.tags(one["TargetGroupArn"]).get("i2kit:group", ""): int(one["Weight"]) for one in shares}
        return found

    def tags(self, arn: str) -> dict[str, str]:
        (found,) = self.aws.elb.describe_tags(ResourceArns=[arn])["TagDescriptions"]
        return {one["Key"]: one["Value"] for one in found["Tags"]}

    def target_groups(self) -> list[dict[str, Any]]:
        return list(self.aws.elb.describe_target_groups()["TargetGroups"])

    def attributes(self, arn: str) -> dict[str, str]:
        found = self.aws.elb.describe_target_group_attributes(TargetGroupArn=arn)["Attributes"]
        return {one["Key"]: one["Value"] for one in found}

    def guard(self, balancer: Balancer) -> dict[str, Any]:
        """What AWS says of the balancer's own security group."""
        wanted = [{"Name": "tag:i2kit:balancer", "Values": [balancer.name]}]
        (found,) = self.aws.ec2.describe_security_groups(Filters=wanted)["SecurityGroups"]
        return dict(found)

    def attached(self, group: InstanceGroup) -> set[str]:
        (found,) = self.aws.scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[group.name])["AutoScalingGroups"]
        return set(found.get("TargetGroupARNs", []))

    def attached_to(self, balancer: Balancer) -> set[str]:
        """The target groups that are attached to groups behind a balancer."""
        names = [one.group for one in balancer.backends]
        found = self.aws.scaling.describe_auto_scaling_groups(AutoScalingGroupNames=names)["AutoScalingGroups"]
        return {arn for one in found for arn in one.get("TargetGroupARNs", [])}

    def shape(self) -> dict[str, Any]:
        """Everything that belongs to balancers in words that are the same for all that is made the same way."""
        names = {one["TargetGroupArn"]: one["TargetGroupName"] for one in self.target_groups()}
        scaling = self.aws.scaling.describe_auto_scaling_groups()["AutoScalingGroups"]
        fronts = self.aws.elb.describe_load_balancers()["LoadBalancers"]
        return {
            "fronts": sorted((one["LoadBalancerName"], one["Scheme"], len(one["SecurityGroups"])) for one in fronts),
            "attributes": sorted((name, tuple(sorted(self.attributes(arn).items()))) for arn, name in names.items()),
            "attached": {one["AutoScalingGroupName"]: sorted(names[arn] for arn in one.get("TargetGroupARNs", [])) for one in scaling},
        }

    def actions(self, work: Callable[[], object]) -> list[str]:
        """What was asked of AWS meanwhile."""
        before = len(self.bed.journal())
        work()
        return [str(one["action"]) for one in self.bed.journal(before)]

    def changes(self, work: Callable[[], object]) -> list[str]:
        """What was changed at AWS meanwhile, without the services' names."""
        before = len(self.bed.journal())
        work()
        return [str(one["action"]).partition(":")[2] for one in self.bed.journal(before) if one["effect"]]


def balancer(*groups: InstanceGroup, weights: Iterable[int] = (), **other: Any) -> Balancer:
    """A balancer in front of groups."""
    return evolve(SAMPLES.balancer(*groups, weights=weights), **other)
