"""Which permissions a call needs besides its own name: AWS asks for these when the call's parameters do more than one thing."""

from __future__ import annotations

from typing import Any

from aws.protocols import Call

# Amazon S3 names permissions after what is touched, not after the call.
S3 = {
    "ListObjectsV2": "ListBucket",
    "ListObjects": "ListBucket",
    "HeadBucket": "ListBucket",
    "HeadObject": "GetObject",
    "ListBuckets": "ListAllMyBuckets",
    "CopyObject": "PutObject",
    "DeleteObjects": "DeleteObject",
    "CreateMultipartUpload": "PutObject",
    "UploadPart": "PutObject",
    "CompleteMultipartUpload": "PutObject",
}
_TAGGING = {
    "ec2": ("TagSpecifications", "ec2:CreateTags"),
    "elasticloadbalancing": ("Tags", "elasticloadbalancing:AddTags"),
    "ssm": ("Tags", "ssm:AddTagsToResource"),
    "autoscaling": ("Tags", "autoscaling:CreateOrUpdateTags"),
    "acm": ("Tags", "acm:AddTagsToCertificate"),
}


def needed(call: Call) -> list[str]:
    """Return the permissions of a call, its own first, as policies name them."""
    if call.service == "s3":
        return [f"s3:{S3.get(call.name, call.name)}"]
    permissions = [call.action]
    given: dict[str, Any] = call.parameters
    member, tagging = _TAGGING.get(call.prefix, ("", ""))
    if given.get(member) and call.action != tagging:
        permissions.append(tagging)
    if call.prefix == "iam" and given.get("Tags") and call.name.startswith("Create"):
        permissions.append("iam:" + call.name.replace("Create", "Tag"))
    if call.prefix == "autoscaling" and given.get("LaunchTemplate"):
        permissions.append("ec2:RunInstances")
    if call.action == "iam:AddRoleToInstanceProfile" or given.get("IamInstanceProfile"):
        permissions.append("iam:PassRole")
    if call.action == "route53:CreateHostedZone" and given.get("VPC"):
        permissions.append("ec2:DescribeVpcs")
    return permissions
