"""What instances have said on their consoles."""

from __future__ import annotations

from collections.abc import Iterator

from i2kit.driver import LogLine
from i2kit_aws.site import Site


def lines(site: Site, group: str, *, tail: int | None, follow: bool) -> Iterator[LogLine]:
    """Yield the lines of a group's members."""
    raise NotImplementedError
