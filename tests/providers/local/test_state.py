"""What the region remembers: slots and addresses, files, records."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from attrs import evolve

from i2kit.errors import ConflictingRecord, ProviderError
from i2kit.manifest.workloads import SecretValue
from i2kit.testing.samples import Samples
from i2kit_local import netns
from i2kit_local.folders import Folders, changed, private_folder, write
from i2kit_local.records import RecordFiles
from i2kit_local.state import BalancerState, GroupState, Member, State, free_vip, resized

SAMPLES = Samples()
GROUP = SAMPLES.group(replicas=3)


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders(state=tmp_path / "state/i2kit/e", runtime=tmp_path / "run/i2kit/e")


def slots(group: GroupState) -> list[tuple[int, int, bool]]:
    return [(member.slot, member.index, member.leaving) for member in group.members]


def test_members_get_the_lowest_free_slots_and_numbers() -> None:
    assert slots(resized(GroupState(resource=GROUP), GROUP, {0, 2})) == [(0, 1, False), (1, 3, False), (2, 4, False)]


def test_the_highest_slots_leave_first() -> None:
    group = resized(GroupState(resource=GROUP), GROUP, set())
    smaller = resized(group, evolve(GROUP, replicas=1), set())
    assert slots(smaller) == [(0, 0, False), (1, 1, True), (2, 2, True)]


def test_members_that_are_not_ready_leave_before_those_that_are() -> None:
    group = resized(GroupState(resource=GROUP), GROUP, set())
    smaller = resized(group, evolve(GROUP, replicas=2), set(), {f"{GROUP.name}-0"})
    assert slots(smaller) == [(0, 0, True), (1, 1, False), (2, 2, False)]
    smallest = resized(group, evolve(GROUP, replicas=1), set(), {f"{GROUP.name}-0"})
    assert slots(smallest) == [(0, 0, True), (1, 1, False), (2, 2, True)]


def test_a_member_that_is_leaving_is_not_taken_back() -> None:
    group = GroupState(resource=GROUP, members=(Member(group=GROUP.name, slot=0, index=0, leaving=True),))
    assert slots(resized(group, evolve(GROUP, replicas=1), {0})) == [(0, 0, True), (1, 1, False)]


def test_resizing_to_the_same_size_changes_nothing() -> None:
    group = resized(GroupState(resource=GROUP), GROUP, set())
    assert resized(group, GROUP, {0, 1, 2}) == group


def test_an_environment_without_free_addresses_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netns, "MEMBERS", 2)
    with pytest.raises(ProviderError, match="no address left"):
        resized(GroupState(resource=GROUP), GROUP, set())


def test_a_balancer_gets_the_lowest_free_address() -> None:
    balancer = SAMPLES.balancer(GROUP)
    assert free_vip({"a": BalancerState(resource=balancer, index=0), "b": BalancerState(resource=balancer, index=2)}) == 1
    assert netns.vip_address(1) == "10.88.128.2"


def test_addresses_of_vms_and_balancers_are_apart() -> None:
    assert netns.member_address(netns.MEMBERS - 1) == "10.88.127.255"
    assert netns.member_mac(259) == "52:54:00:88:01:03"


def test_what_is_saved_is_read_back(folders: Folders) -> None:
    state = State(folders=folders)
    group = resized(GroupState(resource=GROUP), GROUP, set())
    balancer = BalancerState(resource=SAMPLES.balancer(GROUP), index=3, published={80: 8080}, leaving=True)
    record = SAMPLES.record(balancer.resource)
    state.save_network(SAMPLES.network())
    state.save_group(group)
    state.save_balancer(balancer)
    state.save_name(record)
    state.save_secret(SAMPLES.secret(), {"user": SecretValue(b"root")})
    assert state.network() == SAMPLES.network()
    assert state.groups() == {GROUP.name: group}
    assert state.balancers() == {balancer.resource.name: balancer}
    assert list(state.names()) == [record]
    longest = evolve(record, name=f"{'a.' * 104}example.com0", scope="public")
    assert len(longest.name) == 220
    state.save_name(longest)
    assert set(state.names()) == {record, longest}
    assert list(state.secrets()) == [SAMPLES.secret()]
    assert state.secret_values(SAMPLES.secret().name) == {"user": "cm9vdA=="}


def test_a_damaged_file_is_named(folders: Folders) -> None:
    write(folders.state / "network.json", "{")
    with pytest.raises(ProviderError, match=r"network\.json is damaged"):
        State(folders=folders).network()


def test_a_record_is_created_only_once_and_gone_without_a_trace(folders: Folders) -> None:
    records = RecordFiles(folders)
    records.append("web", 1, b"first")
    records.append("web", 10, b"tenth")
    records.append("web", 2, b"second")
    with pytest.raises(ConflictingRecord):
        records.append("web", 1, b"other")
    assert [(one.number, one.body) for one in records.all("web")] == [(1, b"first"), (2, b"second"), (10, b"tenth")]
    assert records.applications() == ["web"]
    for number in (1, 2, 10, 10):
        records.remove("web", number)
    assert records.all("web") == []
    assert not folders.state.exists()


def test_of_many_who_append_the_same_record_one_wins(folders: Folders) -> None:
    records, won = RecordFiles(folders), []

    def append(body: bytes) -> None:
        try:
            records.append("web", 1, body)
        except ConflictingRecord:
            return
        won.append(body)

    threads = [threading.Thread(target=append, args=(str(number).encode(),)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.body for one in records.all("web")] == won
    assert [path.name for path in (folders.state / "records/web").iterdir()] == ["1"]


def test_what_a_dead_writer_left_goes_with_the_last_record(folders: Folders) -> None:
    records = RecordFiles(folders)
    records.append("web", 1, b"first")
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    (folders.state / "records/web" / f".2.abcd.{child}").touch()
    records.remove("web", 1)
    assert not folders.state.exists()


@pytest.mark.parametrize("umask", [0o000, 0o777])
def test_files_are_private_whatever_the_umask(folders: Folders, umask: int) -> None:
    old = os.umask(umask)
    try:
        write(private_folder(folders.state / "a/b") / "c", "secret")
    finally:
        os.umask(old)
    assert (folders.state / "a/b/c").stat().st_mode & 0o777 == 0o600
    assert {path.stat().st_mode & 0o777 for path in (folders.state, folders.state / "a", folders.state / "a/b")} == {0o700}


def test_a_file_that_says_the_same_is_not_written(folders: Folders) -> None:
    path = folders.state / "file"
    assert changed(path, "one")
    assert not changed(path, "one")
    assert changed(path, "two")


def test_the_lock_keeps_threads_apart_even_when_it_is_tidied_away(folders: Folders) -> None:
    inside, most = 0, 0
    guard = threading.Lock()

    def work() -> None:
        nonlocal inside, most
        for _ in range(20):
            with folders.locked():
                with guard:
                    inside += 1
                    most = max(most, inside)
                with guard:
                    inside -= 1
            folders.tidy()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert not folders.state.exists()


def test_a_socket_path_that_is_too_long_is_refused_with_the_limit(tmp_path: Path) -> None:
    folders = Folders(state=tmp_path, runtime=tmp_path / ("x" * 100))
    with pytest.raises(ProviderError, match="at most 107 bytes"):
        folders.socket("supervisor.sock")


def test_folders_are_where_xdg_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/s")
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    assert Folders.of("dev") == Folders(state=Path("/s/i2kit/dev"), runtime=Path("/run/i2kit/dev"))
