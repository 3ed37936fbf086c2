"""A Pod's volumes and where its containers mount them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from i2kit.manifest import syntax
from i2kit.manifest.objects import ConfigData, Objects
from i2kit.manifest.page import did_you_mean
from i2kit.manifest.table import Tree
from i2kit.manifest.workloads import ConfigVolume, EmptyDir, Mount, SecretData, SecretItem, SecretVolume, Volume, VolumeFile

_MODE = 0o644
_FILE_VOLUMES = (ConfigVolume, SecretVolume)


def volumes(pod: Tree, namespace: str, objects: Objects) -> tuple[Volume, ...]:
    """Return the volumes, configMap ones with their files."""
    found: dict[str, Volume] = {}
    for tree in pod.get("volumes") or ():
        name = tree.get("name", "")
        if name and name in found:
            tree.problem("duplicate-name", f"a second volume is called {name!r}", "name", expected="every volume name once")
        volume = _volume(tree, name, namespace, objects)
        found.setdefault(name, volume)
    return tuple(found.values())


def _volume(tree: Tree, name: str, namespace: str, objects: Objects) -> Volume:
    kinds = ("emptyDir", "configMap", "secret")
    # A volume without a source is an emptyDir, as in Kubernetes.
    source = tree.only(*kinds) if any(kind in tree for kind in kinds) else None
    if source == "configMap":
        return _config_volume(tree["configMap"], name, namespace, objects)
    if source == "secret":
        return _secret_volume(tree["secret"], name, namespace, objects)
    empty = tree.sub("emptyDir")
    medium: Literal["", "Memory"] = empty.get("medium", "")
    return EmptyDir(name=name, medium=medium, size_limit=empty.get("sizeLimit"))


def _config_volume(tree: Tree, name: str, namespace: str, objects: Objects) -> ConfigVolume:
    config = objects.config(tree, namespace)
    if config is None:
        return ConfigVolume(name=name, files=())
    files = tuple(
        VolumeFile(path=path, content=config.content(key), mode=mode) for key, path, mode in _items(tree, config, config.keys, objects)
    )
    return ConfigVolume(name=name, files=files)


def _secret_volume(tree: Tree, name: str, namespace: str, objects: Objects) -> SecretVolume:
    secret = objects.secret(tree, namespace, "secretName")
    if secret is None:
        return SecretVolume(name=name, items=())
    items = tuple(
        SecretItem(secret=secret.name, key=key, path=path, mode=mode) for key, path, mode in _items(tree, secret, set(secret.data), objects)
    )
    return SecretVolume(name=name, items=items)


def _items(tree: Tree, found: ConfigData | SecretData, keys: set[str], objects: Objects) -> list[tuple[str, str, int]]:
    """Return key, path and mode of each file."""
    mode = tree.get("defaultMode", _MODE)
    if not tree.get("items"):
        return [(key, key, mode) for key in sorted(keys)]
    files: dict[str, tuple[str, str, int]] = {}
    for item in tree["items"]:
        if "key" not in item or "path" not in item:
            continue
        path = "/".join(part for part in item["path"].split("/") if part not in ("", "."))
        if path in files:
            item.problem("duplicate-name", f"a second item has the path {path!r}", "path", expected="every path once")
        if item["key"] in keys:
            files[path] = (item["key"], path, item.get("mode", mode))
        elif not tree.get("optional"):
            objects.missing_key(item, found, keys)
    for path in files:
        parents = path.split("/")[:-1]
        if any("/".join(parents[: n + 1]) in files for n in range(len(parents))):
            tree.problem("duplicate-name", f"the path {path!r} lies below another file", "items", expected="files in folders")
    return list(files.values())


def mounts(container: Tree, known: Mapping[str, Volume], broken: bool) -> tuple[Mount, ...]:
    """Return where the container sees the volumes; with `broken`, volumes that are not known have their own problem already."""
    found: dict[str, Mount] = {}
    for tree in container.get("volumeMounts") or ():
        name, path = tree.get("name"), tree.get("mountPath")
        if name is not None and name not in known and not broken:
            _unknown_volume(tree, name, known)
        _check_sub_path(tree)
        if name is None or path is None:
            continue
        place = path.rstrip("/") or "/"
        if place in found:
            tree.problem("duplicate-mount", f"{place} is mounted twice in this container", "mountPath", expected="every mountPath once")
        read_only = bool(tree.get("readOnly")) or isinstance(known.get(name), _FILE_VOLUMES)
        found.setdefault(place, Mount(volume=name, path=place, sub_path=tree.get("subPath", ""), read_only=read_only))
    return tuple(found.values())


def _unknown_volume(tree: Tree, name: str, known: Mapping[str, Any]) -> None:
    tree.problem(
        "unknown-volume",
        f"the Pod has no volume {name!r}",
        "name",
        expected=f"one of {', '.join(known)}" if known else "a volume of the Pod (it has none)",
        hint=did_you_mean(name, known) or "add it under volumes",
    )


def _check_sub_path(tree: Tree) -> None:
    path = tree.get("subPath")
    expected = syntax.relative_path(path) if path else ""
    if expected:
        tree.problem("invalid-value", f"{path!r} is not valid", "subPath", expected=expected)
