"""A `Context` without an executor: hands sample secrets and sample images to a driver under test."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from i2kit.driver import Artefact
from i2kit.errors import I2kitError, Interrupted
from i2kit.manifest.workloads import SecretValue
from i2kit.resources import Image, Resource, Secret

CANARY = "canary-6f0c1b7e"
"""Part of every sample secret value: where it shows up, a secret has leaked."""


def sample_artefact(image: Image, folder: Path) -> Artefact:
    """Write files of the image's format that boot nothing; the same bytes for the same image."""
    if image.format == "kernel+initrd":
        contents = {"kernel": f"kernel of {image.digest}", "initrd": f"initrd of {image.digest}", "cmdline": "console=ttyS0"}
    else:
        contents = {"disk": f"disk of {image.digest}".ljust(512)}
    files = {role: folder / f"{image.name}-{role}" for role in contents}
    for role, path in files.items():
        path.write_text(contents[role])
    return Artefact(format=image.format, files=files)


class SampleContext:
    """What a driver may ask for while it applies a change: knows the images and secrets that it was offered.

    `folder` takes the sample images. `make_artefact` makes the files of an image; give your own to test with images that boot. `messages`
    are what the driver said of its progress. With `cancelled` set the next `check` raises `Interrupted`.
    """

    def __init__(self, folder: Path, *, make_artefact: Callable[[Image, Path], Artefact] = sample_artefact) -> None:
        self._folder = folder
        self._make_artefact = make_artefact
        self._images: dict[str, Image] = {}
        self._secrets: dict[str, Mapping[str, SecretValue]] = {}
        self.messages: list[str] = []
        self.cancelled = False

    def offer(self, resource: Resource) -> None:
        """Have the files of an `Image` or the values of a `Secret` at hand; nothing happens for other kinds."""
        if isinstance(resource, Image):
            self._images[resource.name] = resource
        if isinstance(resource, Secret):
            values = {key: SecretValue(f"{CANARY}-{resource.version}-{key}".encode()) for key in resource.keys}
            self._secrets[resource.name] = values

    def secret(self, name: str) -> Mapping[str, SecretValue]:
        """Return the sample values of a secret; raise `I2kitError` for one that was not offered."""
        if name not in self._secrets:
            raise I2kitError.of("no-such-secret", f"the values of Secret {name} are not part of this run")
        return self._secrets[name]

    def artefact(self, name: str) -> Artefact:
        """Return the sample files of an image; raise `I2kitError` for one that was not offered."""
        if name not in self._images:
            raise I2kitError.of("no-such-image", f"image {name} is not part of this run")
        return self._make_artefact(self._images[name], self._folder)

    def progress(self, message: str) -> None:
        """Keep the message."""
        self.messages.append(message)

    def check(self) -> None:
        """Raise `Interrupted` when `cancelled` is set."""
        if self.cancelled:
            raise Interrupted.of("interrupted", "the test asked to stop")
