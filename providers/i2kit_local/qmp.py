"""QEMU's control protocol, as much as a VM's keeper needs. Light to import."""

from __future__ import annotations

import json
import socket
from typing import Any


class Monitor:
    """One side of a QMP connection; `ended` says how the guest ended, once QEMU has told."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._buffer = b""
        self.ended = ""
        self.closed = False
        sock.setblocking(False)
        self.send("qmp_capabilities")

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return self._socket.fileno()

    def send(self, command: str) -> None:
        """Send a command; its answer is not waited for."""
        try:
            self._socket.send(json.dumps({"execute": command}).encode() + b"\n")
        except OSError:
            self.closed = True

    def read(self) -> None:
        """Take in what QEMU has said."""
        try:
            data = self._socket.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.closed = True
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            self._hear(json.loads(line))

    def _hear(self, message: dict[str, Any]) -> None:
        if message.get("event") == "SHUTDOWN":
            self.ended = message.get("data", {}).get("reason", "shutdown")
