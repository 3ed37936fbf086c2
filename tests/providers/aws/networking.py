"""An environment's network as tests of networks and names handle it: every call is a run of its own, which knows nothing of the last."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import evolve, frozen
from aws.bed import Bed

from i2kit.environment import Environment
from i2kit.errors import TransientError
from i2kit.names import resource_name
from i2kit.resources import Mark, Network
from i2kit.testing.context import SampleContext
from i2kit_aws import networks
from i2kit_aws.gateway import Gateway
from i2kit_aws.networks import Located
from i2kit_aws.settings import Settings
from i2kit_aws.site import Site

WRITES = "*:[!DLG]*"
"""What makes and changes things, as a pattern of actions: not Describe, List and Get, and nothing that deletes."""
REMOVALS = "*:[DR]e[lt]*"
"""What removes things: Delete, Detach and Release."""


@frozen(kw_only=True)
class Ground:
    """An environment in the bed's account, and its network."""

    bed: Bed
    environment: Environment
    context: SampleContext
    gateway: Gateway

    @classmethod
    def of(cls, bed: Bed, folder: Path, environment: Environment) -> Ground:
        # One for all runs: what takes long is to make its clients.
        gateway = Gateway.connect(Settings.of(environment))
        return cls(bed=bed, environment=environment, context=SampleContext(folder), gateway=gateway)

    def other(self, **changed: Any) -> Ground:
        """The same with another environment.yml."""
        return evolve(self, environment=evolve(self.environment, **changed))

    def told(self, **network: Any) -> Ground:
        """The same with another ``network:`` in environment.yml."""
        return self.other(network=network)

    @property
    def site(self) -> Site:
        """The site of a driver that was connected just now."""
        settings = Settings.of(self.environment)
        return Site(environment=self.environment, settings=settings, gateway=self.gateway).during(self.context)

    @property
    def network(self) -> Network:
        name = resource_name(self.environment.name, self.environment.name, "Network")
        return Network(name=name, mark=Mark(environment=self.environment.name), dns_zone=self.environment.dns_zone)

    def ensure(self) -> Located:
        networks.ensure(self.site, self.network, self.context)
        return networks.locate(self.site)

    def delete(self) -> None:
        networks.delete(self.site, self.network, self.context)

    def observed(self) -> Network | None:
        seen = networks.observe(self.site)
        return seen[0].resource if seen else None  # type: ignore[return-value]

    def faults(self) -> tuple[str, ...]:
        return tuple(fault for one in networks.observe(self.site) for fault in one.faults)


def run_until_done(ground: Ground, work: Callable[[], object], action: str, most: int) -> int:
    """Let a run die after each of its changes, and begin another one, until one has nothing left to do; say how many died."""
    for deaths in range(most):
        ground.bed.faults.die(action, moment="after")
        try:
            work()
        except TransientError:
            ground.bed.faults.clear()
        else:
            ground.bed.faults.clear()
            return deaths
    raise AssertionError(f"after {most} deaths there is still something to do")
