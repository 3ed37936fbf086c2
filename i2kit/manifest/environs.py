"""A container's environment: `envFrom`, then `env`, references to ConfigMaps resolved."""

from __future__ import annotations

from collections.abc import Iterator

from i2kit.manifest.objects import Objects
from i2kit.manifest.table import Tree
from i2kit.manifest.workloads import EnvField, EnvSecret, EnvValue, EnvVar


def environment(container: Tree, namespace: str, objects: Objects) -> tuple[EnvVar, ...]:
    """Return the variables in the order in which they are set; of a name that stands twice the last one counts."""
    variables: list[EnvVar] = []
    for tree in container.get("envFrom") or ():
        variables += _all_of(tree, namespace, objects)
    for tree in container.get("env") or ():
        variables += _one(tree, namespace, objects)
    return tuple(variables)


def _all_of(tree: Tree, namespace: str, objects: Objects) -> Iterator[EnvVar]:
    prefix = tree.get("prefix", "")
    source = tree.only("configMapRef", "secretRef")
    if source == "configMapRef":
        config = objects.config(tree["configMapRef"], namespace)
        for key, value in sorted(config.data.items()) if config else ():
            yield EnvValue(name=prefix + key, value=_literal(value))
    elif source == "secretRef":
        secret = objects.secret(tree["secretRef"], namespace)
        if secret is not None:
            yield from (EnvSecret(name=prefix + key, secret=secret.name, key=key) for key in sorted(secret.data))


def _one(tree: Tree, namespace: str, objects: Objects) -> Iterator[EnvVar]:
    name = tree.get("name", "")
    if "valueFrom" not in tree:
        if not tree.broken("valueFrom"):
            yield EnvValue(name=name, value=tree.get("value", ""))
        return
    source: Tree = tree["valueFrom"]
    if tree.get("value"):
        tree.problem("conflicting-fields", "has both value and valueFrom", "valueFrom", expected="one of the two")
    chosen = source.only("configMapKeyRef", "secretKeyRef", "fieldRef")
    if chosen == "configMapKeyRef":
        yield from _from_config(name, source[chosen], namespace, objects)
    elif chosen == "secretKeyRef":
        yield from _from_secret(name, source[chosen], namespace, objects)
    elif chosen == "fieldRef" and "fieldPath" in source[chosen]:
        yield EnvField(name=name, field=source[chosen]["fieldPath"])


def _from_config(name: str, reference: Tree, namespace: str, objects: Objects) -> Iterator[EnvVar]:
    config = objects.config(reference, namespace)
    if config is None or "key" not in reference:
        return
    if reference["key"] in config.data:
        yield EnvValue(name=name, value=_literal(config.data[reference["key"]]))
    elif not reference.get("optional"):
        objects.missing_key(reference, config, set(config.data))


def _from_secret(name: str, reference: Tree, namespace: str, objects: Objects) -> Iterator[EnvVar]:
    secret = objects.secret(reference, namespace)
    if secret is None or "key" not in reference:
        return
    optional = bool(reference.get("optional"))
    if reference["key"] in secret.data:
        yield EnvSecret(name=name, secret=secret.name, key=reference["key"], optional=optional)
    elif not optional:
        objects.missing_key(reference, secret, set(secret.data))


def _literal(value: str) -> str:
    """Write a value so that the guest, which reads ``$(NAME)``, gives it back as it is."""
    return value.replace("$", "$$")
