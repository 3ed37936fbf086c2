"""Which members of a group are ready."""

from __future__ import annotations

from i2kit.plan import GroupHealth
from i2kit_aws.site import Site


def of_group(site: Site, group: str) -> GroupHealth:
    """Return the health of the group called `group`; one that does not exist has no members."""
    raise NotImplementedError
