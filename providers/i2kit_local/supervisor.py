"""supervisord, one per environment: it starts every long-lived program again when it ends, with no i2kit command running."""

from __future__ import annotations

import http.client
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from attrs import frozen

from i2kit.errors import ProviderError
from i2kit_local.folders import Folders, changed, private_folder
from i2kit_local.programs import program, search_path

OWNER = "I2KIT_LOCAL"
"""The variable that every process of an environment carries: its state folder."""

_START_SECONDS = 20.0
# More than the longest that a program may take to stop does not matter: supervisord has killed it by then.
_DROP_SECONDS = 900.0
_LOG_BYTES = "1MB"
ENDED = frozenset({"STOPPED", "EXITED", "FATAL", "BACKOFF", "UNKNOWN"})

_CONFIGURATION = """\
[unix_http_server]
file={socket}
chmod=0700

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface

[supervisord]
logfile={state}/log/supervisord.log
logfile_maxbytes=1MB
logfile_backups=1
childlogdir={state}/log
pidfile={runtime}/supervisord.pid
directory=/
umask=077
user=root
silent=true
identifier=i2kit

[supervisorctl]
serverurl=unix://{socket}

[include]
files={state}/programs/*.conf
"""


@frozen(kw_only=True)
class Program:
    """A program to keep running; `command` without shell, `stop_seconds` from TERM to KILL, `log` its output, cut at `log_bytes`."""

    name: str
    command: tuple[str, ...]
    log: Path
    log_bytes: str = _LOG_BYTES
    stop_seconds: int = 5
    environment: Mapping[str, str] = {}

    def render(self) -> str:
        """Return the section of supervisord's configuration."""
        # The program dies with supervisord: what nobody keeps running any more must not linger.
        command = (program("setpriv"), "--pdeathsig", "KILL", *self.command)
        lines = [
            f"[program:{self.name}]",
            f"command={_escaped(shlex.join(command))}",
            "autorestart=true",
            "startsecs=1",
            # Never give up: the pause between two tries grows by a second each time.
            "startretries=1000000000",
            f"stopwaitsecs={self.stop_seconds}",
            "killasgroup=true",
            "redirect_stderr=true",
            # This one supervisord expands twice.
            f"stdout_logfile={_escaped(_escaped(str(self.log)))}",
            f"stdout_logfile_maxbytes={self.log_bytes}",
            "stdout_logfile_backups=1",
        ]
        if self.environment:
            pairs = ",".join(f'{name}="{_escaped(value)}"' for name, value in sorted(self.environment.items()))
            lines.append(f"environment={pairs}")
        return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("%", "%%")


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=30)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class _Transport(xmlrpc.client.Transport):
    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        connection = _Connection(self._path)
        # Where the base class looks for what it is to close.
        self._connection = host, connection
        return connection


class Supervisor:
    """An environment's supervisord."""

    def __init__(self, folders: Folders) -> None:
        self._folders = folders
        self._socket = folders.socket("supervisor.sock")
        self._configuration = folders.state / "supervisord.conf"

    def _call(self, method: str, *arguments: Any) -> Any:
        # A connection per call: calls come from several threads.
        server = xmlrpc.client.ServerProxy("http://localhost", transport=_Transport(str(self._socket)), allow_none=True)
        try:
            with server as proxy:
                return getattr(proxy.supervisor, method)(*arguments)
        except xmlrpc.client.Fault:
            raise
        except (OSError, http.client.HTTPException, xmlrpc.client.Error) as error:
            raise ProviderError.of("supervisor", f"supervisord does not answer: {error}", hint="`i2kit deploy` starts it again") from error

    def running(self) -> bool:
        """Whether supervisord answers and is not on its way out."""
        try:
            return cast(str, self._call("getState")["statename"]) == "RUNNING"
        except (ProviderError, xmlrpc.client.Fault):
            return False

    def states(self) -> dict[str, str]:
        """Return every program that supervisord has, with its state; nothing when supervisord does not run."""
        try:
            return {one["name"]: one["statename"] for one in self._call("getAllProcessInfo")}
        except (ProviderError, xmlrpc.client.Fault):
            return {}

    def start(self) -> None:
        """Start supervisord with every program that has a file, unless it runs already."""
        private_folder(self._folders.state / "programs")
        private_folder(self._folders.state / "log")
        private_folder(self._folders.runtime)
        changed(
            self._configuration,
            _CONFIGURATION.format(
                socket=_escaped(str(self._socket)), state=_escaped(str(self._folders.state)), runtime=_escaped(str(self._folders.runtime))
            ),
        )
        if self.running():
            return
        end_processes(self._folders)
        self._socket.unlink(missing_ok=True)
        result = subprocess.run(
            [sys.executable, "-m", "supervisor.supervisord", "--configuration", str(self._configuration)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            umask=0o077,
            # Ctrl-C is for the command: what it started is to finish its step.
            start_new_session=True,
            # Nothing of the user's own environment, where credentials may be, goes to what outlives the command.
            env={"PATH": search_path(), "LANG": "C.UTF-8", "HOME": "/", OWNER: str(self._folders.state)},
        )
        if result.returncode:
            raise ProviderError.of("supervisor", f"supervisord does not start: {(result.stderr or result.stdout).strip()}")
        deadline = time.monotonic() + _START_SECONDS
        while not self.running():
            if time.monotonic() > deadline:
                raise ProviderError.of("supervisor", f"supervisord does not answer after {_START_SECONDS:.0f} s", hint=self._log_hint())
            time.sleep(0.02)

    def _log_hint(self) -> str:
        return f"see {self._folders.state / 'log/supervisord.log'}"

    def path(self, name: str) -> Path:
        """Return the file that defines a program."""
        return self._folders.state / "programs" / f"{name}.conf"

    def ensure(self, *programs: Program) -> None:
        """Have these programs run, as defined; one that runs is not disturbed, whatever it was started with."""
        states = self.states()
        for one in programs:
            if states.get(one.name, "UNKNOWN") in ENDED or not self.path(one.name).exists():
                changed(self.path(one.name), one.render())
        self.settle()
        states = self.states()
        for one in programs:
            state = states.get(one.name)
            if state in ENDED:
                with suppress(xmlrpc.client.Fault):  # it was started meanwhile
                    self._call("startProcess", one.name, False)

    def settle(self) -> None:
        """Make supervisord's programs those that have files."""
        try:
            [[added, altered, removed]] = self._call("reloadConfig")
        except xmlrpc.client.Fault as fault:
            raise ProviderError.of("supervisor", f"supervisord refuses its configuration: {fault.faultString}") from fault
        for name in (*removed, *altered):
            self._drop(name)
        for name in (*added, *altered):
            with suppress(xmlrpc.client.Fault):  # it is there already
                self._call("addProcessGroup", name)

    def _drop(self, name: str) -> None:
        self.begin_stop(name)
        deadline = time.monotonic() + _DROP_SECONDS
        while self.states().get(name, "STOPPED") not in ENDED and time.monotonic() < deadline:
            time.sleep(0.02)
        with suppress(xmlrpc.client.Fault):  # it is not there
            self._call("removeProcessGroup", name)

    def begin_stop(self, name: str) -> None:
        """Ask a program to end, and do not wait for it."""
        with suppress(xmlrpc.client.Fault):  # it does not run
            self._call("stopProcess", name, False)

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a program a signal, if it runs."""
        with suppress(xmlrpc.client.Fault):
            self._call("signalProcess", name, str(number.value))

    def restart(self, name: str) -> None:
        """End a program and start it again."""
        with suppress(xmlrpc.client.Fault):
            self._call("stopProcess", name, True)
        with suppress(xmlrpc.client.Fault):
            self._call("startProcess", name, False)

    def forget(self, name: str) -> None:
        """Remove a program that has ended, and its definition."""
        self.path(name).unlink(missing_ok=True)
        if self.running():
            self._drop(name)


def processes(folders: Folders) -> dict[int, str]:
    """Return the processes of an environment with the start time of each, found by what they carry, not by what was written down."""
    mark = f"{OWNER}={folders.state}".encode()
    here = Path("/").stat()
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with suppress(OSError):
            # In a container on this machine, the same path is another folder.
            if mark in (entry / "environ").read_bytes().split(b"\0") and os.path.samestat((entry / "root").stat(), here):
                found[int(entry.name)] = (entry / "stat").read_text().rpartition(")")[2].split()[19]
    return found


def end_processes(folders: Folders, *, patience: float = 5.0) -> None:
    """End whatever runs of an environment; raise `ProviderError` when something does not die."""
    deadline = time.monotonic() + patience
    while doomed := processes(folders):
        for pid in doomed:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            raise ProviderError.of("processes", f"processes of the environment do not end: {sorted(doomed)}")
        time.sleep(0.02)
