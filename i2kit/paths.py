"""Where i2kit keeps things on this machine: the XDG folders, as root too."""

from __future__ import annotations

import os
from pathlib import Path


def _folder(variable: str, default: str) -> Path:
    configured = os.environ.get(variable, "")
    # The XDG specification has relative paths ignored.
    base = Path(configured) if configured.startswith("/") else Path.home() / default
    return base / "i2kit"


def data_home() -> Path:
    """Return the folder of what is worth keeping: the image store, base packages, the key of Secrets' versions."""
    return _folder("XDG_DATA_HOME", ".local/share")


def cache_home() -> Path:
    """Return the folder of what can be made again."""
    return _folder("XDG_CACHE_HOME", ".cache")
