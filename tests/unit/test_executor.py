"""The executor: gates, failures, claims and cancellation, on the memory provider."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from i2kit_memory.driver import MemoryDriver
from i2kit_memory.region import Region
from runs import SAMPLES, Run, dead_process, groups, keys, memory, registry_of

from i2kit import executor, journal
from i2kit.calls import Calls
from i2kit.driver import CallLimits, Context, LogLine
from i2kit.errors import ExitCode, Held, Interrupted, InvalidInput, ProviderError
from i2kit.events import Event
from i2kit.hookspecs import hookimpl
from i2kit.journal import Journal
from i2kit.plan import Change, GroupHealth, Outcome, Plan
from i2kit.records import decode, this_process
from i2kit.resources import Balancer, InstanceGroup, Resource, key
from i2kit.runs import DeployOptions
from i2kit.testing.kill_points import KillPoints
from i2kit.tools import ChangeContext, Tools


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "POLL_SECONDS", 0.002)
    monkeypatch.setattr(executor, "LOOK_SECONDS", 0.0)


@pytest.fixture
def region() -> Region:
    return Region("conformance")


@pytest.fixture
def run(region: Region, tmp_path: Path) -> Run:
    return Run(driver=memory(region), folder=tmp_path)


def web(version: str = "1", **changes: Any) -> Plan:
    """A workload whose group gives up at the first look at which it is not ready."""
    resources = SAMPLES.workload(version, **changes)
    return SAMPLES.plan(*(evolve(one, progress_deadline_seconds=0) if isinstance(one, InstanceGroup) else one for one in resources))


def group_of(plan: Plan) -> InstanceGroup:
    (group,) = [one for one in plan.resources if isinstance(one, InstanceGroup)]
    return group


def results(outcome: Outcome) -> dict[str, str]:
    return {one.key.partition("/")[0]: one.result for one in outcome.changes}


def message(outcome: Outcome, kind: str) -> str:
    (found,) = [one.message for one in outcome.changes if one.key.startswith(kind)]
    return found


def backends(run: Run) -> set[str]:
    """The groups that get traffic."""
    balancers = [one.resource for one in run.driver.observe().resources if isinstance(one.resource, Balancer)]
    return {backend.group for balancer in balancers for backend in balancer.backends if backend.weight}


class Watched(MemoryDriver):
    """Calls `look` before every change, with nothing held."""

    look: Callable[[Change], None] = staticmethod(lambda _change: None)

    def apply(self, change: Change, context: Context) -> None:
        self.look(change)
        super().apply(change, context)


def test_a_first_deploy_makes_everything_and_waits_until_it_is_ready(run: Run) -> None:
    plan = web(replicas=2, secret="1")
    outcome = run.deploy(plan)
    assert outcome.ok
    assert set(results(outcome).values()) == {"done"}
    assert keys(run.driver.observe()) == {key(one) for one in plan.resources}
    assert groups(run.driver.observe()) == {group_of(plan).name: 2}


def test_what_needs_another_comes_after_it(run: Run, region: Region) -> None:
    driver, there = Watched(region), set[str]()
    missing: list[str] = []

    def look(change: Change) -> None:
        missing.extend(needed for needed in change.resource.needs if needed not in keys(memory(region).observe()))
        there.add(change.key)

    driver.look = look  # type: ignore[method-assign]
    assert evolve(run, driver=driver).deploy(web(secret="1")).ok
    assert len(there) == 6
    assert missing == []


def test_deploying_the_same_again_changes_nothing(run: Run, region: Region) -> None:
    run.deploy(web())
    recorder = KillPoints(memory(region))
    outcome = evolve(run, driver=recorder).deploy(web())
    assert set(results(outcome).values()) == {"unchanged"}
    assert [call.method for call in recorder.calls if call.method == "apply"] == []


def test_a_group_that_comes_up_late_is_waited_for(run: Run, region: Region) -> None:
    plan = SAMPLES.plan(*SAMPLES.workload())
    region.set_unready("web-*", "it boots")

    def report(event: Event) -> None:
        if "0 of 1 members are ready (it boots)" in event.message:
            region.set_unready("web-*", None)

    assert evolve(run, report=report).deploy(plan).ok


def test_a_balancer_moves_only_to_a_group_that_is_ready(run: Run, region: Region) -> None:
    run.deploy(web("1"))
    new = SAMPLES.plan(*SAMPLES.workload("2"))
    region.set_unready(group_of(new).name, "it boots")
    seen: list[set[str]] = []

    def report(event: Event) -> None:
        if "it boots" in event.message:
            seen.append(backends(run))
            region.set_unready(group_of(new).name, None)

    assert evolve(run, report=report).deploy(new).ok
    assert seen == [{group_of(web("1")).name}]
    assert backends(run) == {group_of(new).name}


def test_steps_are_removed_while_the_run_goes_on(run: Run, region: Region) -> None:
    gone = threading.Event()

    class Clearing(Watched):
        def remove_record(self, application: str, number: int) -> None:
            super().remove_record(application, number)
            gone.set()

    driver, in_time = Clearing(region), list[bool]()
    # A name comes last of all.
    driver.look = lambda change: in_time.append(gone.wait(10.0)) if change.resource.kind == "DnsRecord" else None  # type: ignore[method-assign]
    assert evolve(run, driver=driver).deploy(web()).ok
    assert in_time == [True]


def test_the_old_group_goes_last(run: Run, region: Region) -> None:
    run.deploy(web("1"))
    at_delete: list[set[str]] = []
    driver = Watched(region)

    def look(change: Change) -> None:
        if change.action == "delete":
            at_delete.append(backends(run))

    driver.look = look  # type: ignore[method-assign]
    assert evolve(run, driver=driver).deploy(web("2")).ok
    assert at_delete == [{group_of(web("2")).name}]
    assert groups(run.driver.observe()) == {group_of(web("2")).name: 1}


def test_a_new_revision_that_fails_leaves_the_old_one_serving_and_is_removed(run: Run, region: Region) -> None:
    old, new = web("1", replicas=2), web("2", replicas=2)
    run.deploy(old)
    region.set_unready(group_of(new).name, "connection refused")
    outcome = run.deploy(new)
    assert not outcome.ok
    (failed,) = [one for one in outcome.changes if one.result == "failed"]
    assert failed.message.endswith(f"0 of 2 members are ready (connection refused); {group_of(old).name} serves again")
    assert failed.rolled_back
    assert any("readiness" in line for line in failed.log)
    assert groups(run.driver.observe()) == {group_of(old).name: 2}
    assert backends(run) == {group_of(old).name}


def test_without_a_service_the_old_one_stays_too_until_the_new_one_is_ready(run: Run, region: Region) -> None:
    old, new = (SAMPLES.plan(*(one for one in web(version).resources if one.kind not in ("Balancer", "DnsRecord"))) for version in "12")
    run.deploy(old)
    region.set_unready(group_of(new).name, "connection refused")
    assert not run.deploy(new).ok
    assert groups(run.driver.observe()) == {group_of(old).name: 1}


def test_a_failed_revision_stays_when_asked_to_be_kept(run: Run, region: Region) -> None:
    run.deploy(web("1"))
    region.set_unready(group_of(web("2")).name, "broken")
    assert not evolve(run, options=DeployOptions(keep_failed=True)).deploy(web("2")).ok
    assert set(groups(run.driver.observe())) == {group_of(web("1")).name, group_of(web("2")).name}
    assert backends(run) == {group_of(web("1")).name}


def test_after_a_failure_the_corrected_manifest_goes_through(run: Run, region: Region) -> None:
    run.deploy(web("1"))
    region.set_unready(group_of(web("2")).name, "broken")
    run.deploy(web("2"))
    assert run.deploy(web("3")).ok
    assert groups(run.driver.observe()) == {group_of(web("3")).name: 1}


def test_a_first_deploy_that_fails_removes_its_group(run: Run, region: Region) -> None:
    region.set_unready("web-*", "broken")
    assert not run.deploy(web()).ok
    assert groups(run.driver.observe()) == {}
    region.set_unready("web-*", None)
    assert run.deploy(web()).ok
    assert backends(run) == set(groups(run.driver.observe()))


def test_a_released_group_that_is_not_ready_any_more_is_left_alone(run: Run, region: Region) -> None:
    run.deploy(web())
    region.set_unready("web-*", "its database is down")
    assert not run.deploy(web()).ok
    assert groups(run.driver.observe()) == {group_of(web()).name: 1}


def test_a_balancer_that_is_gone_comes_back_in_front_of_what_serves(run: Run, region: Region) -> None:
    """Made anew together with a new revision, it must not point at one that never serves."""
    old, new = web("1"), web("2")
    run.deploy(old)
    region.lose(f"Balancer/{SAMPLES.balancer().name}")
    region.set_unready(group_of(new).name, "broken")
    assert not run.deploy(new).ok
    assert group_of(new).name not in backends(run)
    assert run.deploy(old).ok
    assert backends(run) == {group_of(old).name}


def test_independent_resources_go_on_when_one_fails(run: Run, region: Region) -> None:
    region.set_unready("api-*", "broken")
    plan = SAMPLES.plan(*web().resources, *(evolve(one, progress_deadline_seconds=0) if isinstance(one, InstanceGroup) else one
                                            for one in SAMPLES.workload(workload="api")))  # fmt: skip
    outcome = run.deploy(plan)
    assert {one.key.split("-")[0]: one.result for one in outcome.changes if one.key.startswith("InstanceGroup")} == {
        "InstanceGroup/web": "done",
        "InstanceGroup/api": "failed",
    }


def test_what_depends_on_a_failure_is_skipped_and_says_so(run: Run, region: Region) -> None:
    region.set_refused("Image/*", "the quota is full")
    outcome = run.deploy(web())
    assert results(outcome) == {
        "Network": "done",
        "Image": "failed",
        "InstanceGroup": "skipped",
        "Balancer": "skipped",
        "DnsRecord": "skipped",
    }
    assert "the quota is full" in message(outcome, "Image")
    assert message(outcome, "InstanceGroup") == f"Image/{SAMPLES.image().name} failed"
    region.set_refused("Image/*", None)
    assert run.deploy(web()).ok


def test_a_bug_in_a_driver_fails_its_change_alone(run: Run, region: Region) -> None:
    driver = Watched(region)

    def look(change: Change) -> None:
        if change.resource.kind == "Balancer":
            raise ZeroDivisionError("a bug")

    driver.look = look  # type: ignore[method-assign]
    outcome = evolve(run, driver=driver).deploy(web())
    assert results(outcome)["Balancer"] == "failed"
    assert message(outcome, "Balancer") == "ZeroDivisionError: a bug"
    assert results(outcome)["InstanceGroup"] == "done"


@pytest.mark.parametrize("error", [ProviderError.of("throttled", "too many requests"), KeyError("a bug")], ids=repr)
def test_a_group_that_cannot_be_looked_at_is_waited_for(run: Run, region: Region, error: Exception) -> None:
    class Deaf(MemoryDriver):
        left = 3

        def health(self, group: str) -> GroupHealth:
            self.left -= 1
            if self.left > 0:
                raise error
            return super().health(group)

    assert evolve(run, driver=Deaf(region)).deploy(SAMPLES.plan(*SAMPLES.workload())).ok


def test_logs_that_cannot_be_read_hide_no_failure(run: Run, region: Region) -> None:
    class Mute(MemoryDriver):
        def logs(self, group: str, *, tail: int | None = None, follow: bool = False) -> Iterator[LogLine]:
            raise KeyError("a bug")

    region.set_unready("*", "broken")
    outcome = evolve(run, driver=Mute(region)).deploy(web())
    assert results(outcome)["InstanceGroup"] == "failed"
    assert [one.log for one in outcome.changes if one.log] == [("no log: 'a bug'",)]


def test_a_plugin_that_only_listens_stops_nothing(run: Run) -> None:
    class Listener:
        @hookimpl
        def i2kit_after_change(self, change: Change) -> None:
            raise ZeroDivisionError(change.key)

    notices: list[str] = []
    registry = registry_of(run.folder)
    plugin = Listener()
    registry._manager.register(plugin)
    try:
        listened = evolve(run, report=lambda event: notices.append(event.message) if event.kind == "notice" else None)
        assert listened.deploy(web()).ok
    finally:
        registry._manager.unregister(plugin)
    assert len(notices) == 5
    assert "a plug-in failed: ZeroDivisionError: Network/" in notices[0]


def test_a_plugin_may_refuse_a_change(run: Run) -> None:
    class Policy:
        @hookimpl
        def i2kit_before_change(self, change: Change) -> None:
            if change.resource.kind == "Balancer":
                raise InvalidInput.of("policy", "no balancers on a Friday")

    registry = registry_of(run.folder)
    plugin = Policy()
    registry._manager.register(plugin)
    try:
        outcome = run.deploy(web())
    finally:
        registry._manager.unregister(plugin)
    assert (results(outcome)["InstanceGroup"], results(outcome)["Balancer"], results(outcome)["DnsRecord"]) == ("done", "failed", "skipped")
    assert "no balancers on a Friday" in message(outcome, "Balancer")


@pytest.mark.parametrize(
    ("broken", "action"),
    [
        (lambda region: region.lose_member(group_of(web(replicas=2)).name), "update"),
        (lambda region: region.lose(f"DnsRecord/{SAMPLES.record(SAMPLES.balancer()).name}"), "create"),
        (lambda region: region.lose(f"Balancer/{SAMPLES.balancer().name}"), "create"),
        (lambda region: region.lose(key(group_of(web(replicas=2)))), "create"),
        (lambda region: region.set_fault(key(SAMPLES.network()), "its server is not running"), "update"),
    ],
    ids=["a member is lost", "a name is lost", "a balancer is lost", "a group is lost", "a network is broken"],
)
def test_what_was_broken_behind_its_back_is_mended(run: Run, region: Region, broken: Callable[[Region], None], action: str) -> None:
    plan = web(replicas=2)
    run.deploy(plan)
    broken(region)
    outcome = run.deploy(plan)
    assert outcome.ok
    assert [one.action for one in outcome.changes if one.result == "done"] == [action]
    assert groups(run.driver.observe()) == {group_of(plan).name: 2}
    assert all(not one.faults for one in run.driver.observe().resources)
    assert keys(run.driver.observe()) == {key(one) for one in plan.resources}


def test_destroy_leaves_nothing_and_twice_is_fine(run: Run) -> None:
    run.deploy(web(secret="1"))
    run.deploy(web("2", secret="2"))
    assert run.destroy("sample").ok
    assert keys(run.driver.observe()) == set()
    assert run.driver.applications() == []
    assert run.destroy("sample").changes == ()


def test_destroy_holds_the_application_until_its_last_record_is_gone(run: Run, region: Region) -> None:
    class Removing(MemoryDriver):
        def remove_record(self, application: str, number: int) -> None:
            with pytest.raises(Held):
                Journal(memory(region), application).claim(web())
            super().remove_record(application, number)

    run.deploy(web())
    assert evolve(run, driver=Removing(region)).destroy("sample").ok
    assert run.driver.records("sample") == []


def test_destroy_leaves_what_another_application_uses(run: Run) -> None:
    run.deploy(web())
    other = evolve(SAMPLES, application="other")
    record_free = [one for one in other.workload() if one.kind != "DnsRecord"]
    assert run.deploy(other.plan(*record_free)).ok
    assert run.destroy("sample").ok
    assert keys(run.driver.observe()) == {key(one) for one in record_free}


def test_a_live_holder_holds(run: Run) -> None:
    plan = web()
    Journal(run.driver, "sample").claim(plan)
    with pytest.raises(Held) as caught:
        run.deploy(plan)
    assert caught.value.exit_code == ExitCode.HELD == 5
    assert keys(run.driver.observe()) == set()


def test_a_dead_holder_is_taken_over_and_named(run: Run) -> None:
    Journal(run.driver, "sample", holder=dead_process()).claim(web())
    lines: list[str] = []
    assert evolve(run, report=lambda event: lines.append(event.message) if event.kind == "taken-over" else None).deploy(web()).ok
    (line,) = lines
    assert line.startswith("the run of process ")
    assert line.endswith(" died; going on from where it stopped")


@pytest.mark.parametrize(("seconds", "free"), [(60.0, False), (121.0, True)])
def test_a_holder_on_another_host_is_given_its_lease(run: Run, seconds: float, free: bool) -> None:
    now = 1_000_000.0
    elsewhere = evolve(this_process(), host="elsewhere")
    Journal(run.driver, "sample", holder=elsewhere, clock=lambda: now).claim(web())
    mine = Journal(run.driver, "sample", clock=lambda: now + seconds)
    if free:
        assert "has not been heard of for 121 s" in mine.claim(web())
    else:
        with pytest.raises(Held):
            mine.claim(web())


def test_the_lease_is_renewed_while_a_run_waits(run: Run) -> None:
    now = [0.0]
    journal = Journal(run.driver, "sample", clock=lambda: now[0])
    journal.claim(web())
    for now[0] in (29.0, 31.0, 45.0, 62.0):
        if journal.lapses():
            journal.step([], [])
    assert [(entry.kind, entry.time) for entry in map(decode, run.driver.records("sample"))] == [
        ("claim", 0.0),
        ("step", 31.0),
        ("step", 62.0),
    ]


def test_a_displaced_run_stops_before_it_changes_anything_more(run: Run, region: Region) -> None:
    """The other run claims while this one makes its network: nothing that comes after may be made."""
    driver = Watched(region)

    def look(change: Change) -> None:
        if change.resource.kind == "Network":
            Journal(memory(region), "sample").claim(web(), take_over=True)

    driver.look = look  # type: ignore[method-assign]
    with pytest.raises(Held) as caught:
        evolve(run, driver=driver).deploy(web())
    assert caught.value.problems[0].code == "displaced"
    assert keys(run.driver.observe()) <= {key(SAMPLES.network()), key(SAMPLES.image())}


def test_of_two_runs_that_claim_at_once_one_is_held(run: Run) -> None:
    first, second = Journal(run.driver, "sample"), Journal(run.driver, "sample")
    first.read()
    second.read()
    first.claim(web())
    with pytest.raises(Held):
        second.step([], [])


def test_a_cancelled_run_stops_and_goes_on_when_run_again(run: Run, region: Region) -> None:
    cancel = threading.Event()
    driver = Watched(region)
    driver.look = lambda _change: cancel.set()  # type: ignore[method-assign]
    outcome = evolve(run, driver=driver, cancel=cancel).deploy(web())
    assert outcome.interrupted
    assert not outcome.ok
    assert "DnsRecord" not in {one.partition("/")[0] for one in keys(run.driver.observe())}
    assert run.deploy(web()).ok


def test_a_cancel_ends_the_wait_for_a_group(run: Run, region: Region) -> None:
    cancel = threading.Event()
    region.set_unready("*", "it hangs")

    def report(event: Event) -> None:
        if "it hangs" in event.message:
            cancel.set()

    outcome = evolve(run, cancel=cancel, report=report).deploy(SAMPLES.plan(*SAMPLES.workload()))
    assert outcome.interrupted
    assert groups(run.driver.observe()) == {group_of(web()).name: 1}


def test_a_step_that_is_under_way_is_finished_after_a_ctrl_c_and_none_begins(run: Run, region: Region) -> None:
    """However often the driver asks whether it is to stop: what is half done is what costs time when it is done again."""
    cancel, begun = threading.Event(), list[str]()

    class Asking(MemoryDriver):
        def apply(self, change: Change, context: Context) -> None:
            begun.append(change.resource.kind)
            context.check()
            if change.resource.kind == "InstanceGroup":
                cancel.set()
                for _ in range(3):
                    context.check()
            super().apply(change, context)

    outcome = evolve(run, driver=Asking(region), cancel=cancel).deploy(web(replicas=2))
    assert outcome.interrupted
    assert begun.count("InstanceGroup") == 1
    assert not {"Balancer", "DnsRecord"} & set(begun)
    assert groups(run.driver.observe()) == {group_of(web()).name: 2}
    assert results(outcome)["Balancer"] == "skipped"


def test_what_waited_for_its_turn_does_not_begin_after_a_ctrl_c(run: Run, region: Region) -> None:
    cancel, driver = threading.Event(), Watched(region)
    context = ChangeContext(
        change=Change(action="create", resource=SAMPLES.network(), reason=""),
        tools=Tools(build=lambda *_: pytest.fail("nothing is built"), images={}, secrets={}),
        report=run.report,
        cancel=cancel,
        abandoned=threading.Event(),
        deadline=time.monotonic() + 60,
    )
    cancel.set()
    with pytest.raises(Interrupted):
        Calls(driver, CallLimits()).apply(context.change, context)
    assert keys(run.driver.observe()) == set()


def test_the_lease_is_renewed_while_a_run_that_is_to_stop_finishes_its_step(
    run: Run, region: Region, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "RENEW_SECONDS", 0.0)
    driver, cancel, renewed, heard = Watched(region), threading.Event(), threading.Semaphore(0), list[bool]()
    append = driver.append_record

    def note(application: str, number: int, body: bytes) -> None:
        append(application, number, body)
        if cancel.is_set():
            renewed.release()

    def look(_change: Change) -> None:
        cancel.set()
        # The turn that was under way may append a last time in any case.
        heard.append(all(renewed.acquire(timeout=10) for _ in range(5)))

    driver.append_record, driver.look = note, look  # type: ignore[method-assign]
    assert evolve(run, driver=driver, cancel=cancel).deploy(web()).interrupted
    assert True in heard


def test_steps_of_a_displaced_run_stop_where_they_can(run: Run, region: Region, monkeypatch: pytest.MonkeyPatch) -> None:
    displaced, stopped = threading.Event(), threading.Event()

    class Slow(MemoryDriver):
        def apply(self, change: Change, context: Context) -> None:
            assert evolve(run, options=DeployOptions(take_over=True)).deploy(web("2")).ok
            monkeypatch.setattr(journal, "RENEW_SECONDS", 0.0)
            assert displaced.wait(30)
            try:
                context.check()
            except Interrupted:
                stopped.set()
                raise

    with pytest.raises(Held):
        evolve(run, driver=Slow(region), options=DeployOptions()).deploy(SAMPLES.plan(SAMPLES.workload()[0]))
    displaced.set()
    assert stopped.wait(30)


def test_a_plan_that_cannot_be_applied_leaves_no_claim(run: Run) -> None:
    mine = web()
    run.deploy(mine)
    theirs = evolve(mine, application="theirs", resources=tuple(_given_to("theirs", one) for one in mine.resources))
    with pytest.raises(InvalidInput, match="name-taken"):
        run.deploy(theirs)
    assert run.driver.applications() == [mine.application]


def _given_to(application: str, resource: Resource) -> Resource:
    return evolve(resource, mark=evolve(resource.mark, application=application)) if resource.mark.application else resource


def test_what_all_share_stays_for_an_application_that_has_only_begun(run: Run) -> None:
    first = web()
    run.deploy(first)
    begun = Journal(run.driver, "begun")
    begun.claim(evolve(first, application="begun"))
    assert run.destroy(first.application).ok
    assert {one.resource.kind for one in run.driver.observe().resources} == {"Network", "Image"}
    begun.end((), "failed")
    assert run.destroy("begun").ok
    assert run.driver.observe().resources == ()


def test_after_a_first_deploy_that_failed_the_next_one_and_destroy_work(run: Run, region: Region) -> None:
    first, second = web("1"), web("2")
    region.set_unready(group_of(first).name, "broken")
    assert not run.deploy(first).ok
    assert groups(run.driver.observe()) == {}
    assert run.deploy(second).ok
    assert backends(run) == {group_of(second).name}
    assert run.destroy(first.application).ok
    assert run.driver.observe().resources == ()


def test_changes_that_do_not_need_each_other_run_at_once(run: Run, region: Region) -> None:
    meeting = threading.Barrier(2, timeout=10)
    driver = Watched(region)
    driver.look = lambda change: meeting.wait() and None if change.resource.kind in ("Network", "Image") else None  # type: ignore[method-assign]
    assert evolve(run, driver=driver).deploy(web()).ok


def test_records_do_not_pile_up(run: Run) -> None:
    for number in range(14):
        run.deploy(web(str(number)))
    kinds = [decode(record).kind for record in run.driver.records("sample")]
    assert kinds == ["release"] * 11, "the present one, and as many as revisionHistoryLimit says"


@pytest.fixture(autouse=True)
def _no_thread_stays() -> Iterator[None]:
    yield
    for thread in threading.enumerate():
        if thread.name.startswith("i2kit-"):
            thread.join(timeout=5)
            assert not thread.is_alive()
