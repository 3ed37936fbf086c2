"""The public surface of the library, in one place; `import i2kit` offers all of it."""

from i2kit.cost import Cost, CostItem
from i2kit.environment import Environment, load_environment
from i2kit.errors import (
    BuildError,
    ConflictingRecord,
    ExitCode,
    Held,
    I2kitError,
    Interrupted,
    InvalidInput,
    MissingCredentials,
    MissingRequirement,
    Problem,
    ProviderError,
    Where,
)
from i2kit.events import Event
from i2kit.graph import graph
from i2kit.hookspecs import hookimpl
from i2kit.housekeeping import Garbage, collect, garbage
from i2kit.operations import Preview, apply, deploy, destroy, preview, preview_destroy
from i2kit.pauses import RolloutStatus, abort, promote, rollout_status
from i2kit.releases import Release, history, preview_rollback, restart, rollback
from i2kit.runs import DeployOptions
from i2kit.saved import SavedPlan
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
    "Cost",
    "CostItem",
    "DeployOptions",
    "Environment",
    "Event",
    "ExitCode",
    "Garbage",
    "Held",
    "I2kitError",
    "Interrupted",
    "InvalidInput",
    "MissingCredentials",
    "MissingRequirement",
    "Preview",
    "Problem",
    "ProviderError",
    "Release",
    "RolloutStatus",
    "SavedPlan",
    "Where",
    "abort",
    "application_of",
    "applications",
    "apply",
    "build",
    "collect",
    "connect",
    "default_application",
    "deploy",
    "destroy",
    "diff",
    "from_data",
    "garbage",
    "graph",
    "history",
    "hookimpl",
    "load",
    "load_environment",
    "logs",
    "observe",
    "plan",
    "preview",
    "preview_destroy",
    "preview_rollback",
    "promote",
    "providers",
    "resolve",
    "restart",
    "rollback",
    "rollout_status",
    "status",
    "to_data",
]
