"""The image builders that come with i2kit, registered like any plug-in's."""

from __future__ import annotations

from collections.abc import Iterable

from i2kit.hookspecs import hookimpl
from i2kit.images.builder import Builder


@hookimpl
def i2kit_register_builders() -> Iterable[Builder]:
    """Yield `assembler`, `linuxkit` and `linuxkit-docker`."""
    from i2kit.images import assembler, linuxkit, linuxkit_docker

    yield assembler.builder()
    yield linuxkit.builder()
    yield linuxkit_docker.builder()
