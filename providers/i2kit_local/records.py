"""Release records: a folder for each application, a file for each record, created only if absent and whole."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from i2kit.driver import Record
from i2kit.errors import ConflictingRecord
from i2kit_local.folders import Folders, aside, private_folder, write_new


class RecordFiles:
    """An environment's release records; they are there before its network is, and after."""

    def __init__(self, folders: Folders) -> None:
        self._folders = folders
        self._root = folders.state / "records"

    def applications(self) -> list[str]:
        """Return the applications that have records."""
        with suppress(FileNotFoundError):
            return sorted(folder.name for folder in self._root.iterdir() if any(map(_number, folder.iterdir())))
        return []

    def all(self, application: str) -> Sequence[Record]:
        """Return an application's records in order."""
        with suppress(FileNotFoundError):
            numbers = sorted(filter(None, map(_number, (self._root / application).iterdir())))
            return [Record(number=number, body=(self._root / application / str(number)).read_bytes()) for number in numbers]
        return []

    def append(self, application: str, number: int, body: bytes) -> None:
        """Create a record, whole or not at all; raise `ConflictingRecord` if it exists."""
        path = self._root / application / str(number)
        while True:
            private_folder(path.parent)
            temporary = aside(path)
            try:
                write_new(temporary, body)
                # A link, unlike a rename, never takes the place of what is there.
                path.hardlink_to(temporary)
            except FileNotFoundError:
                continue  # somebody removed the application's last record, and its folder
            except FileExistsError as error:
                raise ConflictingRecord.of("record-exists", f"record {number} of application {application} exists") from error
            finally:
                temporary.unlink(missing_ok=True)
            return

    def remove(self, application: str, number: int) -> None:
        """Remove a record if it is there, and with the last one everything that held it."""
        folder = self._root / application
        (folder / str(number)).unlink(missing_ok=True)
        with suppress(FileNotFoundError):
            for leftover in list(folder.glob(".*")):
                if not Path("/proc", leftover.name.rpartition(".")[2]).exists():
                    leftover.unlink(missing_ok=True)
        with suppress(OSError):
            folder.rmdir()
        self._folders.tidy()


def _number(path: Path) -> int | None:
    return int(path.name) if path.name.isdigit() else None
