"""Workloads and what they were resolved to -> Plan. Pure and deterministic; never sees a cloud, only what a provider declares."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Iterable, Mapping

from attrs import evolve

from i2kit import names, sizing
from i2kit.bootconfig import boot_of
from i2kit.capabilities import Capability, Support
from i2kit.errors import InvalidInput
from i2kit.images.formats import FORMATS
from i2kit.images.linuxkit_yaml import DRAIN_SECONDS, linuxkit_yaml, sources
from i2kit.images.locked import Locked
from i2kit.manifest.workloads import Notice, Pod, SecretData, Service, Workload, Workloads
from i2kit.misfits import misfits
from i2kit.plan import Plan
from i2kit.resources import (
    CLUSTER_DOMAIN,
    Backend,
    Balancer,
    BalancerPort,
    DnsRecord,
    Image,
    InstanceGroup,
    Mark,
    Resource,
    Secret,
    key,
)
from i2kit.strategy import Strategy
from i2kit.target import Target
from i2kit.wire import to_data

REVISION_LENGTH = 10


def plan(workloads: Workloads, locked: Locked, target: Target, *, secret_key: bytes = b"", previous: Plan | None = None) -> Plan:
    """Return the plan for `workloads`.

    `secret_key` keys the digests by which versions of Secrets are told apart. A workload that was restarted stays so: `previous` is the
    last release's plan. Raises `InvalidInput` with every problem at once when
    something does not fit the provider's capabilities and limits, or a Pod its memory.
    """
    if problems := misfits(workloads, locked.images, target):
        raise InvalidInput(problems)
    secrets = {(secret.namespace, secret.name): _secret(secret, target, secret_key) for secret in workloads.secrets}
    images: dict[str, Image] = {}
    groups: dict[tuple[str, str], InstanceGroup] = {}
    restarts = {(one.mark.namespace, one.mark.workload): one.restarts for one in groups_of(previous)}
    for workload in workloads.workloads:
        image = _image(workload.pod, locked, target)
        images.setdefault(image.name, image)
        group = _group(workload, image, locked, target, secrets)
        count = restarts.get((group.mark.namespace, group.mark.workload), 0)
        groups[workload.namespace, workload.name] = of_revision(evolve(group, restarts=count), image, target)
    strategies = {key(groups[one.namespace, one.name]): one.strategy for one in workloads.workloads}
    balancers = [_balancer(service, groups, target) for service in workloads.services]
    records = [one for service, balancer in zip(workloads.services, balancers, strict=True) for one in _records(service, balancer)]
    used = {name for group in groups.values() for name in group.boot.secrets.values()}
    resources: tuple[Resource, ...] = (
        target.network,
        *(secret for secret in secrets.values() if secret.name in used),
        *images.values(),
        *groups.values(),
        *balancers,
        *records,
    )
    return Plan(
        environment=target.environment.name,
        application=target.application,
        provider=target.provider.name,
        resources=resources,
        fingerprint=fingerprint_of(resources, strategies),
        lock=locked,
        notices=(*workloads.notices, *_unscaled(workloads.workloads, target), *_unheard(workloads.services, target)),
        strategies=strategies,
        history_limit=max((one.history_limit for one in workloads.workloads), default=10),
    )


def groups_of(plan: Plan | None) -> tuple[InstanceGroup, ...]:
    """Return the groups of a plan."""
    return tuple(one for one in (plan.resources if plan else ()) if isinstance(one, InstanceGroup))


def fingerprint_of(resources: Iterable[Resource], strategies: Mapping[str, Strategy]) -> str:
    """Return what tells plans apart that want something else."""
    return names.digest([to_data(resource) for resource in resources], {name: to_data(one) for name, one in sorted(strategies.items())})


def _unscaled(workloads: Iterable[Workload], target: Target) -> Iterable[Notice]:
    """Say which groups keep their size although a HorizontalPodAutoscaler is there."""
    level = target.provider.level(Capability.AUTOSCALING)
    for workload in workloads:
        if workload.scaling is not None and not level.usable:
            yield Notice(
                where=workload.where,
                message=f"{workload.name} runs at minReplicas ({workload.scaling.minimum}): provider {target.provider.name} "
                f"does not scale groups ({level.reason})",
            )


def _unheard(services: Iterable[Service], target: Target) -> Iterable[Notice]:
    """Say which public names are not what they are elsewhere."""
    level = target.provider.level(Capability.PUBLIC_DNS)
    for service in services:
        for name in service.hostnames if level.support is Support.EMULATED else ():
            yield Notice(where=service.where, message=f"the name {name} is emulated by provider {target.provider.name}: {level.reason}")


def empty(target: Target) -> Plan:
    """Return the plan of an application that is to be gone."""
    return Plan(
        environment=target.environment.name,
        application=target.application,
        provider=target.provider.name,
        resources=(),
        fingerprint=names.digest([]),
    )


def _secret(secret: SecretData, target: Target, hmac_key: bytes) -> Secret:
    values = {name: base64.b64encode(value.reveal()).decode() for name, value in secret.data.items()}
    version = hmac.new(hmac_key, json.dumps(values, sort_keys=True).encode(), "sha256").hexdigest()[:16]
    return Secret(
        name=target.name("Secret", f"{secret.name}-{version[:8]}", secret.namespace, secret.name, version),
        mark=target.mark(secret.namespace),
        secret=secret.name,
        version=version,
        keys=tuple(sorted(secret.data)),
    )


def _image(pod: Pod, locked: Locked, target: Target) -> Image:
    form, root = target.shape(pod, locked.images)
    text = linuxkit_yaml(pod, locked.images, locked.base, root)
    used = sources(pod, locked.images, locked.base, root)
    loader = locked.base.loader if form in FORMATS and FORMATS[form].firmware else None
    if loader is not None:
        used[loader.reference] = loader.digest
    identity = names.digest(text, used, locked.builder, locked.builder_version, form, root, locked.architecture)
    limit = target.limits.name_lengths.get("Image", 63)
    return Image(
        name=f"{names.slug(pod.containers[0].name, limit - 17)}-{identity[:16]}",
        mark=Mark(environment=names.mark_value(target.environment.name)),
        digest=identity,
        format=form,
        architecture=locked.architecture,
        builder=locked.builder,
        yaml=text,
        sources=used,
        root=root,
        loader=loader.reference if loader is not None else "",
    )


def _group(workload: Workload, image: Image, locked: Locked, target: Target, secrets: Mapping[tuple[str, str], Secret]) -> InstanceGroup:
    pod = workload.pod
    boot = boot_of(workload, {name: secret.name for (namespace, name), secret in secrets.items() if namespace == workload.namespace})
    scaling = workload.scaling
    scales = scaling is not None and target.provider.level(Capability.AUTOSCALING).usable
    return InstanceGroup(
        name=workload.name,
        mark=target.mark(workload.namespace, workload.name),
        image=image.name,
        network=target.network.name,
        replicas=workload.replicas if scaling is None or scales else scaling.minimum,
        scaling=scaling if scales else None,
        cpu_millis=sizing.cpu_millis(pod),
        memory_mib=sizing.memory_mib(pod, locked.images, image.root),
        architecture=image.architecture,
        boot=boot,
        grace_seconds=pod.termination_grace_period_seconds,
        drain_seconds=DRAIN_SECONDS,
        min_ready_seconds=workload.min_ready_seconds,
        progress_deadline_seconds=workload.progress_deadline_seconds,
        options=target.options(workload.annotations),
    )


def of_revision(group: InstanceGroup, image: Image, target: Target) -> InstanceGroup:
    """Give a group the revision that its template has, and the name that follows from it."""
    restarts = [group.restarts] if group.restarts else []
    template = (image.digest, to_data(group.boot), group.cpu_millis, group.memory_mib, image.architecture, *restarts)
    revision = names.digest(*template)[:REVISION_LENGTH]
    mark = evolve(group.mark, revision=revision)
    name = target.name("InstanceGroup", f"{mark.workload}-{revision[:6]}", mark.namespace, mark.workload, revision)
    return evolve(group, mark=mark, name=name)


def _balancer(service: Service, groups: Mapping[tuple[str, str], InstanceGroup], target: Target) -> Balancer:
    return Balancer(
        name=target.name("Balancer", service.name, service.namespace, service.name),
        mark=target.mark(service.namespace, service.workloads[0] if len(service.workloads) == 1 else ""),
        service=service.name,
        network=target.network.name,
        scope="public" if service.type == "LoadBalancer" else "internal",
        ports=tuple(
            BalancerPort(port=port.port, target_port=port.target_port, name=port.name, protocol=port.protocol) for port in service.ports
        ),
        backends=tuple(Backend(group=groups[service.namespace, workload].name) for workload in service.workloads),
        options=target.options(service.annotations),
    )


def _records(service: Service, balancer: Balancer) -> Iterable[DnsRecord]:
    """Return the names of a Service: the one that others find it by inside, and the public ones."""
    inside = DnsRecord(
        name=f"{balancer.service}.{balancer.mark.namespace}.{CLUSTER_DOMAIN}",
        mark=balancer.mark,
        balancer=balancer.name,
        network=balancer.network,
    )
    return (inside, *(evolve(inside, name=name, scope="public") for name in service.hostnames))
