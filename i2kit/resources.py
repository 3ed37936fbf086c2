"""The abstract resources that every provider makes, and the mark that each one carries."""

from __future__ import annotations

from typing import Literal, get_args

from attrs import field, frozen
from attrs.validators import ge, in_, instance_of, matches_re

from i2kit.strategy import Scaling

Kind = Literal["Network", "Image", "InstanceGroup", "Balancer", "DnsRecord", "Volume", "Secret"]
KINDS: tuple[Kind, ...] = get_args(Kind)

MARK_SCHEMA = 1
CLUSTER_DOMAIN = "svc.cluster.local"
"""Under which a Service is found inside its environment, by name and namespace."""

HEALTH_PORT = 10256
"""The port on which every guest serves ``/readyz`` and ``/livez``."""


@frozen(kw_only=True)
class Mark:
    """What every resource is created with, in the creating call itself, so that it can be found again.

    Values are at most 40 characters of ``[a-z0-9-]``; empty where they do not apply (an environment's Network has no application).
    """

    environment: str = field(validator=matches_re(r"[a-z0-9-]{1,40}"))
    application: str = field(default="", validator=matches_re(r"[a-z0-9-]{0,40}"))
    namespace: str = field(default="", validator=matches_re(r"[a-z0-9-]{0,40}"))
    workload: str = field(default="", validator=matches_re(r"[a-z0-9-]{0,40}"))
    revision: str = field(default="", validator=matches_re(r"[a-z0-9-]{0,40}"))
    schema: int = MARK_SCHEMA


@frozen(kw_only=True)
class Network:
    """The environment's network, with its private DNS zone."""

    name: str
    mark: Mark
    dns_zone: str
    kind: Literal["Network"] = "Network"

    @property
    def needs(self) -> tuple[str, ...]:
        """Keys of the resources that must exist first."""
        return ()


@frozen(kw_only=True)
class Image:
    """One image per Pod, named by the sha256 (`digest`) of everything that goes into it.

    `yaml` is the LinuxKit YAML, `sources` the OCI images it names with their manifest digests; `builder` the one that builds it. `root`
    says where the containers' root file systems lie: in the initramfs, or on a read-only disk beside it. `loader` is the image of boot
    loaders among `sources`, for formats that firmware starts.
    """

    name: str
    mark: Mark
    digest: str
    format: str
    architecture: str
    builder: str
    yaml: str = field(repr=False)
    sources: dict[str, str] = field(factory=dict)
    root: Literal["memory", "disk"] = "memory"
    loader: str = ""
    kind: Literal["Image"] = "Image"

    @property
    def needs(self) -> tuple[str, ...]:
        """Keys of the resources that must exist first."""
        return ()


@frozen(kw_only=True)
class Secret:
    """One immutable version of a Secret; `version` is a keyed digest, the values are never here."""

    name: str
    mark: Mark
    secret: str
    version: str
    keys: tuple[str, ...]
    kind: Literal["Secret"] = "Secret"

    @property
    def needs(self) -> tuple[str, ...]:
        """Keys of the resources that must exist first."""
        return ()


@frozen(kw_only=True)
class Boot:
    """The part of the boot configuration that is the same for all members of a group.

    `fields` answers fieldRefs (``metadata.namespace``, ``metadata.labels['app']``, ...); `search` are the DNS search domains;
    `secrets` maps the name a Pod knows a Secret by to the name of the `Secret` resource.
    """

    fields: dict[str, str] = field(factory=dict)
    search: tuple[str, ...] = ()
    secrets: dict[str, str] = field(factory=dict)


@frozen(kw_only=True)
class InstanceGroup:
    """A group of VMs of one revision; only its `replicas` ever change.

    `cpu_millis` is in thousandths of a core, `memory_mib` the VM's whole memory, the `*_seconds` as in Kubernetes (`drain_seconds`:
    how long a member that is to stop still serves after ``/readyz`` failed). `form` is `replicas` (interchangeable members) or `ordinals`.
    With `scaling` the provider moves the size between bounds. `restarts` counts how often the workload was replaced without a change.
    `options` are what the provider alone knows, by the names of its annotations. Members that are not ready are the first to leave a
    group that shrinks.
    """

    name: str
    mark: Mark
    image: str
    network: str
    replicas: int = field(validator=[instance_of(int), ge(0)])
    cpu_millis: int = field(validator=[instance_of(int), ge(0)])
    memory_mib: int = field(validator=[instance_of(int), ge(1)])
    architecture: str
    boot: Boot
    form: Literal["replicas", "ordinals"] = field(default="replicas", validator=in_(("replicas", "ordinals")))
    health_port: int = HEALTH_PORT
    drain_seconds: int = 0
    grace_seconds: int = 30
    min_ready_seconds: int = 0
    progress_deadline_seconds: int = 600
    scaling: Scaling | None = None
    restarts: int = 0
    options: dict[str, str] = field(factory=dict)
    kind: Literal["InstanceGroup"] = "InstanceGroup"

    @property
    def needs(self) -> tuple[str, ...]:
        """Keys of the resources that must exist first."""
        return (
            f"Network/{self.network}",
            f"Image/{self.image}",
            *(f"Secret/{name}" for name in self.boot.secrets.values()),
        )


@frozen(kw_only=True)
class BalancerPort:
    """One listener of a balancer: `port` outside, `target_port` on the VMs."""

    port: int
    target_port: int
    name: str = ""
    protocol: Literal["TCP", "UDP"] = "TCP"


@frozen(kw_only=True)
class Backend:
    """A group behind a balancer, with its share of the traffic.

    A group with weight 0 is checked, so that its health is known, and gets no new connections.
    """

    group: str
    weight: int = 100


@frozen(kw_only=True)
class Balancer:
    """A load balancer in front of groups; it checks `health_path` on `health_port` of every member, and nothing else.

    `options` are what the provider alone knows, by the names of its annotations.
    """

    name: str
    mark: Mark
    service: str
    network: str
    scope: Literal["internal", "public"]
    ports: tuple[BalancerPort, ...]
    backends: tuple[Backend, ...]
    health_port: int = HEALTH_PORT
    health_path: str = "/readyz"
    options: dict[str, str] = field(factory=dict)
    kind: Literal["Balancer"] = "Balancer"

    @property
    def needs(self) -> tuple[str, ...]:
        """Keys of the resources that must exist first."""
        return (f"Network/{self.network}", *(f"InstanceGroup/{backend.group}" for backend in self.backends))


@frozen(kw_only=True)
class DnsRecord:
    """A name that answers with a balancer's address; `name` is fully qualified, without a final dot.

    With the scope `private` it answers inside the environment only, with `public` everywhere.
    """

    name: str
    mark: Mark
    balancer: str
    network: str
    type: Literal["A", "CNAME"] = "A"
    scope: Literal["private", "public"] = "private"
    kind: Literal["DnsRecord"] = "DnsRecord"

    @property
    def needs(self) -> tuple[str, ...]:
        """Keys of the resources that must exist first."""
        return (f"Network/{self.network}", f"Balancer/{self.balancer}")


@frozen(kw_only=True)
class Volume:
    """A disk that outlives its VM; `size` in bytes. No manifest of today asks for one."""

    name: str
    mark: Mark
    size: int
    kind: Literal["Volume"] = "Volume"

    @property
    def needs(self) -> tuple[str, ...]:
        """Keys of the resources that must exist first."""
        return ()


Resource = Network | Image | Secret | InstanceGroup | Balancer | DnsRecord | Volume


def key(resource: Resource) -> str:
    """Return the resource's key, ``Kind/name``, unique within an environment."""
    return f"{resource.kind}/{resource.name}"
