"""A Docker registry on this machine's loopback, from Debian's package `docker-registry`, with a user and a password, and TLS if asked.

A registry under another name than this machine's is reached through `tunnel`, an HTTP proxy that leads every connection to it.
"""

from __future__ import annotations

import contextlib
import http.client
import shutil
import socket
import socketserver
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen

PROGRAM = "docker-registry"
USER, PASSWORD = "reader", "s3cret-canary"
_HTPASSWD = f"{USER}:$2b$05$abcdefghijklmnopqrstuullx5kP6GYZcFnepqhmI2H03s5Hsbhlm\n"
_CONFIG = """
version: 0.1
log: {{level: warn, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: "{folder}/data"}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:{port}", secret: test{tls}}}
auth: {{htpasswd: {{realm: test, path: "{folder}/htpasswd"}}}}
"""
_TLS = ', tls: {{certificate: "{certificate}", key: "{key}"}}'
_PATIENCE = 30.0


def missing() -> str:
    """Say which programs the bed needs and this machine lacks; empty when none."""
    lacking = [program for program in (PROGRAM, "skopeo", "openssl") if shutil.which(program) is None]
    return f"not installed: {', '.join(lacking)} (apt-get install {' '.join(lacking)})" if lacking else ""


def free_port() -> int:
    """Return a port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@frozen(kw_only=True)
class Certificate:
    """A server's certificate and key, and that of the CA that signed it."""

    ca: Path
    certificate: Path
    key: Path


def certified(folder: Path, name: str) -> Certificate:
    """Make a CA, and a certificate for a server of that name."""
    folder.mkdir()
    made = Certificate(ca=folder / "ca.crt", certificate=folder / "server.crt", key=folder / "server.key")
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    _openssl("req", "-x509", *curve, "-subj", "/CN=a test's own CA", "-keyout", str(folder / "ca.key"), "-out", str(made.ca))
    signed = ["-CA", str(made.ca), "-CAkey", str(folder / "ca.key"), "-addext", f"subjectAltName=DNS:{name}"]
    _openssl("req", "-x509", *curve, *signed, "-subj", f"/CN={name}", "-keyout", str(made.key), "-out", str(made.certificate))
    return made


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


@contextlib.contextmanager
def registry(folder: Path, port: int, certificate: Certificate | None = None) -> Iterator[str]:
    """Run a registry and yield its ``host:port``; it is ended with the block, whatever happens in it."""
    folder.mkdir(parents=True)
    (folder / "htpasswd").write_text(_HTPASSWD)
    tls = _TLS.format(certificate=certificate.certificate, key=certificate.key) if certificate else ""
    (folder / "config.yml").write_text(_CONFIG.format(folder=folder, port=port, tls=tls))
    log = (folder / "log").open("wb")
    process = subprocess.Popen([PROGRAM, "serve", str(folder / "config.yml")], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        _wait(process, port, folder / "log", tls=bool(tls))
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()
        log.close()


def _wait(process: subprocess.Popen[bytes], port: int, log: Path, *, tls: bool) -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
            connection.request("GET", "/v2/")
            # With TLS, plain HTTP is answered too: that it is the wrong one.
            if connection.getresponse().status == (400 if tls else 401):
                return
        except OSError:
            pass
        finally:
            connection.close()
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the registry does not answer: {log.read_text()}")
        # Polling is all there is: the registry tells nobody when it listens.
        time.sleep(0.02)


def push(layout: Path, name: str, target: str, *options: str) -> None:
    """Copy an image of an OCI layout to the registry at `target` (``host:port/name:tag``); ``dir`` names a folder of skopeo's own form."""
    command = ["skopeo", "copy", "--quiet", "--dest-tls-verify=false", f"--dest-creds={USER}:{PASSWORD}", "--insecure-policy", *options]
    source = {"": f"oci:{layout}", "dir": f"dir:{layout}"}.get(name, f"oci:{layout}:{name}")
    done = subprocess.run([*command, source, f"docker://{target}"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)


def blob(folder: Path, digest: str) -> Path:
    """Return where the registry of a folder keeps a blob: what lies there is what it serves, right or wrong."""
    plain = digest.removeprefix("sha256:")
    return folder / "data/docker/registry/v2/blobs/sha256" / plain[:2] / plain / "data"


class _Tunnels(socketserver.ThreadingTCPServer):
    daemon_threads = True
    target: tuple[str, int]


class _Tunnel(socketserver.StreamRequestHandler):
    server: _Tunnels

    def handle(self) -> None:
        while self.rfile.readline().strip():
            pass
        with socket.create_connection(self.server.target) as there, contextlib.suppress(OSError):
            self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
            back = threading.Thread(target=_pump, args=(there, self.connection), daemon=True)
            back.start()
            _pump(self.connection, there)
            back.join()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def tunnel(port: int) -> Iterator[str]:
    """Run an HTTP proxy that leads every connection to a port of the loopback, and yield its URL."""
    with _Tunnels(("127.0.0.1", 0), _Tunnel) as server:
        server.target = ("127.0.0.1", port)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
