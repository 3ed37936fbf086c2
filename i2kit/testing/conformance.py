"""The driver contract in executable form: subclass `DriverConformance`, say which provider it is, and know.

What a provider does not offer is skipped, with its own reason; nothing here asks for a provider's name. Every test begins in an empty
environment and leaves it empty. Tests whose members have to serve run where `boots` says that the sample images do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar, get_args

import pytest
from attrs import evolve

from i2kit import wire
from i2kit.capabilities import Capability
from i2kit.diff import diff
from i2kit.driver import DRIVER_API, Driver, Provider
from i2kit.environment import Environment
from i2kit.errors import ConflictingRecord, Interrupted
from i2kit.plan import Change, GroupHealth, InstanceState, Observed
from i2kit.resources import Resource, key
from i2kit.testing.bench import KINDS, Bench, sweep
from i2kit.testing.context import CANARY, SampleContext
from i2kit.testing.samples import Samples


class DriverConformance:
    """What every driver must do. Give the fixture `provider`; override the others where the defaults do not fit.

    `patience_seconds` is how long the provider may take to show what it has accepted, `boots` whether the images of the fixture `context`
    run and become ready, `record_bytes` the size of a record that must fit. `public_domain` is one under which the provider can make
    public names.
    """

    patience_seconds: ClassVar[float] = 10.0
    boots: ClassVar[bool] = False
    record_bytes: ClassVar[int] = 64 * 1024
    public_domain: ClassVar[str] = "conformance.example"

    @pytest.fixture
    def provider(self) -> Provider:
        """Return the provider under test."""
        raise NotImplementedError("give your test class a fixture `provider` that returns your Provider record")

    @pytest.fixture
    def environment(self, provider: Provider) -> Environment:
        """Return an environment that nobody else uses; add `settings` that your provider needs."""
        return Environment(name="conformance", provider=provider.name)

    @pytest.fixture
    def connect(self, provider: Provider, environment: Environment) -> Callable[[], Driver]:
        """Return a function that makes a driver for the environment; each call makes a new one."""
        return lambda: provider.connect(environment)

    @pytest.fixture
    def context(self, tmp_path: Path) -> SampleContext:
        """Return the context that hands out images and secrets; the default's images boot nothing."""
        return SampleContext(tmp_path)

    def empty(self, driver: Driver) -> None:
        """Leave the environment empty; override it where your provider has a faster way than deleting one by one."""
        sweep(driver)

    @pytest.fixture
    def bench(self, provider: Provider, environment: Environment, connect: Callable[[], Driver], context: SampleContext) -> Iterator[Bench]:
        """Return a driver on an empty environment with its tools, and leave the environment empty."""
        driver = connect()
        try:
            yield Bench(
                provider=provider,
                driver=driver,
                context=context,
                samples=Samples(environment=environment.name, provider=provider.name, format=provider.formats[0], limits=provider.limits()),
                patience_seconds=self.patience_seconds,
            )
        finally:
            self.empty(driver)
            driver.close()

    def test_the_provider_record_is_complete(self, provider: Provider) -> None:
        assert provider.api[0] == DRIVER_API[0], f"made for driver API {provider.api}"
        assert provider.summary
        assert provider.formats, "a provider boots at least one image format"
        assert set(provider.capabilities) <= set(Capability)
        limits = provider.limits()
        assert min(limits.max_memory_mib, limits.max_cpu_millis, limits.max_replicas, limits.boot_config_bytes) > 0
        assert all(length >= 20 for length in limits.name_lengths.values()), "names need 20 characters to tell anything"

    def test_an_empty_environment_has_nothing(self, bench: Bench) -> None:
        assert bench.driver.observe() == Observed()
        assert list(bench.driver.applications()) == []
        assert list(bench.driver.records("sample")) == []

    @pytest.mark.parametrize("kind", KINDS)
    def test_what_is_created_is_observed_as_asked(self, bench: Bench, kind: str) -> None:
        bench.requires(kind)
        bench.make(*bench.until(kind))

    @pytest.mark.parametrize("kind", KINDS)
    def test_what_is_there_needs_no_change(self, bench: Bench, kind: str) -> None:
        bench.requires(kind)
        resources = bench.until(kind)
        bench.make(*resources)
        changes = diff(bench.samples.plan(*resources), bench.driver.observe())
        assert [(change.key, change.reason) for change in changes.pending] == []

    @pytest.mark.parametrize("kind", KINDS)
    def test_marks_survive(self, bench: Bench, kind: str) -> None:
        bench.requires(kind)
        *needed, resource = bench.until(kind)
        bench.apply("create", *needed, resource)
        bench.eventually(lambda: bench.seen(resource) is not None, lambda: f"{key(resource)} is not observed")
        seen = bench.seen(resource)
        assert seen is not None
        assert seen.resource.mark == resource.mark

    def test_another_driver_sees_the_same(self, bench: Bench, connect: Callable[[], Driver]) -> None:
        network = bench.samples.network()
        bench.make(network)
        bench.driver.append_record("sample", 1, b"one")
        other = connect()
        try:
            assert [one.resource for one in other.observe().resources] == [network]
            assert [record.body for record in other.records("sample")] == [b"one"]
        finally:
            other.close()

    def test_closing_one_driver_leaves_everything_to_the_next(self, bench: Bench, connect: Callable[[], Driver]) -> None:
        bench.make(bench.samples.network())
        connect().close()
        bench.is_as_asked(bench.samples.network())

    @pytest.mark.parametrize("kind", KINDS)
    def test_applying_twice_is_one_change(self, bench: Bench, kind: str) -> None:
        bench.requires(kind)
        *needed, resource = bench.until(kind)
        bench.make(*needed, resource)
        before = bench.identities()
        bench.driver.apply(Change(action="create", resource=resource, reason="conformance"), bench.context)
        bench.is_as_asked(resource)
        assert bench.identities() == before

    @pytest.mark.parametrize("kind", KINDS)
    def test_deleting_twice_is_one_change(self, bench: Bench, kind: str) -> None:
        bench.requires(kind)
        *needed, resource = bench.until(kind)
        bench.make(*needed, resource)
        delete = bench.change("delete", resource)
        bench.driver.apply(delete, bench.context)
        bench.is_gone(resource)
        bench.driver.apply(delete, bench.context)
        bench.is_gone(resource)
        for one in needed:
            bench.is_as_asked(one)

    def test_what_is_deleted_can_be_made_again(self, bench: Bench) -> None:
        group = bench.make_group()
        bench.apply("delete", group)
        bench.is_gone(group)
        bench.make(group)

    def test_independent_changes_may_be_applied_at_once(self, bench: Bench) -> None:
        resources: list[Resource] = [bench.samples.network(), *(bench.samples.image(str(number)) for number in range(4))]
        for resource in resources:
            bench.context.offer(resource)
        with ThreadPoolExecutor(len(resources)) as pool:
            list(pool.map(lambda one: bench.driver.apply(Change(action="create", resource=one, reason=""), bench.context), resources))
        for resource in resources:
            bench.is_as_asked(resource)

    def test_a_stop_that_was_asked_for_is_heeded(self, bench: Bench) -> None:
        """Before the effect or after it, as the driver likes; but it may not be mistaken for a success that never was."""
        network = bench.samples.network()
        bench.context.cancelled = True
        try:
            bench.apply("create", network)
        except Interrupted:
            pass
        else:
            bench.is_as_asked(network)
        finally:
            bench.context.cancelled = False
        bench.make(network)

    def test_a_group_has_the_members_it_should(self, bench: Bench) -> None:
        group = bench.make_group(replicas=2)
        instances = bench.members(group, 2).instances
        assert len({one.id for one in instances}) == 2
        assert {one.group for one in instances} == {group.name}
        assert {one.state for one in instances} <= set(get_args(InstanceState))
        seen = bench.seen(group)
        assert seen is not None
        assert {one.id for one in seen.instances} == {one.id for one in instances}

    def test_members_become_ready(self, bench: Bench) -> None:
        if not self.boots:
            pytest.skip("the sample images boot nothing (`boots` is False)")
        group = bench.make_group(replicas=2)
        bench.eventually(lambda: bench.driver.health(group.name).ready == 2, lambda: str(bench.driver.health(group.name)))
        health = bench.driver.health(group.name)
        assert [one.ready for one in health.instances] == [True, True]
        assert list(bench.driver.logs(group.name)), "members that run have said something on their consoles"

    def test_sizes_follow(self, bench: Bench) -> None:
        group = bench.make_group(replicas=1)
        first = {one.id for one in bench.members(group, 1).instances}
        for size in (3, 2, 0):
            sized = evolve(group, replicas=size)
            bench.apply("update", sized)
            bench.is_as_asked(sized)
            ids = {one.id for one in bench.members(sized, size).instances}
            assert size != 3 or first <= ids, "members that are wanted still are not replaced"

    def test_a_group_that_does_not_exist_has_no_members(self, bench: Bench) -> None:
        assert bench.driver.health("no-such-group") == GroupHealth(ready=0, instances=())
        assert list(bench.driver.logs("no-such-group")) == []

    def test_logs_end_where_they_are_cut(self, bench: Bench) -> None:
        group = bench.make_group(replicas=1)
        ids = {one.id for one in bench.members(group, 1).instances}
        lines = list(bench.driver.logs(group.name, tail=1))
        assert len(lines) <= 1
        assert {line.instance for line in lines} <= ids

    def test_a_balancer_follows_its_groups(self, bench: Bench) -> None:
        group, next_group = bench.make_balancer()
        both = bench.samples.balancer(group, next_group)
        for step in (both, bench.samples.balancer(next_group)):
            bench.apply("update", step)
            bench.is_as_asked(step)
        bench.apply("delete", group)
        bench.is_as_asked(bench.samples.balancer(next_group))

    def test_weights_are_kept(self, bench: Bench) -> None:
        bench.requires("Balancer", also=(Capability.WEIGHTS,))
        group, next_group = bench.make_balancer()
        shared = bench.samples.balancer(group, next_group, weights=(90, 10))
        bench.apply("update", shared)
        bench.is_as_asked(shared)

    def test_a_name_follows_its_balancer(self, bench: Bench) -> None:
        bench.requires("DnsRecord")
        group, _ = bench.make_balancer()
        one, other = bench.samples.balancer(group), bench.samples.balancer(group, service="api")
        bench.make(other, bench.samples.record(one))
        moved = evolve(bench.samples.record(one), balancer=other.name)
        bench.apply("update", moved)
        bench.is_as_asked(moved)

    def test_a_public_name_stands_beside_the_private_one(self, bench: Bench) -> None:
        bench.requires("DnsRecord", also=(Capability.PUBLIC_DNS,))
        group, _ = bench.make_balancer()
        one, other = bench.samples.balancer(group), bench.samples.balancer(group, service="api")
        private, public = bench.samples.record(one), bench.samples.public_record(one, self.public_domain)
        bench.make(other, private, public)
        moved = evolve(public, balancer=other.name)
        bench.apply("update", moved)
        bench.is_as_asked(moved)
        bench.is_as_asked(private)
        bench.apply("delete", moved)
        bench.is_gone(moved)
        bench.is_as_asked(private)

    def test_secrets_never_show(self, bench: Bench) -> None:
        group = bench.make_group(secret="1")  # noqa: S106 - a version
        observed = bench.driver.observe()
        shown: list[Any] = [observed, wire.to_data(observed), bench.driver, vars(bench.driver), bench.context.messages]
        shown += [bench.driver.health(group.name), *bench.driver.logs(group.name)]
        try:
            bench.driver.apply(Change(action="create", resource=bench.samples.secret("unknown"), reason=""), bench.context)
        except Exception as error:
            shown.append(error)
        assert not [one for one in shown if CANARY in f"{one!r} {one}"]

    def test_two_versions_of_a_secret_stand_side_by_side(self, bench: Bench) -> None:
        bench.requires("Secret")
        network, one, two = bench.samples.network(), bench.samples.secret("1"), bench.samples.secret("2")
        bench.make(network, one, two)
        bench.apply("delete", one)
        bench.is_gone(one)
        bench.is_as_asked(two)

    def test_names_may_be_as_long_as_the_limits_say(self, bench: Bench) -> None:
        """Two names that differ in their last character only are two resources."""
        bench.requires("InstanceGroup")
        limit = bench.samples.limits.name_lengths.get("InstanceGroup", 63) - len("-0000")
        *needed, _ = bench.until("InstanceGroup")
        long = [evolve(bench.samples.group(), name=("long-" * 20)[: limit - 1] + last) for last in "ab"]
        bench.make(*needed, *long)
        assert len({one.id for one in (*bench.members(long[0], 1).instances, *bench.members(long[1], 1).instances)}) == 2
        bench.apply("delete", long[0])
        bench.is_gone(long[0])
        bench.is_as_asked(long[1])

    def test_records_come_in_the_order_of_their_numbers(self, bench: Bench) -> None:
        for number in range(1, 13):
            bench.driver.append_record("sample", number, b"%d" % number)
        assert [(record.number, record.body) for record in bench.driver.records("sample")] == [
            (number, b"%d" % number) for number in range(1, 13)
        ]

    def test_a_record_is_never_overwritten(self, bench: Bench) -> None:
        bench.driver.append_record("sample", 1, b"first")
        with pytest.raises(ConflictingRecord):
            bench.driver.append_record("sample", 1, b"second")
        with pytest.raises(ConflictingRecord):
            bench.driver.append_record("sample", 1, b"first")
        assert [record.body for record in bench.driver.records("sample")] == [b"first"]

    def test_of_many_that_append_at_once_one_succeeds(self, bench: Bench, connect: Callable[[], Driver]) -> None:
        drivers = [connect() for _ in range(4)]

        def append(number: int) -> int | None:
            try:
                drivers[number].append_record("sample", 1, b"%d" % number * 1000)
            except ConflictingRecord:
                return None
            return number

        try:
            with ThreadPoolExecutor(len(drivers)) as pool:
                winners = [one for one in pool.map(append, range(len(drivers))) if one is not None]
        finally:
            for driver in drivers:
                driver.close()
        assert len(winners) == 1
        assert [record.body for record in bench.driver.records("sample")] == [b"%d" % winners[0] * 1000]

    def test_records_come_back_whole(self, bench: Bench) -> None:
        body = bytes(range(256)) * (self.record_bytes // 256)
        bench.driver.append_record("sample", 1, body)
        bench.driver.append_record("sample", 2, b"")
        assert [record.body for record in bench.driver.records("sample")] == [body, b""]

    def test_removing_a_record_twice_is_fine(self, bench: Bench) -> None:
        for number in (1, 2, 3):
            bench.driver.append_record("sample", number, b"body")
        for _ in range(2):
            bench.driver.remove_record("sample", 2)
        bench.driver.remove_record("never-heard-of", 1)
        assert [record.number for record in bench.driver.records("sample")] == [1, 3]

    def test_each_application_has_records_of_its_own(self, bench: Bench) -> None:
        bench.driver.append_record("sample", 1, b"sample")
        bench.driver.append_record("sample-2", 1, b"another")
        assert [record.body for record in bench.driver.records("sample")] == [b"sample"]
        assert sorted(bench.driver.applications()) == ["sample", "sample-2"]
        bench.driver.remove_record("sample", 1)
        assert sorted(bench.driver.applications()) == ["sample-2"]

    def test_an_application_is_known_by_its_resources_too(self, bench: Bench) -> None:
        bench.make_group()
        assert list(bench.driver.applications()) == ["sample"]
