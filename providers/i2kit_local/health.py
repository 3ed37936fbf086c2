"""How a group's VMs are: what supervisor says of their programs, and what each VM itself answers."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from i2kit.errors import ProviderError
from i2kit.plan import Instance, InstanceState
from i2kit_local.netns import Namespace
from i2kit_local.state import Member

_ANSWER_SECONDS = 1.0
_AT_ONCE = 32
_ANSWER_BYTES = 16 << 10

_STATES: dict[str, InstanceState] = {
    "STARTING": "starting",
    "RUNNING": "running",
    "STOPPING": "stopping",
    "STOPPED": "stopped",
    "EXITED": "stopped",
    "BACKOFF": "failed",
    "FATAL": "failed",
}
_REASONS = {
    "STOPPED": "its program was stopped",
    "EXITED": "its program has ended",
    "BACKOFF": "its program ends at once, and is started again",
    "FATAL": "its program cannot be started",
    "STOPPING": "it is shutting down",
}


def instances(namespace: Namespace, members: Sequence[tuple[Member, int]], states: dict[str, str]) -> dict[str, Instance]:
    """Return how each VM (with its health port) is, by its name; `states` are supervisor's."""
    alive = [(member, port) for member, port in members if states.get(member.program) in ("STARTING", "RUNNING")]
    found = answers_of(namespace, [(member.address, port, "/readyz") for member, port in alive])
    answers = dict(zip((member.id for member, _ in alive), found, strict=True))
    return {member.id: instance(member, states.get(member.program), answers.get(member.id)) for member, _ in members}


Answer = tuple[int, str]
"""An HTTP status and the text below it."""


def answers_of(
    namespace: Namespace, questions: Sequence[tuple[str, int, str]], seconds: float = _ANSWER_SECONDS, *, method: str = "GET"
) -> list[Answer | None]:
    """Ask VMs (address, port, path) side by side; None where none answers within so many seconds."""
    if not questions:
        return []
    try:
        sockets = namespace.inside(lambda: [socket.socket(socket.AF_INET, socket.SOCK_STREAM) for _ in questions])
    except ProviderError:
        return [None] * len(questions)
    with ThreadPoolExecutor(min(_AT_ONCE, len(questions))) as pool:
        return list(pool.map(lambda sock, question: _ask(sock, question, seconds, method), sockets, questions))


def instance(member: Member, program: str | None, answer: Answer | None) -> Instance:
    """Return how a VM is, given its program's state and its answer to ``/readyz`` (status, text). Pure."""
    ready = answer is not None and answer[0] == 200
    state: InstanceState
    if program is None:
        state, reason = "stopped", "its program is gone"
    elif answer is None and program in ("STARTING", "RUNNING"):
        state, reason = "starting", "it does not answer yet"
    elif answer is not None:
        state, reason = "running", "" if ready else answer[1]
    else:
        state, reason = _STATES.get(program, "failed"), _REASONS.get(program, program)
    if member.leaving:
        state, reason, ready = "stopping", "it is being removed", False
    return Instance(id=member.id, group=member.group, state=state, ready=ready, address=member.address, reason=reason)


def _ask(sock: socket.socket, question: tuple[str, int, str], seconds: float, method: str) -> Answer | None:
    address, port, path = question
    with sock:
        sock.settimeout(seconds)
        try:
            sock.connect((address, port))
            sock.sendall(f"{method} {path} HTTP/1.0\r\n\r\n".encode())
            answer = b""
            while len(answer) < _ANSWER_BYTES and (part := sock.recv(4096)):
                answer += part
        except OSError:
            return None
    head, _, body = answer.partition(b"\r\n\r\n")
    status = head.split(b" ")[1:2]
    if not status or not status[0].isdigit():
        return None
    return int(status[0]), body.decode(errors="replace").strip()
