"""The fake cloud keeps the contract: without fault, and as far as the contract bears them with faults."""

from __future__ import annotations

from typing import ClassVar

import pytest

from i2kit.driver import Provider
from i2kit.testing.cloud import FakeCloud
from i2kit.testing.conformance import DriverConformance


class TestCloud(DriverConformance):
    boots: ClassVar[bool] = True

    @pytest.fixture
    def provider(self) -> Provider:
        return FakeCloud().provider()
