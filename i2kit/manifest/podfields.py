"""The table of a Pod template's fields."""

from __future__ import annotations

from i2kit.manifest import syntax
from i2kit.manifest.fieldtypes import Boolean, Choice, FileMode, Integer, ListOf, MapOf, PortReference, Quantity, Text
from i2kit.manifest.table import Struct, ignored, refused, supported

_LATER = "not yet supported"
_NO_NODES = "there are no nodes: every replica is a VM of its own, and where it runs is the provider's choice"
_NO_API = "there is no Kubernetes API server"

STRING = Text()
LABELS = MapOf(Text("label value", syntax.label_value), "mapping of label names to values", syntax.qualified_name)
STRINGS = ListOf(STRING)
NAME = Text("DNS label", syntax.label_name, "invalid-name")
OBJECT_NAME = Text("DNS subdomain", syntax.subdomain, "invalid-name")
CONFIG_KEY = Text("key", syntax.config_key, "invalid-name")
BOOLEAN = Boolean()
BYTES = Quantity("bytes", "quantity in bytes")
CORES = Quantity("millis", "quantity of cores")
SECONDS = Integer(0, name="seconds")
PORT = Integer(1, 65535, "port number")
PORT_REFERENCE = PortReference(syntax.port_name)
PROTOCOL = Choice("TCP", "UDP", refused={"SCTP": "no balancer carries it"})

_KEY_REF = (
    supported("name", OBJECT_NAME, required=True),
    supported("key", CONFIG_KEY, required=True),
    supported("optional", BOOLEAN, "the variable is left out when object or key are missing"),
)
_ENV_SOURCE = Struct(
    "valueFrom",
    (
        supported("configMapKeyRef", Struct("configMapKeyRef", _KEY_REF)),
        supported("secretKeyRef", Struct("secretKeyRef", _KEY_REF)),
        supported(
            "fieldRef",
            Struct(
                "fieldRef",
                (supported("fieldPath", Text("field path", syntax.field_path), required=True), supported("apiVersion", Choice("v1"))),
            ),
        ),
        refused("resourceFieldRef", f"{_LATER}: the VM's own sizes can be read in /proc and /sys"),
        refused("fileKeyRef", _LATER),
    ),
)
ENV = Struct(
    "env",
    (
        supported("name", Text("environment variable name", syntax.env_name, "invalid-name"), required=True),
        supported("value", STRING),
        supported("valueFrom", _ENV_SOURCE),
    ),
)
_WHOLE_REF = (
    supported("name", OBJECT_NAME, required=True),
    supported("optional", BOOLEAN, "nothing is set when the object is missing"),
)
ENV_FROM = Struct(
    "envFrom",
    (
        supported("prefix", STRING),
        supported("configMapRef", Struct("configMapRef", _WHOLE_REF)),
        supported("secretRef", Struct("secretRef", _WHOLE_REF)),
    ),
)
PORTS = Struct(
    "ports",
    (
        supported("name", Text("port name", syntax.port_name, "invalid-name")),
        supported("containerPort", PORT, "10256 is refused: the guest's health port", required=True),
        supported("protocol", PROTOCOL),
        refused("hostPort", "there is no host: a Service of type LoadBalancer publishes the port", harmless=("0",)),
        refused("hostIP", "there is no host: a Service of type LoadBalancer publishes the port", harmless=("",)),
    ),
)
_PROBE = (
    supported(
        "httpGet",
        Struct(
            "httpGet",
            (
                supported("path", STRING),
                supported("port", PORT_REFERENCE, required=True),
                supported("host", STRING),
                supported("scheme", Choice("HTTP", "HTTPS")),
                supported(
                    "httpHeaders",
                    ListOf(
                        Struct(
                            "httpHeaders", (supported("name", Text("string", syntax.not_empty), required=True), supported("value", STRING))
                        )
                    ),
                ),
            ),
        ),
    ),
    supported("tcpSocket", Struct("tcpSocket", (supported("port", PORT_REFERENCE, required=True), supported("host", STRING)))),
    supported("exec", Struct("exec", (supported("command", STRINGS, required=True),))),
    refused("grpc", f"{_LATER}: use tcpSocket on the same port, or exec"),
    supported("initialDelaySeconds", SECONDS),
    supported("periodSeconds", SECONDS, "0 means the default, 10"),
    supported("timeoutSeconds", SECONDS, "0 means the default, 1"),
    supported("successThreshold", Integer(0), "1 for liveness and startup probes"),
    supported("failureThreshold", Integer(0), "0 means the default, 3"),
    refused("terminationGracePeriodSeconds", f"{_LATER}: the Pod's own applies"),
)
PROBE = Struct("probe", _PROBE)

_AMOUNTS = (
    supported("cpu", CORES),
    supported("memory", BYTES, "fractions of a byte are refused"),
    ignored("ephemeral-storage", "files are written to the VM's memory, which the memory limit bounds"),
    refused("nvidia.com/gpu", f"{_LATER}: VMs have no GPU"),
    refused("amd.com/gpu", f"{_LATER}: VMs have no GPU"),
    refused("hugepages-2Mi", _LATER),
    refused("hugepages-1Gi", _LATER),
)
RESOURCES = Struct(
    "resources",
    (
        supported("limits", Struct("limits", _AMOUNTS)),
        supported("requests", Struct("requests", _AMOUNTS)),
        refused("claims", _LATER),
    ),
)
VOLUME_MOUNT = Struct(
    "volumeMounts",
    (
        supported("name", STRING, required=True),
        supported("mountPath", Text("absolute path", syntax.absolute_path), required=True),
        supported("subPath", STRING),
        supported("readOnly", BOOLEAN, "configMap and secret volumes are always read-only"),
        refused("subPathExpr", _LATER),
        refused("mountPropagation", "nothing is mounted from outside the Pod", harmless=("None",)),
        ignored("recursiveReadOnly", "nothing is mounted below a volume", harmless=("Disabled",)),
    ),
)
_WEAKER = f"{_LATER}, and ignoring it would weaken what the manifest asks for"
_OTHER_USER = f"{_LATER}: the image's own user runs, and ignoring this would change it"
_SECCOMP = Struct(
    "seccompProfile",
    (
        supported(
            "type",
            Choice("Unconfined", refused={"RuntimeDefault": f"seccomp is {_WEAKER}", "Localhost": f"seccomp is {_WEAKER}"}),
            required=True,
        ),
        refused("localhostProfile", f"seccomp is {_WEAKER}"),
    ),
)
CONTAINER_SECURITY = Struct(
    "securityContext",
    (
        refused("privileged", "a container never gets the rights of its VM", harmless=("false",)),
        refused("allowPrivilegeEscalation", _WEAKER, harmless=("true",)),
        refused("readOnlyRootFilesystem", _WEAKER, harmless=("false",)),
        refused("runAsNonRoot", _WEAKER, harmless=("false",)),
        refused("runAsUser", _OTHER_USER),
        refused("runAsGroup", _OTHER_USER),
        supported(
            "capabilities",
            Struct(
                "capabilities",
                (
                    refused("add", f"{_LATER}: containers have Kubernetes' default capabilities"),
                    refused("drop", _WEAKER),
                ),
            ),
        ),
        supported("seccompProfile", _SECCOMP),
        refused("seLinuxOptions", "VMs do not run SELinux", harmless=("{}",)),
        refused("appArmorProfile", "VMs do not run AppArmor"),
        refused("procMount", _LATER, harmless=("Default",)),
        refused("windowsOptions", "VMs run Linux"),
    ),
)
CONTAINER_ROWS = (
    supported("name", NAME, required=True),
    supported("image", Text("image reference", syntax.image), required=True),
    supported("command", STRINGS),
    supported("args", STRINGS),
    supported("workingDir", STRING),
    supported("ports", ListOf(PORTS)),
    supported("env", ListOf(ENV)),
    supported("envFrom", ListOf(ENV_FROM)),
    supported("resources", RESOURCES),
    supported("volumeMounts", ListOf(VOLUME_MOUNT)),
    supported("readinessProbe", PROBE),
    supported("livenessProbe", PROBE),
    supported("startupProbe", PROBE),
    supported("securityContext", CONTAINER_SECURITY),
    ignored("imagePullPolicy", "tags become digests when the plan is made, and a VM pulls nothing"),
    ignored("terminationMessagePath", "a container's last words are on the console"),
    ignored("terminationMessagePolicy", "a container's last words are on the console"),
    ignored("resizePolicy", "VMs are replaced, never resized"),
    refused("lifecycle", f"{_LATER}: hooks would silently not run"),
    refused("restartPolicy", f"{_LATER}: the Pod's own applies to every container"),
    refused("restartPolicyRules", _LATER),
    refused("volumeDevices", f"{_LATER}: there are no block volumes"),
    refused("stdin", "nobody can attach to a container in a VM", harmless=("false",)),
    refused("stdinOnce", "nobody can attach to a container in a VM", harmless=("false",)),
    refused("tty", "nobody can attach to a container in a VM", harmless=("false",)),
)
CONTAINER = Struct("container", CONTAINER_ROWS)

_ITEMS = ListOf(
    Struct(
        "items",
        (
            supported("key", CONFIG_KEY, required=True),
            supported("path", Text("relative path", syntax.relative_path), required=True),
            supported("mode", FileMode()),
        ),
    )
)


def _file_volume(name: str, reference: str) -> Struct:
    return Struct(
        name,
        (
            supported(reference, OBJECT_NAME, required=True),
            supported("items", _ITEMS),
            supported("defaultMode", FileMode(), "0644 by default"),
            supported("optional", BOOLEAN, "missing objects and keys give no file"),
        ),
    )


_NO_DISKS = f"{_LATER}: volumes that outlive their VM come later"
_FOREIGN = (
    *("awsElasticBlockStore", "azureDisk", "azureFile", "cephfs", "cinder", "csi", "fc", "flexVolume", "flocker", "gcePersistentDisk"),
    *("glusterfs", "iscsi", "nfs", "photonPersistentDisk", "portworxVolume", "quobyte", "rbd", "scaleIO", "storageos", "vsphereVolume"),
)
VOLUME = Struct(
    "volumes",
    (
        supported("name", NAME, required=True),
        supported(
            "emptyDir",
            Struct(
                "emptyDir",
                (
                    supported("medium", Choice("", "Memory", refused={"HugePages": _LATER}), "both mean the VM's memory"),
                    supported("sizeLimit", BYTES),
                ),
            ),
        ),
        supported("configMap", _file_volume("configMap", "name")),
        supported("secret", _file_volume("secret", "secretName")),
        refused("hostPath", "there is no host whose files could be shared"),
        refused("persistentVolumeClaim", _NO_DISKS),
        refused("ephemeral", _NO_DISKS),
        refused("projected", f"{_LATER}: use configMap and secret volumes side by side"),
        refused("downwardAPI", f"{_LATER}: use env with fieldRef"),
        refused("gitRepo", "Kubernetes itself no longer runs it"),
        refused("image", f"{_LATER}: add the files to the container's image"),
        *(refused(name, _NO_DISKS) for name in _FOREIGN),
    ),
)
POD_SECURITY = Struct(
    "securityContext",
    (
        refused("runAsNonRoot", _WEAKER, harmless=("false",)),
        refused("runAsUser", _OTHER_USER),
        refused("runAsGroup", _OTHER_USER),
        refused("fsGroup", f"{_LATER}: volumes belong to root"),
        ignored("fsGroupChangePolicy", "it only says how fsGroup, which is refused, is applied"),
        refused("supplementalGroups", _OTHER_USER),
        ignored("supplementalGroupsPolicy", "it only says how supplementalGroups, which are refused, are applied"),
        refused("sysctls", _LATER),
        supported("seccompProfile", _SECCOMP),
        refused("seLinuxOptions", "VMs do not run SELinux", harmless=("{}",)),
        ignored("seLinuxChangePolicy", "VMs do not run SELinux"),
        refused("appArmorProfile", "VMs do not run AppArmor"),
        refused("windowsOptions", "VMs run Linux"),
    ),
)
POD = Struct(
    "Pod",
    (
        supported("containers", ListOf(CONTAINER), required=True),
        supported("volumes", ListOf(VOLUME)),
        supported(
            "restartPolicy",
            Choice("Always", refused=dict.fromkeys(("OnFailure", "Never"), "a Deployment's Pods are restarted always, in Kubernetes too")),
        ),
        supported("terminationGracePeriodSeconds", SECONDS),
        supported("securityContext", POD_SECURITY),
        supported(
            "imagePullSecrets",
            ListOf(Struct("imagePullSecrets", (supported("name", OBJECT_NAME, required=True),))),
            "credentials for this Pod's images, read where i2kit runs; the user's own come after them",
        ),
        refused("initContainers", f"{_LATER}: containers would start before what they wait for"),
        refused("ephemeralContainers", "they are added to running Pods only"),
        refused("hostNetwork", "there is no host whose network could be shared", harmless=("false",)),
        refused("hostPID", "there is no host whose processes could be seen", harmless=("false",)),
        refused("hostIPC", "there is no host whose memory could be shared", harmless=("false",)),
        ignored("hostUsers", "a VM is stronger isolation than a user namespace"),
        refused("shareProcessNamespace", f"{_LATER}: each container has its own processes", harmless=("false",)),
        refused("hostname", f"{_LATER}: members of a group name themselves"),
        refused("subdomain", f"{_LATER}: members of a group have no names in DNS"),
        refused("setHostnameAsFQDN", _LATER, harmless=("false",)),
        refused("hostAliases", _LATER),
        refused("dnsConfig", _LATER, harmless=("{}",)),
        refused("dnsPolicy", "the environment's DNS is always asked", harmless=("ClusterFirst", "ClusterFirstWithHostNet")),
        ignored("enableServiceLinks", "variables such as WEB_SERVICE_HOST are never made; DNS names the services"),
        ignored("serviceAccountName", f"{_NO_API} to account to"),
        ignored("serviceAccount", f"{_NO_API} to account to"),
        ignored("automountServiceAccountToken", f"{_NO_API} to account to", harmless=("false",)),
        ignored("nodeName", _NO_NODES),
        ignored("nodeSelector", _NO_NODES),
        ignored("affinity", _NO_NODES),
        ignored("tolerations", _NO_NODES),
        ignored("topologySpreadConstraints", _NO_NODES),
        ignored("schedulerName", _NO_NODES, harmless=("default-scheduler",)),
        ignored("priority", _NO_NODES),
        ignored("priorityClassName", _NO_NODES),
        ignored("preemptionPolicy", _NO_NODES),
        ignored("overhead", "the VM's overhead is measured"),
        ignored("runtimeClassName", "the runtime is always crun in a VM"),
        supported(
            "os",
            Struct("os", (supported("name", Choice("linux", refused={"windows": "VMs run Linux"}), required=True),)),
        ),
        refused("activeDeadlineSeconds", "a Deployment does not take it, in Kubernetes either"),
        refused("readinessGates", "nobody could set the conditions"),
        refused("schedulingGates", "nobody could remove the gates"),
        refused("resourceClaims", _LATER),
        refused("resources", f"{_LATER}: give each container its resources"),
    ),
)
