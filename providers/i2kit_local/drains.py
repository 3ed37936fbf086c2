"""When VMs that are to end have no connections any more, and how they are told: then nothing keeps them from ending at once."""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from pathlib import Path

from i2kit.errors import ProviderError
from i2kit_local.health import answers_of
from i2kit_local.netns import Namespace
from i2kit_local.state import Member

# TIME_WAIT, CLOSE and LISTEN of the kernel's net/tcp_states.h: nothing goes through these any more, or yet.
_IDLE = frozenset({0x06, 0x07, 0x0A})
_ANSWER_SECONDS = 0.5


def end_idle_drains(namespace: Namespace, leaving: Sequence[Member], health_port: int) -> None:
    """Tell those VMs that have no connections that their drain time is over; those that do not shut down yet take no notice.

    HAProxy gives them no new ones by now. The kernel knows of all, of HAProxy's old workers' too, which HAProxy itself does not tell.
    """
    try:
        table = namespace.inside(lambda: Path("/proc/thread-self/net/tcp").read_text())
    except (ProviderError, OSError):
        return  # without a namespace there is nobody to tell
    busy = {address for address, port in connections(table) if port != health_port}
    questions = [(one.address, health_port, "/drained") for one in leaving if one.address not in busy]
    answers_of(namespace, questions, _ANSWER_SECONDS, method="POST")


def connections(table: str) -> set[tuple[str, int]]:
    """Return the far ends (address, port) of connections in the kernel's table of IPv4 TCP sockets (proc(5), /proc/net/tcp). Pure."""
    rows = (line.split()[2:4] for line in table.splitlines()[1:])
    return {_end(remote) for remote, state in rows if int(state, 16) not in _IDLE}


def _end(text: str) -> tuple[str, int]:
    address, _, port = text.partition(":")
    # The address is a number in this machine's byte order.
    return socket.inet_ntoa(struct.pack("=I", int(address, 16))), int(port, 16)
