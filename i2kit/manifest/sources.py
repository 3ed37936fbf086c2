"""Where manifests come from: files, folders, URLs, standard input."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from attrs import field, frozen

from i2kit.errors import Problem, Where

ENVIRONMENT_FILE = "environment.yml"
STDIN = "-"
_SUFFIXES = (".yaml", ".yml", ".json")
_TIMEOUT_SECONDS = 30
_LARGEST = 64 << 20


@frozen(kw_only=True)
class Source:
    """One text to read; `name` is what errors call it."""

    name: str
    text: str = field(repr=False)


def read_sources(given: Sequence[str | Path], stdin: TextIO | None, problems: list[Problem]) -> list[Source]:
    """Read everything that was named, each file once; what cannot be read becomes a problem."""
    found: list[Source] = []
    seen: set[str | Path] = set()
    for entry in given:
        for place in _places(str(entry), problems):
            identity = place if place == STDIN or _is_url(place) else Path(place).resolve()
            if identity in seen:
                continue
            seen.add(identity)
            try:
                found.append(_read(place, stdin))
            except (OSError, ValueError) as error:
                problems.append(_unreadable(place, error))
    return found


def _places(entry: str, problems: list[Problem]) -> Iterator[str]:
    """Yield the entry, or the manifests in it where it is a folder."""
    folder = Path(entry)
    if entry == STDIN or _is_url(entry) or not folder.is_dir():
        yield entry
        return
    try:
        names = sorted(
            child.name
            for child in folder.iterdir()
            if child.suffix in _SUFFIXES and child.name != ENVIRONMENT_FILE and not child.name.startswith(".") and child.is_file()
        )
    except OSError as error:
        problems.append(_unreadable(entry, error))
        return
    if not names:
        problems.append(
            Problem(
                code="no-manifests",
                message="the folder has no manifests",
                where=Where(file=entry),
                expected="files ending in .yaml, .yml or .json (not in folders below)",
            )
        )
    yield from (str(folder / name) for name in names)


def _is_url(entry: str) -> bool:
    return entry.lower().startswith(("http://", "https://"))


def _read(place: str, stdin: TextIO | None) -> Source:
    if place == STDIN:
        return Source(name="<stdin>", text=(stdin or sys.stdin).read())
    if _is_url(place):
        with urllib.request.urlopen(place, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310 (http and https only, see _is_url)
            raw = answer.read(_LARGEST + 1)
    else:
        with Path(place).open("rb") as file:
            raw = file.read(_LARGEST + 1)
    if len(raw) > _LARGEST:
        raise ValueError(f"more than {_LARGEST >> 20} MiB")
    return Source(name=place, text=raw.decode("utf-8"))


def _unreadable(place: str, error: Exception) -> Problem:
    line = None
    reason = str(error)
    if isinstance(error, urllib.error.HTTPError):
        reason = f"HTTP status {error.code}"
        error.close()
    elif isinstance(error, urllib.error.URLError):
        reason = str(error.reason)
    elif isinstance(error, UnicodeDecodeError):
        line = error.object.count(b"\n", 0, error.start) + 1
        reason = "it is not UTF-8"
    elif isinstance(error, OSError) and error.strerror:
        reason = error.strerror
    return Problem(
        code="unreadable",
        message=f"cannot be read: {reason}",
        where=Where(file="<stdin>" if place == STDIN else place, line=line),
        expected="a file, a folder, an http(s) URL or - for standard input",
    )
