"""What stands in the way of a run, asked before its first change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import evolve

from i2kit.driver import Driver, preflight
from i2kit.errors import Problem
from i2kit.plan import Change, Changes, Observed
from i2kit.records import Entry
from i2kit.resources import InstanceGroup
from i2kit.rollouts import workload_of
from i2kit.simulation import growth


def obstacles(driver: Driver, changes: Changes, observed: Observed, entries: Sequence[Entry]) -> tuple[Problem, ...]:
    """Return what stands in the way of changes, as far as the driver knows; nothing is asked where none is pending.

    `entries` are the application's records, which tell where rollouts begin.
    """
    if not changes.pending:
        return ()
    return tuple(preflight(driver, asked(changes.pending, growth(changes, observed, entries))))


def asked(changes: Sequence[Change], more: Mapping[str, int]) -> tuple[Change, ...]:
    """Return changes as `Driver.preflight` gets them: groups by how many members come on top of those there are (`more`, by workload).

    The whole new group may be more than that, since old members leave meanwhile; or less. Pure.
    """
    return tuple(_sized(one, more) if one.action != "delete" else one for one in changes)


def _sized(change: Change, more: Mapping[str, int]) -> Change:
    resource = change.resource
    if not isinstance(resource, InstanceGroup) or workload_of(resource) not in more:
        return change
    there = change.observed.resource if change.observed else None
    size = there.replicas if isinstance(there, InstanceGroup) else 0
    return evolve(change, resource=evolve(resource, replicas=max(0, size + more[workload_of(resource)])))
