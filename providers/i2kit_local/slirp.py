"""slirp4netns: the way out of the namespace, and balancer ports published on this machine's loopback.

As a program (``python -m i2kit_local.slirp CONFIGURATION``) it becomes slirp4netns, and leaves a child behind that publishes the ports
again and ends: slirp4netns itself forgets them. Light to import, since it runs as a program of its own.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

NAME = "slirp4netns"
TAP = "tap0"
_START_SECONDS = 10.0


class Refused(Exception):
    """slirp4netns does not do what it is asked (a port is taken), or does not answer."""


def call(path: str, command: str, **arguments: Any) -> dict[str, Any]:
    """Send slirp4netns a command by its socket and return its answer; raise `Refused`."""
    request: dict[str, Any] = {"execute": command}
    if arguments:
        request["arguments"] = arguments
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(5)
            sock.connect(path)
            sock.sendall(json.dumps(request).encode())
            sock.shutdown(socket.SHUT_WR)
            parts = []
            while part := sock.recv(65536):
                parts.append(part)
        answer: dict[str, Any] = json.loads(b"".join(parts))
    except (OSError, ValueError) as error:
        raise Refused(str(error)) from error
    if "error" in answer:
        raise Refused(str(answer["error"]))
    return answer


def forwards(path: str) -> list[dict[str, Any]]:
    """Return the ports that are published; raise `Refused` when slirp4netns does not answer."""
    entries: list[dict[str, Any]] = call(path, "list_hostfwd")["entries"]
    return entries


def publish(path: str, forward: dict[str, Any]) -> None:
    """Publish a port (`host_addr`, `host_port`, `guest_addr`, `guest_port`); raise `Refused` when it is taken."""
    call(path, "add_hostfwd", proto="tcp", **forward)


def withdraw(path: str, identifier: int) -> None:
    """Take a published port back."""
    call(path, "remove_hostfwd", id=identifier)


def main(configuration: str) -> None:
    """Publish what the configuration lists, in a child, and become slirp4netns."""
    settings = json.loads(Path(configuration).read_text())
    Path(settings["socket"]).unlink(missing_ok=True)
    if (child := os.fork()) == 0:
        # A grandchild, which slirp4netns need not wait for.
        if os.fork() == 0:
            _publish_all(settings["socket"], settings["forwards"])
        os._exit(0)
    os.waitpid(child, 0)
    command = settings["command"]
    os.execv(command[0], command)  # noqa: S606 - it takes this program's place, under supervisor


def _publish_all(path: str, wanted: list[dict[str, Any]]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        try:
            forwards(path)
            break
        except Refused:
            time.sleep(0.02)
    for forward in wanted:
        try:
            publish(path, forward)
        except Refused as error:
            # Somebody else took the port meanwhile: `observe` sees it, and the next deploy finds another.
            sys.stderr.write(f"cannot publish {forward}: {error}\n")


if __name__ == "__main__":
    main(sys.argv[1])
