"""Steady load on a URL, as different clients make it, and what became of every request.

A request has failed when it did not get a whole answer with status 200 and the right content. Only one thing is forgiven, as every HTTP
client does (RFC 9112, section 9.3.1): a GET on a kept connection, which has had an answer before, that the server has closed before a
single byte of this answer is sent once more, on a new connection. Such a closing is counted (`retried`), and the second try counts as a
request on a new connection does.
"""

from __future__ import annotations

import functools
import hashlib
import http.client
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit

from attrs import define, field, frozen

from i2kit.images.store import ImageStore
from i2kit.images.tars import TarFiles

SERVER = Path(__file__).parent / "loadserver" / "main.go"
IMAGE = "loadserver:1"
UPLOAD_BYTES = 1_000_000
_TIMEOUT_SECONDS = 20.0


@frozen(kw_only=True)
class Failure:
    """A request that failed: its kind, when (seconds since the load began), and why."""

    kind: str
    at: float
    reason: str


@frozen(kw_only=True)
class Answer:
    """A request that was answered well: its kind, when it was sent (seconds since the load began), and by which server."""

    kind: str
    sent: float
    server: str


class Closed(ConnectionError):
    """The server has closed the connection before any byte of an answer."""


@define(kw_only=True)
class Load:
    """Puts load on `url` from when it is entered until it is left; slow answers take `slow_seconds`."""

    url: str
    slow_seconds: float = 3.0
    log: list[Answer] = field(factory=list)
    counts: Counter[str] = field(factory=Counter)
    answers: Counter[str] = field(factory=Counter)
    failures: list[Failure] = field(factory=list)
    retried: int = 0
    _stop: threading.Event = field(factory=threading.Event)
    _lock: threading.Lock = field(factory=threading.Lock)
    _threads: list[threading.Thread] = field(factory=list)
    _began: float = 0.0

    def __enter__(self) -> Load:
        self._began = time.monotonic()
        clients: list[Callable[[], None]] = [self._fresh, self._fresh, self._kept, self._kept, self._slow, self._slow, self._uploads]
        clients += [self._kept_slow]
        self._threads = [threading.Thread(target=client, daemon=True) for client in clients]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=2 * _TIMEOUT_SECONDS)
            if thread.is_alive():
                self._failed("any", "a request does not end")

    def now(self) -> float:
        """Return the seconds since the load began."""
        return time.monotonic() - self._began

    def servers(self, *kinds: str, since: float) -> set[str]:
        """Return who has answered requests of those kinds that were sent since then."""
        return {one.server for one in list(self.log) if one.kind in kinds and one.sent >= since}

    def _connection(self) -> http.client.HTTPConnection:
        parts = urlsplit(self.url)
        return http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_TIMEOUT_SECONDS)

    def _fresh(self) -> None:
        """New connections, one request each."""
        while not self._stop.wait(0.03):
            self._ask("new", "/", keep=False)

    def _slow(self) -> None:
        """Answers that take their time."""
        while not self._stop.wait(0.05):
            self._ask("slow", f"/?seconds={self.slow_seconds}", keep=False)

    def _uploads(self) -> None:
        while not self._stop.wait(0.1):
            self._ask("upload", "/upload", body=os.urandom(UPLOAD_BYTES), keep=False)

    def _kept(self) -> None:
        """One connection for many requests, with pauses between them."""
        self._keep("kept", "/")

    def _kept_slow(self) -> None:
        """A kept connection on which an answer is under way nearly all the time."""
        self._keep("kept-slow", f"/?seconds={self.slow_seconds}")

    def _keep(self, kind: str, path: str) -> None:
        connection = self._connection()
        while not self._stop.wait(0.05):
            connection = self._ask(kind, path, connection=connection) or self._connection()
        connection.close()

    def _ask(
        self, kind: str, path: str, *, body: bytes | None = None, connection: http.client.HTTPConnection | None = None, keep: bool = True
    ) -> http.client.HTTPConnection | None:
        """Make a request; return the connection when it can be used again."""
        # http.client has given up the socket when the server has said that it closes.
        used = connection is not None and connection.sock is not None
        connection, sent = connection or self._connection(), self.now()
        try:
            try:
                answer = self._answer(connection, path, body, keep)
            except Closed:
                if not used or body is not None:
                    raise
                with self._lock:
                    self.retried += 1
                connection.close()
                connection, sent = self._connection(), self.now()
                answer = self._answer(connection, path, body, keep)
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            self._failed(kind, f"{type(error).__name__}: {error}")
            return None
        server = answer.split(" ")[0]
        if body is not None and answer.split()[2:] != [str(len(body)), hashlib.sha256(body).hexdigest()]:
            self._failed(kind, f"the upload arrived damaged: {answer[:100]}")
        with self._lock:
            self.log.append(Answer(kind=kind, sent=sent, server=server))
            self.counts[kind] += 1
            self.answers[server] += 1
        if not keep:
            connection.close()
            return None
        return connection

    def _answer(self, connection: http.client.HTTPConnection, path: str, body: bytes | None, keep: bool) -> str:
        headers = {} if keep else {"Connection": "close"}
        try:
            connection.request("GET" if body is None else "POST", path, body=body, headers=headers)
            begun = connection.sock.recv(1, socket.MSG_PEEK)
        except (ConnectionResetError, BrokenPipeError) as error:
            raise Closed(str(error)) from error
        if not begun:
            raise Closed("the server has closed the connection")
        answer = connection.getresponse()
        text = answer.read().decode()
        if answer.status != 200:
            raise http.client.HTTPException(f"status {answer.status}: {text[:100]}")
        return text

    def _failed(self, kind: str, reason: str) -> None:
        with self._lock:
            self.failures.append(Failure(kind=kind, at=round(self.now(), 2), reason=reason))


@functools.cache
def server_binary() -> bytes:
    """Compile the server for this machine."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "server"
        command = [str(Path(sys.executable).parent / "go"), "build", "-trimpath", "-ldflags", "-s -w", "-o", str(out), str(SERVER)]
        environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "", "GOPROXY": "off", "GO111MODULE": "off"}
        subprocess.run(command, check=True, env=environment, capture_output=True, timeout=300)
        return out.read_bytes()


def image(layout: Path) -> None:
    """Write the server's image as an OCI layout."""
    files = TarFiles()
    files.file("server", server_binary(), 0o755)
    with tempfile.TemporaryDirectory() as scratch:
        layer = Path(scratch) / "layer.tar"
        layer.write_bytes(files.bytes())
        ImageStore(layout).add(IMAGE, [layer], {"Entrypoint": ["/server"], "ExposedPorts": {"8080/tcp": {}}, "User": "65534:65534"})


def manifest(version: str, *, replicas: int = 2, strategy: str = "", annotations: str = "", more: str = "") -> str:
    """Return the manifests of the server in some version; `more` are further lines of the Deployment's spec, `strategy` one of them."""
    spec = "".join(f"  {line}\n" for line in (strategy, more) if line)
    notes = f"  annotations: {annotations}\n" if annotations else ""
    return f"""\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: load
{notes}spec:
  replicas: {replicas}
{spec}  selector: {{matchLabels: {{app: load}}}}
  template:
    metadata: {{labels: {{app: load}}}}
    spec:
      terminationGracePeriodSeconds: 10
      containers:
        - name: web
          image: {IMAGE}
          env: [{{name: VERSION, value: "{version}"}}]
          ports: [{{name: http, containerPort: 8080}}]
          readinessProbe: {{httpGet: {{path: /healthz, port: http}}, periodSeconds: 1}}
          resources: {{limits: {{memory: 48Mi}}}}
---
apiVersion: v1
kind: Service
metadata: {{name: load}}
spec:
  type: LoadBalancer
  selector: {{app: load}}
  ports: [{{name: http, port: 8095, targetPort: http}}]
"""
