"""environment.yml -> Environment: one account, region, network and DNS zone."""

from __future__ import annotations

from typing import Any, Literal

from attrs import field, frozen
from attrs.validators import instance_of, matches_re

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

    `provider` is the name of a registered provider, `settings` what the environment gives it besides (`region` and the like).
    `secret_key_file` holds the key of the digests by which Secrets are versioned.
    """

    name: str = field(default="local", validator=matches_re(_NAME))
    provider: str = field(default="local", validator=instance_of(str))
    settings: dict[str, Any] = field(factory=dict)
    application: str | None = None
    dns_zone: str = "i2kit.internal"
    builder: str = "assembler"
    base: BaseSettings = BaseSettings()
    secret_key_file: str | None = None
    source: str | None = None
