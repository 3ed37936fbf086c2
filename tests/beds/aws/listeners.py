"""Listeners as AWS keeps them: TLS ones change too, target groups know whose they are, and tags are found. Patches moto."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from moto.core.resource_tagging import TaggedResource
from moto.elbv2.exceptions import TooManyTagsError
from moto.elbv2.models import ELBv2Backend, FakeTargetGroup, elbv2_backends

from aws.protocols import Refusal
from aws.targets import users_of

TAGS = 50


def install() -> None:
    """Put the patches in place, once for a process."""
    ELBv2Backend.modify_listener = _modified(ELBv2Backend.modify_listener)
    ELBv2Backend.iter_tagged_resources = _tagged(ELBv2Backend.iter_tagged_resources)
    ELBv2Backend.add_tags = _add_tags
    FakeTargetGroup.load_balancer_arns = property(_whose, lambda group, arns: None)


def _modified(stock: Any) -> Any:
    """Take protocols and certificates of Network Load Balancers, which moto refuses or passes over."""

    def modify(backend: Any, arn: str, port: Any, protocol: Any, policy: Any, certificates: Any, actions: Any) -> Any:
        listener = backend.describe_listeners(load_balancer_arn=None, listener_arns=[arn])[0]
        if backend.load_balancers[listener.load_balancer_arn].type != "network":
            return stock(backend, arn, port, protocol, policy, certificates, actions)
        spoken = protocol or listener.protocol
        chosen = [one["CertificateArn"] for one in certificates or []]
        for one in chosen:
            if not backend._certificate_exists(certificate_arn=one):
                raise Refusal("CertificateNotFound", f"Certificate '{one}' not found")
        if spoken == "TLS" and not (chosen or listener.certificates):
            raise Refusal("ValidationError", "A certificate must be specified for TLS listeners")
        changed = stock(backend, arn, port, None, policy, [], actions or [])
        changed.protocol = spoken
        if spoken != "TLS":
            changed.certificate, changed.certificates, changed.ssl_policy = None, [], None
        elif chosen:
            changed.certificate, changed.certificates = chosen[0], chosen
        return changed

    return modify


def _tagged(stock: Any) -> Any:
    """List listeners too."""

    def tagged(backend: Any) -> Iterator[TaggedResource]:
        yield from stock(backend)
        for balancer in backend.load_balancers.values():
            for arn in balancer.listeners:
                held = backend.tagging_service.get_tag_dict_for_resource(arn)
                yield TaggedResource(arn=arn, tags=held, resource_type="elasticloadbalancing:listener")

    return tagged


def _add_tags(backend: Any, resource_arns: list[str], tags: list[dict[str, str]]) -> None:
    for arn in resource_arns:
        backend._get_resource_by_arn(arn)
        held = backend.tagging_service.get_tag_dict_for_resource(arn)
        if len({*held, *(one["Key"] for one in tags)}) > TAGS:
            raise TooManyTagsError
        backend.tagging_service.tag_resource(arn, tags)


def _whose(group: Any) -> list[str]:
    """Return whose listeners forward to a target group now; moto knows those that did when they were made."""
    return users_of(elbv2_backends[group.account_id][group.region_name], group.arn)
