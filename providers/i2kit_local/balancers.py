"""Balancers and the names that answer with their addresses."""

from __future__ import annotations

import socket
import time

import structlog
from attrs import evolve, frozen

from i2kit.driver import Context
from i2kit.errors import ProviderError
from i2kit.resources import Balancer, DnsRecord
from i2kit_local import slirp
from i2kit_local.region import Region
from i2kit_local.state import BalancerState, free_vip

_TRIES = 20
# Long enough for a VM that boots on a busy machine: whoever asked for this meant the new members to serve, not these and those.
_SUCCESSOR_SECONDS = 60.0
_SUCCESSOR_POLL_SECONDS = 0.2
_log = structlog.get_logger(__name__)


@frozen(kw_only=True)
class Balancers:
    """Makes and removes balancers: an address on the bridge, HAProxy's listeners there, ports on this machine."""

    region: Region

    def ensure(self, balancer: Balancer, context: Context) -> None:
        """Have that balancer, on the address and published ports that it had before.

        While none of the members that are to serve is up, those that do so far go on, and this waits a little for one. Should none
        come, they go on until they are deleted, or until a member that is to serve is up when something else is changed.
        """
        if any(port.protocol == "UDP" for port in balancer.ports):
            raise ProviderError.of("unsupported", f"balancer {balancer.name} has a UDP port, which HAProxy does not balance")
        with self.region.locked():
            balancers = self.region.state.balancers()
            old = balancers.get(balancer.name)
            ports = {port.port for port in balancer.ports} if balancer.scope == "public" else set()
            state = BalancerState(
                resource=balancer,
                index=old.index if old else free_vip(balancers),
                published={port: here for port, here in (old.published if old else {}).items() if port in ports},
            )
            self.region.state.save_balancer(state)
            settled = self.region.sync_balancers()
            self.region.sync_published()
            self._publish(state, ports)
        deadline = time.monotonic() + _SUCCESSOR_SECONDS
        while not settled and time.monotonic() < deadline:
            context.check()
            time.sleep(_SUCCESSOR_POLL_SECONDS)
            with self.region.locked():
                settled = self.region.sync_balancers()
        if not settled:
            _log.info("local.no-successor", balancer=balancer.name)

    def _publish(self, state: BalancerState, ports: set[int]) -> None:
        there = self.region.published()
        published = dict(state.published)
        for port in sorted(ports):
            if (published.get(port), state.vip, port) not in there:
                published[port] = self._publish_one(state.vip, port)
        self.region.state.save_balancer(evolve(state, published=published))
        self.region.sync_published()

    def _publish_one(self, vip: str, port: int) -> int:
        """Publish a port under its own number if that is free, else under a free one; return which."""
        for attempt in range(_TRIES):
            here = self._free_port() if attempt else port
            try:
                self.region.publish(here, vip, port)
            except slirp.Refused:
                continue
            return here
        raise ProviderError.of("publish", f"no free port was found on {self.region.settings.publish} to publish port {port}")

    def _free_port(self) -> int:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.bind((self.region.settings.publish, 0))
            port: int = probe.getsockname()[1]
            return port

    def delete(self, name: str) -> None:
        """Have no such balancer."""
        with self.region.locked():
            state = self.region.state.balancer(name)
            if state is not None:
                # Remembered until everything of it is gone: a run that dies here leaves nothing that nobody knows of.
                self.region.state.save_balancer(evolve(state, leaving=True))
                self.region.sync_what_works()
                self.region.state.remove_balancer(name)


@frozen(kw_only=True)
class Names:
    """Makes and removes DNS records."""

    region: Region

    def ensure(self, record: DnsRecord) -> None:
        """Have the name answer with its balancer's address."""
        with self.region.locked():
            balancer = self.region.state.balancer(record.balancer)
            if balancer is None:
                raise ProviderError.of("no-balancer", f"{record.name} needs Balancer {record.balancer}, which does not exist")
            self.region.state.save_name(record)
            self.region.dnsmasq.name(record.name, balancer.vip)

    def delete(self, name: str) -> None:
        """Have the name not answer."""
        with self.region.locked():
            self.region.unname(name)
            self.region.state.remove_name(name)
