"""Store and cache of these tests lie in each test's own folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from i2kit.images.store import ImageStore, default_store


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def store() -> ImageStore:
    return default_store()
