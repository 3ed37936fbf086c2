"""Runs in a process of its own: forks runs that SIGKILL themselves at every call of their driver, and others that finish them.

Prints a line of JSON for each: at which call, how the process ended, and how the one after it did.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from attrs import evolve, frozen
from i2kit_memory.driver import MemoryDriver
from i2kit_memory.region import Region
from runs import SAMPLES, Run, groups

from i2kit import executor
from i2kit.driver import Driver
from i2kit.plan import Plan
from i2kit.records import this_process
from i2kit.resources import InstanceGroup
from i2kit.runs import DeployOptions
from i2kit.testing.kill_points import PHASES, Killed, KillPoints, Phase, sigkill

executor.POLL_SECONDS, executor.LOOK_SECONDS = 0.002, 0.0


def web(version: str, replicas: int) -> Plan:
    """A workload with a Secret, whose group gives up at the first look at which it is not ready."""
    resources = SAMPLES.workload(version, replicas=replicas, secret="1")
    return SAMPLES.plan(*(evolve(one, progress_deadline_seconds=0) if isinstance(one, InstanceGroup) else one for one in resources))


def group_of(plan: Plan) -> InstanceGroup:
    (group,) = [one for one in plan.resources if isinstance(one, InstanceGroup)]
    return group


OLD, NEW = web("1", 1), web("2", 2)


def main(folder: Path) -> None:
    for name, operation in OPERATIONS.items():
        prepared = folder / f"{name}.json"
        assert in_child(partial(operation.prepare, prepared)) == 0
        for turn in range(len(PHASES)) if operation.at_every_moment else (0,):
            at, killed = 0, True
            while killed:
                at += 1
                phase = PHASES[turn if operation.at_every_moment else at % len(PHASES)]
                path = folder / f"{name}-{turn}-{at}.json"
                if prepared.exists():
                    shutil.copy(prepared, path)
                status = in_child(partial(die, operation, path, at, phase))
                killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
                finish = operation.finishes[at % len(operation.finishes)]
                finished = in_child(partial(finish, path))
                print(json.dumps({"operation": name, "phase": phase, "at": at, "killed": killed, "status": finished}))


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


def run(path: Path, driver: Driver | None = None, *, take_over: bool = False) -> Run:
    return Run(driver=driver or MemoryDriver(Region("conformance", path)), folder=path.parent, options=DeployOptions(take_over=take_over))


def die(operation: Operation, path: Path, at: int, phase: Phase) -> None:
    driver = KillPoints(MemoryDriver(Region("conformance", path)), at=at, phase=phase, kill=sigkill)
    operation.command(run(path, driver, take_over=operation.command is take_over))


def nothing(_path: Path) -> None:
    """The environment is empty."""


def old(path: Path) -> None:
    assert run(path).deploy(OLD).ok


def old_and_new_fails(path: Path) -> None:
    old(path)
    Region("conformance", path).set_unready(group_of(NEW).name, "its disk is full")


def both(path: Path) -> None:
    old(path)
    assert run(path).deploy(NEW).ok


def held(path: Path) -> None:
    """A run on another machine has died half way."""
    old(path)
    points = KillPoints(MemoryDriver(Region("conformance", path)), at=14, phase="after_effect")
    with suppress(Killed):
        evolve(run(path, points), holder=evolve(this_process(), host="elsewhere")).deploy(NEW)
    assert points.killed


def deploy_old(at_work: Run) -> None:
    at_work.deploy(OLD)


def deploy_new(at_work: Run) -> None:
    at_work.deploy(NEW)


def take_over(at_work: Run) -> None:
    at_work.deploy(NEW)


def roll_back(at_work: Run) -> None:
    at_work.rollback(to=1)


def destroy(at_work: Run) -> None:
    at_work.destroy("sample")


def old_again(path: Path) -> None:
    deployed(path, OLD)


def new_again(path: Path) -> None:
    deployed(path, NEW)


def fails_again(path: Path) -> None:
    assert not run(path).deploy(NEW).ok
    assert groups(run(path).driver.observe()) == {group_of(OLD).name: 1}


def by_force(path: Path) -> None:
    deployed(path, NEW, take_over=True)


def back_again(path: Path) -> None:
    assert run(path).rollback(to=1).ok
    deployed(path, OLD)


def deployed(path: Path, plan: Plan, *, take_over: bool = False) -> None:
    assert run(path, take_over=take_over).deploy(plan).ok
    wanted = {one.name: one.replicas for one in plan.resources if isinstance(one, InstanceGroup)}
    assert groups(run(path).driver.observe()) == wanted
    assert {one.result for one in run(path).deploy(plan).changes} == {"unchanged"}


def destroyed(path: Path) -> None:
    assert run(path).destroy("sample").ok
    assert run(path).driver.observe().resources == ()
    assert list(run(path).driver.applications()) == []


@frozen(kw_only=True)
class Operation:
    """What there is, the command that is killed, and what finishes it, by turns. Only of a first deploy each call is tried at every moment,
    of others at one: within one process, test_killed_runs and test_killed_day_two try them all."""

    prepare: Callable[[Path], None]
    command: Callable[[Run], None]
    finishes: tuple[Callable[[Path], None], ...]
    at_every_moment: bool = False


OPERATIONS = {
    "create": Operation(prepare=nothing, command=deploy_old, finishes=(old_again, new_again, destroyed), at_every_moment=True),
    "update": Operation(prepare=old, command=deploy_new, finishes=(new_again, old_again)),
    "undo": Operation(prepare=old_and_new_fails, command=deploy_new, finishes=(fails_again, old_again)),
    "rollback": Operation(prepare=both, command=roll_back, finishes=(back_again, new_again)),
    "take-over": Operation(prepare=held, command=take_over, finishes=(by_force,)),
    "destroy": Operation(prepare=both, command=destroy, finishes=(destroyed, new_again)),
}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
