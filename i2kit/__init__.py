"""Ships Kubernetes Pods as lightweight, immutable virtual machines.

Every stage is a function: `load`, `resolve`, `plan`, `observe`, `diff`, `apply`; `deploy` and `destroy` go the whole way. The surface is
loaded when it is first used, so that importing i2kit (and starting its command) costs next to nothing.
"""

from __future__ import annotations

import importlib
import sys
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING, Any

from i2kit._version import __version__ as __version__

if TYPE_CHECKING:
    from i2kit.api import *  # noqa: F403

_API = "i2kit.api"
_ALSO_MODULES = {"diff", "graph", "plan", "status"}


class _Package(ModuleType):
    def __setattr__(self, name: str, value: object) -> None:
        # Importing the submodule i2kit.plan sets it as an attribute here; `i2kit.plan` is to stay the function all the same.
        if not (name in _ALSO_MODULES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    # `from i2kit import names` asks here first; only what is no submodule may load the whole surface.
    if not name.startswith("_") and (name in _ALSO_MODULES or find_spec(f"{__name__}.{name}") is None):
        api = importlib.import_module(_API)
        if name in api.__all__:
            return getattr(api, name)
    raise AttributeError(f"module 'i2kit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*importlib.import_module(_API).__all__, "__version__"]
