"""Shared by all tests: the order of the rings, and helpers that several folders import."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
# Quick ones first: what fails in a second should not wait for virtual machines.
RINGS = ("unit", "property", "docs", "conformance", "providers", "packaging", "e2e")

sys.path.insert(0, str(HERE / "unit"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def ring(item: pytest.Item) -> int:
        folder = item.path.relative_to(HERE).parts[0]
        return RINGS.index(folder) if folder in RINGS else len(RINGS)

    items.sort(key=ring)
