"""Names in the private zone, with their owner."""

from __future__ import annotations

from collections.abc import Sequence

from i2kit.driver import Context
from i2kit.plan import ObservedResource
from i2kit.resources import DnsRecord
from i2kit_aws.site import Site


def observe(site: Site) -> Sequence[ObservedResource]:
    """Return what is there of the environment."""
    raise NotImplementedError


def ensure(site: Site, record: DnsRecord, context: Context) -> None:
    """Make it as it is asked for."""
    raise NotImplementedError


def delete(site: Site, record: DnsRecord, context: Context) -> None:
    """Remove it; nothing happens when it is not there."""
    raise NotImplementedError
