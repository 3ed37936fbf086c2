"""A run that is killed at any call to the outside is completed by applying the same changes again, and can be removed."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from i2kit.errors import ConflictingRecord
from i2kit.resources import Balancer, DnsRecord, Image, InstanceGroup, Network, Resource, Secret, key
from i2kit.testing.context import sample_artefact
from i2kit.testing.samples import Samples
from i2kit_local import folders, haproxy, slirp, supervisor
from i2kit_local.supervisor import processes

from .conftest import Bed

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the local region needs root")

# Every call by which the driver changes anything, here as a place to die at.
PLACES: tuple[tuple[Any, str], ...] = (
    (folders, "write_new"),
    (os, "rename"),
    (os, "unlink"),
    (os, "mkdir"),
    (os, "link"),
    (subprocess, "run"),
    (slirp, "call"),
    (supervisor.Supervisor, "_call"),
    (haproxy.Haproxy, "ask"),
)
STEPS = 6


@pytest.fixture
def bed(make_bed: Callable[..., Bed], tmp_path: Path) -> Iterator[Bed]:
    image = Samples(environment="killed").image()
    bed = make_bed("killed", {image.name: sample_artefact(image, tmp_path)})
    yield bed
    bed.take_down()


def resources() -> tuple[Resource, ...]:
    """All kinds; the image boots nothing, which is no matter: its program is there, and supervisor tries it again and again."""
    samples = Samples(environment="killed")
    group = samples.group(secret="1")
    balancer = evolve(samples.balancer(group), scope="public")
    return (samples.network(), samples.secret(), samples.image(), group, balancer, samples.record(balancer))


def in_child(work: Callable[[], None], die_at: int | None) -> tuple[bool, int]:
    """Do `work` in a child that is killed before call number `die_at`; return whether it was, and how many calls it made."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(reading)
            calls = _armed(die_at)
            work()
            os.write(writing, str(calls[0]).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    _, status = os.waitpid(child, 0)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    assert killed or text, f"the child failed ({status})"
    return killed, int(text or 0)


def _armed(die_at: int | None) -> list[int]:
    calls = [0]

    def wrapped(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            calls[0] += 1
            if calls[0] == die_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*arguments, **options)

        return call

    for owner, name in PLACES:
        setattr(owner, name, wrapped(getattr(owner, name)))
    return calls


def create(bed: Bed) -> None:
    with suppress(ConflictingRecord):
        bed.driver.append_record("sample", 1, b"the claim comes before any change")
    bed.apply("create", *resources())


def delete(bed: Bed) -> None:
    """Delete as `i2kit destroy` does: what is observed, users first."""
    there = bed.driver.observe().by_key()
    for kind in (DnsRecord, Balancer, InstanceGroup, Image, Secret, Network):
        bed.apply("delete", *(one.resource for one in there.values() if isinstance(one.resource, kind)))
    bed.driver.remove_record("sample", 1)


def assert_whole(bed: Bed) -> None:
    observed = bed.driver.observe().by_key()
    assert observed.keys() == {key(one) for one in resources()}
    assert not [one.faults for one in observed.values() if one.faults]


def assert_nothing(bed: Bed) -> None:
    assert processes(bed.region.folders) == {}
    assert str(bed.region.folders.runtime) not in Path("/proc/mounts").read_text()
    assert not bed.region.folders.state.exists(), list(bed.region.folders.state.rglob("*"))
    assert not bed.region.folders.runtime.exists(), list(bed.region.folders.runtime.rglob("*"))


def points(total: int, offset: int) -> list[int]:
    """Spread over the calls; how many there are differs a little from run to run, since some wait for something."""
    return sorted({max(1, offset + round(step * total * 0.9 / STEPS)) for step in range(STEPS)})


def test_a_creation_that_is_killed_is_completed_or_removed(bed: Bed) -> None:
    killed, total = in_child(lambda: create(bed), None)
    assert not killed
    assert_whole(bed)
    delete(bed)
    assert_nothing(bed)
    deaths = 0
    for number, point in enumerate(points(total, 3)):
        killed, _ = in_child(lambda: create(bed), point)
        deaths += killed
        if number % 2:
            create(bed)
            assert_whole(bed)
        delete(bed)
        assert_nothing(bed)
    assert deaths >= STEPS - 1


def test_a_deletion_that_is_killed_is_completed_or_undone(bed: Bed) -> None:
    create(bed)
    killed, total = in_child(lambda: delete(bed), None)
    assert not killed
    assert_nothing(bed)
    deaths = 0
    for number, point in enumerate(points(total, 2)):
        create(bed)
        killed, _ = in_child(lambda: delete(bed), point)
        deaths += killed
        if number % 2:
            create(bed)
            assert_whole(bed)
        delete(bed)
        assert_nothing(bed)
    assert deaths >= STEPS - 1
