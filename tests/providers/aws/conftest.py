"""The AWS bed, and stock moto beside it: each a process that is started once and ended with the tests."""

from __future__ import annotations

import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "beds"))

from aws.bed import Bed, running
from aws.sample import Sample


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
def bed(aws_server: Bed) -> Bed:
    """An account with nothing in it."""
    aws_server.reset()
    return aws_server


@pytest.fixture
def aws(bed: Bed) -> Sample:
    """The account's clients."""
    return Sample(bed)


@pytest.fixture
def stock(stock_server: Bed) -> Sample:
    """The clients of an account with nothing in it, at stock moto."""
    with urllib.request.urlopen(f"{stock_server.url}/moto-api/reset", b""):
        return Sample(stock_server)
