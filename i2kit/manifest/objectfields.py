"""The tables of the kinds that are read: Deployment, Service, ConfigMap, Secret."""

from __future__ import annotations

from i2kit.manifest import syntax
from i2kit.manifest.fieldtypes import Choice, Integer, ListOf, MapOf, Text
from i2kit.manifest.podfields import (
    ANNOTATIONS,
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

_KEPT = "only a Kubernetes API server keeps it"
_LATER = "not yet supported"
_SERVER_FIELDS = (
    *("creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "finalizers", "generation", "managedFields"),
    *("ownerReferences", "resourceVersion", "selfLink", "uid", "clusterName"),
)


def _metadata(name: Text) -> Struct:
    return Struct(
        "metadata",
        (
            supported("name", name, required=True),
            supported("namespace", NAME, "`default` when absent"),
            supported("labels", LABELS),
            supported("annotations", ANNOTATIONS),
            refused("generateName", "names must stay the same from deploy to deploy: give a name"),
            *(ignored(field, _KEPT) for field in _SERVER_FIELDS),
        ),
    )


def _object(kind: str, name: Text, *rows: Row) -> Struct:
    return Struct(
        kind,
        (
            supported("apiVersion", STRING, required=True),
            supported("kind", STRING, required=True),
            supported("metadata", _metadata(name), required=True),
            *rows,
        ),
    )


_SELECTOR = Struct(
    "selector",
    (
        supported("matchLabels", LABELS, "must match the template's labels"),
        supported(
            "matchExpressions",
            ListOf(
                Struct(
                    "matchExpressions",
                    (
                        supported("key", Text("label name", syntax.qualified_name, "invalid-name"), required=True),
                        supported("operator", Choice("In", "NotIn", "Exists", "DoesNotExist"), required=True),
                        supported("values", STRINGS),
                    ),
                )
            ),
            "must match the template's labels",
        ),
    ),
)
_TEMPLATE = Struct(
    "template",
    (
        supported(
            "metadata",
            Struct(
                "metadata",
                (
                    supported("labels", LABELS),
                    supported("annotations", ANNOTATIONS),
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
DEPLOYMENT = _object(
    "Deployment",
    OBJECT_NAME,
    supported(
        "spec",
        Struct(
            "spec",
            (
                supported("replicas", Integer(0, 1_000_000), "1 when absent"),
                supported("selector", _SELECTOR, "required, but for extensions/v1beta1 and apps/v1beta1"),
                supported("template", _TEMPLATE, required=True),
                supported("minReadySeconds", SECONDS),
                supported("progressDeadlineSeconds", SECONDS, "more than minReadySeconds; 600 when absent"),
                ignored("strategy", "a new group is made before the old one goes; full rollouts come later"),
                ignored("revisionHistoryLimit", "history comes with rollouts, later"),
                refused("paused", f"{_LATER}: a paused Deployment would be deployed", harmless=("false",)),
                refused("rollbackTo", "Kubernetes itself no longer has it"),
            ),
        ),
        required=True,
    ),
    ignored("status", _KEPT),
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
    ignored("type", "values are handed over as they are", harmless=("Opaque",)),
    ignored("immutable", "every release has its own copy", harmless=("false",)),
)
