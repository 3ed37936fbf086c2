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


@frozen(kw_only=True)
class Folders:
    """An environment's two folders: `state` outlives a reboot, `runtime` has sockets and what lives as long as processes do."""

    state: Path
    runtime: Path

    @classmethod
    def of(cls, environment: str) -> Folders:
        """Return the folders of the environment of that name."""
        state = _base("XDG_STATE_HOME") or Path.home() / ".local/state"
        runtime = _base("XDG_RUNTIME_DIR") or Path("/run")
        return cls(state=state / "i2kit" / environment, runtime=runtime / "i2kit" / environment)

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

    def tidy(self) -> None:
        """Remove what holds nothing any more: empty folders, at the end the environment's own."""
        for name in ("groups", "balancers", "names", "secrets", "images", "records"):
            _remove_stale(self.state / name)
            with suppress(OSError):
                (self.state / name).rmdir()
        for folder in (self.runtime, self.runtime.parent):
            with suppress(OSError):
                folder.rmdir()
        if _names(self.state) == ["lock"]:
            with _opened_lock(self.state / "lock") as descriptor, suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _names(self.state) == ["lock"] and _same_file(self.state / "lock", descriptor):
                    (self.state / "lock").unlink()
        for folder in (self.state, self.state.parent):
            with suppress(OSError):
                folder.rmdir()


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


def _remove_stale(folder: Path) -> None:
    """Remove what a writer that is dead left beside its target."""
    for name in _names(folder):
        if name.startswith(".") and not Path("/proc", name.rpartition(".")[2]).exists():
            remove(folder / name)


def private_folder(path: Path) -> Path:
    """Make a folder, and those above it, that only its owner can enter, whatever the umask; one that is there stays as it is."""
    if not path.is_dir():
        if path.parent != path:
            private_folder(path.parent)
        with suppress(FileExistsError):
            path.mkdir(mode=0o700)
            path.chmod(0o700)
    return path


def aside(path: Path) -> Path:
    """Return a name beside `path` under which this process can make what then takes its place."""
    return path.with_name(f".{path.name}.{os.urandom(4).hex()}.{os.getpid()}")


def write(path: Path, content: str | bytes) -> None:
    """Write a file that only its owner can read: whole or not at all."""
    private_folder(path.parent)
    temporary = aside(path)
    try:
        write_new(temporary, content)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


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
    if path.is_dir() and not path.is_symlink():
        doomed = path if path.name.startswith(".") else aside(path)
        with suppress(FileNotFoundError):
            if doomed != path:
                path.rename(doomed)
            shutil.rmtree(doomed)
        return
    with suppress(FileNotFoundError):
        path.unlink()
