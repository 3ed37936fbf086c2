"""What is there of the environment's balancers, in the plan's own terms: asked in bulk, and told field by field."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from attrs import field, frozen

from i2kit.endpoints import url
from i2kit.errors import ProviderError, TransientError
from i2kit.plan import ObservedResource
from i2kit.resources import HEALTH_PORT, Backend, Balancer, BalancerPort, Mark
from i2kit_aws import guards, listeners, networks, tags, targets
from i2kit_aws.gateway import absent
from i2kit_aws.guards import Guard
from i2kit_aws.networks import Located
from i2kit_aws.site import Site
from i2kit_aws.targets import Scaling, TargetGroup

_MOST_LISTENERS = 20
_TYPES = ["elasticloadbalancing:targetgroup", "elasticloadbalancing:listener"]
_gone = absent("ListenerNotFound", "LoadBalancerNotFound")


@frozen(kw_only=True)
class Heard:
    """One listener as AWS tells of it, and what its tags say."""

    told: Mapping[str, Any]
    tags: Mapping[str, str]

    @property
    def port(self) -> int:
        """The port outside."""
        return int(self.told["Port"])

    @property
    def shares(self) -> list[tuple[str, int]]:
        """How it divides its traffic among target groups."""
        return listeners.shares_of(self.told)

    def ports(self, behind: Mapping[str, TargetGroup]) -> list[tuple[int, BalancerPort]]:
        """Return the Service's ports that it serves, each with its place among them."""
        facts = {one: tags.fact(self.tags, one) for one in ("tcp", "udp")}
        target = next((behind[arn].port for arn, _ in self.shares if arn in behind), 0)
        return listeners.ports_of(self.told, facts, target)


@frozen(kw_only=True)
class Sight:
    """One balancer: its security group, the load balancer if there is one, its listeners, and its target groups by their ARNs.

    `listeners` come in the order of the Service's ports.
    """

    guard: Guard
    front: Mapping[str, Any] | None = None
    listeners: Sequence[Heard] = ()
    behind: Mapping[str, TargetGroup] = field(factory=dict)

    @property
    def ports(self) -> tuple[BalancerPort, ...]:
        """The Service's ports, in its order."""
        found = [one for heard in self.listeners for one in heard.ports(self.behind)]
        return tuple(port for _, port in sorted(found, key=lambda one: one[0]))


def observe(site: Site) -> Sequence[ObservedResource]:
    """Return the environment's balancers.

    That takes one request each for security groups, load balancers, target groups, tags, Auto Scaling groups and listeners, and one more
    for each further page (400 load balancers or target groups, 100 tagged resources or groups, 20 listeners). What AWS's index of tags
    does not show yet is asked for balancer by balancer.
    """
    own = [one for one in guards.everywhere(site) if one.mark is not None]
    if not own:
        return ()
    sights = list(_sights(site, own))
    found = site.gateway.pages("autoscaling", "DescribeAutoScalingGroups", "AutoScalingGroups", Filters=tags.having(site.own()))
    scaling = dict(targets.scalings(site, found))
    digests = {one.group: targets.short(site, "InstanceGroup", one.group) for sight in sights for one in sight.behind.values()}
    place = _place(site)
    return [seen(one, scaling, digests, place) for one in sights]


def _place(site: Site) -> Located | None:
    """Return where the network is; None when something of it is gone, which the network itself tells."""
    try:
        return networks.locate(site)
    except TransientError:
        raise
    except ProviderError:
        return None


def _sights(site: Site, own: Sequence[Guard]) -> Iterator[Sight]:
    fronts = {str(one["LoadBalancerName"]): one for one in site.gateway.pages("elbv2", "DescribeLoadBalancers", "LoadBalancers")}
    tagged = _tagged(site)
    groups = _groups(site, own, tagged)
    heard = _listeners(site, [arn for arn in tagged if ":listener/" in arn])
    for guard in own:
        front = fronts.get(listeners.front_name(guard.balancer))
        # Its name may be somebody else's; who has our security group is ours.
        front = front if front and guard.id in (front.get("SecurityGroups") or ()) else None
        behind = {one.arn: one for one in groups if one.balancer == guard.balancer}
        told = _told(site, str(front["LoadBalancerArn"]), heard, behind) if front else ()
        yield Sight(guard=guard, front=front, listeners=_labelled(site, told, tagged), behind=behind)


def _tagged(site: Site) -> dict[str, dict[str, str]]:
    """Return the tags of all target groups and listeners of the environment by their ARNs."""
    filters = [{"Key": key, "Values": [value]} for key, value in site.own().items()]
    wanted = {"TagFilters": filters, "ResourceTypeFilters": _TYPES, "ResourcesPerPage": 100}
    found = site.gateway.pages("resourcegroupstaggingapi", "GetResources", "ResourceTagMappingList", **wanted)
    return {str(one["ResourceARN"]): tags.unlisted(one.get("Tags")) for one in found}


def _labels(site: Site, arns: Iterable[str], tagged: Mapping[str, Mapping[str, str]]) -> dict[str, Mapping[str, str]]:
    """Return tags by ARN, asking for those that are not known."""
    wanted = list(arns)
    return {**targets.tags_of(site, [one for one in wanted if one not in tagged]), **{one: tagged[one] for one in wanted if one in tagged}}


def _groups(site: Site, own: Sequence[Guard], tagged: Mapping[str, Mapping[str, str]]) -> list[TargetGroup]:
    """Return the target groups behind the environment's balancers."""
    digests = {targets.short(site, "Balancer", one.balancer) for one in own}
    named = [one for one in targets.listed(site) if digests.intersection(one.name.split("-")[1:2])]
    labels = _labels(site, [one.arn for one in named], tagged)
    return [targets.labelled(one, held) for one in named if (held := labels.get(one.arn, {})).get(tags.ENVIRONMENT) == site.label]


def _listeners(site: Site, arns: Sequence[str]) -> dict[str, list[Mapping[str, Any]]]:
    """Return listeners by their load balancers."""
    found: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for some in targets.batches(arns, _MOST_LISTENERS):
        for one in _described(site, ListenerArns=list(some)):
            found[str(one["LoadBalancerArn"])].append(one)
    return found


def _described(site: Site, **which: Any) -> list[Mapping[str, Any]]:
    """Return listeners; none when one of them is gone, for AWS does not say which: they are asked for balancer by balancer then."""
    return _gone(lambda: list(site.gateway.pages("elbv2", "DescribeListeners", "Listeners", **which))) or []


def _told(
    site: Site, front: str, found: Mapping[str, Sequence[Mapping[str, Any]]], behind: Mapping[str, TargetGroup]
) -> Sequence[Mapping[str, Any]]:
    """Return the listeners of a load balancer; target groups that are used tell when one was not found."""
    told = found.get(front, ())
    known = {arn for one in told for arn, _ in listeners.shares_of(one)}
    if told and all(arn in known for arn, one in behind.items() if one.used):
        return told
    return _described(site, LoadBalancerArn=front)


def _labelled(site: Site, told: Sequence[Mapping[str, Any]], tagged: Mapping[str, Mapping[str, str]]) -> Sequence[Heard]:
    """Return listeners with their tags, in the order of the Service's ports."""
    labels = _labels(site, [str(one["ListenerArn"]) for one in told], tagged)
    heard = [Heard(told=one, tags=labels.get(str(one["ListenerArn"]), {})) for one in told]
    return sorted(heard, key=lambda one: (min((place for place, _ in one.ports({})), default=0), one.port))


def seen(sight: Sight, scaling: Mapping[str, Scaling], digests: Mapping[str, str], place: Located | None) -> ObservedResource:
    """Return a balancer as it is; `digests` are the groups' as `targets.short` has them. Pure."""
    guard, front = sight.guard, sight.front
    shares = sight.listeners[0].shares if sight.listeners else []
    check = next((sight.behind[arn].check for arn, _ in shares if arn in sight.behind), {})
    port = str(check.get("HealthCheckPort", HEALTH_PORT))
    scope: Literal["internal", "public"] = "public" if _scheme(front, guard) == "internet-facing" else "internal"
    resource = Balancer(
        name=guard.balancer,
        mark=guard.mark or Mark(environment="unknown"),
        service=tags.fact(guard.tags, "service"),
        network=tags.fact(guard.tags, "network"),
        scope=scope,
        ports=sight.ports,
        backends=tuple(_backends(sight, shares, digests)),
        health_port=int(port) if port.isdigit() else 0,
        health_path=str(check.get("HealthCheckPath", "/readyz")),
        options=guard.options,
    )
    names = [str(front["DNSName"])] if front and scope == "public" else []
    return ObservedResource(
        resource=resource,
        faults=tuple(faults(sight, resource, scaling, place)),
        endpoints=tuple(
            url(one.name, one.port, name, protocol=one.protocol, tls=_is_tls(sight, one)) for name in names for one in resource.ports
        ),
    )


def _scheme(front: Mapping[str, Any] | None, guard: Guard) -> str:
    if front is not None:
        return str(front.get("Scheme"))
    return "internet-facing" if tags.fact(guard.tags, "scope") == "public" else "internal"


def _is_tls(sight: Sight, port: BalancerPort) -> bool:
    return any(one.port == port.port and one.told["Protocol"] == "TLS" for one in sight.listeners)


def _backends(sight: Sight, shares: Sequence[tuple[str, int]], digests: Mapping[str, str]) -> list[Backend]:
    """Return the groups behind a listener in the order that the balancer was given them in; what that does not know stands last."""
    found = [
        Backend(group=sight.behind[arn].group, weight=weight) for arn, weight in shares if arn in sight.behind and sight.behind[arn].group
    ]
    order = {digest: index for index, digest in enumerate(sight.guard.order)}
    return sorted(found, key=lambda one: (order.get(digests.get(one.group, ""), len(order)), one.group))


def faults(sight: Sight, resource: Balancer, scaling: Mapping[str, Scaling], place: Located | None) -> Iterator[str]:
    """Say what is broken about a balancer that its fields do not show. Pure."""
    if sight.front is None:
        yield "its load balancer is gone"
    else:
        yield from _front_faults(sight.front, resource, place)
    if place is not None and sight.listeners:
        yield from guards.faults(sight.guard, guards.rules_of(listeners.planned(resource), resource.scope, place))
    wanted = {one.port: one for one in listeners.planned(resource)}
    for heard in sight.listeners:
        if heard.port not in wanted or listeners.differs(wanted[heard.port], heard.told):
            yield f"port {heard.port} does not speak TLS as the annotations say"
        groups = {sight.behind[arn].group: weight for arn, weight in heard.shares if arn in sight.behind}
        groups.pop("", None)
        if groups != {one.group: one.weight for one in resource.backends}:
            yield f"port {heard.port} divides its traffic otherwise than the first port"
        if any(arn not in sight.behind for arn, _ in heard.shares):
            yield f"port {heard.port} forwards to a target group that is not i2kit's"
    yield from _group_faults(sight, resource, scaling)


def _front_faults(front: Mapping[str, Any], resource: Balancer, place: Located | None) -> Iterator[str]:
    state = front.get("State") or {}
    if state.get("Code") not in ("active", "provisioning"):
        yield f"AWS says that it is {state.get('Code')}: {state.get('Reason') or 'no reason given'}"
    if place is None:
        return
    if place.balancers not in (front.get("SecurityGroups") or ()):
        yield "it lacks the environment's security group of balancers, which members let in"
    zones = {str(one["ZoneName"]) for one in front.get("AvailabilityZones") or ()}
    for zone in sorted((place.outer if resource.scope == "public" else place.subnets).keys() - zones):
        yield f"it does not stand in zone {zone}"


def _group_faults(sight: Sight, resource: Balancer, scaling: Mapping[str, Scaling]) -> Iterator[str]:
    used = {arn for heard in sight.listeners for arn, _ in heard.shares}
    check = targets.check_of(resource.health_path, resource.health_port)
    for arn, one in sorted(sight.behind.items(), key=lambda item: item[1].name):
        whose = one.group or "nobody"
        if arn not in used:
            yield f"a target group of {whose} is left over"
            continue
        if one.check != check:
            yield f"members of {whose} are checked otherwise than they should be"
        if one.group in scaling and arn not in scaling[one.group].attached:
            yield f"members of {whose} are no targets: its Auto Scaling group is not attached"
