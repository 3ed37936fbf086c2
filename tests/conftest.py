"""Shared by all tests: the order of the rings, and helpers that several folders import."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest
from hypothesis import settings

HERE = Path(__file__).parent
# Quick ones first: what fails in a second should not wait for virtual machines.
RINGS = ("unit", "property", "docs", "conformance", "providers", "packaging", "e2e")

sys.path.insert(0, str(HERE / "unit"))

# How long an example takes on a busy machine is no property of what is tested.
settings.register_profile("i2kit", deadline=None)
settings.load_profile("i2kit")


def pytest_configure() -> None:
    """Take TERM as Ctrl-C: what the tests started is ended in any case."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def ring(item: pytest.Item) -> int:
        folder = item.path.relative_to(HERE).parts[0]
        return RINGS.index(folder) if folder in RINGS else len(RINGS)

    items.sort(key=ring)
