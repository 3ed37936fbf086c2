"""What is in a Pod's image, fact by fact, each at the path where the manifest has it. Pure.

The source is the LinuxKit YAML of the `Image` resource alone, so that the image of a release of long ago can be read as well.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attrs import field, frozen

from i2kit.images.locked import LockedImage
from i2kit.resources import Image

_POD = "etc/i2kit/pod.json"
_VOLUMES = "etc/i2kit/volumes/"


@frozen
class Shown:
    """A fact that is shown as it is, without quotes: a number, a quantity, a word of ours."""

    text: str


@frozen
class Part:
    """Something that has facts of its own below its path; where it comes, goes or turns into another kind, those are not told."""

    kind: str
    detail: str = field(default="", eq=False)


@frozen
class Arguments:
    """A process's arguments, in Kubernetes' syntax for ``$(NAME)``."""

    words: tuple[str, ...]


@frozen
class FileText:
    """A file of a configMap volume; `mode` in octal digits."""

    text: str
    mode: str


@frozen
class Pulled:
    """An OCI image: its full reference, and the digest of the manifest that it stood for."""

    reference: str
    digest: str


@frozen
class Order:
    """The order of things that have facts under their own names."""

    names: tuple[str, ...]


Fact = str | Shown | Part | Arguments | FileText | Pulled | Order
"""A `str` is a text of the user's, which is quoted."""


def facts(image: Image, configured: Mapping[str, LockedImage] | None = None) -> dict[str, Fact] | None:
    """Return the facts of `image` by their paths, such as ``containers[web].env[GREETING]``.

    With `configured` (the locked images by their full references) a container's arguments are told from its image's entrypoint, and those
    that the image itself brings are left out; without it ``command`` is the whole command line. Returns None when the description
    cannot be read, as that of another release of i2kit.
    """
    try:
        document = _document(image.yaml)
        files = {file["path"]: file for file in document["files"]}
        pod = json.loads(files[_POD]["contents"])
        return dict(_pod(document, pod, files, image.sources, configured or {}))
    except (ValueError, LookupError, TypeError, AttributeError):
        return None


def _document(text: str) -> Any:
    import yaml  # here, since most plans replace nothing

    try:
        return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both loaders are the safe ones
    except yaml.YAMLError as error:
        raise ValueError(f"no YAML: {error}") from error


Found = Iterator[tuple[str, Fact]]


def _pod(
    document: dict[str, Any], pod: dict[str, Any], files: dict[str, Any], sources: dict[str, str], configured: Mapping[str, LockedImage]
) -> Found:
    described = {container["name"]: container for container in pod["containers"]}
    for service in document["services"]:
        path = f"containers[{service['name']}]"
        pulled = Pulled(service["image"], sources.get(service["image"], ""))
        yield path, Part("container", familiar(pulled.reference))
        yield f"{path}.image", pulled
        yield from _service(path, service, configured.get(service["image"]))
        yield from _container(path, described[service["name"]])
    yield "containers", Order(tuple(service["name"] for service in document["services"]))
    for volume in pod["volumes"]:
        yield from _volume(volume, files)
    yield "volumes", Order(tuple(volume["name"] for volume in pod["volumes"]))
    yield from _others("", pod, {"inventory", "containers", "volumes"})
    yield "kernel command line", str(document["kernel"].get("cmdline", ""))
    for path, file in files.items():
        if path != _POD and not path.startswith(_VOLUMES):
            yield f"files[{path}]", _plain(file)


def _service(path: str, service: dict[str, Any], image: LockedImage | None) -> Found:
    words = tuple(service["command"])
    entrypoint, default = (_escaped(image.entrypoint), _escaped(image.cmd)) if image else ((), ())
    if words != entrypoint + default or not image:
        if entrypoint and words[: len(entrypoint)] == entrypoint:
            yield f"{path}.args", Arguments(words[len(entrypoint) :])
        else:
            yield f"{path}.command", Arguments(words)
    yield f"{path}.workingDir", str(service["cwd"])
    yield f"{path}.user", Shown(f"{service.get('uid', 0)}:{service.get('gid', 0)}")
    yield from _others(path, service, {"name", "image", "command", "cwd", "uid", "gid"})


def _escaped(words: Sequence[str]) -> tuple[str, ...]:
    return tuple(word.replace("$", "$$") for word in words)


def _container(path: str, container: dict[str, Any]) -> Found:
    for variable in container["env"]:
        yield f"{path}.env[{variable['name']}]", _variable(variable)
    yield f"{path}.env", Order(tuple(variable["name"] for variable in container["env"]))
    for mount in container["mounts"]:
        source = "/".join(part for part in (mount["volume"], mount.get("subPath", "")) if part)
        yield f"{path}.volumeMounts[{mount['path']}]", Shown(f"{source}, {'read-only' if mount['readOnly'] else 'writable'}")
    yield f"{path}.volumeMounts", Order(tuple(mount["path"] for mount in container["mounts"]))
    limits = container["resources"]
    yield f"{path}.resources.limits.memory", Shown(quantity(limits["memoryBytes"]) if limits["memoryBytes"] else "none")
    yield f"{path}.resources.limits.cpu", Shown(cores(limits["cpuMillis"]) if limits["cpuMillis"] else "none")
    yield from _others(f"{path}.resources", limits, {"memoryBytes", "cpuMillis"})
    probes = ("readinessProbe", "livenessProbe", "startupProbe")
    for name in probes:
        if name in container:
            yield from _probe(f"{path}.{name}", container[name])
    yield from _others(path, container, {"name", "root", "env", "mounts", "resources", *probes})


def _variable(variable: dict[str, Any]) -> Fact:
    if "value" in variable:
        return str(variable["value"])
    if "secret" in variable:
        return Shown(f"key {variable['key']} of Secret {variable['secret']}{', optional' if variable.get('optional') else ''}")
    return Shown(f"field {variable['field']}")


_HANDLERS = {"http": "httpGet", "tcp": "tcpSocket", "exec": "exec"}


def _probe(path: str, probe: dict[str, Any]) -> Found:
    (kind,) = _HANDLERS.keys() & probe.keys()
    handler, name = probe[kind], _HANDLERS[kind]
    detail = " ".join(handler["command"]) if kind == "exec" else f":{handler['port']}{handler.get('path', '')}"
    yield path, Part("probe", f"{name} {detail}")
    yield f"{path}.{name}", Part(name, detail)
    for key, value in handler.items():
        if key == "headers":
            yield f"{path}.{name}.httpHeaders", Arguments(tuple(f"{one['name']}: {one['value']}" for one in value))
        else:
            yield f"{path}.{name}.{key}", _plain(value)
    yield from _others(path, probe, {kind})


def _volume(volume: dict[str, Any], files: dict[str, Any]) -> Found:
    name = volume["name"]
    path = f"volumes[{name}]"
    if "files" in volume:
        folder = f"{_VOLUMES}{name}/"
        held = {one.removeprefix(folder): file for one, file in files.items() if one.startswith(folder)}
        yield path, Part("configMap", f"configMap of {len(held)} file{'' if len(held) == 1 else 's'}")
        for file, described in held.items():
            yield f"{path}/{file}", FileText(described["contents"], described["mode"])
    elif "secret" in volume:
        items = volume["secret"]["items"]
        yield path, Part("secret", f"secret of {len(items)} file{'' if len(items) == 1 else 's'}")
        for item in items:
            yield f"{path}/{item['path']}", Shown(f"key {item['key']} of Secret {item['secret']}, mode {item['mode']:04o}")
    else:
        empty = volume["emptyDir"]
        yield path, Part("emptyDir", "emptyDir")
        yield f"{path}.emptyDir.medium", str(empty["medium"])
        yield f"{path}.emptyDir.sizeLimit", Shown(quantity(empty["sizeBytes"]) if empty["sizeBytes"] else "none")


def _others(path: str, mapping: Mapping[str, Any], known: set[str]) -> Found:
    """Yield what is not known above, so that nothing that a later release writes goes unseen."""
    for key, value in mapping.items():
        if key not in known:
            yield f"{path}.{key}".lstrip("."), _plain(value)


def _plain(value: Any) -> Fact:
    match value:
        case str():
            return value
        case list() if all(isinstance(one, str) for one in value):
            return Arguments(tuple(value))
        case _:
            return Shown(json.dumps(value, sort_keys=True))


def familiar(reference: str) -> str:
    """Return a full image reference in the short form that people write.

    >>> familiar("docker.io/library/nginx:1.27"), familiar("docker.io/team/app:1"), familiar("quay.io/app:1")
    ('nginx:1.27', 'team/app:1', 'quay.io/app:1')
    """
    name, at, digest = reference.removeprefix("docker.io/").removeprefix("library/").partition("@")
    return f"{name}{at}{short_digest(digest)}"


def short_digest(digest: str) -> str:
    """Return the first 12 digits of a digest: enough to tell two apart, and to look one up."""
    return f"{digest[:19]}…" if len(digest) > 19 else digest


def quantity(count: int) -> str:
    """Return a number of bytes in the greatest binary unit that needs no fraction.

    >>> quantity(64 << 20), quantity(1 << 30), quantity(1000)
    ('64Mi', '1Gi', '1000')
    """
    for power, unit in ((40, "Ti"), (30, "Gi"), (20, "Mi"), (10, "Ki")):
        if count and count % (1 << power) == 0:
            return f"{count >> power}{unit}"
    return str(count)


def cores(millis: int) -> str:
    """Return thousandths of a core as Kubernetes has them.

    >>> cores(500), cores(2000)
    ('500m', '2')
    """
    return f"{millis}m" if millis % 1000 else str(millis // 1000)
