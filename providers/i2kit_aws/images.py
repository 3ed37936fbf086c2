"""Images: snapshots written block by block, registered as AMIs."""

from __future__ import annotations

from collections.abc import Sequence

from i2kit.driver import Context
from i2kit.plan import ObservedResource
from i2kit.resources import Image
from i2kit_aws.site import Site


def observe(site: Site) -> Sequence[ObservedResource]:
    """Return what is there of the environment."""
    raise NotImplementedError


def ensure(site: Site, image: Image, context: Context) -> None:
    """Make it as it is asked for."""
    raise NotImplementedError


def delete(site: Site, image: Image, context: Context) -> None:
    """Remove it; nothing happens when it is not there."""
    raise NotImplementedError
