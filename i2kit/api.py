"""The public surface of the library, in one place; `import i2kit` offers all of it."""

from i2kit.environment import Environment, load_environment
from i2kit.errors import (
    BuildError,
    ConflictingRecord,
    ExitCode,
    Held,
    I2kitError,
    Interrupted,
    InvalidInput,
    MissingRequirement,
    Problem,
    ProviderError,
    Where,
)
from i2kit.events import Event
from i2kit.graph import graph
from i2kit.hookspecs import hookimpl
from i2kit.operations import DeployOptions, Preview, apply, deploy, destroy, preview
from i2kit.stages import (
    BuiltImage,
    application_of,
    build,
    connect,
    default_application,
    diff,
    load,
    observe,
    plan,
    providers,
    resolve,
)
from i2kit.views import applications, logs, status
from i2kit.wire import from_data, to_data

__all__ = [
    "BuildError",
    "BuiltImage",
    "ConflictingRecord",
    "DeployOptions",
    "Environment",
    "Event",
    "ExitCode",
    "Held",
    "I2kitError",
    "Interrupted",
    "InvalidInput",
    "MissingRequirement",
    "Preview",
    "Problem",
    "ProviderError",
    "Where",
    "application_of",
    "applications",
    "apply",
    "build",
    "connect",
    "default_application",
    "deploy",
    "destroy",
    "diff",
    "from_data",
    "graph",
    "hookimpl",
    "load",
    "load_environment",
    "logs",
    "observe",
    "plan",
    "preview",
    "providers",
    "resolve",
    "status",
    "to_data",
]
