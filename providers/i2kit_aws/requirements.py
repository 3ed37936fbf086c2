"""What this machine needs for AWS."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

from i2kit.errors import Problem

_LIBRARIES = {"boto3": "boto3", "apache-libcloud": "libcloud"}


def missing() -> Sequence[Problem]:
    """List what is not there, with the command that installs it."""
    absent = [name for name, module in _LIBRARIES.items() if importlib.util.find_spec(module) is None]
    return [Problem(code="missing-library", message=f"{name} is not installed", hint="pip install 'i2kit[aws]'") for name in absent]
