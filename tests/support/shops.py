"""A shop on a fake cloud whose operators come and die: its versions, what must hold meanwhile, and what must hold afterwards."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import define, evolve, field, frozen
from clouds import SAMPLES, Operator
from runs import dead_process

from i2kit import names
from i2kit.driver import Driver, Record
from i2kit.plan import Observed, Outcome, Plan
from i2kit.records import Entry, Holder, decode, last_release, standing, this_process
from i2kit.resources import Balancer, DnsRecord, InstanceGroup, key
from i2kit.strategy import Strategy
from i2kit.testing.cloud import FakeClock, FakeCloud
from i2kit.testing.kill_points import Call, Killed, KillPoints, Phase
from i2kit.testing.samples import Samples
from i2kit.wire import to_data

DEADLINE = 4
"""So many seconds of the cloud's clock a group may take to get further, unless said otherwise."""

STALE_SECONDS = 200.0
"""After so long nothing that was done is in doubt any more."""


def shop(
    version: str = "1",
    replicas: int = 2,
    strategy: Strategy = Strategy(),
    *,
    min_ready_seconds: int = 0,
    deadline: int = DEADLINE,
    samples: Samples = SAMPLES,
    secret: str | None = None,
) -> Plan:
    """Workload `web` behind a balancer with a name, and `worker` without one, by the same strategy; `web` uses a `secret` if any."""
    web = samples.workload(version, replicas=replicas, secret=secret)
    worker = samples.group(version, replicas=replicas, workload="worker")
    resources = tuple(
        evolve(one, progress_deadline_seconds=deadline, min_ready_seconds=min_ready_seconds) if isinstance(one, InstanceGroup) else one
        for one in (*web, worker)
    )
    plan = samples.plan(*resources)
    strategies = {key(one): strategy for one in plan.resources if isinstance(one, InstanceGroup)}
    return evolve(plan, strategies=strategies, fingerprint=names.digest(plan.fingerprint, to_data(strategy)))


def group_of(plan: Plan, workload: str = "web") -> InstanceGroup:
    """The planned group of a workload."""
    (found,) = [one for one in plan.resources if isinstance(one, InstanceGroup) and one.mark.workload == workload]
    return found


@frozen(kw_only=True)
class Shop:
    """A cloud and commands on it, each as a process of its own."""

    cloud: FakeCloud
    folder: Path

    def operator(self, driver: Driver | None = None, holder: Holder | None = None, *, take_over: bool = False) -> Operator:
        """Who is at work."""
        operator = Operator(cloud=self.cloud, folder=self.folder, driver=driver, holder=holder or this_process())
        return evolve(operator, options=evolve(operator.options, take_over=take_over))

    def killed(self, command: Callable[[Operator], object], at: int | str, phase: Phase, *, holder: Holder | None = None) -> Call | None:
        """Run a command that dies at call `at`, or the first about that; return the call, or None when the run was over before."""
        driver = self.cloud.driver()
        points = KillPoints(driver, at=at, phase=phase) if isinstance(at, int) else _Named(driver, at, phase)
        try:
            command(self.operator(points, holder or dead_process()))
        except Killed:
            points.settle()
            return points.deadly
        return points.deadly if phase == "after_answer" and points.calls[-1:] == [points.deadly] else None

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The application's records."""
        bodies = self.cloud._store.records.get(SAMPLES.application, {})  # not through a driver, whose calls may fail
        return standing(decode(Record(number=number, body=bodies[number])) for number in sorted(bodies))

    def wait(self, seconds: float = STALE_SECONDS) -> None:
        """Let time pass, so that what is seen is what is there."""
        self.cloud.clock.sleep(seconds)


class _Named(KillPoints):
    """Ends a run at the first call that is about something."""

    def __init__(self, driver: Driver, about: str, phase: Phase) -> None:
        super().__init__(driver, phase=phase)
        self._about = about

    def _enter(self, method: str, about: str) -> bool:
        if self._at is None and self._about in about:
            self._at = len(self.calls) + 1
        return super()._enter(method, about)


class Counting:
    """A driver that tells of each call of another one, with its number, before it is made."""

    def __init__(self, driver: Driver, tell: Callable[[int], object]) -> None:
        self._driver = driver
        self._tell = tell
        self._count = itertools.count(1)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **more: Any) -> Any:
            self._tell(next(self._count))
            return getattr(self._driver, name)(*arguments, **more)

        return call


def groups_in(truth: Observed, workload: str | None = None) -> dict[str, tuple[int, int]]:
    """Size and ready members of the groups that there are, by name."""
    return {
        one.resource.name: (len(one.instances), sum(member.ready for member in one.instances))
        for one in truth.resources
        if isinstance(one.resource, InstanceGroup) and workload in (None, one.resource.mark.workload)
    }


def weights_in(truth: Observed) -> dict[str, int]:
    """The weights of the groups behind the balancers."""
    balancers = [one.resource for one in truth.resources if isinstance(one.resource, Balancer)]
    return {backend.group: backend.weight for balancer in balancers for backend in balancer.backends}


def ready_in(truth: Observed, workload: str) -> int:
    return sum(ready for _, ready in groups_in(truth, workload).values())


def serving_in(truth: Observed, workload: str = "web") -> int:
    """How many members do a workload's work: those of `web` that are ready and get traffic, those of `worker` that are ready."""
    if workload != "web":
        return ready_in(truth, workload)
    groups = groups_in(truth, "web")
    return sum(groups[name][1] for name, weight in weights_in(truth).items() if weight and name in groups)


@define(kw_only=True)
class Guard:
    """Watches every effect of a run: nobody is taken away who is needed, and no traffic goes where nobody is.

    `least` are the members that must do each workload's work; `before` is what was true before the last effect.
    """

    least: Mapping[str, int]
    before: Observed
    log: list[str] = field(factory=list)

    @classmethod
    def of(cls, truth: Observed, plan: Plan) -> Guard:
        """Return the guard of a run from what is true to a plan: a healthy update goes no lower than its strategy allows."""
        least = {}
        for workload in ("web", "worker"):
            group = group_of(plan, workload)
            strategy = plan.strategies[key(group)]
            unavailable = strategy.limits(group.replicas)[1] if strategy.type == "rolling-update" else 0
            least[workload] = min(serving_in(truth, workload), group.replicas - unavailable)
            if strategy.type == "recreate":
                least[workload] = 0
        return cls(least=least, before=truth)

    def __call__(self, truth: Observed) -> None:
        """Raise `AssertionError` for what must not be."""
        before, self.before = self.before, truth
        groups, were = groups_in(truth, "web"), groups_in(before, "web")
        weights, had = weights_in(truth), weights_in(before)
        for workload, least in self.least.items():
            serving = serving_in(truth, workload)
            assert serving >= least, (
                f"{serving} members of {workload} serve, {least} were to stay: {had} {groups_in(before)} -> {weights} {groups_in(truth)}"
            )
        if not self.least["web"] or not ready_in(truth, "web"):
            return
        for name, weight in weights.items():
            nobody = weight > 0 and not groups.get(name, (0, 0))[1]
            was = had.get(name, 0) > 0 and not were.get(name, (0, 0))[1]
            assert not nobody or was, f"{weight}% of the traffic go to {name}, where nobody is ready: {had} {were} -> {weights} {groups}"
        assert serving_in(truth) or not serving_in(before), f"nobody serves: {had} {were} -> {weights} {groups}"


def is_as_planned(shop: Shop, plan: Plan) -> None:
    """Groups, balancers and names are what is planned, no more and no less, and the records say so."""
    truth = shop.cloud.truth()
    kinds = InstanceGroup | Balancer | DnsRecord
    there = {key(one.resource): one.resource for one in truth.resources if isinstance(one.resource, kinds)}
    wanted = {key(one): one for one in plan.resources if isinstance(one, kinds)}
    wrong = sorted(name for name in {*there, *wanted} if there.get(name) != wanted.get(name))
    assert not wrong, f"otherwise than planned: {[(there.get(name), wanted.get(name)) for name in wrong]}"
    released = last_release(shop.entries)
    assert released is not None, "nothing was ever released"
    assert released.plan == plan, "the records have another plan"
    assert shop.entries[-1].kind == "release", f"the records end with {shop.entries[-1].kind}"


def again_is_nothing(shop: Shop, plan: Plan) -> None:
    """The same once more changes nothing, at once."""
    outcome = shop.operator().deploy(plan)
    assert {one.result for one in outcome.changes} == {"unchanged"}, results(outcome)


def results(outcome: Outcome) -> Sequence[str]:
    """What became of each change, for people."""
    return [f"{one.action} {one.key}: {one.result} {one.message}" for one in outcome.changes]


def copy_of(cloud: FakeCloud) -> FakeCloud:
    """Return a cloud of its own in which everything is as in this one."""
    twin = FakeCloud(cloud.environment, faults=cloud.faults, clock=FakeClock(cloud.clock.now()), heals=cloud.heals)
    with cloud._store.lock:
        twin._store._past = list(cloud._store._past)
        twin._store.records = {application: dict(bodies) for application, bodies in cloud._store.records.items()}
    return twin
