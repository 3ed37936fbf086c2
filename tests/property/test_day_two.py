"""Any day two: deploys, failures, kills, take-overs, rollbacks, canaries and drift in any order, on a cloud that is late and loses answers.

Everything a rule needs is drawn beforehand, and a rule that does not apply does nothing: what comes next never depends on threads.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import pytest
from attrs import evolve
from clouds import Operator
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from shops import Counting, Guard, Shop, again_is_nothing, group_of, groups_in, is_as_planned, ready_in, results, shop, weights_in

from i2kit.errors import Held, InvalidInput
from i2kit.plan import Outcome, Plan
from i2kit.records import Holder, last_release, positions, this_process
from i2kit.resources import Balancer, DnsRecord, InstanceGroup, key
from i2kit.strategy import Amount, CanaryStep, Strategy
from i2kit.testing.cloud import Behaviour, FakeCloud, Faults, dies_after, never_boots, never_ready
from i2kit.testing.kill_points import PHASES
from i2kit.testing.kill_points import Phase as KillPhase

BAD = Faults(stale_seconds=2.0, eventual_seconds=2.0, lost_answers=0.08, throttled=0.04, retry_after=0.5, partial=0.03)
SHOWS_SECONDS = 2.5
STRATEGIES = (
    Strategy(),
    Strategy(max_surge=Amount(value=0), max_unavailable=Amount(value=1)),
    Strategy(max_surge=Amount(value=2), max_unavailable=Amount(value=0)),
    Strategy(type="recreate"),
    Strategy(type="blue-green"),
    Strategy(type="blue-green", promotion="manual"),
    Strategy(type="canary", steps=(CanaryStep(weight=25, pause_seconds=5), CanaryStep(weight=50, pause_seconds=None))),
)
HEALTHY = Behaviour()
BAD_BEHAVIOURS: tuple[Behaviour, ...] = (never_boots(), never_ready("its disk is full"), dies_after(2.0))
Kill = tuple[int, KillPhase | Literal["ctrl-c"], bool] | None

versions = st.sampled_from(["1", "2", "3"])
sizes = st.integers(1, 4)
plans = st.builds(shop, versions, sizes, st.sampled_from(STRATEGIES), min_ready_seconds=st.sampled_from([0, 1]), deadline=st.just(30))
kills = st.none() | st.tuples(st.integers(1, 60), st.sampled_from([*PHASES, "ctrl-c"]), st.booleans())


class DayTwo(RuleBasedStateMachine):
    """One application; `sick` are the versions whose members fail, `wanted` is what was deployed last."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="i2kit-day-two-"))
        self.shop = Shop(cloud=FakeCloud(faults=BAD, boot_seconds=1.5), folder=self.folder)
        self.guard: Guard | None = None
        self.shop.cloud.watch(self._watch)
        self.sick: set[str] = set()
        self.drifted = False
        self.held = False

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    def _watch(self, truth: object) -> None:
        if self.guard is not None:
            self.guard(truth)  # type: ignore[arg-type]

    @initialize(plan=plans)
    def first(self, plan: Plan) -> None:
        self.run(lambda operator: operator.deploy(plan), plan, None)

    @rule(plan=plans, kill=kills)
    def another(self, plan: Plan, kill: Kill) -> None:
        self.deploy(plan, kill)

    @rule(plan=plans, kill=kills)
    def deploy(self, plan: Plan, kill: Kill) -> None:
        self.run(lambda operator: operator.deploy(plan), plan, kill)

    @rule(kill=kills)
    def roll_back(self, kill: Kill) -> None:
        # Where it goes to may be smaller; how rollbacks go is looked at in test_killed_day_two.
        self.run(lambda operator: operator.rollback(), None, kill)

    @rule(kill=kills)
    def restart(self, kill: Kill) -> None:
        self.run(lambda operator: operator.restart(), self.released, kill)

    @rule(kill=kills)
    def promote(self, kill: Kill) -> None:
        self.run(lambda operator: operator.promote(), self.wanted, kill)

    @rule(kill=kills)
    def abort(self, kill: Kill) -> None:
        # A first deploy that is aborted has nothing to go back to: it goes.
        self.run(lambda operator: operator.abort(), self.released, kill)

    @rule(version=versions, behaviour=st.sampled_from(BAD_BEHAVIOURS))
    def fall_sick(self, version: str, behaviour: Behaviour) -> None:
        for workload in ("web", "worker"):
            self.shop.cloud.behave(group_of(shop(version), workload).name, behaviour)
        self.sick.add(version)

    @rule(version=versions)
    def recover(self, version: str) -> None:
        for workload in ("web", "worker"):
            self.shop.cloud.behave(group_of(shop(version), workload).name, HEALTHY)
        self.sick.discard(version)

    @rule(kind=st.sampled_from([InstanceGroup, Balancer, DnsRecord]), which=st.integers(0, 3))
    def lose(self, kind: type, which: int) -> None:
        there = [one.resource for one in self.shop.cloud.truth().resources if isinstance(one.resource, kind)]
        if there:
            self.shop.cloud.remove(key(there[which % len(there)]))
            self.drift()

    @rule(size=sizes, which=st.integers(0, 3))
    def resize(self, size: int, which: int) -> None:
        there = sorted(groups_in(self.shop.cloud.truth()))
        if there:
            self.shop.cloud.resize(there[which % len(there)], size)
            self.drift()

    @rule(which=st.integers(0, 3))
    def lose_member(self, which: int) -> None:
        there = [one for one in self.shop.cloud.truth().resources if isinstance(one.resource, InstanceGroup) and one.instances]
        if there:
            group = there[which % len(there)]
            self.shop.cloud.kill_member(group.resource.name, int(group.instances[0].id.rpartition("-")[2]))
            self.shop.wait(SHOWS_SECONDS)  # until then it is seen as ready, and counted on

    @rule(kill=kills)
    def destroy(self, kill: Kill) -> None:
        self.guard = None
        if self.killed(lambda operator: operator.destroy(), kill):
            return
        assert self.operator().destroy().ok
        assert self.shop.cloud.truth().resources == ()
        assert self.shop.entries == ()
        self.drifted = self.held = False

    def drift(self) -> None:
        """Something was changed behind i2kit's back; it shows after a while."""
        self.drifted = True
        self.shop.wait(SHOWS_SECONDS)

    @property
    def released(self) -> Plan | None:
        found = last_release(self.shop.entries)
        return found.plan if found else None

    @property
    def wanted(self) -> Plan | None:
        return next((entry.plan for entry in reversed(self.shop.entries) if entry.plan and entry.plan.resources), None)

    def operator(self) -> Operator:
        return self.shop.operator(take_over=self.held)

    def killed(self, command: Callable[[Operator], object], kill: Kill) -> bool:
        """Run a command that dies, here or on another machine, or is stopped; tell whether it was begun."""
        if kill is None or self.held:
            return False
        at, phase, elsewhere = kill
        if phase == "ctrl-c":
            self.stopped(command, at)
            return True
        holder: Holder | None = evolve(this_process(), host="elsewhere") if elsewhere else None
        try:
            died = self.shop.killed(command, at, phase, holder=holder) is not None
        except (InvalidInput, Held):  # from another machine nobody can tell that the last run died
            return True
        last = self.shop.entries[-1] if self.shop.entries else None
        if died and last is not None and last.kind in ("claim", "step") and last.holder.host == "elsewhere":
            try:
                self.shop.operator().deploy(shop("1"))
            except Held:
                self.held = True
            assert self.held, "a run on another machine that may live was displaced"
        return True

    def stopped(self, command: Callable[[Operator], object], at: int) -> None:
        """Run a command during whose call `at` somebody presses Ctrl-C: it ends by itself, and gives the application back."""
        cancel = threading.Event()
        driver: Any = Counting(self.shop.cloud.driver(), lambda count: cancel.set() if count == at else None)
        with suppress(InvalidInput):  # it does not apply, and what a run that died has left stays
            command(evolve(self.shop.operator(driver), cancel=cancel))
            assert not self.shop.entries or self.shop.entries[-1].ended

    def run(self, command: Callable[[Operator], Outcome], plan: Plan | None, kill: Kill) -> None:
        """Run a command, and check everything that must hold meanwhile and afterwards."""
        before = self.wanted
        self.guard = None
        if plan is not None and not self.drifted and not self.sick:
            self.guard = Guard.of(self.shop.cloud.truth(), plan)
            # Where it goes from may be by another strategy: the way back takes no more members than that.
            if before is not None and before != plan:
                self.guard.least = {
                    name: min(least, Guard.of(self.shop.cloud.truth(), before).least[name]) for name, least in self.guard.least.items()
                }
        try:
            if self.killed(command, kill):
                return
            outcome = command(self.operator())
        except InvalidInput as error:
            if error.problems[0].code not in {"no-release", "nothing-paused"}:
                raise
            return
        finally:
            self.shop.cloud.verify()
            self.guard = None
        self.held = False
        self.check(outcome)

    def check(self, outcome: Outcome) -> None:
        """What must hold after a run that came to its end."""
        truth = self.shop.cloud.truth()
        if not outcome.ok:
            assert self.sick or self.drifted or "[capacity]" in "".join(results(outcome)), results(outcome)
            return
        if outcome.paused:
            assert positions(self.shop.entries)
            return
        if any(one.result == "aborted" for one in outcome.changes):
            for workload in ("web", "worker"):
                assert len(groups_in(truth, workload)) <= 1, results(outcome)
            return
        released = self.released
        assert released is not None
        is_as_planned(self.shop, released)
        self.drifted = False
        if not self.sick:
            assert all(size == ready for size, ready in groups_in(truth).values()), results(outcome)
            assert weights_in(truth) == {group_of(released).name: 100}
            assert ready_in(truth, "web") == group_of(released).replicas
            again_is_nothing(self.shop, released)


@pytest.mark.parametrize("at", [10, 13, 17, 25])
def test_destroy_removes_what_a_run_that_died_made_and_does_not_show_yet(at: int, tmp_path: Path) -> None:
    there = Shop(cloud=FakeCloud(faults=Faults(eventual_seconds=100.0)), folder=tmp_path)
    assert there.killed(lambda operator: operator.deploy(shop("1")), at, "after_effect")
    assert there.cloud.truth().resources
    assert there.operator().destroy().ok
    assert there.cloud.truth().resources == ()


def test_a_pause_ends_the_run_though_a_balancer_that_was_lost_waits_for_it(tmp_path: Path) -> None:
    there = Shop(cloud=FakeCloud(), folder=tmp_path)
    assert there.operator().deploy(shop("1")).ok
    manual = shop("2", strategy=Strategy(type="blue-green", promotion="manual"))
    assert there.operator().deploy(manual).paused
    (balancer,) = [one.resource for one in there.cloud.truth().resources if isinstance(one.resource, Balancer)]
    there.cloud.remove(key(balancer))
    cancel = threading.Event()
    watchdog = threading.Timer(30, cancel.set)  # a run that never ends is ended, and fails the test
    watchdog.start()
    outcome = evolve(there.operator(), cancel=cancel).deploy(manual)
    watchdog.cancel()
    assert outcome.paused
    assert not outcome.interrupted


DayTwo.TestCase.settings = settings(
    max_examples=80,
    stateful_step_count=10,
    derandomize=True,
    database=None,
    deadline=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],
)
TestDayTwo = DayTwo.TestCase
