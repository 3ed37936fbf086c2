"""Roles of groups that have Secrets: each may read the parameters of just those, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from i2kit.driver import Context
from i2kit.names import resource_name
from i2kit.resources import InstanceGroup
from i2kit_aws import secrets, tags, waits
from i2kit_aws.gateway import AwsError, absent
from i2kit_aws.site import Site

OPTION = "instance-profile"
"""The annotation at a Deployment that names an instance profile to use instead of one's own."""

_NAME = 64
_POLICY = "secrets"
_gone = absent("NoSuchEntity")
_there = absent("EntityAlreadyExists")


def name_of(site: Site, group: str) -> str:
    """Return the name of a group's own role and instance profile, which an account has once for all regions."""
    return resource_name(group, site.environment.name, site.settings.region, group, limit=_NAME)


def profile_of(site: Site, group: InstanceGroup) -> str:
    """Return the name of the instance profile that a group's members have; empty when they have none."""
    return group.options.get(OPTION, "") or (name_of(site, group.name) if group.boot.secrets else "")


def is_own(site: Site, group: InstanceGroup) -> bool:
    """Whether the group's members have a role that i2kit makes for them."""
    return profile_of(site, group) == name_of(site, group.name)


def policy_of(site: Site, names: Sequence[str]) -> dict[str, Any]:
    """Return the policy that lets a role read the Secrets of these names, and nothing else."""
    gateway, paths = site.gateway, [secrets.path_of(site, name) for name in sorted(set(names))]
    arns = [f"arn:{gateway.partition}:ssm:{site.settings.region}:{gateway.account}:parameter{path}" for path in paths]
    statement = {
        "Effect": "Allow",
        "Action": "ssm:GetParametersByPath",
        "Resource": [one for arn in arns for one in (arn, f"{arn}/*")],
    }
    return {"Version": "2012-10-17", "Statement": [statement]}


def ensure(site: Site, group: InstanceGroup, context: Context) -> None:
    """Have the group's role, its policy and its instance profile. They take effect a little later."""
    name, call = name_of(site, group.name), site.gateway.call
    given = {"Path": f"{site.path()}/", "Tags": tags.listed(site.tags(group.mark, name, group=group.name))}
    trusted = {"Effect": "Allow", "Principal": {"Service": _service(site)}, "Action": "sts:AssumeRole"}
    trust = _text({"Version": "2012-10-17", "Statement": [trusted]})
    policy = _text(policy_of(site, tuple(group.boot.secrets.values())))
    _there(lambda: call("iam", "CreateRole", RoleName=name, AssumeRolePolicyDocument=trust, **given))
    waits.accepted(lambda: call("iam", "PutRolePolicy", RoleName=name, PolicyName=_POLICY, PolicyDocument=policy), _unknown, context)
    _there(lambda: call("iam", "CreateInstanceProfile", InstanceProfileName=name, **given))
    waits.accepted(lambda: _join(site, name), _unknown, context)


def _join(site: Site, name: str) -> None:
    """Put the role into the profile, which has room for one."""
    try:
        site.gateway.call("iam", "AddRoleToInstanceProfile", InstanceProfileName=name, RoleName=name)
    except AwsError as error:
        if error.code != "LimitExceeded" or name not in _roles_in(site, name):
            raise


def _roles_in(site: Site, profile: str) -> list[str]:
    answer = _gone(lambda: site.gateway.call("iam", "GetInstanceProfile", InstanceProfileName=profile))
    return [str(one["RoleName"]) for one in (answer or {}).get("InstanceProfile", {}).get("Roles", [])]


def delete(site: Site, group: str, context: Context) -> None:
    """Remove the role and the instance profile that a group of this name had; nothing happens when there are none."""
    name, call = name_of(site, group), site.gateway.call
    for role in _roles_in(site, name):
        _gone(lambda role=role: call("iam", "RemoveRoleFromInstanceProfile", InstanceProfileName=name, RoleName=role))  # type: ignore[misc]
    waits.accepted(lambda: _gone(lambda: call("iam", "DeleteInstanceProfile", InstanceProfileName=name)), _in_use, context)
    _gone(lambda: call("iam", "DeleteRolePolicy", RoleName=name, PolicyName=_POLICY))
    waits.accepted(lambda: _gone(lambda: call("iam", "DeleteRole", RoleName=name)), _in_use, context)


def _unknown(error: AwsError) -> bool:
    return error.code == "NoSuchEntity"


def _in_use(error: AwsError) -> bool:
    return error.code == "DeleteConflict"


def _service(site: Site) -> str:
    return "ec2.amazonaws.com.cn" if site.gateway.partition == "aws-cn" else "ec2.amazonaws.com"


def _text(document: Mapping[str, Any]) -> str:
    return json.dumps(document, separators=(",", ":"))
