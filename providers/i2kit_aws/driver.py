"""The driver: changes -> requests to AWS, and what is there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from i2kit.driver import Context, LogLine, Record
from i2kit.environment import Environment
from i2kit.errors import Problem, ProviderError
from i2kit.plan import Change, GroupHealth, Observed, ObservedResource
from i2kit.resources import Balancer, DnsRecord, Image, InstanceGroup, Network, Secret
from i2kit_aws import balancers, consoles, groups, health, images, names, networks, preflight, records, secrets
from i2kit_aws.site import Site

_PARTS: tuple[Callable[[Site], Sequence[ObservedResource]], ...] = (
    networks.observe,
    images.observe,
    secrets.observe,
    groups.observe,
    balancers.observe,
    names.observe,
)


class AwsDriver:
    """Talks to one environment in one account and region. Thread-safe."""

    def __init__(self, environment: Environment) -> None:
        self.site = Site.of(environment)

    def observe(self) -> Observed:
        """Return everything of the environment; its parts are asked at once."""
        self.site.gateway.check_account()
        with ThreadPoolExecutor(len(_PARTS)) as pool:
            found = list(pool.map(lambda part: part(self.site), _PARTS))
        return Observed(resources=tuple(one for part in found for one in part))

    def preflight(self, changes: Sequence[Change]) -> Sequence[Problem]:
        """Return what stands in the way: quotas, instance types, zones, certificates, and what is wrong with an existing network."""
        return preflight.problems(self.site, changes)

    def apply(self, change: Change, context: Context) -> None:
        """Make one change happen."""
        context.check()
        self.site.gateway.check_account()
        site = self.site.during(context)
        if change.action in ("delete", "replace"):
            _delete(site, change, context)
        if change.action in ("create", "update", "replace"):
            _ensure(site, change, context)

    def health(self, group: str) -> GroupHealth:
        """Return which members of the group are ready: by the balancers in front of it, and where there is none by their consoles."""
        return health.of_group(self.site, group)

    def logs(self, group: str, *, tail: int | None = None, follow: bool = False) -> Iterator[LogLine]:
        """Yield the members' console lines, as far as EC2 has them."""
        return consoles.lines(self.site, group, tail=tail, follow=follow)

    def records(self, application: str) -> Sequence[Record]:
        """Return the application's release records in order."""
        return records.read(self.site, application)

    def append_record(self, application: str, number: int, body: bytes) -> None:
        """Create a record, unless there is one of that number."""
        self.site.gateway.check_account()
        records.append(self.site, application, number, body)

    def remove_record(self, application: str, number: int) -> None:
        """Remove a record."""
        records.remove(self.site, application, number)

    def applications(self) -> Sequence[str]:
        """Return the applications that have records or resources."""
        seen = (one.resource.mark.application for one in self.observe().resources)
        return sorted({*records.applications(self.site), *seen} - {""})

    def close(self) -> None:
        """End what waits to be asked again."""
        self.site.gateway.close()


def _ensure(site: Site, change: Change, context: Context) -> None:
    match change.resource:
        case Network() as network:
            networks.ensure(site, network, context)
        case Image() as image:
            images.ensure(site, image, context)
        case Secret() as secret:
            secrets.ensure(site, secret, context)
        case InstanceGroup() as group:
            groups.ensure(site, group, context)
        case Balancer() as balancer:
            balancers.ensure(site, balancer, context)
        case DnsRecord() as record:
            names.ensure(site, record, context)
        case other:
            raise ProviderError.of("unsupported", f"i2kit makes no {other.kind} on AWS yet")


def _delete(site: Site, change: Change, context: Context) -> None:
    match change.resource:
        case Network() as network:
            networks.delete(site, network, context)
        case Image() as image:
            images.delete(site, image, context)
        case Secret() as secret:
            secrets.delete(site, secret, context)
        case InstanceGroup() as group:
            groups.delete(site, group, context)
        case Balancer() as balancer:
            balancers.delete(site, balancer, context)
        case DnsRecord() as record:
            names.delete(site, record, context)
        case other:
            raise ProviderError.of("unsupported", f"i2kit has no {other.kind} on AWS yet")
