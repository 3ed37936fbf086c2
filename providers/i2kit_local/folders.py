"""Where an environment's files are on this machine, and how they are written: private, whole, never in place."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from attrs import frozen

from i2kit.errors import ProviderError

SOCKET_PATH_BYTES = 107
_FOLDERS = ("groups", "balancers", "names", "secrets", "images", "records")


@frozen(kw_only=True)
class Folders:
    """An environment's two folders: `state` outlives a reboot, `runtime` has sockets and what lives as long as processes do."""

    state: Path
    runtime: Path

    @classmethod
    def of(cls, environment: str) -> Folders:
        """Return the folders of the environment of that name: where it runs now, else where XDG says."""
        state = (_base("XDG_STATE_HOME") or Path.home() / ".local/state") / "i2kit" / environment
        runtime = (_base("XDG_RUNTIME_DIR") or Path("/run")) / "i2kit" / environment
        with suppress(OSError):
            # Whoever logs in another way, or uses sudo, has another XDG_RUNTIME_DIR, or none.
            there = cls(state=state, runtime=Path((state / "runtime").read_text()))
            if there.owner() == str(state):
                return there
        return cls(state=state, runtime=runtime)

    def socket(self, name: str) -> Path:
        """Return the path of a socket; raise `ProviderError` when it is longer than the kernel allows."""
        path = self.runtime / name
        if len(os.fsencode(path)) > SOCKET_PATH_BYTES:
            raise ProviderError.of(
                "socket-path",
                f"{path} is {len(os.fsencode(path))} bytes long",
                expected=f"at most {SOCKET_PATH_BYTES} bytes for the path of a socket",
                hint="set XDG_RUNTIME_DIR to a shorter folder, or give the environment a shorter name",
            )
        return path

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the environment against every other thread and process that changes it."""
        path = self.state / "lock"
        while True:
            with _opened_lock(path) as descriptor:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                # Whoever held it before may have removed it with the rest: then this one guards nothing.
                if _same_file(path, descriptor):
                    yield
                    return

    def owner(self) -> str:
        """Return the state folder of the environment that has the runtime folder: one of the same name may have its state elsewhere."""
        try:
            return (self.runtime / "owner").read_text()
        except OSError:
            return ""

    @property
    def foreign(self) -> bool:
        """Whether the runtime folder is another environment's."""
        return self.owner() not in ("", str(self.state))

    def claim(self) -> None:
        """Make the runtime folder this environment's, unless it is another's."""
        private_folder(self.runtime)
        if not self.foreign:
            write(self.runtime / "owner", str(self.state))
            write(self.state / "runtime", str(self.runtime))

    def tidy(self) -> None:
        """Remove what holds nothing any more: empty folders, at the end the environment's own."""
        for name in _FOLDERS:
            _sweep(self.state / name)
        if self.state.is_dir():
            with _opened_lock(self.state / "lock") as descriptor, suppress(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _same_file(self.state / "lock", descriptor):
                    self._tidy_root()
        for folder in (self.state, self.state.parent, self.runtime.parent):
            with suppress(OSError):
                folder.rmdir()

    def _tidy_root(self) -> None:
        _sweep(self.state)
        if not (self.state / "network.json").exists():
            if not self.foreign:
                erase(self.runtime)
            (self.state / "runtime").unlink(missing_ok=True)
        if _names(self.state) == ["lock"]:
            (self.state / "lock").unlink()


def _base(variable: str) -> Path | None:
    value = os.environ.get(variable, "")
    # The XDG specification has relative paths ignored.
    return Path(value) if value.startswith("/") else None


@contextmanager
def _opened_lock(path: Path) -> Iterator[int]:
    while True:
        private_folder(path.parent)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            continue  # the folder was just tidied away
        try:
            yield descriptor
        finally:
            os.close(descriptor)
        return


def _same_file(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _names(folder: Path) -> list[str]:
    try:
        return sorted(path.name for path in folder.iterdir())
    except OSError:
        return []


def _sweep(folder: Path) -> None:
    """Remove what a writer that is dead left beside its target, then the folder if it is empty."""
    for name in _names(folder):
        if name.startswith(".") and not Path("/proc", name.rpartition(".")[2]).exists():
            erase(folder / name)
    with suppress(OSError):
        folder.rmdir()


def private_folder(path: Path) -> Path:
    """Make a folder, and those above it, that only its owner can enter, whatever the umask; one that is there stays as it is."""
    while not path.is_dir():
        if path.parent != path:
            private_folder(path.parent)
        try:
            path.mkdir(mode=0o700)
            path.chmod(0o700)
        except FileExistsError:
            if path.is_file():
                raise
        except FileNotFoundError:
            continue  # somebody tidied away what was empty
    return path


def aside(path: Path) -> Path:
    """Return a name beside `path` under which this process can make what then takes its place."""
    return path.with_name(f".{path.name}.{os.urandom(4).hex()}.{os.getpid()}")


def write(path: Path, content: str | bytes) -> None:
    """Write a file that only its owner can read: whole or not at all."""
    while True:
        private_folder(path.parent)
        temporary = aside(path)
        try:
            write_new(temporary, content)
        except FileNotFoundError:
            continue  # somebody tidied away what was empty
        temporary.replace(path)
        return


def folder_aside(path: Path) -> Path:
    """Make a private folder beside `path`, which is to take its place."""
    while True:
        private_folder(path.parent)
        temporary = aside(path)
        try:
            temporary.mkdir(mode=0o700)
        except FileNotFoundError:
            continue  # somebody tidied away what was empty
        return temporary


def write_new(path: Path, content: str | bytes) -> None:
    """Create a file that only its owner can read; raise `FileExistsError` when it is there."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, 0o600)
        file.write(content.encode() if isinstance(content, str) else content)


def changed(path: Path, content: str) -> bool:
    """Write a file unless it has that content already; tell whether it was written."""
    with suppress(OSError, UnicodeDecodeError):
        if path.read_text() == content:
            return False
    write(path, content)
    return True


def remove(path: Path) -> None:
    """Remove a file or a whole folder; a folder disappears at once, before its content is removed."""
    if path.is_dir():
        doomed = aside(path)
        with suppress(FileNotFoundError):
            path.rename(doomed)
        erase(doomed)
        return
    erase(path)


def erase(path: Path) -> None:
    """Remove a file or a whole folder, piece by piece."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
