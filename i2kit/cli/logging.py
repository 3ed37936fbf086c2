"""Where the library's structured events go: warnings to standard error, everything with --debug."""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import Any

import structlog

from i2kit.cli.messages import Messages


def configure(messages: Messages, *, debug: bool) -> None:
    """Send structlog's events to `messages`, all of them or those from warnings up."""

    def show(_logger: Any, level: str, event: MutableMapping[str, Any]) -> str:
        name = event.pop("event", "")
        text = " ".join([str(name), *(f"{key}={value!r}" for key, value in event.items())])
        if debug:
            messages.line(f"{level}: {text}")
        else:
            messages.warn(text)
        raise structlog.DropEvent

    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, structlog.processors.format_exc_info, show],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG if debug else logging.WARNING),
        logger_factory=structlog.ReturnLoggerFactory(),
        cache_logger_on_first_use=False,
    )
