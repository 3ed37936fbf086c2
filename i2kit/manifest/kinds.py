"""The kinds: which are read, with the table of their fields, and which are ignored or refused, with the reason."""

from __future__ import annotations

from typing import Literal

from attrs import frozen

from i2kit.manifest.objectfields import AUTOSCALER, BUDGET, CONFIG_MAP, DEPLOYMENT, DEPLOYMENT_VERSIONS, SECRET, SERVICE
from i2kit.manifest.table import Struct

_LATER = "not yet supported"
_ACCESS = "it governs access to a Kubernetes API server, and there is none"


@frozen(kw_only=True)
class Kind:
    """One kind of object. `table` is there for supported ones; `reason` for the others."""

    name: str
    verdict: Literal["supported", "ignored", "refused"]
    api_versions: tuple[str, ...] = ()
    table: Struct | None = None
    reason: str = ""


def _read(table: Struct, *api_versions: str) -> Kind:
    return Kind(name=table.name, verdict="supported", api_versions=api_versions, table=table)


def _ignore(reason: str, *names: str) -> tuple[Kind, ...]:
    return tuple(Kind(name=name, verdict="ignored", reason=reason) for name in names)


def _refuse(reason: str, *names: str) -> tuple[Kind, ...]:
    return tuple(Kind(name=name, verdict="refused", reason=reason) for name in names)


_ALL = (
    _read(DEPLOYMENT, *DEPLOYMENT_VERSIONS),
    _read(SERVICE, "v1"),
    _read(CONFIG_MAP, "v1"),
    _read(SECRET, "v1"),
    _read(AUTOSCALER, "autoscaling/v2", "autoscaling/v2beta2", "autoscaling/v1"),
    _read(BUDGET, "policy/v1", "policy/v1beta1"),
    *_ignore("a namespace is there as soon as something is in it", "Namespace"),
    *_ignore(_ACCESS, "ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"),
    *_ignore("there are no nodes to make room on", "PriorityClass"),
    *_refuse(f"{_LATER}: groups with stable members come later", "StatefulSet"),
    *_refuse(f"{_LATER}: volumes that outlive their VM come later", "PersistentVolumeClaim", "PersistentVolume", "StorageClass"),
    *_refuse(f"{_LATER}: use a Service of type LoadBalancer", "Ingress", "IngressClass", "Gateway", "HTTPRoute"),
    *_refuse(f"{_LATER}: set the containers' resources", "VerticalPodAutoscaler"),
    *_refuse(f"{_LATER}: only workloads that run for ever are", "Job", "CronJob"),
    *_refuse("there are no nodes to run one Pod on each", "DaemonSet"),
    *_refuse("nothing would bring it back: use a Deployment with 1 replica", "Pod"),
    *_refuse("use a Deployment", "ReplicaSet", "ReplicationController"),
    *_refuse("a template of its own does nothing: use a Deployment", "PodTemplate"),
    *_refuse(f"{_LATER}, and ignoring it would let through what it forbids", "NetworkPolicy", "PodSecurityPolicy", "ResourceQuota"),
    *_refuse(f"{_LATER}, and ignoring it would change the containers' resources: write them there", "LimitRange"),
    *_refuse(f"{_LATER}: a Service needs a selector", "Endpoints", "EndpointSlice"),
    *_refuse(
        "it extends a Kubernetes API server, and there is none",
        *("CustomResourceDefinition", "APIService", "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"),
        *("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", "Lease", "Event", "Node", "CSIDriver", "RuntimeClass"),
    ),
)
KINDS: dict[str, Kind] = {kind.name: kind for kind in _ALL}
"""Every kind that i2kit knows of, by name."""
