"""The suite finds what it is there to find: drivers broken on purpose fail it, each by the test that names its fault."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from broken_drivers import BROKEN, Broken

from i2kit.testing.conformance import DriverConformance

HERE = Path(__file__).parent
TESTS = sorted(name for name in vars(DriverConformance) if name.startswith("test_"))


@pytest.fixture(scope="module")
def failures() -> set[tuple[str, str]]:
    """Which tests failed on which broken driver: one run of the suite for all of them."""
    command = [sys.executable, "-m", "pytest", "-q", "-rf", "--tb=no", "--no-header", "-p", "no:cacheprovider", "broken_drivers.py"]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    return set(re.findall(r"^FAILED \S*::Test(\w+)::(test_\w+)", done.stdout, re.MULTILINE))


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.__name__)
def test_a_broken_driver_is_found_by_the_test_that_names_its_fault(broken: type[Broken], failures: set[tuple[str, str]]) -> None:
    assert (broken.__name__, broken.caught_by) in failures


@pytest.mark.parametrize("test", TESTS)
def test_every_test_of_the_suite_can_fail(test: str, failures: set[tuple[str, str]]) -> None:
    assert test in {name for _, name in failures}


def test_a_capability_that_is_not_offered_skips_with_the_providers_reason() -> None:
    from attrs import evolve
    from i2kit_memory.driver import MemoryDriver
    from i2kit_memory.plugin import PROVIDER
    from i2kit_memory.region import Region

    from i2kit.capabilities import Capability, Level, Support
    from i2kit.testing.bench import Bench
    from i2kit.testing.context import SampleContext
    from i2kit.testing.samples import Samples

    unable = Level(support=Support.UNSUPPORTED, reason="there is no name server")
    provider = evolve(PROVIDER, capabilities={**PROVIDER.capabilities, Capability.PRIVATE_DNS: unable})
    bench = Bench(provider=provider, driver=MemoryDriver(Region()), context=SampleContext(HERE), samples=Samples(), patience_seconds=0.0)
    bench.requires("Balancer")
    with pytest.raises(pytest.skip.Exception, match="there is no name server"):
        bench.requires("DnsRecord")
