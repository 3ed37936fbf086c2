"""How the traffic moves: listeners made, mended and removed, one request for each when its shares change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attrs import frozen

from i2kit.driver import Context
from i2kit.resources import Balancer
from i2kit_aws import listeners, tags, targets, waits
from i2kit_aws.gateway import absent
from i2kit_aws.listeners import Listener
from i2kit_aws.site import Site

# AWS says that registering takes some minutes; who is asked to move to somebody who never gets healthy moves all the same.
_WARM_SECONDS = 240.0
_gone = absent("ListenerNotFound", "LoadBalancerNotFound")


@frozen(kw_only=True)
class Step:
    """One listener on its way: how it divides its traffic (`shares`), and what is there of it so far, if anything."""

    listener: Listener
    shares: Sequence[tuple[str, int]]
    there: Mapping[str, Any] | None

    @property
    def present(self) -> dict[str, int]:
        """How it divides its traffic so far, by target group."""
        return dict(listeners.shares_of(self.there)) if self.there else {}

    @property
    def rising(self) -> list[str]:
        """Target groups that are to get traffic and get none so far."""
        return [arn for arn, weight in self.shares if weight and not self.present.get(arn)]

    @property
    def serving(self) -> list[str]:
        """Target groups that get traffic so far."""
        return [arn for arn, weight in self.present.items() if weight]

    @property
    def same_protocol(self) -> bool:
        """Whether what is there can forward to the new target groups too."""
        spoken = str(self.there["Protocol"]) if self.there else ""
        return ("TCP" if spoken == "TLS" else spoken) == self.listener.target_protocol


def shares(balancer: Balancer, port: int, arns: Mapping[tuple[str, int], str]) -> list[tuple[str, int]]:
    """Return how a listener is to divide its traffic: target groups' ARNs, found by group and port, with weights. Pure.

    Where no group is to get any it goes to the one that is found under the empty name.
    """
    found = [(arns[one.group, port], one.weight) for one in balancer.backends]
    return found if any(weight for _, weight in found) else [*found, (arns["", port], 1)]


def ensure(
    site: Site,
    balancer: Balancer,
    front: str,
    wanted: Sequence[Listener],
    arns: Mapping[tuple[str, int], str],
    filled: set[str],
    context: Context,
) -> None:
    """Have these listeners at the load balancer `front`, and no others. `filled` are target groups that have, or will have, targets."""
    there = {int(one["Port"]): one for one in _described(site, front)}
    held = targets.tags_of(site, [str(one["ListenerArn"]) for one in there.values()])
    for port in sorted(there.keys() - {one.port for one in wanted}):
        _silence(site, there[port])
    steps = [Step(listener=one, shares=shares(balancer, one.port, arns), there=there.get(one.port)) for one in wanted]
    _warm(site, steps, filled, context)
    for step in steps:
        one = step.listener
        label = site.tags(balancer.mark, f"{balancer.name} port {one.port}", balancer=balancer.name, **one.facts)
        if step.there is None:
            site.gateway.call(
                "elbv2",
                "CreateListener",
                LoadBalancerArn=front,
                Port=one.port,
                DefaultActions=listeners.forward(step.shares),
                Tags=tags.listed(label),
                **one.settings,
            )
            continue
        arn = str(step.there["ListenerArn"])
        if changes := listeners.mended(one, step.shares, step.there):
            site.gateway.call("elbv2", "ModifyListener", ListenerArn=arn, **changes)
        retag(site, arn, held.get(arn, {}), label)


def _warm(site: Site, steps: Sequence[Step], filled: set[str], context: Context) -> None:
    """Before traffic leaves those who serve, have those it goes to checked, and wait until each has a member that is healthy.

    A target group is checked only once a listener forwards to it. Rollouts see to all that beforehand, where they can.
    """
    waiting: set[str] = set()
    for step in steps:
        cold = [arn for arn in step.rising if arn in filled and step.same_protocol and not _healthy(site, arn)]
        if not cold or not any(_healthy(site, arn) for arn in step.serving):
            continue
        waiting.update(cold)
        if step.there and (more := [(arn, 0) for arn in cold if arn not in step.present]):
            beside = listeners.forward([*step.present.items(), *more])
            site.gateway.call("elbv2", "ModifyListener", ListenerArn=step.there["ListenerArn"], DefaultActions=beside)
    if waiting:
        context.progress("waiting until those that are to get the traffic are healthy at the balancer")
    for pause in waits.pauses(_WARM_SECONDS):
        waiting = {arn for arn in waiting if not _healthy(site, arn)}
        if not waiting:
            return
        waits.rest(pause, context)


def _healthy(site: Site, arn: str) -> bool:
    return any(one.state == "healthy" for one in (targets.health(site, arn) or {}).values())


def retag(site: Site, arn: str, held: Mapping[str, str], wanted: Mapping[str, str]) -> None:
    """Bring a resource of Elastic Load Balancing from the tags that it has to those that it should have; others' stay."""
    changed, stale = tags.changes(held, wanted)
    if changed:
        site.gateway.call("elbv2", "AddTags", ResourceArns=[arn], Tags=tags.listed(changed))
    if stale:
        site.gateway.call("elbv2", "RemoveTags", ResourceArns=[arn], TagKeys=stale)


def delete(site: Site, front: str) -> None:
    """Have no listeners at a load balancer."""
    for one in _gone(lambda: list(_described(site, front))) or ():
        _silence(site, one)


def _described(site: Site, front: str) -> Iterator[Mapping[str, Any]]:
    return site.gateway.pages("elbv2", "DescribeListeners", "Listeners", LoadBalancerArn=front)


def _silence(site: Site, listener: Mapping[str, Any]) -> None:
    _gone(lambda: site.gateway.call("elbv2", "DeleteListener", ListenerArn=listener["ListenerArn"]))
