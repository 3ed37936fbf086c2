"""The key by which versions of Secrets are told apart without giving anything away about their values."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from i2kit.environment import Environment
from i2kit.errors import InvalidInput, Problem
from i2kit.paths import data_home

KEY_BYTES = 32


def secret_key(environment: Environment) -> bytes:
    """Return the key of the environment's Secret versions; make one on this machine when none is named and there is none yet.

    Machines that deploy the same application share a key by `secrets: {keyFile: FILE}` in environment.yml: with another key
    every Secret has another version, and the groups that use it are replaced. Raises `InvalidInput` when the named file cannot be read.
    """
    if environment.secret_key_file is not None:
        path = Path(environment.secret_key_file)
        try:
            key = path.read_bytes()
        except OSError as error:
            raise InvalidInput(
                Problem(
                    code="secret-key", message=f"the key file {path} cannot be read: {error.strerror}", hint="create it: 32 random bytes"
                )
            ) from error
        if len(key) < KEY_BYTES // 2:
            raise InvalidInput(
                Problem(code="secret-key", message=f"the key file {path} holds {len(key)} bytes", expected=f"{KEY_BYTES} random bytes")
            )
        return key
    return _own_key(data_home() / "secret.key")


def _own_key(path: Path) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not path.exists():
        aside = path.with_name(f".{path.name}.{os.getpid()}")
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
        try:
            # Linking creates only if absent: of two first runs at once both get the same key.
            path.hardlink_to(aside)
        except FileExistsError:
            pass
        finally:
            aside.unlink()
    return path.read_bytes()
