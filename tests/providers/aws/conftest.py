"""The AWS bed, and stock moto beside it: each a process that is started once and ended with the tests."""

from __future__ import annotations

import os
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

sys.path.insert(0, str(Path(__file__).parents[2] / "beds"))

from aws.bed import REGION, Bed, running
from aws.policy import refused
from aws.sample import Sample

from i2kit.environment import Environment
from i2kit.testing.cloud.clock import FakeClock
from i2kit.testing.context import SampleContext
from i2kit_aws import gateway, waits
from i2kit_aws._clients import AGENT
from i2kit_aws.site import Site

from .group_tools import prepare


@pytest.fixture(scope="session")
def aws_server() -> Iterator[Bed]:
    with running() as bed:
        yield bed


@pytest.fixture(scope="session")
def stock_server() -> Iterator[Bed]:
    """Moto as everybody has it, without control."""
    with running(stock=True) as bed:
        yield bed


@pytest.fixture
def bed(aws_server: Bed, request: pytest.FixtureRequest) -> Iterator[Bed]:
    """An account with nothing in it; what the provider did there, the policies in the docs have allowed."""
    aws_server.reset()
    yield aws_server
    if request.node.get_closest_marker("beyond_policy"):
        return
    asked = [one for one in aws_server.journal() if AGENT in one["agent"]]
    assert {one["action"]: missing for one in asked if (missing := refused(one))} == {}


@pytest.fixture
def aws(bed: Bed) -> Sample:
    """The account's clients."""
    return Sample(bed)


@pytest.fixture
def stock(stock_server: Bed) -> Sample:
    """The clients of an account with nothing in it, at stock moto."""
    with urllib.request.urlopen(f"{stock_server.url}/moto-api/reset", b""):
        return Sample(stock_server)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    """The time as the provider sees it: whoever waits has waited at once."""
    clock = FakeClock()
    monkeypatch.setattr(gateway, "SystemClock", lambda: clock)
    monkeypatch.setattr(waits, "sleep", clock.sleep)
    return clock


@pytest.fixture
def as_user(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> Bed:
    """The bed's account, for what this process connects to, whatever the user's own configuration says."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in bed.environment.items():
        monkeypatch.setenv(name, value)
    return bed


@pytest.fixture
def environment() -> Environment:
    """An environment in the bed's account."""
    return Environment(name="prod", provider="aws", settings={"region": REGION})


_KNOWN: dict[tuple[str, str | None], Any] = {}


@pytest.fixture
def site(as_user: Bed, environment: Environment) -> Site:
    """The environment's site; its sessions are made once for all tests, since that takes longer than most of them."""
    made = Site.of(environment)
    sessions = _KNOWN.setdefault((as_user.url, made.settings.profile), made.gateway.sessions)
    return evolve(made, gateway=evolve(made.gateway, sessions=sessions))


@pytest.fixture
def context(tmp_path: Path) -> SampleContext:
    """What a driver may ask for while it applies a change."""
    return SampleContext(tmp_path)


@pytest.fixture
def ground(bed: Bed, site: Site, context: SampleContext) -> dict[str, list[str]]:
    """What groups stand on: a network, an image and a Secret. Return the account with nothing else in it."""
    prepare(site, context)
    return bed.inventory()
