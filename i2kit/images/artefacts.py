"""Built images in the cache: whoever asks for one gets the same files, and nobody sees half of one."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from i2kit.driver import Artefact
from i2kit.images.builder import BuildRequest
from i2kit.images.folders import ASIDE, ample, locked
from i2kit.paths import cache_home


def kept(request: BuildRequest, roles: Iterable[str], make: Callable[[Path], None]) -> Artefact:
    """Return an image's files from the cache; when one is not there, or with `no_cache`, `make` writes them into the folder it is given.

    Two runs that need the same image do not build it twice. Raises what `make` raises, and `BuildError` (``disk-full``).
    """
    image = request.image
    folder = cache_home() / "images" / image.digest.removeprefix("sha256:")
    artefact = Artefact(format=image.format, files={role: folder / role for role in roles})
    if _whole(artefact) and not request.no_cache:
        return artefact
    with locked(folder.with_name(f"{folder.name}.lock")):
        # Somebody may have built it while this run waited.
        if request.no_cache or not _whole(artefact):
            with ample(folder), tempfile.TemporaryDirectory(prefix=ASIDE, dir=folder.parent) as aside:
                make(Path(aside))
                folder.mkdir(exist_ok=True)
                for role, path in artefact.files.items():
                    # One by one: a VM that starts meanwhile finds each file whole, and a folder that lacks one is built again.
                    (Path(aside) / role).replace(path)
    return artefact


def _whole(artefact: Artefact) -> bool:
    return all(path.is_file() for path in artefact.files.values())
