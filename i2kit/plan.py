"""The data that flows from planner to executor: Plan, Observed, Change, Outcome."""

from __future__ import annotations

from typing import Literal

from attrs import field, frozen

from i2kit.images.locked import Locked
from i2kit.manifest.workloads import Notice
from i2kit.resources import InstanceGroup, Resource, key
from i2kit.steps import Rollout
from i2kit.strategy import Strategy

Action = Literal["create", "update", "replace", "delete", "no-op", "unknown"]


@frozen(kw_only=True)
class Plan:
    """What an application should be: abstract resources in an order in which they can be made, without secrets.

    `fingerprint` is the sha256 of the resources; equal manifests, images and environments give equal fingerprints. `lock` is what the
    tags meant. `strategies` tell by their groups' keys how workloads go from one revision to the next, `history_limit` how many older
    releases can be gone back to.
    """

    environment: str
    application: str
    provider: str
    resources: tuple[Resource, ...]
    fingerprint: str
    lock: Locked | None = None
    notices: tuple[Notice, ...] = ()
    strategies: dict[str, Strategy] = field(factory=dict)
    history_limit: int = 10

    def by_key(self) -> dict[str, Resource]:
        """Return the resources by their keys."""
        return {key(resource): resource for resource in self.resources}


InstanceState = Literal["starting", "running", "stopping", "stopped", "failed"]


@frozen(kw_only=True)
class Instance:
    """One VM of a group as it is now; `reason` says why it is not ready, where that is known."""

    id: str
    group: str
    state: InstanceState
    ready: bool
    address: str = ""
    reason: str = ""


@frozen(kw_only=True)
class ObservedResource:
    """A resource that exists, seen at the real thing.

    `resource` is what is there in the plan's own terms (so that it can be compared field by field), `faults` what is broken about it,
    one sentence each (``"dnsmasq is not running"``). `instances` are a group's members, `endpoints` a balancer's URLs that answer from
    where the command runs.
    """

    resource: Resource
    faults: tuple[str, ...] = ()
    instances: tuple[Instance, ...] = ()
    endpoints: tuple[str, ...] = ()


@frozen(kw_only=True)
class Observed:
    """Everything of one environment that carries a mark, whichever application it belongs to."""

    resources: tuple[ObservedResource, ...] = ()

    def by_key(self) -> dict[str, ObservedResource]:
        """Return the observed resources by their keys."""
        return {key(seen.resource): seen for seen in self.resources}


@frozen(kw_only=True)
class Change:
    """One step towards the plan.

    `resource` is what should be (for a delete: what is there). `needs` are keys of changes that must be applied first, `gates` keys of
    groups whose members must all be ready first (a balancer never moves to a group that does not serve). A group that is `awaited` has
    to be ready before the run is done. The action is ``unknown`` in a plan that was made without seeing what is there; none such is
    ever applied.
    """

    action: Action
    resource: Resource
    reason: str
    observed: ObservedResource | None = None
    needs: tuple[str, ...] = ()
    gates: tuple[str, ...] = ()
    awaited: bool = False

    @property
    def key(self) -> str:
        """The key of the resource that changes."""
        return key(self.resource)

    @property
    def is_ready(self) -> bool:
        """Whether nothing is to be done and, if it is a group that is awaited, all its members were seen ready."""
        if self.action != "no-op" or not self.awaited or not isinstance(self.resource, InstanceGroup):
            return self.action == "no-op"
        seen = self.observed
        return seen is not None and sum(one.ready for one in seen.instances) >= getattr(seen.resource, "replicas", 0)


@frozen(kw_only=True)
class Changes:
    """All steps from what is observed to what is planned, no-ops with their reasons among them, in a valid order.

    `rollouts` say how the groups among them change, and the balancers with them: one after the other, by what is seen on the way.
    """

    environment: str
    application: str
    changes: tuple[Change, ...]
    rollouts: tuple[Rollout, ...] = ()

    @property
    def pending(self) -> tuple[Change, ...]:
        """The changes that do something."""
        return tuple(change for change in self.changes if change.action != "no-op")


@frozen(kw_only=True)
class GroupHealth:
    """How many members of a group are ready, and what each is doing."""

    ready: int
    instances: tuple[Instance, ...]


Result = Literal["done", "failed", "skipped", "unchanged", "paused", "aborted"]


@frozen(kw_only=True)
class ChangeOutcome:
    """What became of one change; `message` says why where it is not done. `seconds` is the time it took.

    A change that failed and is `rolled_back` did no harm: the last good revision is back. `log` are a failed group's last lines.
    """

    key: str
    action: Action
    result: Result
    message: str = ""
    seconds: float = 0.0
    log: tuple[str, ...] = ()
    rolled_back: bool = False


@frozen(kw_only=True)
class Outcome:
    """What became of a whole run."""

    application: str
    environment: str
    changes: tuple[ChangeOutcome, ...]
    interrupted: bool = False

    @classmethod
    def unchanged(cls, changes: Changes) -> Outcome:
        """Return the outcome of a run that found nothing to do."""
        nothing = (ChangeOutcome(key=one.key, action=one.action, result="unchanged", message=one.reason) for one in changes.changes)
        return cls(application=changes.application, environment=changes.environment, changes=tuple(nothing))

    @property
    def ok(self) -> bool:
        """Whether everything that was to change has changed, or waits as it should."""
        return not self.interrupted and all(change.result not in ("failed", "skipped") for change in self.changes)

    @property
    def paused(self) -> bool:
        """Whether a rollout waits until somebody promotes or aborts it."""
        return any(change.result == "paused" for change in self.changes)

    @property
    def rolled_back(self) -> bool:
        """Whether the run failed, and whatever failed is as it was before."""
        failed = [change for change in self.changes if change.result == "failed"]
        return bool(failed) and all(change.rolled_back for change in failed)


@frozen(kw_only=True)
class WorkloadStatus:
    """One workload: its newest revision, how many replicas it should have and how many are ready.

    `rollout` says where its rollout stands that has not come to its end; empty when there is none.
    """

    name: str
    namespace: str
    revision: str
    desired: int
    ready: int
    groups: tuple[GroupStatus, ...]
    instances: tuple[InstanceStatus, ...]
    endpoints: tuple[str, ...]
    rollout: str = ""


@frozen(kw_only=True)
class GroupStatus:
    """One revision's group."""

    name: str
    revision: str
    size: int
    ready: int


@frozen(kw_only=True)
class InstanceStatus:
    """One VM."""

    id: str
    revision: str
    state: InstanceState
    ready: bool
    address: str
    reason: str = ""


@frozen(kw_only=True)
class Status:
    """An application as it is now."""

    environment: str
    application: str
    provider: str
    workloads: tuple[WorkloadStatus, ...]
    faults: tuple[str, ...] = ()
