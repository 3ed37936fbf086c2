"""Which resources a request touches that carry no mark of i2kit's: policies may ask for one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from moto.autoscaling.models import autoscaling_backends
from moto.ec2.models import ec2_backends
from moto.elbv2.models import elbv2_backends

from aws.protocols import Call

MARK = "i2kit:environment"

_IDS = re.compile(r"(ami|eipalloc|i|igw|lt|nat|rtb|sg|snap|subnet|vpc)-[0-9a-f]+")
# Balancers' other parameters name what a balancer uses, not what is changed.
_ARNS = ("LoadBalancerArn", "ListenerArn", "TargetGroupArn", "ResourceArns")


def unmarked(call: Call) -> list[str]:
    """Return the resources that a request names and that have no mark, by their ids, ARNs or names."""
    return [name for name, tags in _touched(call) if MARK not in tags]


def _touched(call: Call) -> Iterator[tuple[str, Any]]:
    given = call.parameters
    if call.service in ("ec2", "ebs"):
        backend = ec2_backends[call.account][call.region]
        template = backend.launch_template_name_to_ids.get(given.get("LaunchTemplateName"))
        ids = [one for value in given.values() for one in (value if isinstance(value, list) else [value]) if isinstance(one, str)]
        yield from ((one, backend.tags.get(one, {})) for one in [*ids, *([template] if template else [])] if _IDS.fullmatch(one))
    if call.service == "elbv2":
        arns = [one for name in _ARNS for one in ([given[name]] if isinstance(given.get(name), str) else given.get(name, []))]
        yield from elbv2_backends[call.account][call.region].describe_tags(arns).items()
    if call.service == "autoscaling":
        groups = autoscaling_backends[call.account][call.region].autoscaling_groups
        names = {given.get("AutoScalingGroupName"), *(one.get("ResourceId") for one in given.get("Tags", []))}
        yield from ((name, {one["Key"]: one["Value"] for one in groups[name].tags}) for name in names if name in groups)
