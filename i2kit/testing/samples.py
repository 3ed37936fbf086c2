"""Sample resources as the planner would make them: marks, needs and names within a provider's limits."""

from __future__ import annotations

import platform
from collections.abc import Iterable

from attrs import evolve, field, frozen

from i2kit import names
from i2kit.driver import Limits
from i2kit.plan import Plan
from i2kit.resources import Backend, Balancer, BalancerPort, Boot, DnsRecord, Image, InstanceGroup, Mark, Network, Resource, Secret
from i2kit.wire import to_data

_ARCHITECTURES = {"amd64": "x86_64", "arm64": "aarch64"}


def this_architecture() -> str:
    """Return this machine's architecture by the name that images have it under."""
    return _ARCHITECTURES.get(platform.machine().lower(), platform.machine())


@frozen(kw_only=True)
class Samples:
    """Makes the resources of one application of one environment.

    A `version` stands for a state of the Pod: another version is another image, another revision, another group.
    """

    environment: str = "conformance"
    application: str = "sample"
    provider: str = "sample"
    format: str = "kernel+initrd"
    architecture: str = field(factory=this_architecture)
    limits: Limits = field(factory=lambda: Limits(max_memory_mib=4096, max_cpu_millis=4000))

    def mark(self, workload: str = "", revision: str = "") -> Mark:
        """Return the mark of one of the application's resources."""
        return Mark(environment=self.environment, application=self.application, namespace="default", workload=workload, revision=revision)

    def name(self, kind: str, readable: str, *identity: str) -> str:
        """Name a resource within the provider's limit for its kind."""
        return names.resource_name(readable, self.environment, kind, *identity, limit=self.limits.name_lengths.get(kind, 63))

    def network(self) -> Network:
        """The environment's network."""
        return Network(name=self.name("Network", self.environment), mark=Mark(environment=self.environment), dns_zone="i2kit.internal")

    def image(self, version: str = "1") -> Image:
        """An image, which belongs to the environment."""
        digest = names.digest("sample image", version, self.format, self.architecture)
        return Image(
            name=self.name("Image", f"web-{version}", digest),
            mark=Mark(environment=self.environment),
            digest=digest,
            format=self.format,
            architecture=self.architecture,
            builder="assembler",
            yaml=f"# version {version}\n",
            sources={"i2kit/web": f"sha256:{digest}"},
        )

    def secret(self, version: str = "1") -> Secret:
        """One version of a Secret with two keys."""
        digest = names.digest(version)[:16]
        return Secret(
            name=self.name("Secret", f"credentials-{digest[:8]}", self.application, version),
            mark=self.mark(),
            secret="credentials",  # noqa: S106 - the Secret's name
            version=digest,
            keys=("password", "user"),
        )

    def group(
        self, version: str = "1", *, replicas: int = 1, workload: str = "web", secret: str | None = None, deadline: int = 600
    ) -> InstanceGroup:
        """A group of one revision of `workload`; `secret` is the version of the Secret that it uses, `deadline` its progress deadline."""
        secrets = {} if secret is None else {"credentials": self.secret(secret).name}
        revision = names.digest(version, secrets)[:10]
        return InstanceGroup(
            name=self.name("InstanceGroup", f"{workload}-{revision[:6]}", self.application, workload, revision),
            mark=self.mark(workload, revision),
            image=self.image(version).name,
            network=self.network().name,
            replicas=replicas,
            cpu_millis=100,
            memory_mib=128,
            architecture=self.architecture,
            boot=Boot(fields={"metadata.namespace": "default"}, search=("default.svc.cluster.local",), secrets=secrets),
            grace_seconds=5,
            progress_deadline_seconds=deadline,
        )

    def balancer(self, *groups: InstanceGroup, service: str = "web", weights: Iterable[int] = ()) -> Balancer:
        """A balancer that only the environment reaches, in front of `groups`; `weights` are 100 each unless given."""
        shares = list(weights) or [100] * len(groups)
        return Balancer(
            name=self.name("Balancer", service, self.application, service),
            mark=self.mark(service),
            service=service,
            network=self.network().name,
            scope="internal",
            ports=(BalancerPort(port=8080, target_port=8080, name="http"),),
            backends=tuple(Backend(group=group.name, weight=weight) for group, weight in zip(groups, shares, strict=True)),
        )

    def record(self, balancer: Balancer) -> DnsRecord:
        """The name of a balancer's service."""
        return DnsRecord(
            name=f"{balancer.service}.default.svc.cluster.local",
            mark=balancer.mark,
            balancer=balancer.name,
            network=balancer.network,
        )

    def public_record(self, balancer: Balancer, domain: str) -> DnsRecord:
        """A public name of a balancer's service, under `domain`."""
        return evolve(self.record(balancer), name=f"{balancer.service}.{domain}", scope="public")

    def workload(self, version: str = "1", *, replicas: int = 1, workload: str = "web", secret: str | None = None) -> tuple[Resource, ...]:
        """A workload with all that it needs, in an order in which it can be made: one resource of every kind (a Secret if it uses one)."""
        group = self.group(version, replicas=replicas, workload=workload, secret=secret)
        balancer = self.balancer(group, service=workload)
        secrets = () if secret is None else (self.secret(secret),)
        return (self.network(), *secrets, self.image(version), group, balancer, self.record(balancer))

    def plan(self, *resources: Resource) -> Plan:
        """Return the plan that wants `resources`; those that stand there twice (a shared network) count once."""
        unique = tuple(dict.fromkeys((resource.kind, resource.name) for resource in resources))
        by_name = {(resource.kind, resource.name): resource for resource in resources}
        wanted = tuple(by_name[one] for one in unique)
        return Plan(
            environment=self.environment,
            application=self.application,
            provider=self.provider,
            resources=wanted,
            fingerprint=names.digest([to_data(resource) for resource in wanted]),
        )
