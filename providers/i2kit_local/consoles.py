"""The VMs' consoles: files that supervisor writes and cuts, a line for everything that containers and guest say."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from i2kit.consoles import parse, parsed
from i2kit.driver import LogLine

_POLL_SECONDS = 0.2


def last(console: Path, instance: str, tail: int | None) -> Sequence[LogLine]:
    """Return the last `tail` lines of a console, all that are kept if None."""
    text = "".join(_read(path) for path in (console.with_name(console.name + ".1"), console))
    return parsed(instance, text.split("\n"), tail)


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode(errors="replace")
    except FileNotFoundError:
        return ""


class Follower:
    """Reads on where a console grows, also after it was cut."""

    def __init__(self, console: Path, instance: str) -> None:
        self._console = console
        self._instance = instance
        self._file = -1
        self._rest = b""

    def skip(self) -> None:
        """Go to the end of what is there."""
        self._reopen()
        if self._file >= 0:
            os.lseek(self._file, 0, os.SEEK_END)

    def news(self) -> Iterator[LogLine]:
        """Yield the whole lines that came since the last call."""
        while True:
            data = os.read(self._file, 1 << 16) if self._file >= 0 else b""
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                if parsed := parse(self._instance, line.decode(errors="replace")):
                    yield parsed
            if not data and not self._reopen():
                return

    def _reopen(self) -> bool:
        """Open the console if there is another file of its name by now."""
        try:
            there = self._console.stat()
        except FileNotFoundError:
            return False
        if self._file >= 0 and os.path.samestat(there, os.fstat(self._file)):
            return False
        self.close()
        self._file = os.open(self._console, os.O_RDONLY | os.O_CLOEXEC)
        return True

    def close(self) -> None:
        """Give the file back."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def follow(consoles: Callable[[], dict[str, Path]], tail: int | None, closed: Callable[[float], bool]) -> Iterator[LogLine]:
    """Yield the last `tail` lines of each console (instance -> file), and go on with all that come until `closed`, which waits, says so."""
    followers: dict[str, Follower] = {}
    try:
        first = True
        while True:
            for instance, console in consoles().items():
                if instance not in followers:
                    followers[instance] = Follower(console, instance)
                    if first:
                        followers[instance].skip()
                        yield from last(console, instance, tail)
            first = False
            for follower in followers.values():
                yield from follower.news()
            if closed(_POLL_SECONDS):
                return
    finally:
        for follower in followers.values():
            follower.close()
