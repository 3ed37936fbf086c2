"""What this machine needs for AWS."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

from i2kit.errors import Problem


def missing() -> Sequence[Problem]:
    """List what is not there, with the command that installs it."""
    if importlib.util.find_spec("boto3") is not None:
        return []
    return [Problem(code="missing-library", message="boto3 is not installed", hint="pip install 'i2kit[aws]'")]
