"""Workloads and what they were resolved to -> Plan. Pure and deterministic; never sees a cloud, only what a provider declares."""

from __future__ import annotations

import base64
import functools
import hmac
import json
from collections.abc import Callable, Iterable, Mapping

from attrs import evolve, frozen

from i2kit import names, sizing
from i2kit.capabilities import Capability
from i2kit.driver import Limits, Provider
from i2kit.environment import Environment
from i2kit.errors import InvalidInput, Problem, Where
from i2kit.images.formats import FORMATS, Root, holding
from i2kit.images.linuxkit_yaml import DRAIN_SECONDS, arguments, linuxkit_yaml, sources
from i2kit.images.locked import Locked, LockedImage
from i2kit.manifest.workloads import (
    ConfigVolume,
    Container,
    EnvSecret,
    Notice,
    Pod,
    Resources,
    SecretData,
    SecretVolume,
    Service,
    Workload,
    Workloads,
)
from i2kit.plan import Plan
from i2kit.resources import (
    Backend,
    Balancer,
    BalancerPort,
    Boot,
    DnsRecord,
    Image,
    InstanceGroup,
    Mark,
    Network,
    Resource,
    Secret,
    key,
)
from i2kit.strategy import Strategy
from i2kit.wire import to_data

CLUSTER_DOMAIN = "svc.cluster.local"
REVISION_LENGTH = 10
MEMBER_SUFFIX = 5
"""What an instance's name has beyond its group's: a dash and up to four digits."""


@frozen(kw_only=True)
class Target:
    """What the planner has to know of the place the plan is for.

    `formats` are the provider's that the chosen builder makes, the best first.
    """

    environment: Environment
    provider: Provider
    limits: Limits
    formats: tuple[str, ...]
    application: str

    def mark(self, namespace: str = "", workload: str = "", revision: str = "") -> Mark:
        """Return the mark of one of the application's resources."""
        return Mark(
            environment=names.mark_value(self.environment.name),
            application=names.mark_value(self.application),
            namespace=names.mark_value(namespace),
            workload=names.mark_value(workload),
            revision=revision,
        )

    def name(self, kind: str, readable: str, *identity: str) -> str:
        """Name a resource of `kind`, within the provider's limit for it."""
        limit = self.limits.name_lengths.get(kind, 63) - (MEMBER_SUFFIX if kind == "InstanceGroup" else 0)
        return names.resource_name(readable, self.environment.name, self.application, kind, *identity, limit=limit)

    @property
    def options_prefix(self) -> str:
        """What the provider's own annotations begin with."""
        return f"{self.provider.name}.i2kit.dev/"

    def options(self, annotations: Mapping[str, str]) -> dict[str, str]:
        """Return an object's annotations that are the provider's own, without their prefix."""
        prefix = self.options_prefix
        return {name.removeprefix(prefix): value for name, value in annotations.items() if name.startswith(prefix)}

    @functools.cached_property
    def network(self) -> Network:
        """The environment's network, which all its applications share."""
        limit = self.limits.name_lengths.get("Network", 63)
        return Network(
            name=names.resource_name(self.environment.name, self.environment.name, "Network", limit=limit),
            mark=Mark(environment=names.mark_value(self.environment.name)),
            dns_zone=self.environment.dns_zone,
        )


def plan(workloads: Workloads, locked: Locked, target: Target, *, secret_key: bytes = b"", previous: Plan | None = None) -> Plan:
    """Return the plan for `workloads`.

    `secret_key` keys the digests by which versions of Secrets are told apart. A workload that was restarted stays so: `previous` is the
    last release's plan. Raises `InvalidInput` with every problem at once when
    something does not fit the provider's capabilities and limits, or a Pod its memory.
    """
    if problems := problems_of(workloads, locked.images, target):
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
    records = [_record(balancer, target) for balancer in balancers]
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
        notices=(*workloads.notices, *_unscaled(workloads.workloads, target)),
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


def empty(target: Target) -> Plan:
    """Return the plan of an application that is to be gone."""
    return Plan(
        environment=target.environment.name,
        application=target.application,
        provider=target.provider.name,
        resources=(),
        fingerprint=names.digest([]),
    )


def problems_of(workloads: Workloads, images: Mapping[str, LockedImage], target: Target) -> list[Problem]:
    """Return what the provider cannot do and what does not fit, as far as `images` tell; those that are missing count as empty."""
    return [*_refused(workloads, target), *_unknown_options(workloads, target), *_oversized(workloads, images, target)]


def _refused(workloads: Workloads, target: Target) -> Iterable[Problem]:
    """Name what the manifests ask for and the provider cannot do."""
    asked: list[tuple[Capability, str, Where]] = [
        (Capability.GROUPS, f"Deployment {workload.name}", workload.where) for workload in workloads.workloads
    ]
    for service in workloads.services:
        scope = Capability.BALANCER_PUBLIC if service.type == "LoadBalancer" else Capability.BALANCER_INTERNAL
        protocols = {Capability[f"BALANCER_{port.protocol}"] for port in service.ports}
        asked += [(capability, f"Service {service.name}", service.where) for capability in {scope, Capability.PRIVATE_DNS} | protocols]
    for workload in workloads.workloads:
        if secret_names(workload.pod):
            asked.append((Capability.SECRETS, f"Deployment {workload.name}", workload.where))
    for capability, who, where in sorted(asked, key=lambda one: (one[1], one[0].name)):
        level = target.provider.level(capability)
        if not level.usable:
            yield Problem(
                code="unsupported-capability",
                message=f"{who} needs {capability.value}, which provider {target.provider.name} does not offer ({level.support.value})",
                where=where,
                hint=level.reason,
            )


def _unknown_options(workloads: Workloads, target: Target) -> Iterable[Problem]:
    """Name the annotations under the provider's own prefix that it does not know."""
    prefix, known = target.options_prefix, target.provider.annotations
    objects: tuple[Workload | Service, ...] = (*workloads.workloads, *workloads.services)
    for one in objects:
        names_known = known.get("InstanceGroup" if isinstance(one, Workload) else "Balancer", {})
        for name in sorted(target.options(one.annotations).keys() - names_known.keys()):
            what = "Deployment" if isinstance(one, Workload) else "Service"
            yield Problem(
                code="unknown-annotation",
                message=f"{what} {one.name} has the annotation {prefix}{name}, which provider {target.provider.name} does not know",
                where=one.where,
                expected=" or ".join(f"{prefix}{other}" for other in sorted(names_known)) or f"no annotation under {prefix} at a {what}",
            )


def _oversized(workloads: Workloads, images: Mapping[str, LockedImage], target: Target) -> Iterable[Problem]:
    for workload in workloads.workloads:
        pod, limits = workload.pod, target.limits
        form, place = _shape(pod, images, target)
        root = sizing.root_mib(pod, images) if place == "memory" else 0
        if root > sizing.INITRAMFS_LIMIT_MIB:
            yield Problem(
                code="image-too-large",
                message=f"the root file systems of {workload.name} take {root} MiB unpacked, and lie in its VM's memory ({form})",
                where=max(pod.containers, key=lambda one: images[one.image].unpacked if one.image in images else 0).where,
                expected=f"at most {sizing.INITRAMFS_LIMIT_MIB} MiB",
                hint="use a smaller image (without shell, documentation and build tools)",
            )
        memory = sizing.memory_mib(pod, images, place)
        if memory > limits.max_memory_mib:
            containers = sum(sizing.container_mib(container) for container in pod.containers)
            yield Problem(
                code="memory-too-large",
                message=f"a VM of {workload.name} needs {memory} MiB: {containers} for its containers, {root} for their root file systems, "
                f"{memory - containers - root} for kernel, guest and boot",
                where=_greatest(pod, sizing.container_mib, lambda resources: resources.memory_where),
                expected=f"at most {limits.max_memory_mib} MiB, which provider {target.provider.name} offers",
                hint="lower resources.limits.memory",
            )
        if (cpu := sizing.cpu_millis(pod)) > max(limits.max_cpu_millis, sizing.DEFAULT_CPU_MILLIS):
            yield Problem(
                code="cpu-too-large",
                message=f"a VM of {workload.name} needs {cpu} thousandths of a core",
                where=_greatest(pod, sizing.container_millis, lambda resources: resources.cpu_where),
                expected=f"at most {limits.max_cpu_millis}, which provider {target.provider.name} offers",
                hint="lower resources.limits.cpu",
            )
        if workload.replicas > limits.max_replicas:
            yield Problem(
                code="too-many-replicas",
                message=f"{workload.name} wants {workload.replicas} replicas",
                where=workload.where,
                expected=f"at most {limits.max_replicas}, which provider {target.provider.name} offers",
            )
        yield from _tight_limits(workload, images)
        yield from _binary_files(workload)
        yield from _idle(workload, images)


def _greatest(pod: Pod, share: Callable[[Container], int], place: Callable[[Resources], Where | None]) -> Where:
    """Return the place of the greatest share that a container asks for, or of the container where it asks for nothing."""
    container = max(pod.containers, key=share)
    return place(container.resources) or container.where


def _binary_files(workload: Workload) -> Iterable[Problem]:
    """Files go into the image through LinuxKit's YAML, which knows text only."""
    for volume in workload.pod.volumes:
        for file in volume.files if isinstance(volume, ConfigVolume) else ():
            try:
                file.content.decode()
            except UnicodeDecodeError:
                yield Problem(
                    code="binary-file",
                    message=f"{file.path} of volume {volume.name} of {workload.name} comes from binaryData and is no UTF-8 text",
                    where=workload.where,
                    expected="a ConfigMap of text",
                    hint="put the file into the container's image, or into a Secret",
                )


# Measured: below this crun's own init is killed before the container's program starts.
_LEAST_CONTAINER_BYTES = 2 * sizing.MIB


def _tight_limits(workload: Workload, images: Mapping[str, LockedImage]) -> Iterable[Problem]:
    for container in workload.pod.containers:
        limit = container.resources.memory_limit
        if limit is not None and limit < _LEAST_CONTAINER_BYTES:
            yield Problem(
                code="memory-too-small",
                message=f"container {container.name} is limited to {limit} bytes of memory, in which no program starts"
                + (f" (its image takes {images[container.image].unpacked} bytes unpacked)" if container.image in images else ""),
                where=container.resources.memory_where or container.where,
                expected=f"at least {_LEAST_CONTAINER_BYTES} bytes",
                hint="raise resources.limits.memory; mind the unit (M, Mi)",
            )


def _idle(workload: Workload, images: Mapping[str, LockedImage]) -> Iterable[Problem]:
    for container in workload.pod.containers:
        if container.image in images and not arguments(container, images[container.image]):
            yield Problem(
                code="no-command",
                message=f"container {container.name} has nothing to run: its image names no entrypoint and no command",
                where=container.where,
                hint="add command: to the container",
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


def secret_names(pod: Pod) -> tuple[str, ...]:
    """Return the names of the Secrets that a Pod refers to, sorted."""
    by_env = {variable.secret for container in pod.containers for variable in container.env if isinstance(variable, EnvSecret)}
    by_volume = {item.secret for volume in pod.volumes if isinstance(volume, SecretVolume) for item in volume.items}
    return tuple(sorted(by_env | by_volume))


def _image(pod: Pod, locked: Locked, target: Target) -> Image:
    form, root = _shape(pod, locked.images, target)
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


def _shape(pod: Pod, images: Mapping[str, LockedImage], target: Target) -> tuple[str, Root]:
    """Return the image's format, and where it holds the root file systems: large ones on a disk where the provider takes one."""
    order: tuple[Root, Root] = ("memory", "disk")
    if sizing.root_mib(pod, images) > sizing.ROOT_IN_MEMORY_MIB:
        order = ("disk", "memory")
    for root in order:
        if (form := holding(root, target.formats, target.environment.architecture)) is not None:
            return form, root
    return target.formats[0], "memory"


def _group(workload: Workload, image: Image, locked: Locked, target: Target, secrets: Mapping[tuple[str, str], Secret]) -> InstanceGroup:
    pod = workload.pod
    boot = Boot(
        fields=_fields(workload),
        search=(f"{workload.namespace}.{CLUSTER_DOMAIN}", CLUSTER_DOMAIN, "cluster.local"),
        secrets={name: secrets[workload.namespace, name].name for name in secret_names(pod) if (workload.namespace, name) in secrets},
    )
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


def _fields(workload: Workload) -> dict[str, str]:
    pod = workload.pod
    return {
        "metadata.namespace": workload.namespace,
        **{f"metadata.labels['{name}']": value for name, value in pod.labels.items()},
        **{f"metadata.annotations['{name}']": value for name, value in pod.annotations.items()},
    }


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


def _record(balancer: Balancer, target: Target) -> DnsRecord:
    return DnsRecord(
        name=f"{balancer.service}.{balancer.mark.namespace}.{CLUSTER_DOMAIN}",
        mark=balancer.mark,
        balancer=balancer.name,
        network=target.network.name,
    )
