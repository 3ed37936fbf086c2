"""What of the manifests does not fit where it is to run: beyond the provider's capabilities and limits, or what a VM can do. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from i2kit import sizing
from i2kit.bootconfig import boot_of, greatest_bytes, secret_names
from i2kit.capabilities import Capability
from i2kit.errors import Problem, Where
from i2kit.images.linuxkit_yaml import arguments
from i2kit.images.locked import LockedImage
from i2kit.manifest.workloads import ConfigVolume, Container, Pod, Resources, SecretData, Service, Workload, Workloads
from i2kit.target import Target


def misfits(workloads: Workloads, images: Mapping[str, LockedImage], target: Target) -> list[Problem]:
    """Return what the provider cannot do and what does not fit, as far as `images` tell; those that are missing count as empty."""
    return [*_refused(workloads, target), *_unknown_options(workloads, target), *_oversized(workloads, images, target)]


def _refused(workloads: Workloads, target: Target) -> Iterable[Problem]:
    """Name what the manifests ask for and the provider cannot do."""
    asked: list[tuple[Capability, str, Where]] = [
        (Capability.GROUPS, f"Deployment {workload.name}", workload.where) for workload in workloads.workloads
    ]
    for service in workloads.services:
        scope = Capability.BALANCER_PUBLIC if service.type == "LoadBalancer" else Capability.BALANCER_INTERNAL
        needed = {scope, Capability.PRIVATE_DNS, *(Capability[f"BALANCER_{port.protocol}"] for port in service.ports)}
        needed |= {Capability.PUBLIC_DNS} if service.hostnames else set()
        asked += [(capability, f"Service {service.name}", service.where) for capability in needed]
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
        form, place = target.shape(pod, images)
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
        yield from _long_boot(workload, workloads.secrets, target)
        yield from _tight_limits(workload, images)
        yield from _binary_files(workload)
        yield from _idle(workload, images)


def _long_boot(workload: Workload, secrets: Iterable[SecretData], target: Target) -> Iterable[Problem]:
    """Say what does not go into the document that tells a VM who it is."""
    limits, known = target.limits, {one.name: one for one in secrets if one.namespace == workload.namespace}
    # Which version of a Secret it will be is not known yet, only how long its resource's name may get.
    boot = boot_of(workload, dict.fromkeys(known, "x" * limits.name_lengths.get("Secret", 63)))
    size = greatest_bytes(boot, known if limits.secrets_in_boot_config else None)
    if size > limits.boot_config_bytes:
        values = " and Secrets" if boot.secrets and limits.secrets_in_boot_config else ""
        yield Problem(
            code="boot-config-too-large",
            message=f"the boot configuration of {workload.name}, with its Pod's labels and annotations{values}, takes {size} bytes",
            where=workload.where,
            expected=f"at most {limits.boot_config_bytes}, which provider {target.provider.name} hands to a VM",
            hint="shorten the annotations of the Pod template"
            + (", or take large files out of the Secrets" if values else "; what a container reads from them may be in a ConfigMap"),
        )


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
