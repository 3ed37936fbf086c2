"""The model provider keeps the contract, in memory and in a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest
from i2kit_memory.driver import MemoryDriver
from i2kit_memory.plugin import PROVIDER
from i2kit_memory.region import Region

from i2kit.driver import Driver, Provider
from i2kit.environment import Environment
from i2kit.testing.conformance import DriverConformance


class TestMemory(DriverConformance):
    boots: ClassVar[bool] = True

    @pytest.fixture
    def provider(self) -> Provider:
        return PROVIDER

    @pytest.fixture
    def connect(self) -> Callable[[], Driver]:
        region = Region("conformance")
        return lambda: MemoryDriver(region)


class TestMemoryInFile(DriverConformance):
    boots: ClassVar[bool] = True

    @pytest.fixture
    def provider(self) -> Provider:
        return PROVIDER

    @pytest.fixture
    def environment(self, provider: Provider, tmp_path: Path) -> Environment:
        return Environment(name="conformance", provider=provider.name, settings={"path": str(tmp_path / "cloud.json")})
