"""With whose credentials a registry is asked: those of a Pod's own Secrets first, then the user's.

What skopeo cannot find by itself is written into a file that only the user can read, and that goes away at once; on no command line.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from i2kit.images.reference import DEFAULT_REGISTRY, Reference
from i2kit.manifest.pullsecrets import basic, credentials
from i2kit.manifest.workloads import SecretData

_HELPER_SECONDS = 60
_HELPER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
# What docker itself calls its hub, in its own files and to its helpers.
_HUB = "https://index.docker.io/v1/"
_HUB_NAMES = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})

Login = Path | None
"""A file for skopeo's ``--authfile``; None stands for what it finds by itself."""


@contextmanager
def logins(reference: Reference, secrets: Sequence[SecretData]) -> Iterator[tuple[Login, ...]]:
    """Yield what the reference's registry is to be asked with, one after the other, until it gives the image."""
    entries = [entry for secret in secrets if (entry := _best(reference, credentials(secret))) is not None]
    helped = _helped(reference.registry)
    entries += [helped] if helped else []
    with tempfile.TemporaryDirectory(prefix="i2kit-login-") as folder:
        files = [_written(Path(folder) / f"{number}.json", reference.registry, entry) for number, entry in enumerate(entries)]
        yield (*files, None)


def _written(path: Path, registry: str, entry: Mapping[str, str]) -> Path:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        json.dump({"auths": {registry: dict(entry)}}, stream)
    return path


def _best(reference: Reference, entries: Mapping[str, Mapping[str, str]]) -> Mapping[str, str] | None:
    """Return the entry for the reference; the one with the longest path wins, as in Kubernetes."""
    fitting = [name for name in entries if _fits(reference, name)]
    return entries[max(fitting, key=len)] if fitting else None


def _fits(reference: Reference, name: str) -> bool:
    """Whether credentials under `name` (``[https://]host[:port][/path]``, ``*`` within a part of the host) are for the reference."""
    plain = re.sub(r"^https?://", "", name).rstrip("/")
    host, _, path = plain.partition("/")
    path = "" if path in ("v1", "v2") else path
    if host in _HUB_NAMES:
        host = DEFAULT_REGISTRY
    ours, theirs = reference.registry.split("."), host.split(".")
    if len(ours) != len(theirs) or not all(fnmatchcase(own, pattern) for own, pattern in zip(ours, theirs, strict=True)):
        return False
    return not path or reference.repository == path or reference.repository.startswith(f"{path}/")


def docker_configuration() -> Path:
    """Return where docker's own configuration of the user lies."""
    return Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "config.json"


def _helped(registry: str) -> dict[str, str] | None:
    """Ask the helper that docker keeps all credentials with (``credsStore``), which skopeo does not know of.

    Helpers for single registries (``credHelpers``) skopeo asks by itself.
    """
    if "REGISTRY_AUTH_FILE" in os.environ:
        return None
    try:
        configuration = json.loads(docker_configuration().read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(configuration, dict):
        return None
    helpers, helper = configuration.get("credHelpers"), configuration.get("credsStore")
    if isinstance(helpers, dict) and registry in helpers:
        return None
    if not isinstance(helper, str) or not _HELPER.fullmatch(helper):
        return None
    return _ask(f"docker-credential-{helper}", _HUB if registry == DEFAULT_REGISTRY else registry)


def _ask(program: str, server: str) -> dict[str, str] | None:
    """Ask a credential helper; what it does not have or say, the registry will complain about."""
    try:
        done = subprocess.run([program, "get"], input=server.encode(), capture_output=True, timeout=_HELPER_SECONDS, check=False)
        answer: Any = json.loads(done.stdout) if done.returncode == 0 else None
    except (OSError, subprocess.TimeoutExpired, ValueError, RecursionError):
        return None
    if not isinstance(answer, dict) or not isinstance(answer.get("Secret"), str):
        return None
    # Docker's own word for a helper that has a token and no password.
    if answer.get("Username") == "<token>":
        return {"identitytoken": answer["Secret"]}
    return {"auth": basic(str(answer.get("Username", "")), answer["Secret"])}
