"""The `i2kit` command, except that it SIGKILLs itself at one call of the driver: killed.py AT PHASE ARGUMENTS..."""

from __future__ import annotations

import sys

from attrs import evolve

from i2kit import cli
from i2kit.driver import Driver, Provider
from i2kit.environment import Environment
from i2kit.registry import Registry
from i2kit.testing.kill_points import PHASES, KillPoints, sigkill


def main() -> int:
    at, phase = int(sys.argv[1]), next(one for one in PHASES if one == sys.argv[2])
    find = Registry.provider

    def provider(registry: Registry, name: str) -> Provider:
        found = find(registry, name)

        def connect(environment: Environment) -> Driver:
            return KillPoints(found.connect(environment), at=at, phase=phase, kill=sigkill)

        return evolve(found, connect=connect)

    Registry.provider = provider  # type: ignore[method-assign]
    return cli.main(sys.argv[3:])


if __name__ == "__main__":
    sys.exit(main())
