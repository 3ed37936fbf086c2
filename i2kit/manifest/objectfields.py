"""The tables of the kinds that are read: Deployment, Service, ConfigMap, Secret, and what goes with a Deployment."""

from __future__ import annotations

from i2kit.manifest import pullsecrets, syntax
from i2kit.manifest.amounts import NumberOrShare
from i2kit.manifest.annotations import DEPLOYMENT_ANNOTATIONS, SERVICE_ANNOTATIONS, STRATEGY, Annotations
from i2kit.manifest.fieldtypes import Choice, Integer, ListOf, MapOf, Text
from i2kit.manifest.podfields import (
    LABELS,
    NAME,
    OBJECT_NAME,
    POD,
    PORT,
    PORT_REFERENCE,
    PROTOCOL,
    SECONDS,
    STRING,
    STRINGS,
)
from i2kit.manifest.table import Row, Struct, ignored, refused, supported

_BY_ANNOTATION = f"give it as the annotation {STRATEGY}"
_KEPT = "only a Kubernetes API server keeps it"
_LATER = "not yet supported"
DEPLOYMENT_VERSIONS = ("apps/v1", "apps/v1beta2", "apps/v1beta1", "extensions/v1beta1")
PERCENT = Integer(1, 100, "percentage")
_SERVER_FIELDS = (
    *("creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "finalizers", "generation", "managedFields"),
    *("ownerReferences", "resourceVersion", "selfLink", "uid", "clusterName"),
)


def _metadata(name: Text, annotations: Annotations) -> Struct:
    return Struct(
        "metadata",
        (
            supported("name", name, required=True),
            supported("namespace", NAME, "`default` when absent"),
            supported("labels", LABELS),
            supported("annotations", annotations),
            refused("generateName", "names must stay the same from deploy to deploy: give a name"),
            *(ignored(field, _KEPT) for field in _SERVER_FIELDS),
        ),
    )


def _object(kind: str, name: Text, *rows: Row, annotations: Annotations | None = None) -> Struct:
    return Struct(
        kind,
        (
            supported("apiVersion", STRING, required=True),
            supported("kind", STRING, required=True),
            supported("metadata", _metadata(name, annotations or Annotations(kind)), required=True),
            *rows,
        ),
    )


_EXPRESSIONS = ListOf(
    Struct(
        "matchExpressions",
        (
            supported("key", Text("label name", syntax.qualified_name, "invalid-name"), required=True),
            supported("operator", Choice("In", "NotIn", "Exists", "DoesNotExist"), required=True),
            supported("values", STRINGS),
        ),
    )
)


def _selector(reason: str) -> Struct:
    return Struct("selector", (supported("matchLabels", LABELS, reason), supported("matchExpressions", _EXPRESSIONS, reason)))


_TEMPLATE = Struct(
    "template",
    (
        supported(
            "metadata",
            Struct(
                "metadata",
                (
                    supported("labels", LABELS),
                    supported("annotations", Annotations("a Pod template")),
                    ignored("name", "members of a group name themselves"),
                    ignored("namespace", "a Pod lives in its Deployment's namespace"),
                    ignored("generateName", "members of a group name themselves"),
                    *(ignored(field, _KEPT) for field in _SERVER_FIELDS),
                ),
            ),
        ),
        supported("spec", POD, required=True),
    ),
)
_STRATEGY = Struct(
    "strategy",
    (
        supported(
            "type",
            Choice("RollingUpdate", "Recreate", refused=dict.fromkeys(("BlueGreen", "blue-green", "Canary", "canary"), _BY_ANNOTATION)),
            "`RollingUpdate` when absent",
        ),
        supported(
            "rollingUpdate",
            Struct(
                "rollingUpdate",
                (
                    supported("maxSurge", NumberOrShare(), "of the replicas, rounded up; 25% when absent"),
                    supported("maxUnavailable", NumberOrShare(100), "of the replicas, rounded down; 25% when absent"),
                ),
            ),
            "not with Recreate; one of the two must be above 0",
        ),
    ),
)
DEPLOYMENT = _object(
    "Deployment",
    OBJECT_NAME,
    supported(
        "spec",
        Struct(
            "spec",
            (
                supported("replicas", Integer(0, 1_000_000), "1 when absent"),
                supported(
                    "selector", _selector("must match the template's labels"), "required, but for extensions/v1beta1 and apps/v1beta1"
                ),
                supported("template", _TEMPLATE, required=True),
                supported("minReadySeconds", SECONDS),
                supported("progressDeadlineSeconds", SECONDS, "more than minReadySeconds; 600 when absent"),
                supported("strategy", _STRATEGY, f"{STRATEGY} among the annotations stands in its place"),
                supported("revisionHistoryLimit", Integer(0), "10 when absent"),
                refused("paused", f"{_LATER}: a paused Deployment would be deployed", harmless=("false",)),
                refused("rollbackTo", "Kubernetes itself no longer has it"),
            ),
        ),
        required=True,
    ),
    ignored("status", _KEPT),
    annotations=Annotations("Deployment", *DEPLOYMENT_ANNOTATIONS),
)

_PORTS = Struct(
    "ports",
    (
        supported("name", NAME, "required when there are several ports"),
        supported("port", PORT, required=True),
        supported("targetPort", PORT_REFERENCE, "a number or the name of a container's port; `port` when absent"),
        supported("protocol", PROTOCOL),
        refused("nodePort", "there are no nodes: use type LoadBalancer to publish a port", harmless=("0",)),
        ignored("appProtocol", "balancers carry plain TCP and UDP"),
    ),
)
_ONE_ADDRESS = "the balancer's address is the provider's choice"
SERVICE = _object(
    "Service",
    Text("DNS label", syntax.service_name, "invalid-name"),
    supported(
        "spec",
        Struct(
            "spec",
            (
                supported(
                    "type",
                    Choice(
                        "ClusterIP",
                        "LoadBalancer",
                        refused={
                            "NodePort": "there are no nodes whose ports could be opened; use LoadBalancer to publish it, ClusterIP inside",
                            "ExternalName": f"aliases are {_LATER}; use the external name itself",
                        },
                    ),
                ),
                supported("selector", LABELS, "must match a workload's Pods in its namespace"),
                supported("ports", ListOf(_PORTS), required=True),
                refused(
                    "clusterIP",
                    f"a balancer answers for every Service, at an address of the provider's choice; headless Services are {_LATER}",
                    harmless=("",),
                ),
                refused("clusterIPs", _ONE_ADDRESS),
                refused("externalName", f"aliases are {_LATER}"),
                refused("externalIPs", _ONE_ADDRESS),
                refused("loadBalancerIP", _ONE_ADDRESS),
                refused("loadBalancerSourceRanges", f"{_LATER}, and ignoring it would let everyone in"),
                ignored("loadBalancerClass", "the provider's own balancer is used"),
                ignored("allocateLoadBalancerNodePorts", "there are no nodes"),
                ignored("healthCheckNodePort", "balancers check /readyz alone"),
                ignored("externalTrafficPolicy", "balancers reach the VMs directly"),
                ignored("internalTrafficPolicy", "balancers reach the VMs directly", harmless=("Cluster",)),
                ignored("trafficDistribution", "balancers spread traffic evenly"),
                refused("sessionAffinity", f"{_LATER}: sessions would break without a word", harmless=("None",)),
                refused("sessionAffinityConfig", _LATER),
                refused("publishNotReadyAddresses", "a balancer sends nothing to a VM that is not ready", harmless=("false",)),
                ignored("ipFamilies", "the environment's network decides", harmless=("IPv4",)),
                ignored("ipFamilyPolicy", "the environment's network decides", harmless=("SingleStack",)),
            ),
        ),
        required=True,
    ),
    ignored("status", _KEPT),
    annotations=Annotations("Service", *SERVICE_ANNOTATIONS),
)

CONFIG_MAP = _object(
    "ConfigMap",
    OBJECT_NAME,
    supported("data", MapOf(Text(check=None), "mapping of keys to strings", syntax.config_key)),
    supported("binaryData", MapOf(Text("base64", syntax.base64_text, "invalid-base64"), "mapping of keys to base64", syntax.config_key)),
    ignored("immutable", "every release has its own copy", harmless=("false",)),
)
SECRET = _object(
    "Secret",
    OBJECT_NAME,
    supported(
        "data",
        MapOf(Text("base64", syntax.base64_text, "invalid-base64"), "mapping of keys to base64", syntax.config_key, secret=True),
    ),
    supported("stringData", MapOf(Text(check=None), "mapping of keys to strings", syntax.config_key, secret=True), "wins over data"),
    ignored("type", "values are handed over as they are", harmless=("Opaque", *pullsecrets.TYPES)),
    ignored("immutable", "every release has its own copy", harmless=("false",)),
)

_NOT_MEASURED = "clouds measure the CPU of an instance, and nothing else that scaling could follow"
_TARGET = Struct(
    "target",
    (
        supported(
            "type",
            Choice("Utilization", "AverageValue", "Value"),
            "only `Utilization` is of use, since the others' fields are refused",
            required=True,
        ),
        supported("averageUtilization", PERCENT, "of the VM's CPU; required"),
        refused("averageValue", "clouds measure CPU as a share of the instance's: use averageUtilization"),
        refused("value", "clouds measure CPU as a share of the instance's: use averageUtilization"),
    ),
)
_METRICS = Struct(
    "metrics",
    (
        supported(
            "type",
            Choice("Resource", "ContainerResource", "Pods", "Object", "External"),
            "only `Resource` is of use, since the others' fields are refused",
            required=True,
        ),
        supported(
            "resource",
            Struct(
                "resource",
                (
                    supported(
                        "name",
                        Choice("cpu", refused={"memory": "the instance's memory is not measured by clouds: use cpu"}),
                        required=True,
                    ),
                    supported("target", _TARGET, required=True),
                ),
            ),
            "required",
        ),
        refused("containerResource", "clouds measure instances, not containers: use resource"),
        *(refused(name, _NOT_MEASURED) for name in ("pods", "object", "external")),
    ),
)
AUTOSCALER = _object(
    "HorizontalPodAutoscaler",
    OBJECT_NAME,
    supported(
        "spec",
        Struct(
            "spec",
            (
                supported(
                    "scaleTargetRef",
                    Struct(
                        "scaleTargetRef",
                        (
                            supported("apiVersion", Choice(*DEPLOYMENT_VERSIONS)),
                            supported(
                                "kind",
                                Choice(
                                    "Deployment",
                                    refused={
                                        "StatefulSet": f"it is {_LATER}",
                                        "ReplicaSet": "use a Deployment",
                                        "ReplicationController": "use a Deployment",
                                    },
                                ),
                                required=True,
                            ),
                            supported("name", OBJECT_NAME, "a Deployment of the namespace, among the manifests", required=True),
                        ),
                    ),
                    "no other autoscaler may have it",
                    required=True,
                ),
                supported("minReplicas", Integer(1, 1_000_000), "1 when absent"),
                supported("maxReplicas", Integer(1, 1_000_000), "at least minReplicas", required=True),
                supported("targetCPUUtilizationPercentage", PERCENT, "of the VM's CPU; only autoscaling/v1; 80 when absent"),
                supported("metrics", ListOf(_METRICS), "one at most; not autoscaling/v1; 80 % of the CPU when absent"),
                ignored("behavior", "the provider's own pace of scaling applies"),
            ),
        ),
        required=True,
    ),
    ignored("status", _KEPT),
)
BUDGET = _object(
    "PodDisruptionBudget",
    OBJECT_NAME,
    supported(
        "spec",
        Struct(
            "spec",
            (
                supported("minAvailable", NumberOrShare(100), "reported beside what the strategy keeps"),
                supported("maxUnavailable", NumberOrShare(100), "as minAvailable; not together with it"),
                supported("selector", _selector("picks the workloads that the notice names"), "of the workloads in its namespace"),
                ignored("unhealthyPodEvictionPolicy", "nothing evicts Pods"),
            ),
        ),
    ),
    ignored("status", _KEPT),
)
