"""Target health as AWS tells it: settable, otherwise what the instance's life says; draining, and unused without a listener."""

from __future__ import annotations

from typing import Any

from moto.autoscaling.models import autoscaling_backends
from moto.elbv2.models import ELBv2Backend, FakeHealthStatus, FakeTargetGroup, elbv2_backends

from aws.settings import SETTINGS

REASONS = {
    "initial": ("Elb.RegistrationInProgress", "Target registration is in progress"),
    "unhealthy": ("Target.FailedHealthChecks", "Health checks failed"),
    "draining": ("Target.DeregistrationInProgress", "Target deregistration is in progress"),
    "unused": ("Target.NotInUse", "Target group is not configured to receive traffic from the load balancer"),
}


def install() -> None:
    """Put the patches in place, once for a process."""
    ELBv2Backend.describe_target_health = _described
    FakeTargetGroup.deregister = _deregistered(FakeTargetGroup.deregister)
    FakeTargetGroup.deregister_terminated_instances = _terminated


def state_of(arn: str, instance: str) -> tuple[str, str | None, str | None]:
    """Return a registered target's state, reason and description."""
    group = next((one for backend in _backends() for one in backend.target_groups.values() if one.arn == arn), None)
    if group is not None and not _used(group):
        return "unused", *REASONS["unused"]
    for key in ((arn, instance), (arn, "*"), ("*", instance), ("*", _group(instance)), ("*", "*")):
        if key in SETTINGS.health:
            state = SETTINGS.health[key]
            return (state, *REASONS.get(state, (None, None)))
    state = _by_life(instance)
    return (state, *REASONS.get(state, (None, None)))


def _backends() -> list[Any]:
    return [backend for regions in elbv2_backends.values() for backend in regions.values()]


def _used(group: Any) -> bool:
    """Whether a listener sends something to a target group: without one AWS checks nothing."""
    return any(users_of(backend, group.arn) for backend in _backends())


def users_of(backend: Any, arn: str) -> list[str]:
    """Return the ARNs of the balancers with a listener that forwards to a target group."""
    return [
        balancer.arn
        for balancer in backend.load_balancers.values()
        if any(arn in _forwards(action) for one in balancer.listeners.values() for action in _actions(one))
    ]


def _actions(listener: Any) -> list[Any]:
    return [*listener.default_actions, *(action for rule in listener.rules.values() for action in rule.actions)]


def _forwards(action: Any) -> list[str]:
    data = action.data
    weighted = [one.get("TargetGroupArn") for one in data.get("ForwardConfig", {}).get("TargetGroups", [])]
    return [data.get("TargetGroupArn"), *weighted]


def _by_life(instance: str) -> str:
    for state in _members(instance):
        return "healthy" if state.lifecycle_state == "InService" and state.instance.state == "running" else "initial"
    return "healthy"


def _group(instance: str) -> str:
    """Return the name of the Auto Scaling group that an instance is in."""
    return next((str(state.instance.autoscaling_group.name) for state in _members(instance)), "")


def _members(instance: str) -> list[Any]:
    backends = [backend for regions in autoscaling_backends.values() for backend in regions.values()]
    return [state for backend in backends for state in backend.describe_auto_scaling_instances([instance])]


def _draining(group: Any) -> dict[str, list[Any]]:
    return group.__dict__.setdefault("draining", {})  # type: ignore[no-any-return]


def _deregistered(stock: Any) -> Any:
    def deregister(group: Any, targets: list[dict[str, Any]]) -> None:
        # AWS takes it calmly when a target is not there any more.
        known = [one for one in targets if one["Id"] in group.targets]
        for one in known:
            _draining(group)[one["Id"]] = [group.targets[one["Id"]], SETTINGS.drain_calls if _used(group) else 0]
        stock(group, known)

    return deregister


def _terminated(group: Any, instances: list[str]) -> None:
    group.deregister([{"Id": one} for one in instances])


def _described(backend: Any, arn: str, targets: list[dict[str, Any]] | None) -> list[FakeHealthStatus]:
    group = backend.describe_target_groups(load_balancer_arn=None, target_group_arns=[arn], names=None)[0]
    draining = _draining(group)
    shown = []
    for name in [one["Id"] for one in targets] if targets else [*group.targets, *draining]:
        if name in group.targets:
            draining.pop(name, None)
            target, (state, reason, text) = group.targets[name], state_of(arn, name)
            instance = backend.ec2_backend.get_instance_by_id(name)
            if instance is not None and instance.state == "stopped" and state != "unused":
                state, reason, text = "unused", "Target.InvalidState", "Target is in the stopped state"
        elif name in draining and draining[name][1]:
            target, (state, reason, text) = draining[name][0], ("draining", *REASONS["draining"])
            draining[name][1] -= 1
        elif targets:
            target = {"Id": name, "Port": group.port}
            state, reason, text = "unused", "Target.NotRegistered", "Target is not registered to the target group"
        else:
            draining.pop(name)
            continue
        shown.append(FakeHealthStatus(target["Id"], target["Port"], group.health_check_port, state, reason, text))
    return shown
