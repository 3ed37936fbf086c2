"""The fake cloud: every fault really happens, the same under the same seed, and no worse than was asked for."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from i2kit.driver import Driver
from i2kit.errors import ConflictingRecord, I2kitError, Interrupted, ProviderError, TransientError
from i2kit.plan import Action, Change, Observed
from i2kit.resources import DnsRecord, InstanceGroup, Network, Resource
from i2kit.strategy import Scaling
from i2kit.testing.cloud import Behaviour, FakeClock, FakeCloud, Faults, dies_after, never_boots, never_ready, never_starts
from i2kit.testing.cloud.faults import Dice
from i2kit.testing.context import SampleContext
from i2kit.testing.kill_points import PHASES, Killed, KillPoints, Phase
from i2kit.testing.samples import Samples

SAMPLES = Samples()
NETWORK = SAMPLES.network()


class Bed:
    """A cloud with one operator, who applies what a test says."""

    def __init__(self, cloud: FakeCloud, folder: Path) -> None:
        self.cloud = cloud
        self.driver = cloud.driver()
        self.context = SampleContext(folder)

    def apply(self, *resources: Resource, action: Action = "create", driver: Driver | None = None) -> None:
        for resource in resources:
            self.context.offer(resource)
            (driver or self.driver).apply(Change(action=action, resource=resource, reason="test"), self.context)

    def group(self, replicas: int = 1, version: str = "1", scaling: Scaling | None = None) -> InstanceGroup:
        group = evolve(SAMPLES.group(version, replicas=replicas), scaling=scaling)
        self.apply(NETWORK, SAMPLES.image(version), group)
        return group

    def ready(self, group: InstanceGroup) -> list[bool]:
        return [one.ready for one in self.driver.health(group.name).instances]

    def slots(self, group: InstanceGroup) -> list[str]:
        return [one.id.removeprefix(f"{group.name}-") for one in self.driver.health(group.name).instances]


@pytest.fixture
def bed(tmp_path: Path) -> Bed:
    return Bed(FakeCloud(boot_seconds=10.0), tmp_path)


def names(observed: Observed) -> list[str]:
    return [one.resource.name for one in observed.resources]


# The clock.


def test_a_fake_clock_moves_by_sleeping_only_and_never_back() -> None:
    clock = FakeClock(100.0)
    assert clock.now() == clock.now() == 100.0
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(clock.sleep, [0.25] * 400))
    assert clock.now() == 200.0
    with pytest.raises(ValueError, match="back"):
        clock.sleep(-1)


# Members.


def test_members_are_ready_when_they_have_booted(bed: Bed) -> None:
    group = bed.group(2)
    bed.cloud.clock.sleep(9.9)
    assert bed.ready(group) == [False, False]
    assert {one.reason for one in bed.driver.health(group.name).instances} == {"it boots"}
    bed.cloud.clock.sleep(0.1)
    assert bed.ready(group) == [True, True]
    assert [line.text for line in bed.driver.logs(group.name, tail=1)] == ['i2kit {"event": "readiness", "ready": true}'] * 2


@pytest.mark.parametrize(
    ("behaviour", "state", "reason", "last"),
    [
        (never_boots(), "failed", "it did not boot", "Kernel panic"),
        (never_starts(log=("exec format error",)), "running", "does not start", "failed"),
        (never_ready("HTTP 503"), "running", "HTTP 503", "false"),
    ],
)
def test_members_that_never_serve_say_why(bed: Bed, behaviour: Behaviour, state: str, reason: str, last: str) -> None:
    bed.cloud.behave("web-*", never_ready("the pattern that matches last counts"))
    bed.cloud.behave("web-*", behaviour)
    group = bed.group()
    bed.cloud.clock.sleep(10_000)
    (member,) = bed.driver.health(group.name).instances
    assert (member.state, member.ready) == (state, False)
    assert reason in member.reason
    lines = [line.text for line in bed.driver.logs(group.name)]
    assert last in lines[-1]
    assert ("exec format error" in lines) == bool(behaviour.log)


def test_a_behaviour_is_for_the_groups_it_names(bed: Bed) -> None:
    bed.cloud.behave("no-such-group-*", never_boots())
    group = bed.group()
    bed.cloud.clock.sleep(10)
    assert bed.ready(group) == [True]


def test_members_that_die_boot_again_and_die_again(bed: Bed) -> None:
    bed.cloud.behave("*", dies_after(5))
    group = bed.group()
    seen = []
    for _ in range(12):
        seen.append(bed.ready(group)[0])
        bed.cloud.clock.sleep(2.5)
    # Ten seconds of booting, five of serving, and again.
    assert seen == [False] * 4 + [True] * 2 + [False] * 4 + [True] * 2
    assert bed.driver.health(group.name).instances[0].reason == "it died and boots again"
    assert len([line for line in bed.driver.logs(group.name) if "start" in line.text]) == 3


def test_who_is_not_ready_leaves_first_then_the_highest_slot(bed: Bed) -> None:
    group = bed.group(4)
    bed.cloud.clock.sleep(10)
    bed.cloud.kill_member(group.name, 1)
    bed.apply(evolve(group, replicas=3), action="update")
    assert bed.slots(group) == ["0", "2", "3"]
    bed.apply(evolve(group, replicas=2), action="update")
    assert bed.slots(group) == ["0", "2"]
    bed.apply(evolve(group, replicas=3), action="update")
    assert bed.slots(group) == ["0", "1", "2"]
    assert bed.ready(group) == [True, False, True]


def test_a_killed_member_is_replaced_where_the_cloud_heals(bed: Bed, tmp_path: Path) -> None:
    group = bed.group(2)
    bed.cloud.clock.sleep(10)
    bed.cloud.kill_member(group.name, 0)
    assert bed.ready(group) == [False, True]
    bed.cloud.clock.sleep(10)
    assert bed.ready(group) == [True, True]
    other = Bed(FakeCloud(heals=False), tmp_path)
    other.group(2)
    other.cloud.kill_member(group.name, 0)
    assert other.slots(group) == ["1"]
    assert other.driver.observe().by_key()[f"InstanceGroup/{group.name}"].resource == evolve(group, replicas=1)


def test_the_load_moves_a_size_within_its_bounds(bed: Bed) -> None:
    scaled = bed.group(9, scaling=Scaling(minimum=2, maximum=4))
    assert len(bed.slots(scaled)) == 4
    assert [bed.cloud.autoscale(scaled.name, size) for size in (3, 1, 7)] == [3, 2, 4]
    assert len(bed.slots(scaled)) == 4
    fixed = bed.group(2, version="2")
    assert bed.cloud.autoscale(fixed.name, 3) == 2


# What clouds refuse.


def test_what_is_needed_must_exist_and_what_is_in_use_stays(bed: Bed) -> None:
    with pytest.raises(ProviderError, match=r"Network/\S+ does not exist; Image/\S+ does not exist"):
        bed.apply(SAMPLES.group())
    bed.group()
    with pytest.raises(ProviderError, match="uses it"):
        bed.apply(NETWORK, action="delete")
    with pytest.raises(ProviderError, match="environment elsewhere"):
        bed.apply(Network(name="n", mark=evolve(NETWORK.mark, environment="elsewhere"), dns_zone="x"))


def test_a_refusal_lasts_until_it_is_taken_back(bed: Bed) -> None:
    bed.cloud.refuse("Network/*", "maintenance")
    with pytest.raises(ProviderError, match="maintenance"):
        bed.apply(NETWORK)
    bed.cloud.refuse("Network/*", "")
    bed.apply(NETWORK)


def test_a_run_that_is_to_stop_stops_before_its_effect(bed: Bed) -> None:
    bed.context.cancelled = True
    with pytest.raises(Interrupted):
        bed.apply(NETWORK)
    assert names(bed.cloud.truth()) == []


def test_a_quota_refuses_without_effect(bed: Bed) -> None:
    bed.cloud.faults = Faults(quotas={"instances": 3, "Balancer": 1})
    group = bed.group(2)
    with pytest.raises(ProviderError, match="quota of instances is 3, 2 are in use, 2 more") as refused:
        bed.apply(evolve(group, replicas=4), action="update")
    assert refused.value.problems[0].code == "quota"
    assert len(bed.slots(group)) == 2
    bed.apply(evolve(group, replicas=3), action="update")
    bed.apply(SAMPLES.balancer(group))
    bed.apply(SAMPLES.balancer(group))
    with pytest.raises(ProviderError, match="quota of Balancer"):
        bed.apply(SAMPLES.balancer(group, service="api"))


# Faults of calls.


def test_a_throttled_call_has_no_effect_and_asks_to_wait(bed: Bed) -> None:
    bed.cloud.faults = Faults(throttled=1.0, retry_after=2.5)
    with pytest.raises(TransientError, match="rate exceeded") as throttled:
        bed.apply(NETWORK)
    assert throttled.value.retry_after == 2.5
    assert names(bed.cloud.truth()) == []
    with pytest.raises(TransientError):
        bed.driver.append_record("sample", 1, b"")
    assert [call.result for call in bed.cloud.calls] == ["throttled", "throttled"]
    bed.cloud.faults = Faults()
    assert list(bed.driver.records("sample")) == []


def test_a_lost_answer_comes_after_the_effect(bed: Bed) -> None:
    bed.cloud.faults = Faults(lost_answers=1.0, only=("apply *", "append_record *"))
    with pytest.raises(TransientError) as lost:
        bed.apply(NETWORK)
    assert lost.value.retry_after is None
    assert names(bed.driver.observe()) == [NETWORK.name]
    with pytest.raises(TransientError):
        bed.driver.append_record("sample", 1, b"mine")
    # The lock is taken: whoever asks again has to find out that it was itself.
    with pytest.raises(ConflictingRecord):
        bed.driver.append_record("sample", 1, b"mine")
    assert [record.body for record in bed.driver.records("sample")] == [b"mine"]


def test_faults_hit_about_as_often_as_was_asked_for(bed: Bed) -> None:
    bed.cloud.faults = Faults(throttled=0.2)
    for _ in range(500):
        with suppress(TransientError):
            bed.driver.observe()
    throttled = sum(call.result == "throttled" for call in bed.cloud.calls)
    assert 70 <= throttled <= 130


def test_a_partial_failure_leaves_some_members_out_and_is_mended_by_applying_again(bed: Bed) -> None:
    bed.cloud.faults = Faults(partial=1.0)
    with pytest.raises(ProviderError, match="could not be started") as partial:
        bed.group(5)
    assert partial.value.problems[0].code == "capacity"
    assert not isinstance(partial.value, TransientError)
    group = SAMPLES.group(replicas=5)
    seen = bed.driver.observe().by_key()[f"InstanceGroup/{group.name}"]
    assert isinstance(seen.resource, InstanceGroup)
    assert seen.resource.replicas == len(seen.instances) < 5
    bed.cloud.faults = Faults()
    bed.apply(group, action="update")
    assert len(bed.slots(group)) == 5


def test_stale_answers_are_old_but_not_older_than_allowed(bed: Bed) -> None:
    bed.cloud.faults = Faults(stale_seconds=5.0)
    bed.apply(NETWORK)
    answers = []
    for _ in range(40):
        answers.append(bool(names(bed.driver.observe())))
        bed.cloud.clock.sleep(0.2)
    assert {True, False} == set(answers[:25]), "reads go back and forth while they may be stale"
    assert all(answers[26:])
    bed.apply(NETWORK, action="delete")
    assert names(bed.cloud.truth()) == []
    ghosts = [bool(names(bed.driver.observe())) for _ in range(20)]
    assert any(ghosts)


def test_health_is_as_stale_as_the_rest(bed: Bed) -> None:
    group = bed.group()
    bed.cloud.faults = Faults(stale_seconds=5.0)
    bed.cloud.clock.sleep(12)
    answers = [bed.ready(group) for _ in range(30)]
    assert [True] in answers
    assert [False] in answers
    bed.cloud.clock.sleep(3.1)
    assert [bed.ready(group) for _ in range(30)] == [[True]] * 30


def test_records_are_never_stale(bed: Bed) -> None:
    bed.cloud.faults = Faults(stale_seconds=1000.0, eventual_seconds=1000.0)
    for number in range(1, 20):
        bed.driver.append_record("sample", number, b"x")
        assert [record.number for record in bed.cloud.driver().records("sample")][-1] == number


def test_a_new_resource_shows_after_a_while_and_stays(bed: Bed) -> None:
    bed.cloud.faults = Faults(eventual_seconds=4.0)
    images = [SAMPLES.image(str(number)) for number in range(20)]
    bed.apply(*images)
    shown = []
    for _ in range(9):
        shown.append(len(names(bed.driver.observe())))
        bed.cloud.clock.sleep(0.5)
    assert shown == sorted(shown)
    assert 0 <= shown[0] < shown[4] < shown[-1] == 20
    assert len(names(bed.cloud.truth())) == 20


def test_calls_take_their_time_and_stand_in_the_books(bed: Bed) -> None:
    bed.cloud.faults = Faults(latency=(1.0, 3.0))
    start = bed.cloud.clock.now()
    bed.apply(NETWORK)
    with pytest.raises(I2kitError):
        bed.apply(SAMPLES.group())
    made, refused = bed.cloud.calls
    assert (made.method, made.about, made.result) == ("apply", f"create Network/{NETWORK.name}", "done")
    assert refused.result == "refused"
    assert 1.0 <= made.seconds <= 3.0
    assert bed.cloud.call_seconds == pytest.approx(bed.cloud.clock.now() - start)
    bed.cloud.forget_calls()
    assert bed.cloud.calls == ()


class Meeting(FakeClock):
    """A clock on which sleepers wait for each other, so that their calls are under way at once."""

    def __init__(self, parties: int) -> None:
        super().__init__()
        self._barrier = threading.Barrier(parties)

    def sleep(self, seconds: float) -> None:
        self._barrier.wait(10)
        super().sleep(seconds)


def test_calls_at_once_are_counted(tmp_path: Path) -> None:
    cloud = FakeCloud(clock=Meeting(3), faults=Faults(latency=(1.0, 1.0)))
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda driver: driver.observe(), [cloud.driver() for _ in range(3)]))
    assert cloud.max_concurrent == 3


@pytest.mark.parametrize(
    "wrong", [{"throttled": 1.5}, {"partial": -0.1}, {"latency": (2.0, 1.0)}, {"latency": (-1.0, 1.0)}, {"stale_seconds": -1.0}]
)
def test_faults_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"-1|1\.5|-0\.1|range"):
        Faults(**wrong)


# The same every time.


def story(seed: int, folder: Path, threads: int) -> list[tuple[str, str, str, float]]:
    faults = Faults(latency=(0.1, 0.5), throttled=0.2, lost_answers=0.2, partial=0.5)
    bed = Bed(FakeCloud(seed=seed, faults=faults), folder)

    def one(number: int) -> None:
        for resource in (NETWORK, SAMPLES.image(str(number)), SAMPLES.group(str(number), replicas=5)):
            bed.context.offer(resource)
            for _ in range(3):
                try:
                    bed.driver.apply(Change(action="create", resource=resource, reason=""), bed.context)
                except ProviderError:
                    continue

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(one, range(6)))
    own = [call for call in bed.cloud.calls if "Network" not in call.about]
    return sorted((call.method, call.about, call.result, call.seconds) for call in own)


def test_the_same_seed_tells_the_same_story_also_with_threads(tmp_path: Path) -> None:
    first = story(7, tmp_path, threads=1)
    assert {"done", "throttled", "lost", "capacity"} <= {result for _, _, result, _ in first}
    assert story(7, tmp_path, threads=4) == first
    assert story(8, tmp_path, threads=1) != first


def test_dice_depend_on_the_call_and_not_on_what_came_in_between() -> None:
    one, other = Dice(3), Dice(3)
    other.of("observe")
    assert one.of("health web").random() == other.of("health web").random()
    assert one.of("health web").random() != Dice(3).of("health web").random()
    assert Dice(4).of("observe").random() != Dice(3).of("observe").random()


# Behind i2kit's back, and the truth.


def test_drift_shows(bed: Bed) -> None:
    group, other = bed.group(2), bed.group(1, version="2")
    balancer, second = SAMPLES.balancer(group), SAMPLES.balancer(group, service="api")
    record = SAMPLES.record(balancer)
    bed.apply(balancer, second, record)
    bed.cloud.clock.sleep(10)
    assert bed.cloud.serving(balancer.name) == {group.name: (100, 2)}
    bed.cloud.reweigh(balancer.name, {group.name: 90, other.name: 10})
    assert bed.cloud.serving(balancer.name) == {group.name: (90, 2), other.name: (10, 1)}
    bed.cloud.remove(f"InstanceGroup/{other.name}")
    assert bed.cloud.serving(balancer.name) == {group.name: (90, 2), other.name: (10, 0)}
    bed.cloud.retarget(record.name, second.name)
    bed.cloud.resize(group.name, 5)
    bed.cloud.damage(f"Network/{NETWORK.name}", "dnsmasq is not running")
    seen = bed.driver.observe().by_key()
    assert isinstance(moved := seen[f"DnsRecord/{record.name}"].resource, DnsRecord)
    assert moved.balancer == second.name
    assert isinstance(resized := seen[f"InstanceGroup/{group.name}"].resource, InstanceGroup)
    assert resized.replicas == 5
    assert seen[f"Network/{NETWORK.name}"].faults == ("dnsmasq is not running",)
    bed.apply(NETWORK, action="update")
    assert bed.driver.observe().by_key()[f"Network/{NETWORK.name}"].faults == ()
    with pytest.raises(KeyError):
        bed.cloud.remove("Network/none")


def test_watchers_see_every_effect_and_their_complaints_are_kept(bed: Bed) -> None:
    sizes: list[int] = []

    def watch(truth: Observed) -> None:
        sizes.append(len(truth.resources))
        assert len(truth.resources) < 3, "too many"

    bed.cloud.watch(watch)
    bed.apply(NETWORK, SAMPLES.image())
    bed.cloud.verify()
    bed.driver.observe()
    bed.apply(SAMPLES.group())
    bed.apply(SAMPLES.group(), action="delete")
    assert sizes == [1, 2, 3, 2]
    with pytest.raises(AssertionError, match="too many"):
        bed.cloud.verify()


def test_operators_at_once_see_one_truth(tmp_path: Path) -> None:
    cloud = FakeCloud(faults=Faults(latency=(0.01, 0.02)))
    seen: list[int] = []
    cloud.watch(lambda truth: seen.append(len(truth.resources)))
    beds = [Bed(cloud, tmp_path) for _ in range(4)]

    def work(number: int) -> int:
        won = 0
        for turn in range(1, 11):
            beds[number].apply(SAMPLES.image(f"{number}-{turn}"))
            try:
                beds[number].driver.append_record("sample", turn, b"%d" % number)
            except ConflictingRecord:
                continue
            won += 1
        return won

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(work, range(4))) == 10
    assert seen == list(range(1, 41))


@pytest.mark.parametrize("phase", PHASES)
def test_runs_can_be_killed_at_any_call(bed: Bed, phase: Phase) -> None:
    killer = KillPoints(bed.driver, at=1, phase=phase)
    with pytest.raises(Killed):
        bed.apply(NETWORK, SAMPLES.image(), driver=killer)
    assert names(bed.cloud.truth()) == ([] if phase == "before" else [NETWORK.name])


def test_logs_follow_until_the_driver_is_closed(bed: Bed) -> None:
    group = bed.group()
    lines = bed.driver.logs(group.name, follow=True)
    assert "start" in next(lines).text
    bed.cloud.clock.sleep(10)
    assert "ready" in next(lines).text
    bed.driver.close()
    assert list(lines) == []
