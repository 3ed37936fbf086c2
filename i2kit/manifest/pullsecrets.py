"""Secrets with credentials for registries (``imagePullSecrets``): Kubernetes' two types of them, read."""

from __future__ import annotations

import base64
import json
from typing import Any

from i2kit.manifest.workloads import SecretData

# https://kubernetes.io/docs/concepts/configuration/secret/#docker-config-secrets
KEYS = (".dockerconfigjson", ".dockercfg")
TYPES = ("kubernetes.io/dockerconfigjson", "kubernetes.io/dockercfg")


class NotCredentials(ValueError):
    """The Secret does not hold credentials; the text says why, and nothing of its content."""


def credentials(secret: SecretData) -> dict[str, dict[str, str]]:
    """Return what the Secret has for each registry, as docker's ``config.json`` has it under ``auths``.

    Nothing else of a docker configuration counts: a manifest names no programs to run. Raises `NotCredentials`.
    """
    for key in KEYS:
        if key in secret.data:
            document = _load(key, secret.data[key].reveal())
            entries = document.get("auths") if key == ".dockerconfigjson" else document
            if not isinstance(entries, dict) or not entries:
                raise NotCredentials(f"{key} names no registry")
            return {str(registry): _entry(key, entry) for registry, entry in entries.items()}
    raise NotCredentials(f"it has neither {' nor '.join(KEYS)}")


def _load(key: str, data: bytes) -> dict[str, Any]:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        # The original error would carry the text.
        raise NotCredentials(f"{key} is not JSON") from None
    if not isinstance(document, dict):
        raise NotCredentials(f"{key} is not a JSON object")
    return document


def _entry(key: str, entry: object) -> dict[str, str]:
    if not isinstance(entry, dict) or not all(isinstance(value, str) for value in entry.values()):
        raise NotCredentials(f"an entry of {key} is no object of texts")
    if entry.get("auth"):
        return {"auth": entry["auth"]}
    if entry.get("username"):
        return {"auth": basic(entry["username"], entry.get("password", ""))}
    if entry.get("identitytoken"):
        return {"identitytoken": entry["identitytoken"]}
    raise NotCredentials(f"an entry of {key} has neither auth nor username")


def basic(user: str, password: str) -> str:
    """Return user and password as docker's files have them.

    >>> basic("Aladdin", "open sesame")
    'QWxhZGRpbjpvcGVuIHNlc2FtZQ=='
    """
    return base64.b64encode(f"{user}:{password}".encode("utf-8", "surrogatepass")).decode()
