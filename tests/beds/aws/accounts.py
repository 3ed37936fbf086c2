"""The rest of an account: console output and quotas. Patches moto."""

from __future__ import annotations

import base64
from typing import Any

from moto.core.responses import ActionResult
from moto.core.utils import utcnow
from moto.ec2.responses.general import General
from moto.servicequotas.models import ServiceQuotasBackend
from moto.servicequotas.responses import ServiceQuotasResponse

from aws.protocols import Refusal
from aws.settings import SETTINGS

# (service, code): name and AWS's default value.
QUOTAS = {
    ("ec2", "L-1216C47A"): ("Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances", 32.0),
    ("ec2", "L-0263D0A3"): ("EC2-VPC Elastic IPs", 5.0),
    ("ec2", "L-FB451C26"): ("Launch templates per Region", 5000.0),
    ("vpc", "L-F678F1CE"): ("VPCs per Region", 5.0),
    ("vpc", "L-A4707A72"): ("Internet gateways per Region", 5.0),
    ("vpc", "L-407747CB"): ("Subnets per VPC", 200.0),
    ("vpc", "L-E79EC296"): ("VPC security groups per Region", 2500.0),
    ("vpc", "L-FE5A380F"): ("NAT gateways per Availability Zone", 5.0),
    ("elasticloadbalancing", "L-69A177A2"): ("Network Load Balancers per Region", 50.0),
    ("elasticloadbalancing", "L-B22855CB"): ("Target Groups per Region", 3000.0),
    ("autoscaling", "L-CDE20ADC"): ("Auto Scaling groups per region", 500.0),
    ("ebs", "L-309BACF6"): ("Snapshots per Region", 100000.0),
    ("route53", "L-4EA4796A"): ("Hosted zones per AWS account", 500.0),
    ("iam", "L-FE177D64"): ("Roles per account", 1000.0),
}


def install() -> None:
    """Put the patches in place, once for a process."""
    General.get_console_output = _console
    ServiceQuotasBackend.get_service_quota = lambda backend, service_code, quota_code: _quota(service_code, quota_code)
    ServiceQuotasBackend.list_aws_default_service_quotas = lambda backend, service_code: _quotas(service_code)
    ServiceQuotasResponse.list_service_quotas = ServiceQuotasResponse.list_aws_default_service_quotas


def _console(response: Any) -> ActionResult:
    instance = response.ec2_backend.get_instance(response._get_param("InstanceId"))
    text = SETTINGS.console.get(instance.id, SETTINGS.console.get("*"))
    # A machine that has just started has said nothing yet, and AWS leaves the member out.
    said = {"Output": base64.b64encode(text.encode()).decode()} if text is not None else {}
    return ActionResult({"InstanceId": instance.id, "Timestamp": utcnow(), **said})


def _quotas(service: str) -> list[dict[str, Any]]:
    return [_quota(*key) for key in QUOTAS if key[0] == service]


def _quota(service: str, code: str) -> dict[str, Any]:
    if (service, code) not in QUOTAS:
        raise Refusal("NoSuchResourceException", "The request failed because the specified service quota does not exist.", 400)
    name, value = QUOTAS[service, code]
    told = {"ServiceCode": service, "QuotaCode": code, "QuotaName": name, "Unit": "None", "GlobalQuota": False, "Adjustable": True}
    return {**told, "Value": SETTINGS.quotas.get((service, code), value)}
