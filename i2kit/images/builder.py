"""The contract between i2kit and an image builder."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import frozen

from i2kit.driver import Artefact
from i2kit.errors import Problem
from i2kit.resources import Image


@frozen(kw_only=True)
class BuildRequest:
    """What to build: the image, whether caches may be used, and where progress goes."""

    image: Image
    no_cache: bool = False
    progress: Callable[[str], None] = lambda _message: None


@frozen(kw_only=True)
class Builder:
    """What a plug-in registers as an image builder.

    `build` returns files that stay valid until the cache is cleaned, the same files for the same image; raises `BuildError`. `version`
    is part of the image's identity; `check` lists what is missing on this machine.
    """

    name: str
    summary: str
    version: Callable[[], str]
    formats: tuple[str, ...]
    build: Callable[[BuildRequest], Artefact]
    check: Callable[[], Sequence[Problem]]
