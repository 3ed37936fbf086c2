"""The contract of drivers, held by the AWS driver; what every test makes goes by the driver's own deletions, and nothing is left."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from aws.bed import REGION, Bed

from i2kit.driver import Driver, Provider
from i2kit.environment import Environment
from i2kit.testing.bench import sweep
from i2kit.testing.conformance import DriverConformance
from i2kit_aws.plugin import PROVIDER


class TestAws(DriverConformance):
    """Images are uploaded, and boot nothing here: EC2 is played."""

    @pytest.fixture(autouse=True)
    def account(self, as_user: Bed) -> Iterator[None]:
        """Every test has an account with a public zone, and leaves it as it found it."""
        as_user.client("route53").create_hosted_zone(Name="conformance.example", CallerReference="before")
        before = as_user.inventory()
        yield
        assert as_user.inventory() == before

    @pytest.fixture
    def provider(self) -> Provider:
        return PROVIDER

    @pytest.fixture
    def environment(self) -> Environment:
        return Environment(name="conformance", provider="aws", settings={"region": REGION})

    def empty(self, driver: Driver) -> None:
        """Everything goes, records and all, before the account is looked at."""
        sweep(driver)
