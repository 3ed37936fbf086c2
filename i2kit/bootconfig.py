"""What of the boot configuration is the same for all members of a group, and how long the document gets. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping

from i2kit.manifest.workloads import EnvSecret, Pod, SecretData, SecretVolume, Workload
from i2kit.resources import CLUSTER_DOMAIN, Boot

DRIVER_ROOM_BYTES = 1024
"""What is left for what a driver adds: the member's name, who may ask for its health, where its Secrets are fetched."""

# Beside a Secret's own name, the longest that a reference to it says: where a provider keeps the environment's Secrets.
_REFERENCE = "/" * 80


def boot_of(workload: Workload, secrets: Mapping[str, str]) -> Boot:
    """Return a workload's part; `secrets` maps names of Secrets to those of their resources, and what it lacks is optional."""
    pod = workload.pod
    return Boot(
        fields={
            "metadata.namespace": workload.namespace,
            **{f"metadata.labels['{name}']": value for name, value in pod.labels.items()},
            **{f"metadata.annotations['{name}']": value for name, value in pod.annotations.items()},
        },
        search=(f"{workload.namespace}.{CLUSTER_DOMAIN}", CLUSTER_DOMAIN, "cluster.local"),
        secrets={name: secrets[name] for name in secret_names(pod) if name in secrets},
    )


def secret_names(pod: Pod) -> tuple[str, ...]:
    """Return the names of the Secrets that a Pod refers to, sorted."""
    by_env = {variable.secret for container in pod.containers for variable in container.env if isinstance(variable, EnvSecret)}
    by_volume = {item.secret for volume in pod.volumes if isinstance(volume, SecretVolume) for item in volume.items}
    return tuple(sorted(by_env | by_volume))


def greatest_bytes(boot: Boot, inline: Mapping[str, SecretData] | None = None) -> int:
    """Return how many bytes the boot configuration of a member takes at most, as JSON.

    With `inline` (by the names that the Pod knows) the values of its Secrets lie in it, otherwise references to them.

    >>> greatest_bytes(Boot()) - DRIVER_ROOM_BYTES < 100
    True
    """
    secrets: dict[str, object] = {name: f"{_REFERENCE}{resource}" for name, resource in boot.secrets.items()}
    if inline is not None:
        secrets = {name: {key: "=" * _base64_length(value.reveal()) for key, value in inline[name].data.items()} for name in boot.secrets}
    document = {"schema": 1, "fields": boot.fields, "search": boot.search, "secrets": secrets}
    return len(json.dumps(document)) + DRIVER_ROOM_BYTES


def _base64_length(value: bytes) -> int:
    return (len(value) + 2) // 3 * 4
