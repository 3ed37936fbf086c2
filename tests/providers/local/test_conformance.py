"""The local region keeps the contract, with images that really boot."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import ClassVar

import pytest
from attrs import evolve

from i2kit.driver import Driver, Provider
from i2kit.testing.conformance import DriverConformance
from i2kit.testing.context import SampleContext
from i2kit_local.driver import LocalDriver
from i2kit_local.plugin import PROVIDER

from .conftest import BOOT_SECONDS, Built

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(os.geteuid() != 0, reason="the local region needs root")]


class TestLocal(DriverConformance):
    boots: ClassVar[bool] = True
    patience_seconds: ClassVar[float] = BOOT_SECONDS
    # The environment's own zone, of which nothing is asked outside.
    public_domain: ClassVar[str] = "i2kit.internal"

    @pytest.fixture
    def provider(self, folders: Path) -> Provider:
        return PROVIDER

    def empty(self, driver: Driver) -> None:
        assert isinstance(driver, LocalDriver)
        with driver.region.locked():
            driver.region.remove()
        shutil.rmtree(driver.region.folders.state, ignore_errors=True)

    @pytest.fixture
    def context(self, hello: Built, tmp_path: Path) -> SampleContext:
        """Every sample image is the example's: what differs between versions is of no matter to a provider."""
        artefact = next(iter(hello.artefacts.values()))
        return SampleContext(tmp_path, make_artefact=lambda image, _folder: evolve(artefact, format=image.format))
