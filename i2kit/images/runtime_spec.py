"""A service's config.json and runtime.json: the OCI runtime specification that LinuxKit makes of its YAML and an image. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import yaml

from i2kit.errors import BuildError
from i2kit.images.document import Service, service_settings
from i2kit.images.oci import Configuration

OCI_VERSION = "1.2.1"
"""The runtime specification's version that LinuxKit 1.8 writes; the guest lowers it for Debian's crun."""

LABEL = "org.mobyproject.config"
"""The image label with defaults for a service's keys."""

# In the order of their numbers in the kernel.
_CAPABILITY_NAMES = """
CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST NET_ADMIN
NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME
SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ
PERFMON BPF CHECKPOINT_RESTORE
"""
CAPABILITIES = tuple(f"CAP_{name}" for name in _CAPABILITY_NAMES.split())
_MOUNTPOINTS = {"proc": "/proc", "devpts": "/dev/pts", "sysfs": "/sys", "cgroup": "/sys/fs/cgroup", "mqueue": "/dev/mqueue"}
# LinuxKit's key, the specification's name, and what LinuxKit takes when nothing is said.
_NAMESPACES = (("net", "network", "root"), ("ipc", "ipc", "root"), ("uts", "uts", "root"), ("pid", "pid", "new"))


def settings_of(service: Service, image: Configuration) -> dict[str, Any]:
    """Return a service's keys over the defaults in its image's label. Raises `BuildError`."""
    label = image.labels.get(LABEL, "")
    if not label:
        return service.settings
    what = f"label {LABEL} of {service.image}"
    try:
        defaults = service_settings(what, yaml.safe_load(label))
    except yaml.YAMLError as error:
        raise BuildError.of("linuxkit-yaml-invalid", f"{what} cannot be read: {error}") from error
    if "name" in defaults or "image" in defaults:
        raise BuildError.of("linuxkit-yaml-invalid", f"{what} must not have a name or image")
    return {**defaults, **service.settings}


def config(service: Service, image: Configuration, ids: Mapping[str, int]) -> bytes:
    """Return the service's config.json; `ids` are the numbers that LinuxKit gives the names of services. Raises `BuildError`."""
    settings = settings_of(service, image)
    readonly = bool(settings.get("readonly", False))
    root = _kept({"path": "rootfs", "readonly": readonly})
    linux = _kept(
        {
            "sysctl": _sorted(settings.get("sysctl")),
            "resources": {},
            "cgroupsPath": settings.get("cgroupsPath"),
            "namespaces": _namespaces(settings),
            "rootfsPropagation": settings.get("rootfsPropagation"),
            "maskedPaths": settings.get("maskedPaths"),
            "readonlyPaths": settings.get("readonlyPaths"),
        },
        always=("resources",),
    )
    document = _kept(
        {
            "ociVersion": OCI_VERSION,
            "process": _process(service, settings, image, ids),
            "root": root,
            "hostname": settings.get("hostname"),
            "mounts": _mounts(service, settings, readonly),
            "annotations": _sorted(settings.get("annotations")),
            "linux": linux,
        }
    )
    return _dump(document)


def runtime(root: str, folder: str, *, readonly: bool) -> bytes:
    """Return the service's runtime.json: how LinuxKit's own init would mount `root` as the root file system of `folder`."""
    target = f"/{folder}/rootfs"
    if readonly:
        mounts: list[dict[str, Any]] = [{"destination": target, "source": f"/{root}", "options": ["bind"]}]
    else:
        tmp = f"/{folder}/tmp"  # noqa: S108 (in the image)
        layers = [f"lowerdir=/{root}", f"upperdir={tmp}/upper", f"workdir={tmp}/work"]
        mounts = [
            {"destination": tmp, "type": "tmpfs", "source": "tmpfs"},
            {"destination": tmp, "options": ["remount", "private"]},
            {"destination": target, "type": "overlay", "source": "overlay", "options": layers},
        ]
    namespaces = dict.fromkeys(("cgroup", "ipc", "mnt", "net", "pid", "user", "uts"), "")
    return _dump({"cgroups": [], "mounts": mounts, "mkdir": [], "interfaces": [], "bindNS": namespaces, "namespace": ""})


def numeric_id(what: str, value: int | str, ids: Mapping[str, int]) -> int:
    """Return a user or group as a number. Raises `BuildError` for a name that no service has."""
    if isinstance(value, int):
        return value
    if value in ("", "root"):
        return 0
    if value not in ids:
        raise BuildError.of("linuxkit-yaml-invalid", f"LinuxKit YAML: {what}: there is no service called {value!r} to take the id of")
    return ids[value]


def _process(service: Service, settings: Mapping[str, Any], image: Configuration, ids: Mapping[str, int]) -> dict[str, Any]:
    what = f"service {service.name}"
    user = {
        "uid": numeric_id(f"{what}.uid", settings.get("uid", 0), ids),
        "gid": numeric_id(f"{what}.gid", settings.get("gid", 0), ids),
        "additionalGids": [numeric_id(f"{what}.additionalGids", gid, ids) for gid in settings.get("additionalGids", ())],
    }
    return _kept(
        {
            "user": _kept(user, always=("uid", "gid")),
            "args": settings.get("command", [*image.entrypoint, *image.cmd]),
            "env": settings.get("env", list(image.env)),
            "cwd": settings.get("cwd") or image.working_dir or "/",
            "capabilities": _capabilities(what, settings),
            "noNewPrivileges": settings.get("noNewPrivileges"),
            "oomScoreAdj": settings.get("oomScoreAdj"),
        },
        always=("capabilities", *(("oomScoreAdj",) if "oomScoreAdj" in settings else ())),
    )


def _capabilities(what: str, settings: Mapping[str, Any]) -> dict[str, list[str]]:
    effective, ambient = (_capability_list(what, settings.get(key, [])) for key in ("capabilities", "ambient"))
    bounding = sorted({*effective, *ambient})
    return _kept({"bounding": bounding, "effective": effective, "inheritable": bounding, "permitted": bounding, "ambient": ambient})


def _capability_list(what: str, names: list[str]) -> list[str]:
    if len(names) == 1 and names[0].lower() in ("all", "none"):
        return list(CAPABILITIES) if names[0].lower() == "all" else []
    for name in names:
        if name not in CAPABILITIES:
            raise BuildError.of("linuxkit-yaml-invalid", f"LinuxKit YAML: {what}: {name!r} is not a capability")
    return names


def _mounts(service: Service, settings: Mapping[str, Any], readonly: bool) -> list[dict[str, Any]]:
    read_only = ["ro"] if readonly else []
    usual = (
        ("/proc", "proc", "proc", ["nosuid", "nodev", "noexec", "relatime"]),
        ("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k", *read_only]),
        ("/dev/pts", "devpts", "devpts", ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]),
        ("/sys", "sysfs", "sysfs", ["nosuid", "noexec", "nodev", *read_only]),
        ("/sys/fs/cgroup", "cgroup", "cgroup", ["nosuid", "noexec", "nodev", "relatime", "ro"]),
    )
    mounts = {target: _mount(target, kind, source, options) for target, kind, source, options in usual}
    for text in settings.get("tmpfs", ()):
        target, *options = _parts(service, "tmpfs", text, 1, 2)
        mounts[target] = _mount(target, "tmpfs", "tmpfs", options[0].split(",") if options else [])
    for text in settings.get("binds", ()):
        source, target, *options = _parts(service, "binds", text, 2, 3)
        chosen = [*options[0].split(","), "rbind"] if options else ["rw", "rbind", "rshared"]
        mounts[target] = _mount(target, "bind", source, chosen)
    for given in settings.get("mounts", ()):
        mount = _given_mount(service, given)
        mounts[mount["destination"]] = mount
    return [mounts[target] for target in sorted(mounts, key=str.encode)]


def _parts(service: Service, key: str, text: str, least: int, most: int) -> list[str]:
    parts = text.split(":")
    if not least <= len(parts) <= most:
        raise BuildError.of(
            "linuxkit-yaml-invalid", f"LinuxKit YAML: service {service.name}: {key}: {text!r} has too many or too few colons"
        )
    return parts


def _given_mount(service: Service, given: Mapping[str, Any]) -> dict[str, Any]:
    source, target = given.get("source", ""), given.get("destination", "")
    kind = given.get("type", "") or (source if source in _MOUNTPOINTS else "") or ("tmpfs" if target == "/dev" else "")
    target = target or _MOUNTPOINTS.get(kind, "")
    if not kind or not target:
        raise BuildError.of("linuxkit-yaml-invalid", f"LinuxKit YAML: service {service.name}: a mount lacks its type or destination")
    return _mount(target, kind, source or kind, list(given.get("options") or ()))


def _mount(target: str, kind: str, source: str, options: list[str]) -> dict[str, Any]:
    return _kept({"destination": target, "type": kind, "source": source, "options": options})


def _namespaces(settings: Mapping[str, Any]) -> list[dict[str, str]]:
    found = []
    for key, name, default in _NAMESPACES:
        chosen = settings.get(key) or default
        if chosen in ("host", "root"):
            continue
        fresh = chosen == "new" or (key == "net" and chosen == "none")
        found.append({"type": name} if fresh else {"type": name, "path": chosen})
    return [*found, {"type": "mount"}]


def _kept(document: Mapping[str, Any], always: tuple[str, ...] = ()) -> dict[str, Any]:
    """Leave out what is empty, as Go's ``omitempty`` does."""
    return {key: value for key, value in document.items() if value or key in always}


def _sorted(mapping: Mapping[str, str] | None) -> dict[str, str]:
    return dict(sorted((mapping or {}).items()))


def _dump(document: Mapping[str, Any]) -> bytes:
    """Write JSON as Go does, so that the file is the same byte for byte."""
    text = json.dumps(document, indent=4, ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text.encode("utf-8", "replace")
