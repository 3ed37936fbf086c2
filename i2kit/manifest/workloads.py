"""What manifests mean once they are read: the input of every later stage, free of YAML.

References to ConfigMaps are resolved here (their data is not secret); references to Secrets stay references, and the values
are kept apart in `Workloads.secrets`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from attrs import field, frozen

from i2kit.errors import InvalidInput, Problem, Where
from i2kit.strategy import Scaling, Strategy


class SecretValue:
    """Bytes that must not be shown: `repr`, `str` and `format` hide them, only `reveal` gives them."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = value

    def reveal(self) -> bytes:
        """Return the value itself."""
        return self._value

    def __repr__(self) -> str:
        return "SecretValue(...)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SecretValue) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


@frozen(kw_only=True)
class Notice:
    """A field that was read and has no effect, with the reason."""

    where: Where
    message: str


@frozen(kw_only=True)
class EnvValue:
    """An environment variable with a value (from `value`, or looked up in a ConfigMap).

    `value` is in Kubernetes' syntax: the guest replaces ``$(NAME)``, and ``$$`` stands for one dollar. The dollars of a ConfigMap's values,
    in which Kubernetes replaces nothing, are doubled.
    """

    name: str
    value: str


@frozen(kw_only=True)
class EnvSecret:
    """An environment variable whose value is one key of a Secret."""

    name: str
    secret: str
    key: str
    optional: bool = False


@frozen(kw_only=True)
class EnvField:
    """An environment variable whose value is a field of the Pod, such as ``status.podIP``."""

    name: str
    field: str


EnvVar = EnvValue | EnvSecret | EnvField


@frozen(kw_only=True)
class HttpGet:
    """An HTTP probe; succeeds on a status from 200 to 399."""

    port: int
    path: str = "/"
    scheme: Literal["HTTP", "HTTPS"] = "HTTP"
    host: str = ""
    headers: tuple[tuple[str, str], ...] = ()


@frozen(kw_only=True)
class TcpSocket:
    """A TCP probe; succeeds when the port accepts a connection."""

    port: int
    host: str = ""


@frozen(kw_only=True)
class Exec:
    """A probe that runs a command in the container; succeeds on exit code 0."""

    command: tuple[str, ...]


@frozen(kw_only=True)
class Probe:
    """A readiness, liveness or startup probe; times are in seconds, defaults are Kubernetes'."""

    handler: HttpGet | TcpSocket | Exec
    initial_delay_seconds: int = 0
    period_seconds: int = 10
    timeout_seconds: int = 1
    success_threshold: int = 1
    failure_threshold: int = 3


@frozen(kw_only=True)
class Port:
    """A port that a container listens on."""

    container_port: int
    name: str = ""
    protocol: Literal["TCP", "UDP"] = "TCP"


@frozen(kw_only=True)
class Resources:
    """Requests and limits; memory in bytes, cpu in thousandths of a core; None where not given.

    `memory_where` and `cpu_where` are the places of what counts: the limit, else the request.
    """

    memory_request: int | None = None
    memory_limit: int | None = None
    cpu_request: int | None = None
    cpu_limit: int | None = None
    memory_where: Where | None = field(default=None, eq=False, repr=False)
    cpu_where: Where | None = field(default=None, eq=False, repr=False)


@frozen(kw_only=True)
class Mount:
    """Where a container sees a volume, or one file or folder of it (`sub_path`)."""

    volume: str
    path: str
    sub_path: str = ""
    read_only: bool = False


@frozen(kw_only=True)
class VolumeFile:
    """One file of a configMap volume, content and mode resolved."""

    path: str
    content: bytes = field(repr=False)
    mode: int = 0o644


@frozen(kw_only=True)
class ConfigVolume:
    """A configMap volume."""

    name: str
    files: tuple[VolumeFile, ...]


@frozen(kw_only=True)
class SecretItem:
    """One file of a secret volume: which key of which Secret, and where it appears."""

    secret: str
    key: str
    path: str
    mode: int = 0o644


@frozen(kw_only=True)
class SecretVolume:
    """A secret volume; the values reach the VM as boot configuration."""

    name: str
    items: tuple[SecretItem, ...]


@frozen(kw_only=True)
class EmptyDir:
    """An emptyDir volume; `size_limit` in bytes."""

    name: str
    medium: Literal["", "Memory"] = ""
    size_limit: int | None = None


Volume = ConfigVolume | SecretVolume | EmptyDir


@frozen(kw_only=True)
class Container:
    """One container of a Pod; `where` is the place of its `image` field."""

    name: str
    image: str
    where: Where
    command: tuple[str, ...] | None = None
    args: tuple[str, ...] | None = None
    working_dir: str = ""
    env: tuple[EnvVar, ...] = ()
    ports: tuple[Port, ...] = ()
    readiness_probe: Probe | None = None
    liveness_probe: Probe | None = None
    startup_probe: Probe | None = None
    resources: Resources = Resources()
    mounts: tuple[Mount, ...] = ()


@frozen(kw_only=True)
class Pod:
    """The Pod template of a workload; `pull_secrets` are the names of those of its ``imagePullSecrets`` that are among the manifests."""

    containers: tuple[Container, ...]
    volumes: tuple[Volume, ...] = ()
    pull_secrets: tuple[str, ...] = ()
    labels: dict[str, str] = field(factory=dict)
    annotations: dict[str, str] = field(factory=dict)
    restart_policy: Literal["Always", "OnFailure", "Never"] = "Always"
    termination_grace_period_seconds: int = 30


@frozen(kw_only=True)
class Workload:
    """A Deployment: `replicas` interchangeable VMs of one Pod.

    `scaling` are the bounds of its HorizontalPodAutoscaler; `history_limit` is how many older revisions can be gone back to.
    """

    name: str
    namespace: str
    replicas: int
    pod: Pod
    where: Where
    kind: Literal["Deployment"] = "Deployment"
    labels: dict[str, str] = field(factory=dict)
    annotations: dict[str, str] = field(factory=dict)
    min_ready_seconds: int = 0
    progress_deadline_seconds: int = 600
    strategy: Strategy = Strategy()
    scaling: Scaling | None = None
    history_limit: int = 10


@frozen(kw_only=True)
class ServicePort:
    """One port of a Service; `target_port` is the container's port, named ports resolved."""

    port: int
    target_port: int
    name: str = ""
    protocol: Literal["TCP", "UDP"] = "TCP"


@frozen(kw_only=True)
class Service:
    """A Service in front of the workloads of its namespace that its selector matches; `workloads` are their names.

    `hostnames` are the public names that answer with its address.
    """

    name: str
    namespace: str
    type: Literal["ClusterIP", "LoadBalancer"]
    ports: tuple[ServicePort, ...]
    workloads: tuple[str, ...]
    where: Where
    annotations: dict[str, str] = field(factory=dict)
    hostnames: tuple[str, ...] = ()


@frozen(kw_only=True)
class SecretData:
    """A Secret that a workload refers to, with its values."""

    name: str
    namespace: str
    data: dict[str, SecretValue]


@frozen(kw_only=True)
class Workloads:
    """Everything the manifests ask for, checked and with references resolved.

    `secrets` are those that Pods get to see; `pull_secrets` have credentials for registries, and never leave this machine.
    `notices` lists every field that was read and has no effect.
    """

    workloads: tuple[Workload, ...]
    services: tuple[Service, ...] = ()
    secrets: tuple[SecretData, ...] = ()
    pull_secrets: tuple[SecretData, ...] = ()
    notices: tuple[Notice, ...] = ()
    sources: tuple[str, ...] = ()


class InvalidManifests(InvalidInput):
    """Manifests are wrong; `readable` is what could be read all the same, so that the rest of it can be looked at in the same run.

    `files` are what places call the sources, in their order.
    """

    def __init__(self, problems: Iterable[Problem], *, readable: Workloads, files: Sequence[str]) -> None:
        super().__init__(problems)
        self.readable = readable
        self.files = tuple(files)
