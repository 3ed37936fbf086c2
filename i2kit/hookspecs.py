"""Every hook a plug-in may implement, typed, in one place."""

from __future__ import annotations

from collections.abc import Iterable

import pluggy

from i2kit.driver import Artefact, Provider
from i2kit.images.builder import Builder
from i2kit.plan import Change, ChangeOutcome, Changes, Plan
from i2kit.resources import Image

PROJECT = "i2kit"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
"""Marks a plug-in's implementation of a hook."""


@hookspec
def i2kit_register_providers() -> Iterable[Provider]:  # type: ignore[empty-body]
    """Yield the providers that this plug-in brings."""


@hookspec
def i2kit_register_builders() -> Iterable[Builder]:  # type: ignore[empty-body]
    """Yield the image builders that this plug-in brings."""


@hookspec
def i2kit_after_plan(plan: Plan, changes: Changes) -> None:
    """Look at a plan before anything is touched; raise an `I2kitError` to refuse it (policies, cost limits)."""


@hookspec
def i2kit_before_change(change: Change) -> None:
    """Look at a change right before it is applied; raise an `I2kitError` to refuse it."""


@hookspec
def i2kit_after_change(change: Change, outcome: ChangeOutcome) -> None:
    """Hear what became of a change."""


@hookspec
def i2kit_after_build(image: Image, artefact: Artefact) -> None:
    """Hear that an image was built or found in the cache; raise an `I2kitError` to refuse it."""
