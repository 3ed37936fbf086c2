"""What a network lacks: told to people as a fault, and made good by its repair."""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen

from i2kit.driver import Context
from i2kit.resources import Network
from i2kit_aws.site import Site

Repair = Callable[[Site, Network, Context], None]


@frozen(kw_only=True)
class Gap:
    """Something that is missing or wrong: `fault` says what; without a `repair` somebody else has to see to it.

    A repair does what it can with what was seen. Whoever repairs looks again afterwards, and goes on with what is missing then.
    """

    fault: str
    repair: Repair | None = None
