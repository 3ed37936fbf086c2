"""The server's process: ``python -m aws.server [stock]``. It prints its port and ends with its standard input."""

from __future__ import annotations

import os
import sys
import threading
from typing import Any

# Read by moto when it is imported. An account of the tests' own has no images but theirs.
os.environ.update(MOTO_EC2_LOAD_DEFAULT_AMIS="false", MOTO_ACM_VALIDATION_WAIT="0")
STOCK = sys.argv[1:] == ["stock"]
if not STOCK:
    os.environ.update(MOTO_ENABLE_AMI_VALIDATION="true", MOTO_EC2_ENABLE_INSTANCE_TYPE_VALIDATION="true")

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app  # noqa: E402
from werkzeug.serving import make_server  # noqa: E402


class Handler(MotoRequestHandler):
    """Says nothing about requests that went well, and nothing about those that were cut."""

    def log_request(self, code: Any = "-", size: Any = "-") -> None:
        """Write no line for a request: the journal has it."""

    def connection_dropped(self, error: BaseException, environ: Any = None) -> None:
        """End a connection that was cut."""
        self.close_connection = True


def _application() -> Any:
    if STOCK:
        return DomainDispatcherApplication(create_backend_app)
    from aws import accounts, groups, images, listeners, nats, networks, pages, targets, templates, zones
    from aws.application import Application
    from aws.control import handle

    for part in (accounts, groups, images, listeners, nats, networks, pages, targets, templates, zones):
        part.install()
    return Application(handle)


def main() -> None:
    """Serve until standard input ends, which it does with whoever started this process."""
    server = make_server("127.0.0.1", 0, _application(), threaded=True, request_handler=Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
