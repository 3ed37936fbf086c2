"""Runs in a process of its own: forks deploys that SIGKILL themselves at every call of their driver, and others that finish them.

Prints a line of JSON for each: at which call, how the process ended, and how the one after it did.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from i2kit_memory.driver import MemoryDriver
from i2kit_memory.region import Region
from runs import SAMPLES, Run, groups

from i2kit import executor
from i2kit.plan import Plan
from i2kit.resources import InstanceGroup
from i2kit.testing.kill_points import PHASES, KillPoints, Phase, sigkill

executor.POLL_SECONDS, executor.LOOK_SECONDS = 0.002, 0.0

OLD, NEW = SAMPLES.plan(*SAMPLES.workload("1", secret="1")), SAMPLES.plan(*SAMPLES.workload("2", replicas=2, secret="1"))


def main(folder: Path) -> None:
    for phase in PHASES:
        at, killed = 0, True
        while killed:
            at += 1
            path = folder / f"{phase}-{at}.json"
            status = in_child(lambda at=at, phase=phase, path=path: die(path, at, phase))  # type: ignore[misc]
            killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
            finish = (again, changed, destroyed)[at % 3]
            finished = in_child(lambda finish=finish, path=path: finish(path))  # type: ignore[misc]
            print(json.dumps({"phase": phase, "at": at, "killed": killed, "finish": finish.__name__, "status": finished}))


def in_child(act: Callable[[], None]) -> int:
    """Do something in a process of its own; return how that ended."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    code = 1
    try:
        act()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def run(path: Path) -> Run:
    return Run(driver=MemoryDriver(Region("conformance", path)), folder=path.parent)


def die(path: Path, at: int, phase: Phase) -> None:
    driver = KillPoints(MemoryDriver(Region("conformance", path)), at=at, phase=phase, kill=sigkill)
    Run(driver=driver, folder=path.parent).deploy(OLD)


def again(path: Path) -> None:
    deployed(path, OLD)


def changed(path: Path) -> None:
    deployed(path, NEW)


def deployed(path: Path, plan: Plan) -> None:
    assert run(path).deploy(plan).ok
    wanted = {one.name: one.replicas for one in plan.resources if isinstance(one, InstanceGroup)}
    assert groups(run(path).driver.observe()) == wanted
    assert {one.result for one in run(path).deploy(plan).changes} == {"unchanged"}


def destroyed(path: Path) -> None:
    assert run(path).destroy("sample").ok
    assert run(path).driver.observe().resources == ()
    assert list(run(path).driver.applications()) == []


if __name__ == "__main__":
    main(Path(sys.argv[1]))
