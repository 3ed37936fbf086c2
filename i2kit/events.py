"""What a run tells while it works; the caller decides whether and how to show it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

from attrs import frozen

EventKind = Literal["stage", "change-started", "change-finished", "rolled-back", "progress", "notice", "log", "taken-over"]


@frozen(kw_only=True)
class Event:
    """One thing that happened; `key` is the resource's key (``InstanceGroup/web-1a2b3c4d``) where there is one."""

    kind: EventKind
    message: str
    key: str = ""


Report = Callable[[Event], None]


def silent(_event: Event) -> None:
    """Report nothing."""


class Cancel(Protocol):
    """Asks a run to finish its current steps and stop; `threading.Event` is one."""

    def is_set(self) -> bool:
        """Whether the run is to stop."""
        ...
