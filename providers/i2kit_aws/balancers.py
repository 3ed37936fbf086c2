"""Network Load Balancers, made, mended and removed with everything that belongs to them; docs/explanation/aws.md says why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from i2kit.driver import Context
from i2kit.errors import InvalidInput, Problem, ProviderError
from i2kit.plan import ObservedResource
from i2kit.resources import Balancer
from i2kit_aws import balancer_views, guards, listeners, networks, switches, tags, targets, waits
from i2kit_aws.gateway import absent
from i2kit_aws.listeners import Listener
from i2kit_aws.networks import Located
from i2kit_aws.site import Site
from i2kit_aws.targets import Scaling, TargetGroup

ATTRIBUTES = {"load_balancing.cross_zone.enabled": "true"}
"""A group may have fewer members than there are zones, and weights are to hold for each address of the balancer."""

# AWS takes two to three minutes; the name of one that is deleted is free a little later.
_ACTIVE_SECONDS = 900.0
_NAME_SECONDS = 300.0
_missing = absent("LoadBalancerNotFound")


@frozen(kw_only=True)
class Address:
    """What a name is to be an alias of: a balancer's own name, and the hosted zone that Route 53 knows it in."""

    dns_name: str
    zone: str


@frozen(kw_only=True)
class Front:
    """A load balancer of the environment: what AWS tells of it, and its tags."""

    told: Mapping[str, Any]
    tags: Mapping[str, str]


def address(site: Site, balancer: str) -> Address:
    """Return the address of the balancer called `balancer`. Raises `ProviderError` (code ``no-balancer``) when there is none."""
    found = _described(site, balancer)
    if found is None:
        raise ProviderError.of("no-balancer", f"Balancer {balancer} does not exist")
    return Address(dns_name=str(found["DNSName"]), zone=str(found["CanonicalHostedZoneId"]))


def observe(site: Site) -> Sequence[ObservedResource]:
    """Return the environment's balancers, those whose making or removal was not finished among them."""
    return balancer_views.observe(site)


def ensure(site: Site, balancer: Balancer, context: Context) -> None:
    """Have the balancer as it is asked for. The traffic moves by one request for each port; what leaves then goes, after its drain."""
    if found := problems(site, balancer):
        raise InvalidInput(found)
    wanted, place = listeners.planned(balancer), networks.locate(site)
    guard = guards.ensure(site, balancer, wanted, place, context)
    front = _front(site, balancer, place, guard, context)
    everybodys = list(targets.listed(site))
    there = {one.name: one for one in targets.of_balancer(site, balancer.name, everybodys)}
    scaling = targets.scaling(site, [one.group for one in balancer.backends])
    for group, state in scaling.items():
        targets.forget(site, group, state, everybodys)
    arns = _behind(site, balancer, wanted, there, place, scaling)
    filled = {arn for (group, _), arn in arns.items() if group in scaling and scaling[group].size}
    switches.ensure(site, balancer, str(front["LoadBalancerArn"]), wanted, arns, filled, context)
    targets.outdate(site)
    targets.retire(site, [one for one in there.values() if one.arn not in arns.values()], context, drained=True)
    _await_active(site, balancer, front, context)


def problems(site: Site, balancer: Balancer) -> list[Problem]:
    """Return what is wrong with a balancer's annotations; only a certificate's account may have to be asked for."""
    account = site.gateway.account if balancer.options.get(listeners.CERTIFICATE) else None
    found = listeners.wrong(balancer, site.settings.region, account)
    return [Problem(code="aws-annotation", message=f"Service {balancer.service}: aws.i2kit.dev/{message}") for message in found]


def _described(site: Site, balancer: str) -> Mapping[str, Any] | None:
    name = listeners.front_name(balancer)
    found = _missing(lambda: site.gateway.call("elbv2", "DescribeLoadBalancers", Names=[name]))
    return next(iter((found or {}).get("LoadBalancers") or ()), None)


def _there(site: Site, balancer: str) -> Front | None:
    """Return the load balancer that has a balancer's name, whosever it is."""
    found = _described(site, balancer)
    if found is None:
        return None
    arn = str(found["LoadBalancerArn"])
    return Front(told=found, tags=targets.tags_of(site, [arn]).get(arn, {}))


def _own(site: Site, balancer: Balancer) -> Front | None:
    """Return the load balancer of a balancer, if there is one. Raises `ProviderError` (code ``aws-name-taken``) when it is another's."""
    found = _there(site, balancer.name)
    if found is None or found.tags.get(tags.ENVIRONMENT) == site.label:
        return found
    raise ProviderError.of(
        "aws-name-taken",
        f"there is a load balancer {found.told['LoadBalancerName']} in {site.settings.region} that is not this environment's",
        hint=f"rename Service {balancer.service}, or remove that load balancer",
    )


def _front(site: Site, balancer: Balancer, place: Located, guard: str, context: Context) -> Mapping[str, Any]:
    """Have the load balancer itself, and return what AWS tells of it."""
    own = _own(site, balancer)
    if own is not None and not _fits(own.told, balancer, place):
        context.progress("the load balancer is made anew: AWS does not change what is to change about it")
        _remove(site, own.told)
        own = None
    if own is None:
        found = _made(site, balancer, place, guard, context)
    else:
        found = own.told
        _mend(site, balancer, own, place, guard)
    arn = found["LoadBalancerArn"]
    told = site.gateway.call("elbv2", "DescribeLoadBalancerAttributes", LoadBalancerArn=arn)
    if changed := targets.changed_attributes(ATTRIBUTES, told["Attributes"]):
        site.gateway.call("elbv2", "ModifyLoadBalancerAttributes", LoadBalancerArn=arn, Attributes=changed)
    return found


def _fits(found: Mapping[str, Any], balancer: Balancer, place: Located) -> bool:
    """Whether a load balancer can be made what it should be: AWS changes neither of these, nor adds the first security group. Pure."""
    return (
        found.get("Scheme") == scheme(balancer.scope)
        and found.get("VpcId") == place.vpc
        and found.get("Type") == "network"
        and bool(found.get("SecurityGroups"))
        and found.get("State", {}).get("Code") != "failed"
    )


def scheme(scope: str) -> str:
    """Return AWS's word for a balancer's scope. Pure."""
    return "internet-facing" if scope == "public" else "internal"


def _subnets(balancer: Balancer, place: Located) -> Mapping[str, str]:
    found = place.outer if balancer.scope == "public" else place.subnets
    if not found:
        raise ProviderError.of(
            "aws-no-public-subnets",
            f"Service {balancer.service} is public, and none of the network's subnets has a route to an internet gateway",
            hint="name public subnets in `network:` of environment.yml, or make the Service a ClusterIP",
        )
    return found


def _made(site: Site, balancer: Balancer, place: Located, guard: str, context: Context) -> Mapping[str, Any]:
    subnets = sorted(_subnets(balancer, place).values())

    def made() -> Mapping[str, Any] | None:
        # Asked again with the same settings AWS returns what an earlier request made; the name of one that goes is taken for a while.
        taken = absent("DuplicateLoadBalancerName", "InvalidSecurityGroup")
        return taken(
            lambda: site.gateway.call(
                "elbv2",
                "CreateLoadBalancer",
                Name=listeners.front_name(balancer.name),
                Type="network",
                Scheme=scheme(balancer.scope),
                IpAddressType="ipv4",
                Subnets=subnets,
                SecurityGroups=[guard, place.balancers],
                Tags=tags.listed(_label(site, balancer)),
            )
        )

    answer = waits.until(made, context, seconds=_NAME_SECONDS, otherwise=f"AWS does not give the name {balancer.name} free")
    return dict(answer["LoadBalancers"][0])


def _label(site: Site, balancer: Balancer) -> dict[str, str]:
    return site.tags(balancer.mark, balancer.name, balancer=balancer.name)


def _mend(site: Site, balancer: Balancer, front: Front, place: Located, guard: str) -> None:
    """Bring a load balancer's security groups, zones and tags to what they should be."""
    found, arn = front.told, str(front.told["LoadBalancerArn"])
    if set(found["SecurityGroups"]) != {guard, place.balancers}:
        site.gateway.call("elbv2", "SetSecurityGroups", LoadBalancerArn=arn, SecurityGroups=[guard, place.balancers])
    there = {str(one["ZoneName"]): str(one["SubnetId"]) for one in found.get("AvailabilityZones") or ()}
    # Zones are only added: connections would be lost in one that goes.
    if wanted := {zone: subnet for zone, subnet in _subnets(balancer, place).items() if zone not in there}:
        site.gateway.call("elbv2", "SetSubnets", LoadBalancerArn=arn, Subnets=sorted({**there, **wanted}.values()))
    switches.retag(site, arn, front.tags, _label(site, balancer))


def _behind(
    site: Site,
    balancer: Balancer,
    wanted: Sequence[Listener],
    there: Mapping[str, TargetGroup],
    place: Located,
    scaling: Mapping[str, Scaling],
) -> dict[tuple[str, int], str]:
    """Have the target groups of all groups behind all listeners, attached; return their ARNs by group and port.

    AWS sends traffic to somebody: where no group is to get any, it goes to a target group without targets, under the empty name.
    """
    groups = [one.group for one in balancer.backends]
    if not any(one.weight for one in balancer.backends):
        groups.append("")
    arns = {}
    for listener in wanted:
        for group in groups:
            drain = scaling[group].drain_seconds if group in scaling else targets.DRAIN_SECONDS
            arns[group, listener.port] = targets.ensure(site, balancer, listener, group, there, vpc=place.vpc, drain_seconds=drain)
    for group, state in scaling.items():
        targets.attach(site, group, [arn for (one, _), arn in arns.items() if one == group], state)
    return arns


def _await_active(site: Site, balancer: Balancer, front: Mapping[str, Any], context: Context) -> None:
    """Wait until a load balancer that was just made works; raise `ProviderError` with AWS's reason when it does not come to that."""
    if front.get("State", {}).get("Code") != "provisioning":
        return
    context.progress("AWS sets the load balancer up, which takes some minutes")

    def active() -> bool | None:
        state = (_described(site, balancer.name) or {}).get("State") or {}
        if state.get("Code") == "failed":
            raise ProviderError.of("aws-refused", f"AWS cannot set up the load balancer of {balancer.name}: {state.get('Reason')}")
        return None if state.get("Code") == "provisioning" else True

    waits.until(active, context, seconds=_ACTIVE_SECONDS, otherwise=f"the load balancer of {balancer.name} is not set up")


def _remove(site: Site, front: Mapping[str, Any]) -> None:
    """Remove a load balancer with its listeners: their target groups are free at once then."""
    switches.delete(site, str(front["LoadBalancerArn"]))
    _missing(lambda: site.gateway.call("elbv2", "DeleteLoadBalancer", LoadBalancerArn=front["LoadBalancerArn"]))


def delete(site: Site, balancer: Balancer, context: Context) -> None:
    """Have no such balancer: first nobody gets in, at last its security group goes, when AWS's interfaces are gone."""
    front = _there(site, balancer.name)
    if front is not None and front.tags.get(tags.ENVIRONMENT) == site.label:
        _remove(site, front.told)
    targets.outdate(site)
    targets.retire(site, targets.of_balancer(site, balancer.name, targets.listed(site)), context, drained=False)
    guard = guards.find(site, balancer.name)
    if guard is not None:
        guards.delete(site, guard, context)
