"""What stands in the way of changes, found out before the first of them; nothing is touched, and all of it comes at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from attrs import field, frozen

from i2kit.driver import Artefact
from i2kit.errors import Problem, ProviderError, TransientError
from i2kit.log import logger
from i2kit.manifest.workloads import SecretValue
from i2kit.plan import Change
from i2kit.resources import Balancer, DnsRecord, InstanceGroup, Network
from i2kit_aws import balancers, existing, listeners, networks, offers, public_zones, quotas, roles, subnets
from i2kit_aws import survey as surveys
from i2kit_aws.gateway import FORBIDDEN, AwsError
from i2kit_aws.quotas import Quota
from i2kit_aws.site import Site
from i2kit_aws.survey import Survey

_log = logger("i2kit_aws.preflight")
_ISSUED = "ISSUED"


@frozen(kw_only=True)
class _Coming:
    """What is about to be made or changed, by kind; `network` is what there is of the network that changes, None when none does."""

    groups: Sequence[Change]
    balancers: Sequence[Change]
    names: Sequence[DnsRecord]
    network: Survey | None = None
    # The instance types that groups get, by their names.
    types: dict[str, str] = field(factory=dict)


def problems(site: Site, changes: Sequence[Change]) -> list[Problem]:
    """Return everything that stands in the way of changes. What the credentials do not allow to look at is logged, and taken for fine."""
    making = [one for one in changes if one.action in ("create", "update", "replace")]
    coming = _Coming(
        groups=[one for one in making if isinstance(one.resource, InstanceGroup)],
        balancers=[one for one in making if isinstance(one.resource, Balancer)],
        names=[one.resource for one in making if isinstance(one.resource, DnsRecord) and one.resource.scope == "public"],
        network=surveys.survey(site) if any(isinstance(one.resource, Network) for one in making) else None,
    )
    checks: list[Callable[[], Iterable[Problem]]] = [
        lambda: existing.problems(site, coming.network) if coming.network else (),
        lambda: _types(site, coming),
        lambda: _names(site, coming.names),
        *(lambda balancer=one.resource: _listeners(site, balancer) for one in coming.balancers),
    ]
    with ThreadPoolExecutor(len(checks)) as pool:
        found = [problem for told in pool.map(_allowed, checks) for problem in told]
    # By now it is known which types of instances there will be.
    found += _allowed(lambda: quotas.excess(site, needs(coming, site)))
    return list(dict.fromkeys(found))


def _allowed(check: Callable[[], Iterable[Problem]]) -> list[Problem]:
    """Return what a check finds; nothing, with a warning in the log, when the credentials are not for what it asks."""
    try:
        return list(check())
    except AwsError as error:
        if error.code not in FORBIDDEN:
            raise
        _log.warning("aws.not-looked-at", error=str(error))
        return []


def _found(work: Callable[[], object]) -> Iterator[Problem]:
    """Yield what the work is refused for by us; AWS's own refusals, and what passes, go their way."""
    try:
        work()
    except (AwsError, TransientError):
        raise
    except ProviderError as error:
        yield from error.problems


def _types(site: Site, coming: _Coming) -> Iterator[Problem]:
    """Choose instance types as the groups will get them, and say which cannot be had."""
    if not coming.groups:
        return
    zones: set[str] = set()
    yield from _found(lambda: zones.update(_zones(site, coming.network)))
    for change in coming.groups if zones else ():
        group = change.resource
        if isinstance(group, InstanceGroup):
            yield from _found(lambda: coming.types.update({group.name: offers.choose(site, group, zones, _Quiet()).type}))  # noqa: B023


def _zones(site: Site, network: Survey | None) -> Collection[str]:
    """Return the availability zones that the environment has, or will have."""
    if network is None:
        return networks.locate(site).subnets
    if network.wanted.vpc:
        return {one.zone for one in network.named}
    there = subnets.wanted_zones(network, network.vpc) if network.vpc else ()
    return there or subnets.choose(site)


def _names(site: Site, names: Iterable[DnsRecord]) -> Iterator[Problem]:
    for record in names:
        yield from _found(lambda: public_zones.zone_for(site, record.name))  # noqa: B023


def _listeners(site: Site, balancer: Balancer) -> Iterator[Problem]:
    """Say what is wrong with a balancer's annotations and ports, and whether its certificate is there."""
    if wrong := balancers.problems(site, balancer):
        yield from wrong
        return
    yield from _found(lambda: listeners.planned(balancer))
    if arn := balancer.options.get(listeners.CERTIFICATE):
        yield from _certificate(site, balancer, arn)


def _certificate(site: Site, balancer: Balancer, arn: str) -> Iterator[Problem]:
    try:
        state = str(site.gateway.call("acm", "DescribeCertificate", CertificateArn=arn)["Certificate"].get("Status"))
    except AwsError as error:
        if error.code != "ResourceNotFoundException":
            raise
        state = "not there"
    if state != _ISSUED:
        yield Problem(
            code="aws-certificate",
            message=f"Service {balancer.service}: the certificate {arn} is {state.lower().replace('_', ' ')}",
            expected="a certificate of Certificate Manager that was issued",
            hint="see it in Certificate Manager, or name another one by the annotation aws.i2kit.dev/certificate",
        )


def needs(coming: _Coming, site: Site) -> Mapping[Quota, int]:
    """Return how many more of each quota changes need."""
    wanted: Counter[Quota] = Counter()
    for change in coming.groups:
        if isinstance(change.resource, InstanceGroup) and change.observed is None:
            wanted += Counter({quotas.GROUPS: 1, quotas.TEMPLATES: 1, quotas.ROLES: int(roles.is_own(site, change.resource))})
    wanted[quotas.VCPUS] += _vcpus(site, coming)
    for change in coming.balancers:
        if isinstance(change.resource, Balancer):
            wanted += Counter(_of_balancer(change.resource, change))
    if coming.network:
        wanted += Counter(_of_network(coming.network))
    return wanted


def _vcpus(site: Site, coming: _Coming) -> int:
    """Return how many vCPUs come on top of those there are; groups whose type is not known, or has another quota, have none."""
    more: Counter[str] = Counter()
    for change in coming.groups:
        group, there = change.resource, change.observed.resource if change.observed else None
        type_ = coming.types.get(group.name, "")
        if isinstance(group, InstanceGroup) and quotas.standard(type_):
            more[type_] += max(0, group.replicas - (there.replicas if isinstance(there, InstanceGroup) else 0))
    each = quotas.vcpus_of(site, +more)
    return sum(each.get(name, 0) * count for name, count in more.items())


def _of_balancer(balancer: Balancer, change: Change) -> dict[Quota, int]:
    """Return what a balancer needs: itself, its security group, and a target group for each group and listener. Pure."""
    before = change.observed.resource if change.observed else None
    served = {(one.group, port) for one in balancer.backends for port in {one.port for one in balancer.ports}}
    if isinstance(before, Balancer):
        there = {(one.group, port) for one in before.backends for port in {one.port for one in before.ports}}
        return {quotas.TARGET_GROUPS: len(served - there)}
    return {quotas.BALANCERS: 1, quotas.SECURITY_GROUPS: 1, quotas.TARGET_GROUPS: len(served)}


def _of_network(seen: Survey) -> dict[Quota, int]:
    """Return what a network lacks of what there are quotas of. Pure."""
    own = not seen.wanted.vpc
    return {
        quotas.VPCS: int(own and not seen.vpcs),
        quotas.GATEWAYS: int(own and not seen.gateways),
        quotas.ADDRESSES: int(own and seen.wanted.private and not seen.addresses),
        quotas.SECURITY_GROUPS: sum(seen.group(part) is None for part in (surveys.MEMBERS, surveys.BALANCERS)),
        quotas.ZONES: int(seen.zone is None),
    }


class _Quiet:
    """The context of what only looks: nobody stops it, and it says nothing."""

    def secret(self, name: str) -> Mapping[str, SecretValue]:
        raise ProviderError.of("unsupported", f"Secret {name} is not needed to look")

    def artefact(self, name: str) -> Artefact:
        raise ProviderError.of("unsupported", f"image {name} is not needed to look")

    def progress(self, message: str) -> None:
        pass

    def check(self) -> None:
        pass
