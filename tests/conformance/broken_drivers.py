"""Drivers that are broken on purpose, each in one way, and the test of the suite that has to find it.

No test module by its name: `test_the_suite.py` runs it apart, and wants it to fail.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import pytest
from attrs import evolve
from i2kit_memory.driver import MemoryDriver
from i2kit_memory.plugin import PROVIDER
from i2kit_memory.region import Region

from i2kit.driver import Context, Driver, LogLine, Provider, Record
from i2kit.errors import ConflictingRecord, I2kitError
from i2kit.plan import Change, GroupHealth, Instance, Observed, ObservedResource
from i2kit.resources import Balancer, InstanceGroup, Mark, Secret, key
from i2kit.testing.conformance import DriverConformance


class Broken(MemoryDriver):
    """`caught_by` names the test that has to fail."""

    caught_by: ClassVar[str]
    provider: ClassVar[Provider] = PROVIDER

    def change_seen(self, seen: ObservedResource) -> ObservedResource | None:
        return seen

    def observe(self) -> Observed:
        changed = [self.change_seen(one) for one in super().observe().resources]
        return Observed(resources=tuple(one for one in changed if one is not None))


class LosesMarks(Broken):
    caught_by = "test_marks_survive"

    def change_seen(self, seen: ObservedResource) -> ObservedResource | None:
        mark = Mark(environment=seen.resource.mark.environment, application=seen.resource.mark.application)
        return evolve(seen, resource=evolve(seen.resource, mark=mark))


class RoundsMemoryUp(Broken):
    caught_by = "test_what_is_created_is_observed_as_asked"

    def change_seen(self, seen: ObservedResource) -> ObservedResource | None:
        if isinstance(seen.resource, InstanceGroup):
            return evolve(seen, resource=evolve(seen.resource, memory_mib=1024))
        return seen


class AlwaysSeesDrift(Broken):
    caught_by = "test_what_is_there_needs_no_change"

    def change_seen(self, seen: ObservedResource) -> ObservedResource | None:
        return evolve(seen, faults=("it looks odd",))


class HasLeftovers(Broken):
    caught_by = "test_an_empty_environment_has_nothing"

    def applications(self) -> Sequence[str]:
        return [*super().applications(), "leftover"]


class KeepsStateInTheDriver(Broken):
    caught_by = "test_another_driver_sees_the_same"

    def __init__(self, region: Region) -> None:
        super().__init__(Region("conformance"))


class CleansUpOnClose(Broken):
    caught_by = "test_closing_one_driver_leaves_everything_to_the_next"

    def close(self) -> None:
        for one in self.observe().resources:
            self.region.lose(key(one.resource))
        super().close()


class RefusesASecondApply(Broken):
    caught_by = "test_applying_twice_is_one_change"

    def apply(self, change: Change, context: Context) -> None:
        if change.action == "create" and change.key in super().observe().by_key():
            raise I2kitError.of("exists", f"{change.key} exists")
        super().apply(change, context)


class MakesTwins(Broken):
    caught_by = "test_applying_twice_is_one_change"

    def __init__(self, region: Region) -> None:
        super().__init__(region)
        self.made: list[str] = []

    def apply(self, change: Change, context: Context) -> None:
        super().apply(change, context)
        self.made.append(change.key)

    def observe(self) -> Observed:
        return Observed(resources=tuple(one for one in super().observe().resources for _ in range(self.made.count(key(one.resource)))))


class RefusesASecondDelete(Broken):
    caught_by = "test_deleting_twice_is_one_change"

    def apply(self, change: Change, context: Context) -> None:
        if change.action == "delete" and change.key not in super().observe().by_key():
            raise I2kitError.of("not-found", f"{change.key} does not exist")
        super().apply(change, context)


class ForgetsDelete(Broken):
    caught_by = "test_deleting_twice_is_one_change"

    def apply(self, change: Change, context: Context) -> None:
        if change.action != "delete":
            super().apply(change, context)


class BuriesNames(Broken):
    caught_by = "test_what_is_deleted_can_be_made_again"

    def __init__(self, region: Region) -> None:
        super().__init__(region)
        self.buried: set[str] = set()

    def apply(self, change: Change, context: Context) -> None:
        if change.action == "delete":
            self.buried.add(change.key)
        elif change.key in self.buried:
            raise I2kitError.of("buried", f"the name of {change.key} was used before")
        super().apply(change, context)


class WorksInOneThreadOnly(Broken):
    caught_by = "test_independent_changes_may_be_applied_at_once"

    def __init__(self, region: Region) -> None:
        super().__init__(region)
        self.thread = threading.get_ident()

    def apply(self, change: Change, context: Context) -> None:
        if threading.get_ident() != self.thread:
            raise RuntimeError("this connection belongs to another thread")
        super().apply(change, context)


class TakesAStopForSuccess(Broken):
    caught_by = "test_a_stop_that_was_asked_for_is_heeded"

    def apply(self, change: Change, context: Context) -> None:
        try:
            context.check()
        except I2kitError:
            return
        super().apply(change, context)


class NumbersMembersAlike(Broken):
    caught_by = "test_a_group_has_the_members_it_should"

    def health(self, group: str) -> GroupHealth:
        health = super().health(group)
        return evolve(health, instances=tuple(evolve(one, id=group) for one in health.instances))


class NeverReady(Broken):
    caught_by = "test_members_become_ready"

    def health(self, group: str) -> GroupHealth:
        return evolve(super().health(group), ready=0)


class ReplacesMembersWhenItGrows(Broken):
    caught_by = "test_sizes_follow"

    def apply(self, change: Change, context: Context) -> None:
        if change.action == "update" and isinstance(change.resource, InstanceGroup):
            with self.region.transaction() as state:
                state["members"][change.resource.name] = [f"{change.resource.name}-new-{n}" for n in range(change.resource.replicas)]
        super().apply(change, context)


class IgnoresSizes(Broken):
    caught_by = "test_sizes_follow"

    def apply(self, change: Change, context: Context) -> None:
        if change.action != "update" or not isinstance(change.resource, InstanceGroup):
            super().apply(change, context)


class RaisesForAnUnknownGroup(Broken):
    caught_by = "test_a_group_that_does_not_exist_has_no_members"

    def health(self, group: str) -> GroupHealth:
        if f"InstanceGroup/{group}" not in super().observe().by_key():
            raise I2kitError.of("no-such-group", f"group {group} does not exist")
        return super().health(group)


class ShowsAllLines(Broken):
    caught_by = "test_logs_end_where_they_are_cut"

    def logs(self, group: str, *, tail: int | None = None, follow: bool = False) -> Iterator[LogLine]:
        return super().logs(group, follow=follow)


class IgnoresBackends(Broken):
    caught_by = "test_a_balancer_follows_its_groups"

    def apply(self, change: Change, context: Context) -> None:
        if change.action != "update" or not isinstance(change.resource, Balancer):
            super().apply(change, context)


class DropsWeights(Broken):
    caught_by = "test_weights_are_kept"

    def change_seen(self, seen: ObservedResource) -> ObservedResource | None:
        if isinstance(seen.resource, Balancer):
            backends = tuple(evolve(one, weight=100) for one in seen.resource.backends)
            return evolve(seen, resource=evolve(seen.resource, backends=backends))
        return seen


class NeverMovesANameAway(Broken):
    caught_by = "test_a_name_follows_its_balancer"

    def apply(self, change: Change, context: Context) -> None:
        if change.action != "update" or change.resource.kind != "DnsRecord":
            super().apply(change, context)


class LeaksSecretsToProgress(Broken):
    caught_by = "test_secrets_never_show"

    def apply(self, change: Change, context: Context) -> None:
        super().apply(change, context)
        if isinstance(change.resource, Secret) and change.action != "delete":
            for name, value in context.secret(change.resource.name).items():
                context.progress(f"handing over {name}={value.reveal().decode()}")


class LeaksSecretsToFaults(Broken):
    caught_by = "test_secrets_never_show"

    def change_seen(self, seen: ObservedResource) -> ObservedResource | None:
        if isinstance(seen.resource, InstanceGroup) and seen.resource.boot.secrets:
            instance = Instance(id="x", group=seen.resource.name, state="running", ready=False, reason="env PASSWORD=canary-6f0c1b7e-1")
            return evolve(seen, instances=(instance,))
        return seen


class KeepsOneVersionOfASecret(Broken):
    caught_by = "test_two_versions_of_a_secret_stand_side_by_side"

    def apply(self, change: Change, context: Context) -> None:
        if isinstance(change.resource, Secret):
            for one in super().observe().resources:
                if isinstance(one.resource, Secret) and one.resource.secret == change.resource.secret:
                    self.region.lose(key(one.resource))
        super().apply(change, context)


class CutsNames(Broken):
    caught_by = "test_names_may_be_as_long_as_the_limits_say"

    def apply(self, change: Change, context: Context) -> None:
        super().apply(evolve(change, resource=evolve(change.resource, name=change.resource.name[:50])), context)


class SortsRecordsAsText(Broken):
    caught_by = "test_records_come_in_the_order_of_their_numbers"

    def records(self, application: str) -> Sequence[Record]:
        return sorted(super().records(application), key=lambda record: str(record.number))


class OverwritesRecords(Broken):
    caught_by = "test_a_record_is_never_overwritten"

    def append_record(self, application: str, number: int, body: bytes) -> None:
        self.remove_record(application, number)
        super().append_record(application, number, body)


class LooksBeforeItAppends(Broken):
    """The classic race: two look, both find nothing, both write."""

    caught_by = "test_of_many_that_append_at_once_one_succeeds"
    meeting: ClassVar[threading.Barrier] = threading.Barrier(4)

    def append_record(self, application: str, number: int, body: bytes) -> None:
        if any(record.number == number for record in self.records(application)):
            raise ConflictingRecord.of("record-exists", "it exists")
        if len(body) == 1000:
            self.meeting.wait(timeout=5)
        self.remove_record(application, number)
        super().append_record(application, number, body)


class CutsRecords(Broken):
    caught_by = "test_records_come_back_whole"

    def append_record(self, application: str, number: int, body: bytes) -> None:
        super().append_record(application, number, body[:4096])


class RefusesToRemoveTwice(Broken):
    caught_by = "test_removing_a_record_twice_is_fine"

    def remove_record(self, application: str, number: int) -> None:
        if all(record.number != number for record in self.records(application)):
            raise I2kitError.of("no-such-record", "it does not exist")
        super().remove_record(application, number)


class MixesApplications(Broken):
    caught_by = "test_each_application_has_records_of_its_own"

    def records(self, application: str) -> Sequence[Record]:
        return [record for one in self.applications() if one.startswith(application) for record in super(Broken, self).records(one)]


class KnowsApplicationsByRecordsOnly(Broken):
    caught_by = "test_an_application_is_known_by_its_resources_too"

    def applications(self) -> Sequence[str]:
        return [one for one in super().applications() if self.records(one)]


class HasNoSummary(Broken):
    caught_by = "test_the_provider_record_is_complete"
    provider = evolve(PROVIDER, summary="")


BROKEN = [one for one in globals().values() if isinstance(one, type) and issubclass(one, Broken) and one is not Broken]


def _suite(broken: type[Broken]) -> type:
    @pytest.fixture
    def provider(_self: Any) -> Provider:
        return broken.provider

    @pytest.fixture
    def connect(_self: Any) -> Callable[[], Driver]:
        region = Region("conformance")
        return lambda: broken(region)

    body = {"provider": provider, "connect": connect, "patience_seconds": 0.0, "boots": True}
    return type(f"Test{broken.__name__}", (DriverConformance,), body)


for _broken in BROKEN:
    globals()[f"Test{_broken.__name__}"] = _suite(_broken)
