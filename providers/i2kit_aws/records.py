"""Release records as parameters of Systems Manager."""

from __future__ import annotations

from collections.abc import Sequence

from i2kit.driver import Record
from i2kit_aws.site import Site


def read(site: Site, application: str) -> Sequence[Record]:
    """Return the application's records in order."""
    raise NotImplementedError


def append(site: Site, application: str, number: int, body: bytes) -> None:
    """Create record `number` whole; raise `ConflictingRecord` if it exists."""
    raise NotImplementedError


def remove(site: Site, application: str, number: int) -> None:
    """Remove record `number`; nothing happens when it is not there."""
    raise NotImplementedError


def applications(site: Site) -> Sequence[str]:
    """Return the names of the applications that have records."""
    raise NotImplementedError
