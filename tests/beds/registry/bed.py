"""A Docker registry on this machine's loopback, from Debian's package `docker-registry`, with a user and a password."""

from __future__ import annotations

import contextlib
import http.client
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

PROGRAM = "docker-registry"
USER, PASSWORD = "reader", "s3cret-canary"
_HTPASSWD = f"{USER}:$2b$05$abcdefghijklmnopqrstuullx5kP6GYZcFnepqhmI2H03s5Hsbhlm\n"
_CONFIG = """
version: 0.1
log: {{level: warn, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: "{folder}/data"}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:{port}", secret: test}}
auth: {{htpasswd: {{realm: test, path: "{folder}/htpasswd"}}}}
"""
_PATIENCE = 30.0


def missing() -> str:
    """Say which programs the bed needs and this machine lacks; empty when none."""
    lacking = [program for program in (PROGRAM, "skopeo") if shutil.which(program) is None]
    return f"not installed: {', '.join(lacking)} (apt-get install {' '.join(lacking)})" if lacking else ""


@contextlib.contextmanager
def registry(folder: Path, port: int) -> Iterator[str]:
    """Run a registry and yield its ``host:port``; it is ended with the block, whatever happens in it."""
    folder.mkdir(parents=True)
    (folder / "htpasswd").write_text(_HTPASSWD)
    (folder / "config.yml").write_text(_CONFIG.format(folder=folder, port=port))
    log = (folder / "log").open("wb")
    process = subprocess.Popen([PROGRAM, "serve", str(folder / "config.yml")], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        _wait(process, port, folder / "log")
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()
        log.close()


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
            connection.request("GET", "/v2/")
            if connection.getresponse().status == 401:
                return
        except OSError:
            pass
        finally:
            connection.close()
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the registry does not answer: {log.read_text()}")
        # Polling is all there is: the registry tells nobody when it listens.
        time.sleep(0.02)


def push(layout: Path, name: str, target: str) -> None:
    """Copy an image of an OCI layout to the registry at `target` (``host:port/name:tag``)."""
    command = ["skopeo", "copy", "--quiet", "--dest-tls-verify=false", f"--dest-creds={USER}:{PASSWORD}", "--insecure-policy"]
    done = subprocess.run([*command, f"oci:{layout}:{name}", f"docker://{target}"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
