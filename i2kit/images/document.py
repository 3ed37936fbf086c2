"""The LinuxKit YAML as our own builder reads it: what it supports, typed; anything else is refused, never dropped in silence."""

from __future__ import annotations

import re
from typing import Any

import yaml
from attrs import field, frozen

from i2kit.errors import BuildError, Problem

_SECTIONS = frozenset({"kernel", "init", "onboot", "services", "files"})
_KERNEL_KEYS = frozenset({"image", "cmdline"})
_FILE_KEYS = frozenset({"path", "contents", "mode", "directory", "symlink", "uid", "gid"})
_TEXTS = frozenset({"name", "image", "cwd", "net", "pid", "ipc", "uts", "hostname", "rootfsPropagation", "cgroupsPath"})
_TEXT_LISTS = frozenset({"command", "env", "capabilities", "ambient", "binds", "tmpfs", "maskedPaths", "readonlyPaths"})
_TEXT_MAPS = frozenset({"sysctl", "annotations"})
_FLAGS = frozenset({"readonly", "noNewPrivileges"})
_OTHERS = frozenset({"mounts", "uid", "gid", "additionalGids", "oomScoreAdj"})
SERVICE_KEYS = _TEXTS | _TEXT_LISTS | _TEXT_MAPS | _FLAGS | _OTHERS
_MOUNT_KEYS = frozenset({"destination", "type", "source", "options"})
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")

Id = int | str


@frozen(kw_only=True)
class Service:
    """One entry of ``onboot`` or ``services``; `settings` are its keys as written, besides `name` and `image`."""

    name: str
    image: str
    settings: dict[str, Any] = field(factory=dict)


@frozen(kw_only=True)
class File:
    """One entry of ``files``: a file with `contents`, a folder, or a symbolic link; `path` is relative to the root."""

    path: str
    mode: int
    contents: bytes | None = None
    symlink: str | None = None
    uid: Id = 0
    gid: Id = 0

    @property
    def directory(self) -> bool:
        """Whether it is a folder."""
        return self.contents is None and self.symlink is None


@frozen(kw_only=True)
class Document:
    """A LinuxKit YAML."""

    kernel: str
    cmdline: str
    init: tuple[str, ...]
    onboot: tuple[Service, ...]
    services: tuple[Service, ...]
    files: tuple[File, ...]


def parse(text: str) -> Document:
    """Read a LinuxKit YAML. Raises `BuildError` with everything in it that our own builder does not do."""
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise BuildError.of("linuxkit-yaml-invalid", f"the LinuxKit YAML cannot be read: {error}") from error
    reader = _Reader()
    found = reader.document(document)
    if reader.problems:
        raise BuildError(reader.problems)
    return found


def service_settings(what: str, document: object) -> dict[str, Any]:
    """Check the keys of a service that come from elsewhere (an image's label). Raises `BuildError`."""
    reader = _Reader()
    settings = reader.settings(what, document)
    if reader.problems:
        raise BuildError(reader.problems)
    return settings


class _Reader:
    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def wrong(self, where: str, message: str, code: str = "linuxkit-yaml-invalid") -> None:
        self.problems.append(Problem(code=code, message=f"LinuxKit YAML: {where}: {message}"))

    def known(self, where: str, mapping: object, keys: frozenset[str]) -> dict[str, Any]:
        if not isinstance(mapping, dict):
            self.wrong(where, "is not a mapping")
            return {}
        for key in mapping:
            if key not in keys:
                self.wrong(f"{where}.{key}".lstrip("."), "the assembler does not support it", "linuxkit-yaml-unsupported")
        return {key: value for key, value in mapping.items() if key in keys}

    def texts(self, where: str, value: object) -> tuple[str, ...]:
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return tuple(value)
        self.wrong(where, "is not a list of texts")
        return ()

    def text(self, where: str, value: object) -> str:
        if isinstance(value, str):
            return value
        self.wrong(where, "is not a text")
        return ""

    def items(self, where: str, value: object) -> list[Any]:
        if value is None or isinstance(value, list):
            return value or []
        self.wrong(where, "is not a list")
        return []

    def document(self, document: object) -> Document:
        top = self.known("", document, _SECTIONS)
        kernel = self.known("kernel", top.get("kernel", {}), _KERNEL_KEYS)
        if not kernel.get("image"):
            self.wrong("kernel.image", "is missing")
        services = self._services("services", top.get("services"))
        if len({service.name for service in services}) != len(services):
            self.wrong("services", "two have the same name")
        return Document(
            kernel=self.text("kernel.image", kernel.get("image", "")),
            cmdline=self.text("kernel.cmdline", kernel.get("cmdline", "")),
            init=self.texts("init", top.get("init") or []),
            onboot=self._services("onboot", top.get("onboot")),
            services=services,
            files=tuple(self._file(f"files[{number}]", item) for number, item in enumerate(self.items("files", top.get("files")))),
        )

    def _services(self, section: str, value: object) -> tuple[Service, ...]:
        found = []
        for number, item in enumerate(self.items(section, value)):
            where = f"{section}[{number}]"
            settings = self.settings(where, item)
            name, image = settings.pop("name", ""), settings.pop("image", "")
            if not _NAME.fullmatch(str(name)):
                self.wrong(f"{where}.name", f"{name!r} is not a name")
            if not image:
                self.wrong(f"{where}.image", "is missing")
            found.append(Service(name=str(name), image=str(image), settings=settings))
        return tuple(found)

    def settings(self, where: str, item: object) -> dict[str, Any]:
        settings = self.known(where, item, SERVICE_KEYS)
        for key, value in settings.items():
            self._setting(f"{where}.{key}", key, value)
        return settings

    def _setting(self, where: str, key: str, value: object) -> None:
        if key in _TEXTS:
            self.text(where, value)
        elif key in _TEXT_LISTS:
            self.texts(where, value)
        elif key in _FLAGS and not isinstance(value, bool):
            self.wrong(where, "is neither true nor false")
        elif key in ("uid", "gid"):
            self._id(where, value)
        elif key == "additionalGids":
            for item in self.items(where, value):
                self._id(where, item)
        elif key == "oomScoreAdj" and (isinstance(value, bool) or not isinstance(value, int)):
            self.wrong(where, "is not a whole number")
        elif key in _TEXT_MAPS and not (isinstance(value, dict) and all(isinstance(item, str) for item in value.values())):
            self.wrong(where, "is not a mapping of texts")
        elif key == "mounts":
            for number, mount in enumerate(self.items(where, value)):
                self.known(f"{where}[{number}]", mount, _MOUNT_KEYS)

    def _id(self, where: str, value: object) -> Id:
        if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 32):
            return value
        self.wrong(where, "is neither a number nor a name")
        return 0

    def _file(self, where: str, item: object) -> File:
        known = self.known(where, item, _FILE_KEYS)
        path = self.text(f"{where}.path", known.get("path", ""))
        relative = path.removeprefix("/")
        if not relative or any(part in ("", ".", "..") for part in relative.split("/")):
            self.wrong(f"{where}.path", f"{path!r} is not a path of a file")
        directory = bool(known.get("directory", False))
        symlink, contents = known.get("symlink"), known.get("contents")
        if [directory, symlink is not None, contents is not None].count(True) != 1:
            self.wrong(where, "has to have exactly one of contents, directory and symlink")
        return File(
            path=relative,
            mode=self._mode(f"{where}.mode", known.get("mode"), 0o700 if directory else 0o600),
            contents=self.text(f"{where}.contents", contents).encode() if contents is not None else None,
            symlink=self.text(f"{where}.symlink", symlink) if symlink is not None else None,
            uid=self._id(f"{where}.uid", known.get("uid", 0)),
            gid=self._id(f"{where}.gid", known.get("gid", 0)),
        )

    def _mode(self, where: str, value: object, default: int) -> int:
        if value is None or value == "":
            return default
        if isinstance(value, str) and re.fullmatch(r"[0-7]{1,5}", value) and int(value, 8) <= 0o7777:
            return int(value, 8)
        self.wrong(where, f"{value!r} is not a mode in octal digits, as a text")
        return default
