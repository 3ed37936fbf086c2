"""The ConfigMaps and Secrets of the manifests, and looking things up in them."""

from __future__ import annotations

from typing import TypeVar

from attrs import field, frozen

from i2kit.errors import Where
from i2kit.manifest import syntax
from i2kit.manifest.page import did_you_mean
from i2kit.manifest.pullsecrets import NotCredentials, credentials
from i2kit.manifest.table import Tree
from i2kit.manifest.workloads import SecretData, SecretValue

DEFAULT_NAMESPACE = "default"
_LARGEST = 1 << 20

Key = tuple[str, str]
"""Namespace and name."""


@frozen(kw_only=True)
class ConfigData:
    """A ConfigMap: `data` as text, `binary` as bytes."""

    name: str
    namespace: str
    where: Where
    data: dict[str, str]
    binary: dict[str, bytes]

    @property
    def keys(self) -> set[str]:
        """All keys."""
        return {*self.data, *self.binary}

    def content(self, key: str) -> bytes:
        """Return what a file of that key contains."""
        return self.binary[key] if key in self.binary else self.data[key].encode("utf-8", "surrogatepass")


@frozen(kw_only=True)
class Unread:
    """What of the manifests could not be read: its text, or `everything` where not even that is known."""

    text: str = ""
    everything: bool = False

    def may_hold(self, *words: str) -> bool:
        """Whether what seems to be missing may stand there: then it must not be called missing.

        >>> Unread(text="metadata: {name: db").may_hold("db"), Unread(text="metadata: {name: db").may_hold("cache")
        (True, False)
        """
        return self.everything or (bool(self.text) and all(word in self.text for word in words))


@frozen(kw_only=True)
class Objects:
    """What Pods may refer to, as far as it could be read.

    `failed` are kind, namespace and name of those that could not be read whole; the sets of what is
    `used` note what was looked up.
    """

    configs: dict[Key, ConfigData] = field(factory=dict)
    secrets: dict[Key, SecretData] = field(factory=dict)
    unread: Unread = Unread()
    failed: set[tuple[str, str, str]] = field(factory=set)
    used_configs: set[Key] = field(factory=set)
    used_secrets: set[Key] = field(factory=set)
    used_pull_secrets: set[Key] = field(factory=set)

    def config(self, reference: Tree, namespace: str) -> ConfigData | None:
        """Return the ConfigMap whose `name` the reference gives; missing ones are a problem unless it is optional."""
        return self._find("ConfigMap", self.configs, self.used_configs, reference, "name", namespace)

    def secret(self, reference: Tree, namespace: str, name_field: str = "name") -> SecretData | None:
        """Return the Secret whose name the reference gives; missing ones are a problem unless it is optional."""
        return self._find("Secret", self.secrets, self.used_secrets, reference, name_field, namespace)

    def pull_secret(self, reference: Tree, namespace: str) -> str | None:
        """Return the name of a Secret with credentials for registries; None where it is missing, which Kubernetes bears too."""
        name = reference.get("name")
        if name is None:
            return None
        found = self.secrets.get((namespace, name))
        if found is None:
            if not self.unread.may_hold(name):
                reference.notice(f"there is no Secret {name!r} among the manifests: images are read with your own credentials", "name")
            return None
        self.used_pull_secrets.add((namespace, name))
        try:
            credentials(found)
        except NotCredentials as error:
            if ("Secret", namespace, name) not in self.failed:
                reference.problem(
                    "pull-secret-invalid",
                    f"Secret {name!r} has no credentials for registries: {error}",
                    "name",
                    expected="what `kubectl create secret docker-registry` makes",
                )
            return None
        return str(name)

    def _find(self, kind: str, known: dict[Key, _Found], used: set[Key], reference: Tree, name_field: str, namespace: str) -> _Found | None:
        name = reference.get(name_field)
        if name is None:
            return None
        key = (namespace, name)
        used.add(key)
        if key in known:
            return known[key]
        if not reference.get("optional") and not self.unread.may_hold(name):
            elsewhere = sorted(space for space, other in known if other == name)
            hint = f"there is one in namespace {elsewhere[0]}" if elsewhere else did_you_mean(name, (n for s, n in known if s == namespace))
            reference.problem(
                "missing-config-map" if kind == "ConfigMap" else "missing-secret",
                f"there is no {kind} {name!r} in namespace {namespace}",
                name_field,
                expected=f"a {kind} of that name among the manifests",
                hint=hint or "add it, or set optional: true",
            )
        return None

    def missing_key(self, tree: Tree, found: ConfigData | SecretData, keys: set[str]) -> None:
        """Note that the `key` of a reference is not in the object that was found, unless that is a consequence of another problem."""
        kind = "ConfigMap" if isinstance(found, ConfigData) else "Secret"
        if (kind, found.namespace, found.name) in self.failed:
            return
        tree.problem(
            "missing-key",
            f"{kind} {found.name!r} has no key {tree['key']!r}",
            "key",
            expected=f"one of {', '.join(sorted(keys))}" if keys else "a key that is there (there are none)",
            hint=did_you_mean(tree["key"], keys),
        )


_Found = TypeVar("_Found", ConfigData, SecretData)


def namespace_of(tree: Tree) -> str:
    """Return the object's namespace."""
    return tree.sub("metadata").get("namespace") or DEFAULT_NAMESPACE


def config_data(tree: Tree) -> ConfigData:
    """Make a ConfigMap of its tree."""
    data, binary = tree.get("data") or {}, tree.get("binaryData") or {}
    for key in sorted(set(data) & set(binary)):
        tree.problem("duplicate-name", f"the key {key!r} stands in data and in binaryData", "binaryData", expected="every key once")
    decoded = {key: syntax.decode(text) for key, text in binary.items()}
    _check_size(tree, sum(map(len, data.values())) + sum(map(len, decoded.values())))
    meta = tree.sub("metadata")
    return ConfigData(name=meta.get("name", ""), namespace=namespace_of(tree), where=meta.where("name"), data=data, binary=decoded)


def secret_data(tree: Tree) -> SecretData:
    """Make a Secret of its tree; stringData wins over data."""
    values = {key: syntax.decode(text) for key, text in (tree.get("data") or {}).items()}
    values |= {key: text.encode("utf-8", "surrogatepass") for key, text in (tree.get("stringData") or {}).items()}
    _check_size(tree, sum(map(len, values.values())))
    return SecretData(
        name=tree.sub("metadata").get("name", ""),
        namespace=namespace_of(tree),
        data={key: SecretValue(value) for key, value in values.items()},
    )


def _check_size(tree: Tree, size: int) -> None:
    if size > _LARGEST:
        tree.problem("too-large", f"holds {size} bytes", "data", expected=f"at most {_LARGEST} bytes, as in Kubernetes")
