"""What ``provider:`` in environment.yml may say for the local region, and what this machine has to have."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, cast, get_args

from attrs import frozen

from i2kit.environment import Environment
from i2kit.errors import InvalidInput, Problem
from i2kit_local.programs import missing

Accelerator = Literal["auto", "kvm", "tcg"]


@frozen(kw_only=True)
class Settings:
    """An environment's settings."""

    publish: str = "127.0.0.1"
    accelerator: Accelerator = "auto"

    @classmethod
    def of(cls, environment: Environment) -> Settings:
        """Return an environment's settings; raise `InvalidInput` with everything that is wrong with them."""
        if problems := _wrong(environment):
            raise InvalidInput(problems)
        given = environment.settings
        accelerator = cast(Accelerator, given.get("accelerator", "auto"))
        return cls(publish=given.get("publish", "127.0.0.1"), accelerator=accelerator)


def check(environment: Environment) -> Sequence[Problem]:
    """List what is wrong with the settings, and what is missing on this machine; touch nothing."""
    return (*_wrong(environment), *_rights(), *missing())


def _wrong(environment: Environment) -> list[Problem]:
    problems = []
    if environment.architecture != "x86_64":
        message, hint = (
            f"is {environment.architecture}, and the local region runs VMs for x86_64",
            "`i2kit build` makes images for aarch64 all the same",
        )
        problems.append(environment.wrong("architecture", message, expected="x86_64", hint=hint))
    publish = environment.settings.get("publish", "127.0.0.1")
    try:
        if not isinstance(publish, str) or ipaddress.ip_address(publish).version != 4:
            raise ValueError
    except ValueError:
        problems.append(environment.wrong("provider.publish", f"is {publish!r}", expected="an IPv4 address of this machine"))
    accelerator = environment.settings.get("accelerator", "auto")
    if accelerator not in get_args(Accelerator):
        problems.append(environment.wrong("provider.accelerator", f"is {accelerator!r}", expected="auto, kvm or tcg"))
    return problems


def _rights() -> list[Problem]:
    problems = []
    if os.geteuid() != 0:
        problems.append(
            Problem(code="not-root", message="the local region needs root to make networks", hint="run the same command with sudo")
        )
    if not Path("/proc/self/ns/net").exists():
        problems.append(
            Problem(
                code="no-namespaces",
                message="this kernel has no network namespaces",
                hint="use a kernel with CONFIG_NET_NS, as Debian's are",
            )
        )
    if not Path("/dev/net/tun").exists():
        problems.append(
            Problem(code="no-tun", message="/dev/net/tun is not there", hint="modprobe tun (in a container: give it the device)")
        )
    return problems
