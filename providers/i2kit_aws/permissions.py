"""What i2kit may do in an account: the policies beside docs/providers/aws-policy.md, and why each statement is as wide as it is. Pure.

``python -m i2kit_aws.permissions docs/providers`` writes them, and that page's table. A test holds them against the requests that the
provider makes, in both directions.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import field, frozen

from i2kit_aws.tags import ENVIRONMENT

LONGEST = 6144
"""How many characters a managed policy may have, without spaces: that is why there are two."""

Condition = Mapping[str, Mapping[str, Any]]

MADE: Condition = {"Null": {f"aws:RequestTag/{ENVIRONMENT}": "false"}}
"""Only what is marked when it is made."""
OURS: Condition = {"Null": {f"aws:ResourceTag/{ENVIRONMENT}": "false"}}
"""Only what was marked when it was made."""


@frozen(kw_only=True)
class Statement:
    """One statement: `actions` as policies name them, and `why` they are allowed no less than that, for docs/providers/aws-policy.md."""

    sid: str
    why: str
    actions: tuple[str, ...]
    resources: tuple[str, ...] = ("*",)
    condition: Condition = field(factory=dict)

    def document(self) -> dict[str, Any]:
        """Return it as a policy has it."""
        told = {"Sid": self.sid, "Effect": "Allow", "Action": list(self.actions), "Resource": list(self.resources)}
        return told | ({"Condition": dict(self.condition)} if self.condition else {})


def _of(service: str, *names: str) -> tuple[str, ...]:
    return tuple(f"{service}:{name}" for name in names)


def _arns(*kinds: str) -> tuple[str, ...]:
    # Images and snapshots are named without an account.
    return tuple(f"arn:aws:ec2:*:{'' if kind in ('image', 'snapshot') else '*'}:{kind}/*" for kind in kinds)


_READ = Statement(
    sid="Look",
    why="AWS does not narrow these to resources. i2kit asks for what has its tags and names, and shows nothing else.",
    actions=(
        *_of("autoscaling", "DescribeAccountLimits", "DescribeAutoScalingGroups", "DescribePolicies", "DescribeScalingActivities"),
        *_of("ec2", "DescribeAddresses", "DescribeAvailabilityZones", "DescribeImages", "DescribeInstanceTypeOfferings"),
        *_of("ec2", "DescribeInstanceTypes", "DescribeInstances", "DescribeInternetGateways", "DescribeLaunchTemplateVersions"),
        *_of("ec2", "DescribeLaunchTemplates", "DescribeNatGateways", "DescribeNetworkInterfaces", "DescribeRouteTables"),
        *_of("ec2", "DescribeSecurityGroups", "DescribeSnapshots", "DescribeSubnets", "DescribeVpcs"),
        *_of("elasticloadbalancing", "DescribeAccountLimits", "DescribeListeners", "DescribeLoadBalancerAttributes"),
        *_of(
            "elasticloadbalancing",
            "DescribeLoadBalancers",
            "DescribeTags",
            "DescribeTargetGroupAttributes",
            "DescribeTargetGroups",
            "DescribeTargetHealth",
        ),
        *_of("iam", "GetAccountSummary"),
        *_of("route53", "GetAccountLimit", "GetHostedZoneCount", "ListHostedZones", "ListHostedZonesByName", "ListHostedZonesByVPC"),
        *_of("servicequotas", "ListAWSDefaultServiceQuotas"),
        *_of("ssm", "DescribeParameters"),
        *_of("sts", "GetCallerIdentity"),
        *_of("tag", "GetResources"),
    ),
)

_EC2 = (
    Statement(
        sid="MakeMarked",
        why="New resources of EC2 have to be marked in the request that makes them.",
        actions=(
            *_of("ec2", "AllocateAddress", "CreateInternetGateway", "CreateLaunchTemplate", "CreateNatGateway", "CreateRouteTable"),
            *_of("ec2", "CreateSecurityGroup", "CreateSubnet", "CreateVpc", "RegisterImage"),
            *_of("ebs", "StartSnapshot"),
        ),
        resources=(
            *_arns("elastic-ip", "image", "internet-gateway", "launch-template", "natgateway", "route-table", "security-group"),
            *_arns("snapshot", "subnet", "vpc"),
        ),
        condition=MADE,
    ),
    Statement(
        sid="UseWhatIsThere",
        why="What something is made in or of is there already: a VPC that environment.yml names has no mark.",
        actions=(
            *_of("ec2", "CreateNatGateway", "CreateRouteTable", "CreateSecurityGroup", "CreateSubnet", "DescribeVpcAttribute"),
            *_of("ec2", "RegisterImage"),
        ),
        resources=_arns("elastic-ip", "snapshot", "subnet", "vpc"),
    ),
    Statement(
        sid="MarkWhatIsMade",
        why="Marks are given in the requests that make something, and with no other.",
        actions=_of("ec2", "CreateTags"),
        resources=("arn:aws:ec2:*:*:*/*", *_arns("image", "snapshot")),
        condition={
            "StringEquals": {
                "ec2:CreateAction": [
                    *("AllocateAddress", "CreateInternetGateway", "CreateLaunchTemplate", "CreateNatGateway", "CreateRouteTable"),
                    *("CreateSecurityGroup", "CreateSubnet", "CreateVpc", "RegisterImage", "RunInstances", "StartSnapshot"),
                ]
            }
        },
    ),
    Statement(
        sid="ChangeMarked",
        why="Only what i2kit made, of any environment.",
        actions=(
            *_of("ec2", "AssociateRouteTable", "AttachInternetGateway", "AuthorizeSecurityGroupEgress", "AuthorizeSecurityGroupIngress"),
            *_of("ec2", "CreateLaunchTemplateVersion", "CreateTags", "DeleteInternetGateway", "DeleteLaunchTemplate", "DeleteNatGateway"),
            *_of("ec2", "DeleteRouteTable", "DeleteSecurityGroup", "DeleteSnapshot", "DeleteSubnet", "DeleteTags", "DeleteVpc"),
            *_of("ec2", "DeregisterImage", "DetachInternetGateway", "GetConsoleOutput", "ModifySubnetAttribute", "ModifyVpcAttribute"),
            *_of("ec2", "ReleaseAddress", "ReplaceRouteTableAssociation", "RevokeSecurityGroupIngress"),
            *_of("ebs", "CompleteSnapshot", "PutSnapshotBlock"),
        ),
        resources=("arn:aws:ec2:*:*:*/*", *_arns("image", "snapshot")),
        condition=OURS,
    ),
    Statement(
        sid="StartMembers",
        why="Who makes a group has to be allowed what its launch template does. Instances are started by templates alone.",
        actions=_of("ec2", "RunInstances"),
        resources=(
            *_arns("image", "instance", "launch-template", "network-interface", "security-group", "snapshot"),
            *_arns("subnet", "volume"),
        ),
        condition={"ArnLike": {"ec2:LaunchTemplate": "arn:aws:ec2:*:*:launch-template/*"}},
    ),
    Statement(
        sid="Route",
        why="The route table that comes with a VPC has no mark: it cannot be tagged in the request that makes the VPC.",
        actions=_of("ec2", "CreateRoute", "DisassociateRouteTable", "ReplaceRoute"),
        resources=_arns("route-table", "subnet"),
    ),
)

_SCALING_GROUP = ("arn:aws:autoscaling:*:*:autoScalingGroup:*:autoScalingGroupName/*",)
_GROUPS = (
    Statement(
        sid="MakeGroups",
        why="New groups have to be marked. Auto Scaling cannot tell marking a new group from marking one that is there.",
        actions=_of("autoscaling", "CreateAutoScalingGroup", "CreateOrUpdateTags"),
        resources=_SCALING_GROUP,
        condition=MADE,
    ),
    Statement(
        sid="ChangeGroups",
        why="Only groups that i2kit made.",
        actions=(
            *_of("autoscaling", "AttachLoadBalancerTargetGroups", "CreateOrUpdateTags", "DeleteAutoScalingGroup", "DeletePolicy"),
            *_of("autoscaling", "DetachLoadBalancerTargetGroups", "PutScalingPolicy", "ResumeProcesses"),
            *_of("autoscaling", "TerminateInstanceInAutoScalingGroup", "UpdateAutoScalingGroup"),
        ),
        resources=_SCALING_GROUP,
        condition=OURS,
    ),
)

_NLB, _TARGETS = "arn:aws:elasticloadbalancing:*:*:loadbalancer/net/*/*", "arn:aws:elasticloadbalancing:*:*:targetgroup/*/*"
_LISTENER = "arn:aws:elasticloadbalancing:*:*:listener/net/*/*/*"
_BALANCERS = (
    Statement(
        sid="MakeBalancers",
        why="New balancers and target groups have to be marked.",
        actions=_of("elasticloadbalancing", "CreateLoadBalancer", "CreateTargetGroup"),
        resources=(_NLB, _TARGETS),
        condition=MADE,
    ),
    Statement(
        sid="MarkBalancers",
        why="Marks are given in the requests that make something.",
        actions=_of("elasticloadbalancing", "AddTags"),
        resources=(_NLB, _TARGETS, _LISTENER),
        condition={"StringEquals": {"elasticloadbalancing:CreateAction": ["CreateListener", "CreateLoadBalancer", "CreateTargetGroup"]}},
    ),
    Statement(
        sid="ChangeBalancers",
        why="Only what i2kit made.",
        actions=(
            *_of("elasticloadbalancing", "AddTags", "CreateListener", "DeleteListener", "DeleteLoadBalancer", "DeleteTargetGroup"),
            *_of("elasticloadbalancing", "ModifyListener", "ModifyLoadBalancerAttributes", "ModifyTargetGroup"),
            *_of("elasticloadbalancing", "ModifyTargetGroupAttributes", "RemoveTags", "SetSecurityGroups", "SetSubnets"),
        ),
        resources=(_NLB, _TARGETS, _LISTENER),
        condition=OURS,
    ),
)

_NAMES = (
    Statement(
        sid="MakeZones",
        why="A zone has no name by which a policy could tell it, and takes no tags when it is made.",
        actions=_of("route53", "CreateHostedZone"),
    ),
    Statement(
        sid="ChangeZones",
        why="For the same reason. Where you have public zones that i2kit is not to touch, name those here that it may.",
        actions=_of("route53", "AssociateVPCWithHostedZone", "ChangeResourceRecordSets", "DeleteHostedZone", "GetHostedZone")
        + _of("route53", "ListResourceRecordSets"),
        resources=("arn:aws:route53:::hostedzone/*",),
    ),
)

_PARAMETERS = Statement(
    sid="KeepRecordsAndSecrets",
    why="Parameters are told by their path: release records and Secrets.",
    actions=_of("ssm", "AddTagsToResource", "DeleteParameter", "DeleteParameters", "GetParameter", "GetParametersByPath", "PutParameter"),
    resources=("arn:aws:ssm:*:*:parameter/i2kit/*",),
)

_ROLES = (
    Statement(
        sid="KeepRoles",
        why="Roles and instance profiles are told by their path: those of groups whose Pods have Secrets.",
        actions=(
            *_of("iam", "AddRoleToInstanceProfile", "CreateInstanceProfile", "CreateRole", "DeleteInstanceProfile", "DeleteRole"),
            *_of("iam", "DeleteRolePolicy", "GetInstanceProfile", "PutRolePolicy", "RemoveRoleFromInstanceProfile"),
            *_of("iam", "TagInstanceProfile", "TagRole"),
        ),
        resources=("arn:aws:iam::*:instance-profile/i2kit/*", "arn:aws:iam::*:role/i2kit/*"),
    ),
    Statement(
        sid="GiveRolesToInstances",
        why="To instances of EC2 (in China it has another name), and to nothing else.",
        actions=_of("iam", "PassRole"),
        resources=("arn:aws:iam::*:role/i2kit/*",),
        condition={"StringEquals": {"iam:PassedToService": ["ec2.amazonaws.com", "ec2.amazonaws.com.cn"]}},
    ),
    Statement(
        sid="LetServicesWork",
        why="The first group and the first balancer of an account bring AWS's own roles for their services.",
        actions=_of("iam", "CreateServiceLinkedRole"),
        resources=("arn:aws:iam::*:role/aws-service-role/*",),
        condition={"StringEquals": {"iam:AWSServiceName": ["autoscaling.amazonaws.com", "elasticloadbalancing.amazonaws.com"]}},
    ),
)

_LOOK_BEFORE = Statement(
    sid="LookBeforehand",
    why="Before the first change: quotas, and the certificates that listeners of TLS name.",
    actions=("acm:DescribeCertificate", "servicequotas:GetServiceQuota"),
    resources=("arn:aws:acm:*:*:certificate/*", "arn:aws:servicequotas:*:*:*"),
)

POLICIES: Mapping[str, tuple[Statement, ...]] = {
    "aws-policy-compute": (_READ, *_EC2),
    "aws-policy-services": (*_GROUPS, *_BALANCERS, *_NAMES, _PARAMETERS, *_ROLES, _LOOK_BEFORE),
}
"""The policies by the names of their files; whoever runs i2kit needs both."""

NOT_REQUESTED: Mapping[str, str] = {
    "autoscaling:CreateOrUpdateTags": "tags in CreateAutoScalingGroup",
    "autoscaling:DescribeAccountLimits": "GetServiceQuota, of Auto Scaling",
    "ec2:RunInstances": "a launch template in CreateAutoScalingGroup and UpdateAutoScalingGroup",
    "elasticloadbalancing:DescribeAccountLimits": "GetServiceQuota, of Elastic Load Balancing",
    "iam:CreateServiceLinkedRole": "the first CreateAutoScalingGroup and CreateLoadBalancer of an account",
    "iam:PassRole": "AddRoleToInstanceProfile, and an instance profile in a launch template",
    "iam:TagInstanceProfile": "tags in CreateInstanceProfile",
    "iam:TagRole": "tags in CreateRole",
    "route53:GetAccountLimit": "GetServiceQuota, of Route 53",
    "ssm:AddTagsToResource": "tags in PutParameter",
}
"""Permissions without a request of their name, and which requests need them."""

_HEAD = "| statement | allows | on | why |"
# How policies name a service, where that is not what boto3 calls it.
_PREFIXES = {"elbv2": "elasticloadbalancing", "resourcegroupstaggingapi": "tag", "service-quotas": "servicequotas"}


def permission(service: str, operation: str) -> str:
    """Return the permission that a request needs before any other.

    >>> permission("elbv2", "CreateLoadBalancer")
    'elasticloadbalancing:CreateLoadBalancer'
    """
    return f"{_PREFIXES.get(service, service)}:{operation}"


def statements() -> Iterator[Statement]:
    """Yield the statements of both policies."""
    for policy in POLICIES.values():
        yield from policy


def document(policy: str) -> str:
    """Return a policy as its file has it."""
    told = {"Version": "2012-10-17", "Statement": [statement.document() for statement in POLICIES[policy]]}
    return f"{json.dumps(told, indent=2)}\n"


def table() -> str:
    """Return the table of docs/providers/aws-policy.md: statement, what it allows, and why no less."""
    rows = [_HEAD, "|---|---|---|---|"]
    for one in statements():
        allowed, where = (", ".join(f"`{name}`" for name in names) for names in (one.actions, one.resources))
        rows.append(f"| `{one.sid}` | {allowed} | {where} | {one.why} |")
    return "".join(f"{row}\n" for row in rows)


def write(folder: Path) -> None:
    """Write the policies, and the table at the end of their page, into the folder of the docs."""
    for name in POLICIES:
        (folder / f"{name}.json").write_text(document(name), encoding="utf-8")
    page = folder / "aws-policy.md"
    text = page.read_text(encoding="utf-8").partition(_HEAD)[0]
    page.write_text(text + table(), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
