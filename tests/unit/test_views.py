"""Looking at what runs, on the memory provider."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from attrs import evolve
from i2kit_memory.driver import MemoryDriver
from runs import ENVIRONMENT, SAMPLES, memory

from i2kit import views
from i2kit.driver import LogLine
from i2kit.errors import ProviderError
from i2kit.journal import Journal
from i2kit.resources import InstanceGroup


def line(text: str) -> LogLine:
    return LogLine(instance="web-0", container="web", text=text)


def test_following_several_groups_ends_with_the_last_of_them() -> None:
    streams: list[Iterator[LogLine]] = [iter([line("a"), line("b")]), iter([line("c")])]
    assert sorted(one.text for one in views._interleaved(streams)) == ["a", "b", "c"]


def test_a_stream_that_breaks_is_heard_of() -> None:
    def broken() -> Iterator[LogLine]:
        yield line("a")
        raise ProviderError.of("gone", "the console is gone")

    with pytest.raises(ProviderError, match="the console is gone"):
        list(views._interleaved([broken()]))


def test_status_knows_what_a_run_under_way_wants(monkeypatch: pytest.MonkeyPatch) -> None:
    driver: MemoryDriver = memory()
    monkeypatch.setattr(views, "connect", lambda _environment: driver)
    plan = SAMPLES.plan(*(evolve(one, replicas=3) if isinstance(one, InstanceGroup) else one for one in SAMPLES.workload()))
    journal = Journal(driver, plan.application)
    journal.claim(plan)
    journal.step((), ("Network/net",))
    (workload,) = views.status(ENVIRONMENT, plan.application).workloads
    assert (workload.desired, workload.ready) == (3, 0)
