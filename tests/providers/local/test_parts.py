"""The small parts: DNS messages, consoles, kernels, programs' definitions, how a VM counts, what is missing."""

from __future__ import annotations

import gzip
import http.server
import json
import os
import re
import socket
import struct
import threading
from pathlib import Path

import lz4.block
import pytest
from attrs import evolve

from i2kit.capabilities import Capability
from i2kit.environment import Environment
from i2kit.errors import InvalidInput
from i2kit.resources import DnsRecord
from i2kit.testing.samples import Samples
from i2kit_local import consoles, dnsmasq, plugin, programs, settings
from i2kit_local.balancing import ServerState, listeners
from i2kit_local.consoles import Follower, last
from i2kit_local.drains import connections
from i2kit_local.folders import Folders
from i2kit_local.health import instance
from i2kit_local.kernels import vmlinux
from i2kit_local.observe import View, observed_balancer, observed_group
from i2kit_local.qmp import Monitor
from i2kit_local.settings import Settings
from i2kit_local.state import BalancerState, GroupState, Member, resized
from i2kit_local.supervisor import Program
from i2kit_local.vm import is_live

SAMPLES = Samples()
MEMBER = Member(group="web", slot=0, index=0)


def test_a_dns_answer_is_read_past_compressed_names_and_other_records() -> None:
    query = dnsmasq.question(7, "a.b")
    cname = b"\xc0\x0c" + struct.pack("!2HIH", 5, 1, 0, 2) + b"\xc0\x0c"
    a = b"\xc0\x0c" + struct.pack("!2HIH", 1, 1, 0, 4) + bytes([10, 88, 128, 1])
    message = struct.pack("!6H", 7, 0x8180, 1, 2, 0, 0) + query[12:] + cname + a
    assert dnsmasq.addresses(message, 7) == ["10.88.128.1"]
    assert dnsmasq.addresses(message, 8) == []
    assert dnsmasq.addresses(b"", 7) == []


def test_connections_are_read_from_the_kernels_table() -> None:
    table = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0180580A:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   1: 0100580A:D05E 1000580A:1F90 01 00000000:00000000 00:00000000 00000000     0        0 2 1 0 20 4 30 10 -1
   2: 0100580A:D060 1100580A:1F90 05 00000000:00000000 00:00000000 00000000     0        0 3 1 0 20 4 30 10 -1
   3: 0100580A:D062 1200580A:1F90 06 00000000:00000000 00:00000000 00000000     0        0 0 3 0
"""
    assert connections(table) == {("10.88.0.16", 8080), ("10.88.0.17", 8080)}


def test_the_last_lines_go_back_before_the_cut(tmp_path: Path) -> None:
    (tmp_path / "console.log.1").write_text("[web] 1\n[web] 2\n")
    (tmp_path / "console.log").write_text("\n[web] 3\n")
    assert [line.text for line in last(tmp_path / "console.log", "web-0", 2)] == ["2", "3"]
    assert [line.text for line in last(tmp_path / "console.log", "web-0", 0)] == []
    assert len(last(tmp_path / "console.log", "web-0", None)) == 3
    assert last(tmp_path / "nowhere", "web-0", None) == []


def test_a_follower_reads_on_over_a_cut_and_waits_for_whole_lines(tmp_path: Path) -> None:
    console = tmp_path / "console.log"
    console.write_text("[web] old\n[web] hal")
    follower = Follower(console, "web-0")
    assert [line.text for line in follower.news()] == ["old"]
    with console.open("a") as file:
        file.write("f\n[web] before the cut\n")
    console.rename(tmp_path / "console.log.1")
    console.write_text("[web] after\n")
    assert [line.text for line in follower.news()] == ["half", "before the cut", "after"]
    follower.close()


def test_following_begins_with_the_tail_and_ends_when_closed(tmp_path: Path) -> None:
    console = tmp_path / "console.log"
    console.write_text("[web] 1\n[web] 2\n")
    waits = iter([False, True])

    def closed(_seconds: float) -> bool:
        with console.open("a") as file:
            file.write("[web] 3\n")
        return next(waits)

    lines = consoles.follow(lambda: {"web-0": console}, 1, closed)
    assert [line.text for line in lines] == ["2", "3"]


def elf(note: bytes) -> bytes:
    """A 64-bit ELF file of one note segment, with a section table behind."""
    header = bytearray(b"\x7fELF\x02\x01\x01" + bytes(57))
    struct.pack_into("<Q", header, 32, 64)
    struct.pack_into("<Q", header, 40, 500)
    struct.pack_into("<HHHHH", header, 54, 56, 1, 64, 3, 2)
    segment = struct.pack("<IIQQQQQQ", 4, 0, 120, 0, 0, len(note), len(note), 4)
    return bytes(header) + segment + note + b"sections"


XEN_NOTE = struct.pack("<III", 4, 8, 18) + b"Xen\0" + bytes(8)


def bzimage(payload: bytes) -> bytes:
    image = bytearray(1024)
    image[0x1F1] = 1
    image[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", image, 0x206, 0x20F)
    struct.pack_into("<II", image, 0x248, 0, len(payload))
    return bytes(image) + payload


def packed_lz4(data: bytes) -> bytes:
    half = len(data) // 2
    chunks = [lz4.block.compress(part, store_size=False) for part in (data[:half], data[half:])]
    return b"\x02\x21\x4c\x18" + b"".join(struct.pack("<I", len(chunk)) + chunk for chunk in chunks) + struct.pack("<I", len(data))


@pytest.mark.parametrize("pack", [packed_lz4, gzip.compress])
def test_a_kernel_with_an_entry_for_pvh_is_unpacked_and_trimmed(pack: object) -> None:
    kernel = vmlinux(bzimage(pack(elf(XEN_NOTE))))  # type: ignore[operator]
    assert kernel is not None
    assert kernel.endswith(XEN_NOTE)
    assert struct.unpack_from("<QH", kernel, 40)[0] == 0


@pytest.mark.parametrize(
    "image",
    [
        b"",
        bytes(4096),
        bzimage(b"unknown"),
        bzimage(packed_lz4(b"no elf at all")),
        bzimage(packed_lz4(elf(bytes(24)))),
        bzimage(packed_lz4(elf(XEN_NOTE))[:40]),
    ],
)
def test_a_kernel_that_cannot_be_entered_by_pvh_stays_as_it_is(image: bytes) -> None:
    assert vmlinux(image) is None


def test_a_program_is_written_so_that_supervisor_reads_the_same_words(tmp_path: Path) -> None:
    from supervisor.options import ServerOptions

    odd = str(tmp_path / "a folder; with 100% oddities")
    program = Program(name="vm-a-0", command=("/bin/echo", odd, "it's"), log=Path(odd), stop_seconds=7, environment={"PYTHONPATH": odd})
    path = tmp_path / "s.conf"
    path.write_text(f"[supervisord]\nlogfile={tmp_path}/l\n{program.render()}")
    options = ServerOptions()
    options.realize(["-c", str(path)])
    (group,) = options.process_group_configs
    (config,) = group.process_configs
    import shlex

    assert shlex.split(config.command)[-2:] == [odd, "it's"]
    assert config.stdout_logfile == odd
    assert config.stopwaitsecs == 7
    assert config.environment["PYTHONPATH"] == odd


def test_how_a_member_counts() -> None:
    assert instance(MEMBER, "RUNNING", (200, "ok")).ready
    not_ready = instance(MEMBER, "RUNNING", (503, "container web is not running"))
    assert (not_ready.state, not_ready.ready, not_ready.reason) == ("running", False, "container web is not running")
    assert instance(MEMBER, "RUNNING", None).state == "starting"
    assert instance(MEMBER, "STOPPED", None).state == "stopped"
    assert instance(MEMBER, "BACKOFF", None).state == "failed"
    assert instance(MEMBER, None, None).reason == "its program is gone"
    assert instance(evolve(MEMBER, leaving=True), "RUNNING", (200, "ok")).state == "stopping"


GROUP = SAMPLES.group(replicas=2)
STATE = resized(GroupState(resource=GROUP), GROUP, set())
BALANCER = BalancerState(resource=evolve(SAMPLES.balancer(GROUP), scope="public"), index=0, published={8080: 40001})
LISTENERS = listeners(BALANCER.resource, BALANCER.vip, {GROUP.name: [(one.id, one.address) for one in STATE.members]})
(LISTENER,) = LISTENERS
SERVERS = tuple(
    ServerState(listener=LISTENER.name, name=one.name, address=one.address, port=one.port, up=True, admin=0, weight=one.weight)
    for one in LISTENER.servers
)
VIEW = View(
    states={},
    vips=(BALANCER.vip,),
    servers=SERVERS,
    listening=frozenset({LISTENER.name}),
    published={(40001, BALANCER.vip, 8080): 1},
)


def test_a_balancer_that_works_has_an_endpoint_and_no_fault() -> None:
    seen = observed_balancer(BALANCER, LISTENERS, VIEW, "127.0.0.1")
    assert (seen.faults, seen.endpoints) == ((), ("http://127.0.0.1:40001",))


@pytest.mark.parametrize(
    ("view", "fault"),
    [
        (evolve(VIEW, servers=None), "HAProxy is not running"),
        (evolve(VIEW, vips=()), "its address is gone"),
        (evolve(VIEW, listening=frozenset()), "HAProxy does not listen on port 8080"),
        (evolve(VIEW, servers=SERVERS[1:]), f"{GROUP.name}-0 gets no traffic from HAProxy"),
        (evolve(VIEW, servers=(evolve(SERVERS[0], admin=1), SERVERS[1])), f"{GROUP.name}-0 gets no traffic from HAProxy"),
        (evolve(VIEW, servers=(evolve(SERVERS[0], weight=3), SERVERS[1])), f"{GROUP.name}-0 has weight 3 instead of 256"),
        (evolve(VIEW, servers=(*SERVERS, evolve(SERVERS[0], name="old-0"))), "old-0 still gets traffic from HAProxy"),
        (evolve(VIEW, published={}), "port 8080 is not published"),
    ],
)
def test_what_is_broken_about_a_balancer_is_said(view: View, fault: str) -> None:
    assert observed_balancer(BALANCER, LISTENERS, view, "127.0.0.1").faults == (fault,)


def test_one_that_is_drained_is_no_fault() -> None:
    view = evolve(VIEW, servers=(*SERVERS, evolve(SERVERS[0], name="old-0", admin=8)))
    assert observed_balancer(BALANCER, LISTENERS, view, "127.0.0.1").faults == ()


def test_a_group_whose_members_are_still_leaving_is_seen_in_its_real_size() -> None:
    smaller = resized(STATE, evolve(GROUP, replicas=1), set())
    states = {member.program: "RUNNING" for member in smaller.members}
    seen = {member.id: instance(member, "RUNNING", (200, "")) for member in smaller.members}
    observed = observed_group(smaller, states, seen)
    assert (observed.resource.replicas, observed.faults) == (2, ())  # type: ignore[union-attr]


def test_the_monitor_hears_how_the_guest_ended() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        monitor = Monitor(ours)
        theirs.sendall(b'{"QMP": {}}\n{"return": {}}\n{"event": "SHUTDOWN", "data": {"guest": true, "rea')
        monitor.read()
        assert monitor.ended == ""
        theirs.sendall(b'son": "guest-reset"}}\n')
        monitor.read()
        assert monitor.ended == "guest-reset"
        assert json.loads(theirs.recv(4096))["execute"] == "qmp_capabilities"
    monitor.read()
    assert monitor.closed
    ours.close()


def test_a_guest_is_live_when_livez_says_so() -> None:
    statuses = [200, 503]

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.path == "/livez"
            self.send_response(statuses.pop(0))
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            port = server.server_address[1]
            assert is_live("127.0.0.1", port, 2)
            assert not is_live("127.0.0.1", port, 2)
        finally:
            server.shutdown()
            thread.join()
    assert not is_live("127.0.0.1", port, 0.5)


def test_what_is_missing_is_said_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(programs, "_ALSO", ())
    problems = programs.missing()
    assert {problem.code for problem in problems} == {"missing-program"}
    assert "apt-get install haproxy" in {problem.hint for problem in problems}
    assert len(problems) == len(programs.PACKAGES)


def test_one_who_is_not_root_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "not-root" in {problem.code for problem in settings.check(Environment())}


def test_every_wrong_setting_is_said_at_once() -> None:
    environment = Environment(settings={"publish": "everywhere", "accelerator": "hvf"})
    with pytest.raises(InvalidInput) as caught:
        Settings.of(environment)
    assert len(caught.value.problems) == 2
    assert Settings.of(Environment()) == Settings()


def test_vms_of_another_architecture_are_refused() -> None:
    with pytest.raises(InvalidInput, match="architecture is aarch64, and the local region runs VMs for x86_64"):
        Settings.of(Environment(architecture="aarch64"))


def test_every_capability_has_a_level() -> None:
    assert plugin.PROVIDER.capabilities.keys() == set(Capability)
    assert plugin.limits().max_memory_mib > 100


def test_dnsmasq_asks_nobody_outside_for_the_environments_own_names() -> None:
    lines = dnsmasq.render(Folders(state=Path("/s"), runtime=Path("/r")), "i2kit.internal").splitlines()
    assert {"local=/cluster.local/", "local=/i2kit.internal/", "bind-interfaces"} <= set(lines)


def test_names_of_records_are_names_of_files() -> None:
    record = SAMPLES.record(SAMPLES.balancer(GROUP))
    assert isinstance(record, DnsRecord)
    assert "/" not in record.name


def test_every_error_code_has_its_entry() -> None:
    root = Path(__file__).parents[3]
    page = (root / "docs/reference/errors.md").read_text()
    headings = {code for line in page.splitlines() if line.startswith("### ") for code in line[4:].split(", ")}
    sources = "".join(path.read_text() for path in (root / "providers/i2kit_local").glob("*.py"))
    codes = set(re.findall(r'(?:\.of\(|code=)\s*"([a-z-]+)"', sources))
    assert len(codes) > 15
    assert codes <= headings
