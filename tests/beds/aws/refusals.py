"""What AWS refuses and moto lets pass, an entry a check: tests/providers/aws/test_bed.py shows each against both."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from typing import Any

from moto.autoscaling.models import autoscaling_backends
from moto.ec2.models import ec2_backends
from moto.ec2.models.instance_types import INSTANCE_TYPES
from moto.elbv2.models import elbv2_backends
from moto.iam.models import iam_backends

from aws import images, nats, networks, zones
from aws.protocols import Call, Refusal
from aws.targets import users_of

USER_DATA = 16_384
NAME = 32
WEIGHT = 999
# Those of target groups of network load balancers that moto does not set from the start.
ATTRIBUTES = {
    "deregistration_delay.connection_termination.enabled",
    "preserve_client_ip.enabled",
    "proxy_protocol_v2.enabled",
    "stickiness.type",
    "target_health_state.unhealthy.connection_termination.enabled",
    "target_health_state.unhealthy.draining_interval_seconds",
    "target_group_health.dns_failover.minimum_healthy_targets.count",
    "target_group_health.dns_failover.minimum_healthy_targets.percentage",
    "target_group_health.unhealthy_state_routing.minimum_healthy_targets.count",
    "target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage",
}
STANDARD, ADVANCED = 4096, 8192
_UNKNOWN_GROUP = "AutoScalingGroup name not found - AutoScalingGroup '{}' not found"
_BY_NAME = ("Update", "Set", "Delete", "Attach", "Detach", "Put", "Suspend", "Resume")


def refuse(call: Call) -> None:
    """Raise Refusal if AWS would refuse a call that moto lets pass."""
    if call.refusal:
        raise call.refusal
    if call.service == "ebs":
        images.check(call)
    check = CHECKS.get(call.action)
    if check:
        check(call)
    group = call.parameters.get("AutoScalingGroupName")
    known = autoscaling_backends[call.account][call.region].autoscaling_groups if call.service == "autoscaling" else {}
    if group and call.service == "autoscaling" and call.name.startswith(_BY_NAME) and group not in known:
        raise Refusal("ValidationError", _UNKNOWN_GROUP.format(group))


def _user_data(text: str | None) -> None:
    if text is None:
        return
    try:
        size = len(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        raise Refusal("InvalidUserData.Malformed", "Invalid BASE64 encoding of user data.") from None
    if size > USER_DATA:
        raise Refusal("InvalidParameterValue", f"User data is limited to {USER_DATA} bytes")


def _template(call: Call) -> None:
    _user_data(call.parameters.get("LaunchTemplateData", {}).get("UserData"))


def _template_deleted(call: Call) -> None:
    backend, given = ec2_backends[call.account][call.region], call.parameters
    name = given.get("LaunchTemplateName")
    if name and name not in backend.launch_template_name_to_ids:
        message = "At least one of the launch templates specified in the request does not exist."
        raise Refusal("InvalidLaunchTemplateName.NotFoundException", message)


def _run(call: Call) -> None:
    _user_data(call.parameters.get("UserData"))
    kind = call.parameters.get("InstanceType")
    if kind is not None and kind not in INSTANCE_TYPES:
        raise Refusal("InvalidParameterValue", f"Invalid value '{kind}' for InstanceType.")


def _group_created(call: Call) -> None:
    backend = autoscaling_backends[call.account][call.region]
    given = call.parameters
    name = given["AutoScalingGroupName"]
    if name in backend.autoscaling_groups:
        message = f"AutoScalingGroup by this name already exists - A group with the name {name} already exists"
        raise Refusal("AlreadyExists", message)
    _sizes(given.get("MinSize"), given.get("MaxSize"), given.get("DesiredCapacity"))
    if given.get("LaunchTemplate"):
        _usable(call, given["LaunchTemplate"])
    known = elbv2_backends[call.account][call.region].target_groups
    for arn in given.get("TargetGroupARNs", []):
        if arn not in known:
            raise Refusal("ValidationError", f"Target group '{arn}' not found")


def _group_updated(call: Call) -> None:
    group = autoscaling_backends[call.account][call.region].autoscaling_groups.get(call.parameters["AutoScalingGroupName"])
    if group is not None:
        given = call.parameters
        least, most = given.get("MinSize", group.min_size), given.get("MaxSize", group.max_size)
        _sizes(least, most, given.get("DesiredCapacity"))
    if call.parameters.get("LaunchTemplate"):
        _usable(call, call.parameters["LaunchTemplate"])


def _sizes(least: Any, most: Any, desired: Any) -> None:
    if least is not None and most is not None and least > most:
        raise Refusal("ValidationError", "Max bound, MaxSize, must be greater than or equal to min bound, MinSize")
    if desired is not None and most is not None and not (least or 0) <= desired <= most:
        raise Refusal("ValidationError", "Desired capacity must be between the specified min size and max size")


def _capacity_set(call: Call) -> None:
    group = autoscaling_backends[call.account][call.region].autoscaling_groups.get(call.parameters["AutoScalingGroupName"])
    if group is None:
        return
    desired = call.parameters["DesiredCapacity"]
    side, bound = ("above max value", group.max_size) if desired > group.max_size else ("below min value", group.min_size)
    if not group.min_size <= desired <= group.max_size:
        message = f"New SetDesiredCapacity value {desired} is {side} {bound} for the AutoScalingGroup."
        raise Refusal("ValidationError", message)


def _group_deleted(call: Call) -> None:
    group = autoscaling_backends[call.account][call.region].autoscaling_groups.get(call.parameters["AutoScalingGroupName"])
    if group is not None and group.instance_states and not call.parameters.get("ForceDelete"):
        message = "You cannot delete an AutoScalingGroup while there are instances or pending Spot instance request(s) still in the group."
        raise Refusal("ResourceInUse", message)


def _member_terminated(call: Call) -> None:
    name = call.parameters["InstanceId"]
    groups = autoscaling_backends[call.account][call.region].autoscaling_groups.values()
    group = next((one for one in groups if any(state.instance.id == name for state in one.instance_states)), None)
    if group is None:
        raise Refusal("ValidationError", f"Instance Id not found - No managed instance found for instance ID: {name}")
    if call.parameters.get("ShouldDecrementDesiredCapacity") and group.desired_capacity <= group.min_size:
        message = f"Currently, desiredSize equals minSize ({group.min_size}). Terminating instance without replacement will violate"
        raise Refusal("ValidationError", f"{message} group's min size constraint.")


def _usable(call: Call, given: dict[str, Any]) -> None:
    """AWS tries a template when a group is to use it."""
    backend = ec2_backends[call.account][call.region]
    found = backend.launch_templates.get(
        given.get("LaunchTemplateId") or backend.launch_template_name_to_ids.get(given.get("LaunchTemplateName"))
    )
    if found is None:
        raise _malformed("The specified launch template does not exist.")
    try:
        data = found.get_version(given.get("Version") or "$Default").data
    except Exception:
        raise _malformed(f"Could not find version {given.get('Version')} of the launch template.") from None
    image = data.get("ImageId")
    if image is not None and image not in backend.amis:
        raise _malformed(f"The image id '[{image}]' does not exist")
    kind = data.get("InstanceType")
    if kind is not None and kind not in INSTANCE_TYPES:
        raise _malformed(f"Invalid value '{kind}' for InstanceType.")
    profile = data.get("IamInstanceProfile", {})
    profiles = iam_backends[call.account]["aws"].instance_profiles.values()
    if profile and not any(profile.get("Name") == one.name or profile.get("Arn") == one.arn for one in profiles):
        value = profile.get("Name") or profile.get("Arn")
        raise _malformed(f"Value ({value}) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name")
    groups = [*data.get("SecurityGroupIds", []), *(one for nic in data.get("NetworkInterfaces", []) for one in nic.get("Groups", []))]
    for name in groups:
        if backend.get_security_group_from_id(name) is None:
            raise _malformed(f"The security group '{name}' does not exist")


def _malformed(why: str) -> Refusal:
    return Refusal("ValidationError", f"You must use a valid fully-formed launch template. {why}")


def _role_removed(call: Call) -> None:
    profile, role = call.parameters["InstanceProfileName"], call.parameters["RoleName"]
    held = [one for one in iam_backends[call.account]["aws"].instance_profiles.values() if one.name == profile]
    if not any(one.name == role for known in held for one in known.roles):
        raise Refusal("NoSuchEntity", f"The role with name {role} is not in the instance profile {profile}.", 404)


def _named(what: str, name: str) -> None:
    if len(name) > NAME:
        raise Refusal("ValidationError", f"The {what} name '{name}' cannot be longer than '{NAME}' characters")
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?", name):
        raise Refusal("ValidationError", f"The {what} name '{name}' can only contain letters, digits and hyphens, no hyphen at either end")


def _balancer_created(call: Call) -> None:
    name = call.parameters["Name"]
    _named("load balancer", name)
    if name.startswith("internal-"):
        raise Refusal("ValidationError", f"The load balancer name '{name}' cannot begin with 'internal-'")
    backend = ec2_backends[call.account][call.region]
    ids = call.parameters.get("Subnets") or [one.get("SubnetId") for one in call.parameters.get("SubnetMappings", [])]
    subnets = [one for zone in backend.subnets.values() for one in zone.values() if one.id in ids]
    if len({one.availability_zone for one in subnets}) < len(subnets):
        raise Refusal("InvalidConfigurationRequest", "A load balancer cannot be attached to multiple subnets in the same Availability Zone")
    attached = {one.vpc.id for one in backend.internet_gateways.values() if one.vpc}
    for one in subnets if call.parameters.get("Scheme") != "internal" else []:
        # The default network has a gateway, of which moto knows nothing.
        if one.vpc_id not in attached and not backend.get_vpc(one.vpc_id).is_default:
            raise Refusal("InvalidSubnet", f"VPC {one.vpc_id} has no internet gateway")


def _target_group_created(call: Call) -> None:
    name = call.parameters["Name"]
    _named("target group", name)


def _groups_set(call: Call) -> None:
    balancer = elbv2_backends[call.account][call.region].load_balancers.get(call.parameters["LoadBalancerArn"])
    if balancer is not None and balancer.type == "network" and not balancer.security_groups:
        message = "You cannot add security groups to a Network Load Balancer that was created without any"
        raise Refusal("InvalidConfigurationRequest", message)


def _listener(call: Call) -> None:
    groups = elbv2_backends[call.account][call.region].target_groups
    protocol = call.parameters.get("Protocol")
    takes = {"TCP": {"TCP", "TCP_UDP"}, "UDP": {"UDP", "TCP_UDP"}, "TLS": {"TCP", "TLS"}, "TCP_UDP": {"TCP_UDP"}}.get(protocol or "")
    for action in call.parameters.get("DefaultActions", []):
        arns = [one.get("TargetGroupArn") for one in action.get("ForwardConfig", {}).get("TargetGroups", [])]
        for arn in [*arns, action.get("TargetGroupArn")]:
            if takes and arn in groups and groups[arn].protocol not in takes:
                other = groups[arn].protocol
                message = f"A listener with protocol {protocol} cannot forward to the target group '{arn}' with protocol {other}"
                raise Refusal("IncompatibleProtocols", message)
            if arn:
                _one_balancer(call, arn)
        for one in action.get("ForwardConfig", {}).get("TargetGroups", []):
            if not 0 <= one.get("Weight", 1) <= WEIGHT:
                raise Refusal("ValidationError", f"Target group weight '{one['Weight']}' must be between '0-{WEIGHT}' inclusive")
    if protocol == "TLS" and not call.parameters.get("Certificates"):
        raise Refusal("ValidationError", "A certificate must be specified for TLS listeners")


def _one_balancer(call: Call, target_group: str) -> None:
    """Refuse a target group of one Network Load Balancer for another."""
    backend = elbv2_backends[call.account][call.region]
    listener = call.parameters.get("ListenerArn", "")
    own = call.parameters.get("LoadBalancerArn") or listener.replace(":listener/", ":loadbalancer/").rpartition("/")[0]
    if own in backend.load_balancers and backend.load_balancers[own].type == "network":
        others = [one for one in users_of(backend, target_group) if one != own]
        if others:
            message = "The following target groups cannot be associated with more than one load balancer"
            raise Refusal("TargetGroupAssociationLimit", f"{message}: {target_group}")


def _target_attributes(call: Call) -> None:
    group = elbv2_backends[call.account][call.region].target_groups.get(call.parameters["TargetGroupArn"])
    given = {one.get("Key"): one.get("Value") for one in call.parameters.get("Attributes", [])}
    for name in given:
        if group is not None and name not in {*group.attributes, *ATTRIBUTES}:
            raise Refusal("ValidationError", f"Target group attribute key '{name}' is not recognized")
    if group is not None and group.protocol in ("UDP", "TCP_UDP") and given.get("preserve_client_ip.enabled") == "false":
        message = f"Client IP preservation cannot be disabled for target groups with protocol {group.protocol}"
        raise Refusal("InvalidConfigurationRequest", message)


def _parameter_put(call: Call) -> None:
    value, tier = call.parameters.get("Value", ""), call.parameters.get("Tier", "Standard")
    limit = STANDARD if tier == "Standard" else ADVANCED
    if len(value.encode()) > limit:
        kind = "Standard" if tier == "Standard" else "Advanced"
        raise Refusal("ValidationException", f"{kind} tier parameters support a maximum parameter value of {limit} characters.")
    if call.parameters["Name"].strip("/").count("/") >= 15:
        message = "A hierarchy can have a maximum of 15 levels."
        raise Refusal("HierarchyLevelLimitExceededException", message)


def _certificate_deleted(call: Call) -> None:
    arn = call.parameters["CertificateArn"]
    for balancer in elbv2_backends[call.account][call.region].load_balancers.values():
        if any(arn in one.certificates for one in balancer.listeners.values()):
            raise Refusal("ResourceInUseException", f"Certificate {arn} in account {call.account} is in use.")


CHECKS: dict[str, Callable[[Call], None]] = {
    "ec2:RegisterImage": images.check_image,
    "ec2:DeleteSecurityGroup": networks.check_group,
    "ec2:DeleteSubnet": networks.check_subnet,
    "ec2:DeleteVpc": networks.check_vpc,
    "ec2:AttachInternetGateway": networks.check_attach,
    "ec2:DetachInternetGateway": networks.check_detach,
    "ec2:ReleaseAddress": nats.check_release,
    "ec2:DeleteNetworkInterface": networks.check_interface,
    "ec2:CreateLaunchTemplate": _template,
    "ec2:CreateLaunchTemplateVersion": _template,
    "ec2:DeleteLaunchTemplate": _template_deleted,
    "ec2:RunInstances": _run,
    "autoscaling:CreateAutoScalingGroup": _group_created,
    "autoscaling:UpdateAutoScalingGroup": _group_updated,
    "autoscaling:SetDesiredCapacity": _capacity_set,
    "autoscaling:DeleteAutoScalingGroup": _group_deleted,
    "autoscaling:TerminateInstanceInAutoScalingGroup": _member_terminated,
    "elasticloadbalancing:CreateLoadBalancer": _balancer_created,
    "elasticloadbalancing:CreateTargetGroup": _target_group_created,
    "elasticloadbalancing:SetSecurityGroups": _groups_set,
    "elasticloadbalancing:CreateListener": _listener,
    "elasticloadbalancing:ModifyListener": _listener,
    "elasticloadbalancing:ModifyTargetGroupAttributes": _target_attributes,
    "ssm:PutParameter": _parameter_put,
    "iam:RemoveRoleFromInstanceProfile": _role_removed,
    "acm:DeleteCertificate": _certificate_deleted,
    "route53:CreateHostedZone": zones.check_zone,
    "route53:ChangeResourceRecordSets": zones.check_records,
}
