"""A shop in the AWS bed's account: the driver does the work, the clock goes by itself, and health is what the test says."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from unittest.mock import patch

from attrs import evolve, frozen
from aws.bed import Bed
from clouds import Operator
from runs import dead_process
from shops import DEADLINE, group_of, shop

from i2kit import executor
from i2kit.calls import Retries
from i2kit.clock import Clock
from i2kit.driver import CallLimits, Driver, Provider
from i2kit.errors import ProviderError
from i2kit.plan import Observed, Plan
from i2kit.records import Entry, Holder, decode, standing, this_process
from i2kit.resources import Balancer, DnsRecord, InstanceGroup, Network, key
from i2kit.strategy import Strategy
from i2kit.testing.cloud.clock import FakeClock
from i2kit.testing.kill_points import Call, Killed, KillPoints, Phase
from i2kit.testing.samples import Samples
from i2kit_aws.driver import AwsDriver
from i2kit_aws.plugin import PROVIDER, limits
from i2kit_aws.site import Site

Command = Callable[[Operator], object]

SAMPLES = Samples(provider="aws", format="aws", architecture="x86_64", limits=limits())
READY = 'i2kit {"event": "readiness", "time": "2026-11-24T10:00:00Z", "ready": true, "reason": ""}\n'


def version(
    number: str = "1", replicas: int = 2, strategy: Strategy = Strategy(), deadline: int = DEADLINE, secret: str | None = None
) -> Plan:
    """A state of the shop: `web` behind a balancer with a name, and `worker` without one; `web` uses that version of a Secret."""
    return shop(number, replicas, strategy, deadline=deadline, samples=SAMPLES, secret=secret)


class HastyClock(FakeClock):
    """Goes as clocks do, but whoever sleeps has slept at once: what AWS answers takes its time, and waiting takes none."""

    def __init__(self) -> None:
        super().__init__()
        self._began = time.monotonic()

    def now(self) -> float:
        return super().now() + time.monotonic() - self._began


@frozen(kw_only=True, eq=False)
class AwsCloud:
    """One environment in the bed's account; every driver is a new one, as another operator has it."""

    bed: Bed
    site: Site
    clock: Clock
    lag_seconds: float = 0.0

    @property
    def environment(self) -> str:
        return self.site.environment.name

    def driver(self, limits: CallLimits | None = None) -> Driver:
        """Return a driver; `limits` say how often it makes a request again, if otherwise than always."""
        made = AwsDriver(self.site.environment)
        # Sessions read the services' models, which takes longer than most commands here.
        gateway = evolve(made.site.gateway, sessions=self.site.gateway.sessions)
        made.site = evolve(made.site, gateway=evolve(gateway, retries=Retries(limits)) if limits else gateway)
        return made

    def provider(self) -> Provider:
        return evolve(PROVIDER, lag_seconds=self.lag_seconds)

    def truth(self) -> Observed:
        return self.driver().observe()

    def entries(self) -> tuple[Entry, ...]:
        """The application's records."""
        return standing(decode(record) for record in self.driver().records(SAMPLES.application))

    def fails(self, plan: Plan) -> None:
        """Let no member of the plan's `web` ever pass its balancer's checks."""
        self.bed.health("unhealthy", instance=group_of(plan).name)


@frozen(kw_only=True)
class AwsShop:
    """Commands on the cloud."""

    cloud: AwsCloud
    folder: Path

    def operator(self, driver: Driver | None = None, holder: Holder | None = None) -> Operator:
        return Operator(cloud=self.cloud, folder=self.folder, driver=driver, holder=holder or this_process())

    def killed(self, command: Command, at: int, phase: Phase) -> Call | None:
        """Run a command that dies at call `at` of its driver; return that call, or None when the run was over before."""
        points = KillPoints(self.cloud.driver(), at=at, phase=phase)
        try:
            command(self.operator(points, dead_process()))
        except Killed:
            points.settle()
            return points.calls[at - 1]
        return points.calls[at - 1] if phase == "after_answer" and len(points.calls) == at else None

    def cut_off(self, command: Command, after: int, moment: str) -> str | None:
        """Run a command none of whose requests gets through once `after` did; return the one it ended at, or None if it did not."""
        bed = self.cloud.bed
        since, number = len(bed.journal()), bed.faults.die("*", moment=moment, skip=after)
        driver = self.cloud.driver(CallLimits(attempts=1, first_delay_seconds=0.0, greatest_delay_seconds=0.0))
        with suppress(ProviderError):
            command(self.operator(driver, dead_process()))
        struck = bed.faults.met(number) > after
        bed.faults.clear()
        return f"{after + 1} {bed.journal(since)[after]['action']}" if struck else None

    @contextmanager
    def quick(self) -> Iterator[None]:
        """Look again at once; how often is counted by the clock."""
        with patch.object(executor, "POLL_SECONDS", 0.05), patch.object(executor, "LOOK_SECONDS", 0.2):
            yield


def is_as_planned(cloud: AwsCloud, plan: Plan) -> None:
    """Groups, balancers, names and the network are what is planned, no more and no less, and nothing is wrong with them."""
    kinds = InstanceGroup | Balancer | DnsRecord | Network
    seen = [one for one in cloud.truth().resources if isinstance(one.resource, kinds)]
    assert [(key(one.resource), one.faults) for one in seen if one.faults] == []
    there = {key(one.resource): one.resource for one in seen}
    wanted = {key(one): one for one in plan.resources if isinstance(one, kinds)}
    wrong = sorted(name for name in {*there, *wanted} if there.get(name) != wanted.get(name))
    assert not wrong, f"otherwise than planned: {[(there.get(name), wanted.get(name)) for name in wrong]}"
    assert cloud.entries()[-1].kind == "release"
