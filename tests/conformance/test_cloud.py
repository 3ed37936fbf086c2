"""The fake cloud keeps the contract: without fault, and with such faults as the contract bears."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from i2kit.driver import Context, Driver, Provider
from i2kit.errors import TransientError
from i2kit.plan import Change
from i2kit.testing.cloud import FakeCloud, Faults
from i2kit.testing.conformance import DriverConformance


class Patient:
    """A driver whose calls are made again when they fail in a way that passes.

    Not `i2kit.calls.Calls`, which takes a record of the same body for its own: the suite appends the same one twice.
    """

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._driver, name)

        def call(*args: Any, **options: Any) -> Any:
            for _ in range(50):
                try:
                    return method(*args, **options)
                except TransientError:
                    continue
            raise AssertionError(f"{name} failed 50 times")

        return call


class Settled:
    """A driver that lets time pass after each change, until no answer can be older than it."""

    def __init__(self, cloud: FakeCloud) -> None:
        self._driver = cloud.driver()
        self._clock = cloud.clock
        self._seconds = cloud.faults.stale_seconds

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver, name)

    def apply(self, change: Change, context: Context) -> None:
        self._driver.apply(change, context)
        self._clock.sleep(self._seconds)


class CloudConformance(DriverConformance):
    boots: ClassVar[bool] = True
    faults: ClassVar[Faults]

    @pytest.fixture
    def cloud(self) -> FakeCloud:
        return FakeCloud(faults=self.faults)

    @pytest.fixture
    def provider(self, cloud: FakeCloud) -> Provider:
        return cloud.provider()

    @pytest.fixture
    def connect(self, cloud: FakeCloud) -> Callable[[], Driver]:
        return lambda: Patient(cloud.driver())


class TestCloud(CloudConformance):
    faults = Faults()

    @pytest.fixture
    def connect(self, cloud: FakeCloud) -> Callable[[], Driver]:
        return cloud.driver


class TestThrottled(CloudConformance):
    faults = Faults(throttled=0.3)


class TestLostAnswers(CloudConformance):
    # Whether a record whose answer was lost is one's own is for the caller to find out, by reading it.
    faults = Faults(lost_answers=0.3, only=("observe", "apply *", "health *", "logs *", "records *", "remove_record *", "applications"))


class TestEventual(CloudConformance):
    # Each call takes its time by the fake clock, so that looking again helps.
    faults = Faults(latency=(0.2, 0.4), eventual_seconds=2.0)


class TestStale(CloudConformance):
    """The suite takes what it saw once for granted, so that each change is waited for as long as answers may be stale."""

    faults = Faults(stale_seconds=2.0)

    @pytest.fixture
    def connect(self, cloud: FakeCloud) -> Callable[[], Driver]:
        return lambda: Settled(cloud)
