"""What stands where a cloud would be: its state, and the levers by which tests break it behind a driver's back."""

from __future__ import annotations

import fcntl
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from i2kit.environment import Environment

_regions: dict[str, Region] = {}


def region_of(environment: Environment) -> Region:
    """Return the environment's region: the file it names, or this process's own, which every driver of that name shares."""
    path = environment.settings.get("path")
    if path is not None:
        return Region(environment.name, Path(path))
    return _regions.setdefault(environment.name, Region(environment.name))


class Region:
    """The state of one environment, changed by one transaction at a time, whole or not at all.

    With `path` the state lies in that file, apart for each environment; without it lives as long as this object.
    """

    def __init__(self, name: str = "local", path: Path | None = None) -> None:
        self._name = name
        self._path = path
        self._lock = threading.Lock()
        self._all: dict[str, Any] = {}

    @contextmanager
    def transaction(self) -> Iterator[dict[str, Any]]:
        """Give the state to read and change; what an error interrupts leaves no trace, and nor does a kill."""
        with self._lock, self._file_lock():
            text = self._path.read_text() if self._path and self._path.exists() else json.dumps(self._all)
            data: dict[str, Any] = json.loads(text or "{}")
            state = data.setdefault(self._name, {})
            for part in ("resources", "members", "faults", "secrets", "records", "console", "unready", "refused"):
                state.setdefault(part, {})
            yield state
            if self._path is None:
                self._all = data
            elif (changed := json.dumps(data, sort_keys=True)) != text:
                aside = self._path.with_name(f"{self._path.name}.new")
                aside.touch(mode=0o600)
                aside.write_text(changed)
                aside.replace(self._path)

    @contextmanager
    def _file_lock(self) -> Iterator[None]:
        if self._path is None:
            yield
            return
        handle = os.open(self._path.with_name(f"{self._path.name}.lock"), os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)  # gives the lock back, as the end of the process would

    # The levers.

    def set_unready(self, pattern: str, reason: str | None) -> None:
        """Let no member of the groups whose names match `pattern` (``web-*``) be ready; with None let them be."""
        self._set("unready", pattern, reason)

    def set_refused(self, pattern: str, reason: str | None) -> None:
        """Let changes of the resources whose keys match `pattern` (``Balancer/*``) fail; with None let them work."""
        self._set("refused", pattern, reason)

    def _set(self, part: str, pattern: str, reason: str | None) -> None:
        with self.transaction() as state:
            state[part].pop(pattern, None)
            if reason is not None:
                state[part][pattern] = reason

    def set_fault(self, key: str, fault: str) -> None:
        """Break a resource in a way that `observe` sees and the next change mends."""
        with self.transaction() as state:
            state["faults"].setdefault(key, []).append(fault)

    def lose(self, key: str) -> None:
        """Delete a resource, as somebody at the cloud's own console would."""
        with self.transaction() as state:
            forget(state, key)

    def lose_member(self, group: str) -> None:
        """End one member of a group."""
        with self.transaction() as state:
            state["members"][group].pop()


def forget(state: dict[str, Any], key: str) -> None:
    """Remove everything there is about a resource; nothing happens when it is not there."""
    kind, _, name = key.partition("/")
    state["resources"].pop(key, None)
    state["faults"].pop(key, None)
    if kind == "InstanceGroup":
        for member in state["members"].pop(name, []):
            state["console"].pop(member, None)
    if kind == "Secret":
        state["secrets"].pop(name, None)
