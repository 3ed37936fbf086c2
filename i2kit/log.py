"""The library's structured events; where they go is the application's business."""

from __future__ import annotations

import logging
from typing import Any

import structlog

logging.getLogger("i2kit").addHandler(logging.NullHandler())


def logger(name: str) -> Any:
    """Return a structlog logger: the application's configuration where there is one, the standard library's `i2kit.*` loggers otherwise.

    structlog itself would print where nobody configured it, and a library never prints.
    """
    if structlog.is_configured():
        return structlog.get_logger(name)
    return structlog.wrap_logger(
        logging.getLogger(name),
        processors=[structlog.stdlib.filter_by_level, structlog.stdlib.render_to_log_kwargs],
        wrapper_class=structlog.stdlib.BoundLogger,
    )
