"""The verbs that look at what runs: applications, status, logs."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing

from i2kit.driver import LogLine
from i2kit.environment import Environment
from i2kit.errors import I2kitError
from i2kit.names import mark_value
from i2kit.pauses import rollouts_under_way
from i2kit.plan import Status
from i2kit.resources import InstanceGroup
from i2kit.runs import read_entries
from i2kit.stages import connect
from i2kit.status import status_of


def applications(environment: Environment) -> tuple[str, ...]:
    """Return the names of the applications in the environment."""
    with closing(connect(environment)) as driver:
        return tuple(driver.applications())


def status(environment: Environment, application: str) -> Status:
    """Return how an application is doing, seen at the real thing.

    >>> import i2kit
    >>> i2kit.deploy(["examples/hello"], environment=environment).ok
    True
    >>> hello = i2kit.status(environment, "hello").workloads[0]
    >>> hello.desired, hello.ready
    (2, 2)
    """
    with closing(connect(environment)) as driver:
        name = mark_value(application)
        entries = read_entries(driver, name)
        wanted = next((entry for entry in reversed(entries) if entry.plan), None)
        return status_of(
            driver.observe(),
            wanted.plan if wanted else None,
            environment=environment.name,
            application=name,
            provider=environment.provider,
            rollouts={one.workload: f"{one.state}: {one.message}" for one in rollouts_under_way(entries)},
        )


def logs(
    environment: Environment,
    application: str,
    *,
    workload: str | None = None,
    tail: int | None = None,
    follow: bool = False,
) -> Iterator[LogLine]:
    """Yield the console lines of an application's instances, of one workload if named; `tail` limits each instance's, `follow` goes on.

    >>> import i2kit
    >>> i2kit.deploy(["examples/hello"], environment=environment).ok
    True
    >>> lines = list(i2kit.logs(environment, "hello", tail=1))
    """
    driver = connect(environment)
    with closing(driver):
        name = mark_value(application)
        groups = [
            one.resource.name
            for one in driver.observe().resources
            if isinstance(one.resource, InstanceGroup)
            and one.resource.mark.application == name
            and (workload is None or one.resource.mark.workload == mark_value(workload))
        ]
        if not groups:
            raise I2kitError.of(
                "no-such-workload",
                f"application {application!r} has no running workload" + (f" {workload!r}" if workload else ""),
                hint="`i2kit status` shows what runs",
            )
        if follow and len(groups) > 1:
            yield from _interleaved([driver.logs(group, tail=tail, follow=True) for group in groups])
            return
        for group in groups:
            yield from driver.logs(group, tail=tail, follow=follow)


def _interleaved(streams: Sequence[Iterator[LogLine]]) -> Iterator[LogLine]:
    """Yield from several endless streams as their lines come."""
    lines: queue.Queue[LogLine | Exception | None] = queue.Queue(maxsize=1000)

    def pump(stream: Iterator[LogLine]) -> None:
        try:
            for line in stream:
                lines.put(line)
        except Exception as error:  # whoever reads is to hear of it, not wait for ever
            lines.put(error)
        else:
            lines.put(None)

    for stream in streams:
        threading.Thread(target=pump, args=(stream,), daemon=True).start()
    open_streams = len(streams)
    while open_streams:
        line = lines.get()
        if isinstance(line, Exception):
            raise line
        if line is None:
            open_streams -= 1
        else:
            yield line
