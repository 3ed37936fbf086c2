"""HAProxy: makes what runs what is wanted, at run time where it can, so that no connection is dropped."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Mapping, Sequence

from i2kit.errors import ProviderError
from i2kit_local.balancing import (
    Listener,
    ServerState,
    fingerprint,
    held_back,
    parse_sessions,
    parse_states,
    render,
    starting_states,
)
from i2kit_local.folders import Folders, changed, write
from i2kit_local.health import answers_of
from i2kit_local.netns import Namespace
from i2kit_local.programs import program
from i2kit_local.supervisor import Program, Supervisor

NAME = "haproxy"
_START_SECONDS = 15.0
_RELOAD_SECONDS = 15.0
_CUT_SECONDS = 5.0
# One that takes longer to answer begins as down, and is checked a second later.
_READY_SECONDS = 0.5
_RESEND_SECONDS = 1.5
_SYNC_TRIES = 4
_SYNC_PAUSE_SECONDS = 0.3


class Haproxy:
    """An environment's HAProxy. The caller holds the environment's lock."""

    def __init__(self, folders: Folders, namespace: Namespace, supervisor: Supervisor) -> None:
        self._namespace = namespace
        self._supervisor = supervisor
        self._control = folders.socket("haproxy.sock")
        self._states = folders.runtime / "haproxy.states"
        self._configuration = folders.state / "haproxy.cfg"
        self._log = folders.state / "log/haproxy.log"

    def program(self, wanted: Sequence[Listener]) -> Program:
        """Write the configuration and return what supervisor is to run."""
        self._write(wanted)
        return Program(
            name=NAME,
            command=self._namespace.command(program("haproxy"), "-W", "-q", "-f", str(self._configuration)),
            log=self._log,
        )

    def _write(self, wanted: Sequence[Listener]) -> None:
        changed(self._configuration, render(wanted, control=self._control, states=self._states))
        changed(self._states, starting_states(wanted))

    def ask(self, command: str) -> str:
        """Send HAProxy a command and return its answer; raise `ProviderError` when it does not answer."""
        try:
            with socket.socket(socket.AF_UNIX) as sock:
                sock.settimeout(5)
                sock.connect(str(self._control))
                sock.sendall(f"{command}\n".encode())
                parts = []
                while part := sock.recv(65536):
                    parts.append(part)
        except OSError as error:
            raise ProviderError.of("haproxy", f"HAProxy does not answer: {error}", hint=f"see {self._log}") from error
        return b"".join(parts).decode(errors="replace").strip()

    def states(self) -> tuple[ServerState, ...] | None:
        """Return the servers that HAProxy has, None when it does not run."""
        try:
            return parse_states(self.ask("show servers state"))
        except ProviderError:
            return None

    def current(self, wanted: Sequence[Listener]) -> bool:
        """Whether HAProxy runs with these listeners, whatever the servers."""
        try:
            return f"description: {fingerprint(wanted)}" in self.ask("show info").splitlines()
        except ProviderError:
            return False

    def sync(self, wanted: Sequence[Listener], members: Mapping[str, bool]) -> bool:
        """Make the configuration, and HAProxy with it, what is wanted; `members` are the VMs that there are, and whether they stay.

        Connections to servers that are no members are cut. As long as none of those that are to have a listener's traffic is up, a
        staying member that has it keeps it: then the answer is False, and a later call goes on.
        """
        if not self._answers():
            self._supervisor.ensure(self.program(wanted))
            self._await(wanted, _START_SECONDS)
        elif not self.current(wanted):
            self._reload(wanted)
        self._write(wanted)
        for attempt in range(_SYNC_TRIES):
            try:
                return self._sync_servers(wanted, members)
            except ProviderError:
                # A run that died may have left a reload under way: what the old worker said of its servers is not true of the new one.
                if attempt == _SYNC_TRIES - 1:
                    raise
                time.sleep(_SYNC_PAUSE_SECONDS)
        return True

    def _answers(self) -> bool:
        return self.states() is not None

    def _await(self, wanted: Sequence[Listener], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not self.current(wanted):
            if time.monotonic() > deadline:
                raise ProviderError.of("haproxy", f"HAProxy does not run as configured after {seconds:.0f} s", hint=f"see {self._log}")
            time.sleep(0.02)

    def _reload(self, wanted: Sequence[Listener]) -> None:
        """Have a new worker take over: it keeps the sockets, the old one serves its connections to the end."""
        states = self.states() or ()
        up = {(one.listener, one.name) for one in states if one.up and one.admin == 0}
        self._write(wanted)
        write(self._states, starting_states(wanted, up | self._ready(wanted, states)))
        deadline = time.monotonic() + _RELOAD_SECONDS
        while True:
            self._supervisor.signal(NAME, signal.SIGUSR2)
            try:
                return self._await(wanted, _RESEND_SECONDS)
            except ProviderError:
                # A master that is still busy with the reload before does not hear the signal.
                if time.monotonic() > deadline:
                    raise

    def _sync_servers(self, wanted: Sequence[Listener], members: Mapping[str, bool]) -> bool:
        states = self.states() or ()
        there = {(one.listener, one.name): one for one in states}
        ready = self._ready(wanted, states)
        desired = {(listener.name, server.name): server for listener in wanted for server in listener.servers}
        # Those that come are let in before those that go are taken out: somebody serves at any time.
        for (listener, name), server in desired.items():
            state = there.get((listener, name))
            if state is not None and (state.address, state.port) != (server.address, server.port):
                self._make_room(listener, name)
                state = None
            if state is None:
                self._do(f"add server {listener}/{name} {server.line}", expected="New server registered.")
            if state is not None and state.weight != server.weight and (server.weight or state.admin != 0):
                self._do(f"set server {listener}/{name} weight {server.weight}")
            if state is None or state.admin != 0:
                self._let_in(f"{listener}/{name}", ready=(listener, name) in ready)
        return self._relieve(wanted, members)

    def _relieve(self, wanted: Sequence[Listener], members: Mapping[str, bool]) -> bool:
        """Take the traffic from the servers that are to have none any more, and tell whether all of them could be spared."""
        weights = {(listener.name, server.name): server.weight for listener in wanted for server in listener.servers}
        states = self.states() or ()
        held = held_back(wanted, states, {name for name, stays in members.items() if stays})
        for one in states:
            key = (one.listener, one.name)
            if key in held:
                continue
            if key not in weights:
                self._take_out(*key, cut=one.name not in members)
            elif weights[key] == 0 != one.weight:
                self._do(f"set server {one.listener}/{one.name} weight 0")
        return not held

    def _ready(self, wanted: Sequence[Listener], states: Sequence[ServerState]) -> set[tuple[str, str]]:
        """Ask the servers that HAProxy has not checked yet whether they are ready, so that they serve at once."""
        known = {(one.listener, one.name) for one in states if one.admin == 0}
        unknown = [(listener, one) for listener in wanted for one in listener.servers if (listener.name, one.name) not in known]
        questions = [(one.address, one.health_port, listener.health_path) for listener, one in unknown]
        answers = answers_of(self._namespace, questions, _READY_SECONDS)
        return {
            (listener.name, one.name)
            for (listener, one), answer in zip(unknown, answers, strict=True)
            if answer is not None and answer[0] == 200
        }

    def _let_in(self, server: str, *, ready: bool) -> None:
        """Let a server have traffic, if it is not ready once its check succeeds: leaving maintenance alone would count it as up."""
        self._do(f"set server {server} state drain")
        self._do(f"enable health {server}")
        self._do(f"set server {server} health {'up' if ready else 'down'}")
        self._do(f"set server {server} state ready")

    def _take_out(self, listener: str, name: str, *, cut: bool) -> bool:
        """Give a server no new connections, and remove it when it has none, at once if they are to be cut; tell whether it is removed.

        One that still has connections is removed by a later call.
        """
        server = f"{listener}/{name}"
        self._do(f"set server {server} state drain")
        if self.sessions(listener, name) and not cut:
            return False
        self._do(f"set server {server} state maint")
        if cut:
            self._do(f"shutdown sessions server {server}")
        return self.ask(f"del server {server}") == "Server deleted."

    def _make_room(self, listener: str, name: str) -> None:
        """Remove a server whose name is needed for another address; HAProxy takes a moment to end its connections."""
        deadline = time.monotonic() + _CUT_SECONDS
        while not self._take_out(listener, name, cut=True):
            if time.monotonic() > deadline:
                raise ProviderError.of("haproxy", f"HAProxy does not remove {listener}/{name}", hint=f"see {self._log}")
            time.sleep(0.02)

    def sessions(self, listener: str, name: str) -> int:
        """Return how many connections a server has now."""
        return parse_sessions(self.ask("show stat")).get((listener, name), 0)

    def _do(self, command: str, *, expected: str = "") -> None:
        answer = self.ask(command)
        if answer != expected:
            raise ProviderError.of("haproxy", f"HAProxy refuses {command!r}: {answer or 'no answer'}")
