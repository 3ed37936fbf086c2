"""Files that commands write where the user says: whole, or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def _aside(path: Path) -> Iterator[Path]:
    """Yield a file beside `path` that takes its place if all goes well, with the mode an ordinary new file has."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    aside = Path(name)
    try:
        yield aside
        umask = os.umask(0)
        os.umask(umask)
        aside.chmod(0o666 & ~umask)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file."""
    with _aside(path) as aside:
        aside.write_text(text, encoding="utf-8")


def copy_images(images: Sequence[tuple[str, Mapping[str, Path]]], out: Path) -> tuple[Path, ...]:
    """Copy the files of built images (name, files by their role) to `out` and return where they are.

    One image of one file becomes the file `out`; one image of several files becomes a folder with a file for each role; several
    images become a folder with such a file or folder for each, under the image's name.
    """
    written = []
    for name, files in images:
        target = out if len(images) == 1 else out / name
        alone = len(files) == 1 and not target.is_dir()
        for role, path in files.items():
            place = target if alone else target / role
            with _aside(place) as aside:
                shutil.copyfile(path, aside)
            written.append(place)
    return tuple(written)
