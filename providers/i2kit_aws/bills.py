"""What an environment's resources cost a month, by the price table. Pure; nobody is asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from attrs import frozen

from i2kit.cost import HOURS_PER_MONTH, Cost, CostItem, amount
from i2kit.environment import Environment
from i2kit.resources import Balancer, Image, InstanceGroup, Network, Resource
from i2kit_aws import catalogue, prices
from i2kit_aws.catalogue import InstanceType
from i2kit_aws.prices import Prices
from i2kit_aws.settings import NetworkSettings, Settings
from i2kit_aws.subnets import MOST_ZONES

CURRENCY = "USD"


@frozen(kw_only=True)
class _Bill:
    """Adds up what resources cost at a region's prices, in a network as environment.yml has it."""

    prices: Prices
    network: NetworkSettings
    resources: Sequence[Resource]

    @property
    def groups(self) -> list[InstanceGroup]:
        return [one for one in self.resources if isinstance(one, InstanceGroup)]

    @property
    def balancers(self) -> list[Balancer]:
        return [one for one in self.resources if isinstance(one, Balancer)]

    @property
    def zones(self) -> int:
        """In how many availability zones a balancer stands, at the most."""
        return len(self.network.subnets) if self.network.vpc else MOST_ZONES

    def items(self) -> Iterator[CostItem]:
        sizes: Counter[str] = Counter()
        for group in self.groups:
            if type_ := catalogue.planned(group):
                sizes[type_.name] += group.replicas
        for name, count in sorted(sizes.items()):
            yield from _hourly(count, name, self.hourly(catalogue.TYPES[name]))
        members = sum(group.replicas for group in self.groups)
        yield from _monthly(members, "gp3 volume of 1 GiB", self.prices.volume)
        yield from _hourly(len(self.balancers), "Network Load Balancer", self.prices.balancer)
        yield from _hourly(self.addresses(members), "public IPv4 address", self.prices.address)
        if any(isinstance(one, Network) for one in self.resources):
            yield from _hourly(int(self.network.private), "NAT gateway", self.prices.nat)
            yield from _monthly(1, "private hosted zone", self.prices.zone)

    def hourly(self, type_: InstanceType) -> float:
        """Return what an instance costs an hour."""
        return self.prices.large[type_.family] * type_.larges

    def addresses(self, members: int) -> int:
        """Return how many public addresses there are, of members, balancers and the NAT gateway, as far as that is known."""
        outer = sum(self.zones for one in self.balancers if one.scope == "public")
        if self.network.vpc:
            return outer
        return outer + (1 if self.network.private else members)

    def notes(self) -> Iterator[str]:
        """Say what is not in it."""
        unknown = sorted({catalogue.asked(one) for one in self.groups if catalogue.planned(one) is None} - {""})
        if unknown:
            yield f"instances of {', '.join(unknown)}"
        for group in self.groups:
            if group.scaling and (type_ := catalogue.planned(group)) and group.scaling.maximum > group.replicas:
                more = (group.scaling.maximum - group.replicas) * self.hourly(type_) * HOURS_PER_MONTH
                workload = f"{group.mark.namespace}/{group.mark.workload}"
                yield f"up to {amount(more, CURRENCY)} for {workload} when it grows from {group.replicas} to {group.scaling.maximum}"
        if any((type_ := catalogue.planned(group)) and type_.burstable for group in self.groups):
            yield "CPU beyond what burstable instances earn"
        yield "traffic out of AWS and between zones"
        if self.balancers:
            yield "capacity units of load balancers (LCU)"
        if self.network.vpc:
            yield "public IPv4 addresses of VMs, where the existing subnets give them"
        elif self.network.private:
            yield "what goes through the NAT gateway"
        if any(isinstance(one, Image) and one.root == "disk" for one in self.resources):
            yield "volumes beyond a GiB, for images that are larger"
        yield f"snapshots of images ({amount(self.prices.snapshot, CURRENCY)} a month for each GiB in them)"


def cost(environment: Environment, resources: Sequence[Resource]) -> Cost:
    """Return what `resources` cost a month in an environment; those of other regions than the table has at us-east-1's prices."""
    settings = Settings.of(environment)
    place = settings.region if settings.region in prices.REGIONS else prices.DEFAULT_REGION
    bill = _Bill(prices=prices.REGIONS[place], network=settings.network, resources=resources)
    elsewhere = () if place == settings.region else (f"what {settings.region} costs more or less than {place}",)
    return Cost(currency=CURRENCY, place=place, date=prices.DATE, items=tuple(bill.items()), notes=(*elsewhere, *bill.notes()))


def _hourly(count: int, what: str, price: float) -> Iterator[CostItem]:
    return _monthly(count, what, price * HOURS_PER_MONTH)


def _monthly(count: int, what: str, price: float) -> Iterator[CostItem]:
    if count:
        yield CostItem(what=f"{count} x {what}", monthly=count * price)
