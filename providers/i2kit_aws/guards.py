"""The security group of a balancer: whom its listeners let in. It comes first and goes last, and its tags have what AWS keeps nowhere.

Where it is, the balancer is: whoever finds it completes or removes the rest.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from attrs import field, frozen

from i2kit.driver import Context
from i2kit.errors import ProviderError
from i2kit.resources import Balancer, Mark
from i2kit_aws import tags, waits
from i2kit_aws.gateway import absent
from i2kit_aws.listeners import Listener
from i2kit_aws.networks import Located
from i2kit_aws.site import Site
from i2kit_aws.targets import short

EVERYWHERE = "0.0.0.0/0"
TAG_LENGTH = 256

_SHOWN_SECONDS = 60.0
# The interfaces of a balancer outlive it for some minutes.
_INTERFACES_SECONDS = 900.0
_missing = absent("InvalidGroup.NotFound", "InvalidGroupId.Malformed")


@frozen(kw_only=True)
class Rule:
    """Who is let in where: `source` is a network in CIDR notation, or the id of a security group."""

    protocol: str
    port: int
    source: str

    @property
    def permission(self) -> dict[str, Any]:
        """The rule as AWS takes it."""
        place = {"IpProtocol": self.protocol, "FromPort": self.port, "ToPort": self.port}
        if self.source.startswith("sg-"):
            return {**place, "UserIdGroupPairs": [{"GroupId": self.source}]}
        if ":" in self.source:
            return {**place, "Ipv6Ranges": [{"CidrIpv6": self.source}]}
        return {**place, "IpRanges": [{"CidrIp": self.source}]}


@frozen(kw_only=True)
class Guard:
    """A balancer's security group as it is: the facts of its tags, whom it lets in, and `strange` permissions that no rule of ours is."""

    id: str
    tags: Mapping[str, str]
    rules: frozenset[Rule]
    strange: Sequence[Mapping[str, Any]] = field(factory=tuple)

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Guard:
        """Read what EC2 tells of one."""
        rules: set[Rule] = set()
        strange = []
        for permission in told.get("IpPermissions") or ():
            found, odd = _read(permission)
            rules |= found
            strange += [odd] if odd else []
        return cls(id=str(told["GroupId"]), tags=tags.unlisted(told.get("Tags")), rules=frozenset(rules), strange=tuple(strange))

    @property
    def balancer(self) -> str:
        """The name of the balancer it is of."""
        return tags.fact(self.tags, "balancer")

    @property
    def mark(self) -> Mark | None:
        """The balancer's mark; None when somebody took its tags away."""
        return tags.mark_of(self.tags)

    @property
    def options(self) -> dict[str, str]:
        """The balancer's options."""
        try:
            return {str(name): str(value) for name, value in json.loads(tags.fact(self.tags, "options", "{}")).items()}
        except (ValueError, AttributeError):
            return {}

    @property
    def order(self) -> Sequence[str]:
        """The balancer's groups in their order, each as `targets.short` has it: AWS tells target groups in an order of its own."""
        return tags.fact(self.tags, "groups").split()


def _read(permission: Mapping[str, Any]) -> tuple[set[Rule], Mapping[str, Any] | None]:
    """Return the rules of a permission, or the permission itself when it is none of the kind that we make. Pure."""
    low, high = permission.get("FromPort"), permission.get("ToPort")
    sources = [
        *(str(one["CidrIp"]) for one in permission.get("IpRanges") or ()),
        *(str(one["CidrIpv6"]) for one in permission.get("Ipv6Ranges") or ()),
        *(str(one["GroupId"]) for one in permission.get("UserIdGroupPairs") or ()),
    ]
    if low is None or low != high or permission.get("PrefixListIds"):
        return set(), permission
    return {Rule(protocol=str(permission["IpProtocol"]), port=int(low), source=one) for one in sources}, None


def rules_of(listeners: Iterable[Listener], scope: str, place: Located) -> frozenset[Rule]:
    """Return whom a balancer lets in: everybody where it is public, else members and whoever is in the VPC. Pure.

    Balancers have IPv4 addresses alone, so there is nothing to say of IPv6.
    """
    sources = (EVERYWHERE,) if scope == "public" else (place.members, *place.cidrs)
    spoken = [(protocol, one.port) for one in listeners for protocol in one.protocol.lower().replace("tls", "tcp").split("_")]
    return frozenset(Rule(protocol=protocol, port=port, source=source) for protocol, port in spoken for source in sources)


def tags_of(site: Site, balancer: Balancer) -> dict[str, str]:
    """Return the tags of a balancer's security group. Raises `ProviderError` for annotations that do not fit into one. Pure."""
    options = json.dumps(balancer.options, sort_keys=True, separators=(",", ":")) if balancer.options else ""
    if len(options) > TAG_LENGTH:
        raise ProviderError.of(
            "unsupported", f"the annotations of Service {balancer.service} take more than {TAG_LENGTH} characters together"
        )
    facts = {"service": balancer.service, "network": balancer.network, "scope": balancer.scope, "options": options}
    order = " ".join(short(site, "InstanceGroup", one.group) for one in balancer.backends)
    return site.tags(balancer.mark, f"balancer {balancer.name}", balancer=balancer.name, groups=order[:TAG_LENGTH], **facts)


def everywhere(site: Site) -> list[Guard]:
    """Return the security groups of all of the environment's balancers; one request."""
    return _found(site, [*tags.having(site.own()), {"Name": "tag-key", "Values": [f"{tags.PREFIX}balancer"]}])


def find(site: Site, balancer: str) -> Guard | None:
    """Return the security group of one balancer."""
    return next(iter(_found(site, tags.having(site.own(balancer=balancer)))), None)


def _found(site: Site, filters: Sequence[Mapping[str, Any]]) -> list[Guard]:
    found = site.gateway.pages("ec2", "DescribeSecurityGroups", "SecurityGroups", Filters=list(filters))
    return [Guard.of(one) for one in found]


def ensure(site: Site, balancer: Balancer, listeners: Sequence[Listener], place: Located, context: Context) -> str:
    """Have the balancer's security group as it should be, and return its id."""
    wanted = tags_of(site, balancer)
    there = find(site, balancer.name) or _made(site, balancer, wanted, place, context)
    site.retag(there.id, there.tags, wanted)
    rules = rules_of(listeners, balancer.scope, place)
    if extra := [*there.strange, *(one.permission for one in sorted(there.rules - rules, key=str))]:
        gone = absent("InvalidPermission.NotFound")
        gone(lambda: site.gateway.call("ec2", "RevokeSecurityGroupIngress", GroupId=there.id, IpPermissions=extra))
    if lacking := sorted(rules - there.rules, key=str):
        _let_in(site, there.id, lacking)
    return there.id


def _made(site: Site, balancer: Balancer, wanted: Mapping[str, str], place: Located, context: Context) -> Guard:
    # Its own would be refused where it began with "sg-".
    name = site.name(f"i2kit-{balancer.name}", "Balancer", balancer.name, limit=100)
    made = absent("InvalidGroup.Duplicate")(
        lambda: site.gateway.call(
            "ec2",
            "CreateSecurityGroup",
            GroupName=name,
            Description=f"i2kit: who reaches balancer {balancer.name}",
            VpcId=place.vpc,
            TagSpecifications=tags.specification(wanted, "security-group"),
        )
    )
    # Its name tells it from all others of the VPC: one that is there already is ours, from a request whose answer was lost.
    by = {"GroupIds": [made["GroupId"]]} if made else {"Filters": _named(name, place.vpc)}

    def shown() -> Guard | None:
        told = _missing(lambda: site.gateway.call("ec2", "DescribeSecurityGroups", **by)) or {}
        return next((Guard.of(one) for one in told.get("SecurityGroups") or ()), None)

    found = waits.until(shown, context, seconds=_SHOWN_SECONDS, otherwise=f"EC2 does not show security group {name} yet")
    if made is None and found.balancer != balancer.name:
        raise ProviderError.of("aws-name-taken", f"there is a security group {name} in VPC {place.vpc} that is not i2kit's")
    return found


def _named(name: str, vpc: str) -> list[dict[str, Any]]:
    return [{"Name": "group-name", "Values": [name]}, {"Name": "vpc-id", "Values": [vpc]}]


def _let_in(site: Site, group: str, rules: Sequence[Rule]) -> None:
    """Add rules that are not there: all at once, or one by one when some are there by now, for AWS refuses all of them then."""
    there = absent("InvalidPermission.Duplicate")

    def add(some: Sequence[Rule]) -> object:
        permissions = [one.permission for one in some]
        return there(lambda: site.gateway.call("ec2", "AuthorizeSecurityGroupIngress", GroupId=group, IpPermissions=permissions))

    if add(rules) is None and len(rules) > 1:
        for one in rules:
            add([one])


def faults(guard: Guard, wanted: frozenset[Rule]) -> Iterator[str]:
    """Say what is wrong with whom a balancer's security group lets in. Pure."""
    for one in sorted(wanted - guard.rules, key=str):
        yield f"its security group does not let {one.source} in at port {one.port}"
    for one in sorted(guard.rules - wanted, key=str):
        yield f"its security group lets {one.source} in at port {one.port}"
    if guard.strange:
        yield "its security group has rules that are not i2kit's"


def delete(site: Site, guard: Guard, context: Context) -> None:
    """Have a balancer's security group go, as soon as the interfaces of the balancer that had it are gone."""
    told = False

    def gone() -> bool | None:
        nonlocal told
        filters = [{"Name": "group-id", "Values": [guard.id]}]
        if any(site.gateway.pages("ec2", "DescribeNetworkInterfaces", "NetworkInterfaces", Filters=filters)):
            if not told:
                context.progress("waiting until the load balancer's interfaces are gone")
            told = True
            return None
        used = absent("DependencyViolation")
        return used(lambda: bool(_missing(lambda: site.gateway.call("ec2", "DeleteSecurityGroup", GroupId=guard.id)) or True))

    waits.until(
        gone, context, seconds=_INTERFACES_SECONDS, otherwise=f"AWS still uses security group {guard.id} of a balancer that is gone"
    )
