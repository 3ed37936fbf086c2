"""Observed and the last plan -> Status. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from i2kit.plan import GroupStatus, InstanceStatus, Observed, ObservedResource, Plan, Status, WorkloadStatus
from i2kit.resources import Balancer, InstanceGroup


def status_of(
    observed: Observed,
    wanted: Plan | None,
    *,
    environment: str,
    application: str,
    provider: str,
    rollouts: Mapping[str, str] = MappingProxyType({}),
) -> Status:
    """Return the state of an application; `wanted` is the plan of its newest run, which knows the desired sizes.

    `rollouts` say by workload (``namespace/name``) where those stand that have not come to their end.
    """
    own = [one for one in observed.resources if one.resource.mark.application == application]
    groups = [one for one in own if isinstance(one.resource, InstanceGroup)]
    planned = [one for one in wanted.resources if isinstance(one, InstanceGroup)] if wanted else []
    workloads = dict.fromkeys(
        (group.mark.namespace, group.mark.workload)
        for group in (*planned, *(one.resource for one in groups))
        if isinstance(group, InstanceGroup)
    )
    shared = [one for one in observed.resources if not one.resource.mark.application]
    return Status(
        environment=environment,
        application=application,
        provider=provider,
        workloads=tuple(_workload(namespace, name, own, planned, rollouts.get(f"{namespace}/{name}", "")) for namespace, name in workloads),
        faults=tuple(f"{one.resource.kind} {one.resource.name}: {fault}" for one in (*shared, *own) for fault in one.faults),
    )


def _workload(namespace: str, name: str, own: list[ObservedResource], planned: list[InstanceGroup], rollout: str) -> WorkloadStatus:
    seen = [(one.resource, one) for one in own if isinstance(one.resource, InstanceGroup)]
    mine = [(group, one) for group, one in seen if (group.mark.namespace, group.mark.workload) == (namespace, name)]
    target = next((group for group in planned if (group.mark.namespace, group.mark.workload) == (namespace, name)), None)
    current = target or mine[-1][0]
    names = {group.name for group, _ in mine} | {current.name}
    return WorkloadStatus(
        name=name,
        namespace=namespace,
        revision=current.mark.revision,
        desired=current.replicas,
        ready=sum(instance.ready for _, one in mine for instance in one.instances),
        groups=tuple(
            GroupStatus(
                name=group.name,
                revision=group.mark.revision,
                size=len(one.instances),
                ready=sum(instance.ready for instance in one.instances),
            )
            for group, one in mine
        ),
        instances=tuple(
            InstanceStatus(
                id=instance.id,
                revision=group.mark.revision,
                state=instance.state,
                ready=instance.ready,
                address=instance.address,
                reason=instance.reason,
            )
            for group, one in mine
            for instance in one.instances
        ),
        endpoints=tuple(
            endpoint
            for one in own
            if isinstance(one.resource, Balancer) and names & {backend.group for backend in one.resource.backends}
            for endpoint in one.endpoints
        ),
        rollout=rollout,
    )
