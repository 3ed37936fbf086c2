"""Pod -> LinuxKit YAML: the one description of an image that every builder gets. Pure."""

from __future__ import annotations

import json
from typing import Any

from i2kit.images import yamltext
from i2kit.images.formats import Root
from i2kit.images.locked import LockedBase, LockedImage
from i2kit.manifest.workloads import (
    ConfigVolume,
    Container,
    EmptyDir,
    EnvField,
    EnvSecret,
    EnvValue,
    EnvVar,
    HttpGet,
    Pod,
    Probe,
    SecretVolume,
    TcpSocket,
    Volume,
)
from i2kit.resources import HEALTH_PORT

POD_SCHEMA = 1
DRAIN_SECONDS = 3
"""How long a VM that is to stop still serves after its `/readyz` failed: the balancers need this long to notice."""

# Kubernetes gives a container without a securityContext what its container runtime gives: Docker's and containerd's default set.
DEFAULT_CAPABILITIES = (
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
)


def linuxkit_yaml(pod: Pod, images: dict[str, LockedImage], base: LockedBase, root: Root = "memory") -> str:
    """Return the LinuxKit YAML of `pod`; `images` maps the references in the manifest to what they were resolved to.

    The VM of a Pod whose root file systems lie on a disk (`root`) gets what it needs to read one.
    """
    document = {
        "kernel": {"image": base.kernel.reference, "cmdline": base.cmdline},
        "init": [image.reference for image in _init(base, root)],
        "services": [_service(container, images[container.image]) for container in pod.containers],
        "files": _files(pod, images),
    }
    return yamltext.block(document)


def _init(base: LockedBase, root: Root) -> list[LockedImage]:
    return [base.pod] if root == "memory" or base.disk is None else [base.pod, base.disk]


def sources(pod: Pod, images: dict[str, LockedImage], base: LockedBase, root: Root = "memory") -> dict[str, str]:
    """Return the manifest digests of every OCI image that the Pod's LinuxKit YAML names."""
    used = [base.kernel, *_init(base, root), *(images[container.image] for container in pod.containers)]
    return {image.reference: image.digest for image in used}


def _service(container: Container, image: LockedImage) -> dict[str, Any]:
    service: dict[str, Any] = {
        "name": container.name,
        "image": image.reference,
        "command": arguments(container, image),
        "cwd": container.working_dir or image.working_dir or "/",
        "capabilities": list(DEFAULT_CAPABILITIES),
        "net": "host",
        "uts": "host",
    }
    if (image.uid, image.gid) != (0, 0):
        service |= {"uid": image.uid, "gid": image.gid}
    return service


def arguments(container: Container, image: LockedImage) -> list[str]:
    """Return the container's process arguments as Kubernetes combines them, in Kubernetes' syntax for ``$(NAME)``.

    What comes from the image is escaped: Kubernetes expands only what the manifest says.
    """
    # A command in the manifest drops the image's arguments too.
    default_args = _escaped(image.cmd) if container.command is None else ()
    command = container.command if container.command is not None else _escaped(image.entrypoint)
    args = container.args if container.args is not None else default_args
    return [*command, *args]


def _escaped(arguments: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(argument.replace("$", "$$") for argument in arguments)


def _files(pod: Pod, images: dict[str, LockedImage]) -> list[dict[str, Any]]:
    description = json.dumps(pod_description(pod, images), indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    files: list[dict[str, Any]] = [{"path": "etc/i2kit/pod.json", "contents": description, "mode": "0600"}]
    for volume in pod.volumes:
        if isinstance(volume, ConfigVolume):
            # An empty volume still needs its folder; LinuxKit makes the folders of files by itself.
            files += [
                {"path": f"etc/i2kit/volumes/{volume.name}/{file.path}", "contents": file.content.decode(), "mode": f"{file.mode:04o}"}
                for file in volume.files
            ]
            if not volume.files:
                files.append({"path": f"etc/i2kit/volumes/{volume.name}", "directory": True, "mode": "0755"})
    return files


def pod_description(pod: Pod, images: dict[str, LockedImage]) -> dict[str, Any]:
    """Return what the guest reads as ``/etc/i2kit/pod.json``."""
    roots = _roots(pod, images)
    return {
        "schema": POD_SCHEMA,
        "restartPolicy": pod.restart_policy,
        "terminationGracePeriodSeconds": pod.termination_grace_period_seconds,
        "drainSeconds": DRAIN_SECONDS,
        "healthPort": HEALTH_PORT,
        "inventory": {root: _inventory(images[container.image]) for container, root in zip(pod.containers, roots, strict=True)},
        "containers": [_container(container, root) for container, root in zip(pod.containers, roots, strict=True)],
        "volumes": [_volume(volume) for volume in pod.volumes],
    }


def _roots(pod: Pod, images: dict[str, LockedImage]) -> list[str]:
    """Return where each container's root file system lies: LinuxKit unpacks an image once, for the first service that uses it."""
    first: dict[str, str] = {}
    return [f"containers/services/{first.setdefault(images[container.image].reference, container.name)}" for container in pod.containers]


def _inventory(image: LockedImage) -> dict[str, Any]:
    inventory = image.inventory
    described: dict[str, Any] = {"files": inventory.files, "bytes": inventory.bytes, "sha256": inventory.sha256}
    return {**described, "links": list(inventory.links)} if inventory.links else described


def _container(container: Container, root: str) -> dict[str, Any]:
    described: dict[str, Any] = {
        "name": container.name,
        "root": root,
        "env": [_env(variable) for variable in container.env],
        "mounts": [
            {
                "volume": mount.volume,
                "path": mount.path,
                "readOnly": mount.read_only,
                **({"subPath": mount.sub_path} if mount.sub_path else {}),
            }
            for mount in container.mounts
        ],
        "resources": {
            "memoryBytes": container.resources.memory_limit or 0,
            "cpuMillis": container.resources.cpu_limit or 0,
        },
    }
    probes = {
        "readinessProbe": container.readiness_probe,
        "livenessProbe": container.liveness_probe,
        "startupProbe": container.startup_probe,
    }
    described.update({name: _probe(probe) for name, probe in probes.items() if probe is not None})
    return described


def _env(variable: EnvVar) -> dict[str, Any]:
    match variable:
        case EnvValue(name=name, value=value):
            return {"name": name, "value": value}
        case EnvSecret(name=name, secret=secret, key=key, optional=optional):
            return {"name": name, "secret": secret, "key": key, "optional": optional}
        case EnvField(name=name, field=path):
            return {"name": name, "field": path}


def _probe(probe: Probe) -> dict[str, Any]:
    described: dict[str, Any] = {
        "initialDelaySeconds": probe.initial_delay_seconds,
        "periodSeconds": probe.period_seconds,
        "timeoutSeconds": probe.timeout_seconds,
        "successThreshold": probe.success_threshold,
        "failureThreshold": probe.failure_threshold,
    }
    match probe.handler:
        case HttpGet() as http:
            described["http"] = {
                "path": http.path,
                "port": http.port,
                "scheme": http.scheme,
                "host": http.host,
                "headers": [{"name": name, "value": value} for name, value in http.headers],
            }
        case TcpSocket() as tcp:
            described["tcp"] = {"port": tcp.port, "host": tcp.host}
        case execution:
            described["exec"] = {"command": list(execution.command)}
    return described


def _volume(volume: Volume) -> dict[str, Any]:
    match volume:
        case ConfigVolume(name=name):
            return {"name": name, "files": f"/etc/i2kit/volumes/{name}"}
        case EmptyDir(name=name, medium=medium, size_limit=size):
            return {"name": name, "emptyDir": {"medium": medium, "sizeBytes": size or 0}}
        case SecretVolume(name=name, items=items):
            return {
                "name": name,
                "secret": {"items": [{"secret": item.secret, "key": item.key, "path": item.path, "mode": item.mode} for item in items]},
            }
