"""environment.yml -> Environment: one account, region, network and DNS zone."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from attrs import field, frozen
from attrs.validators import instance_of, matches_re

from i2kit.errors import InvalidInput, Problem, Where

DEFAULT_FILE = "environment.yml"

Architecture = Literal["x86_64", "aarch64"]
"""The kernel's names."""

_NAME = r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?"


@frozen(kw_only=True)
class BaseSettings:
    """The base that images are built on; `lock` is a file that pins it, `mirror` a Debian mirror to use instead of the machine's own."""

    name: Literal["debian"] = "debian"
    lock: str | None = None
    mirror: str | None = None


@frozen(kw_only=True)
class Environment:
    """Where applications are deployed.

    `provider` is the name of a registered provider, `settings` what the environment gives it besides (`region` and the like), `network`
    what it is told about the environment's network; the provider knows what may be in them.
    `architecture` is that of the VMs. `secret_key_file` holds the key of the digests by which Secrets are versioned.
    """

    name: str = field(default="local", validator=matches_re(_NAME))
    provider: str = field(default="local", validator=instance_of(str))
    settings: dict[str, Any] = field(factory=dict)
    application: str | None = None
    dns_zone: str = "i2kit.internal"
    network: dict[str, Any] = field(factory=dict)
    builder: str = "assembler"
    architecture: Architecture = "x86_64"
    base: BaseSettings = BaseSettings()
    secret_key_file: str | None = None
    source: str | None = None

    def wrong(self, path: str, message: str, *, expected: str = "", hint: str = "") -> Problem:
        """Return a problem of what the environment says at `path`, such as ``provider.region``: for `Provider.check`.

        >>> print(Environment(source="environment.yml").wrong("provider.region", "is 'moon'", expected="a region"))
        environment.yml provider.region: is 'moon'; expected a region [setting]
        """
        where = Where(file=self.source, path=path) if self.source else None
        return Problem(code="setting", message=message if where else f"{path} {message}", where=where, expected=expected, hint=hint)


def load_environment(path: str | Path | None = None) -> Environment:
    """Read environment.yml and return what it describes.

    Without a `path`, ``environment.yml`` in the current folder is read if there is one; otherwise the environment is the local region
    with its defaults. Raises `InvalidInput` with every problem of the file, or when the file that was named is not there.
    """
    from i2kit.manifest.settings import read_environment

    file = Path(DEFAULT_FILE if path is None else path)
    try:
        text = file.read_bytes().decode("utf-8")
    except FileNotFoundError as error:
        if path is None:
            return Environment()
        raise _unreadable(file, "there is no such file") from error
    except UnicodeDecodeError as error:
        raise _unreadable(file, "it is not UTF-8") from error
    except OSError as error:
        raise _unreadable(file, error.strerror or str(error)) from error
    return read_environment(file, text)


def _unreadable(file: Path, reason: str) -> InvalidInput:
    return InvalidInput(
        Problem(code="unreadable", message=f"cannot be read: {reason}", where=Where(file=str(file)), expected="an environment file")
    )
