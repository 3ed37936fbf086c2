"""What the records are good for: history, going back, and the same once more."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import closing

from attrs import frozen

from i2kit import planner, replanning
from i2kit.environment import Environment
from i2kit.errors import InvalidInput, Problem
from i2kit.events import Cancel, Event, Report, silent
from i2kit.manifest.workloads import Workloads
from i2kit.names import mark_value
from i2kit.operations import Preview, look_ahead, with_cost, with_problems
from i2kit.plan import Outcome, Plan
from i2kit.records import Entry, last_release, releases
from i2kit.resources import Image
from i2kit.runs import DeployOptions, carry_out, read_entries, run_of
from i2kit.stages import connect, target

_NONE = Workloads(workloads=())


@frozen(kw_only=True)
class ReleasedWorkload:
    """A workload of a release; `images` are its containers' images with the digests that they had."""

    name: str
    namespace: str
    revision: str
    replicas: int
    images: tuple[str, ...]


@frozen(kw_only=True)
class Release:
    """One release: its number, when it was complete (seconds since the epoch), how it came about, and by whom.

    `current` is the one that was reached last.
    """

    number: int
    time: float
    action: str
    by: str
    current: bool
    workloads: tuple[ReleasedWorkload, ...]


def history(environment: Environment, application: str) -> tuple[Release, ...]:
    """Return the releases that can be gone back to and the present one, the oldest first.

    >>> import i2kit
    >>> i2kit.history(environment, "nothing")
    ()
    """
    with closing(connect(environment)) as driver:
        entries = read_entries(driver, application)
    last = last_release(entries)
    return tuple(_release(entry, entry.plan, current=entry is last) for entry in releases(entries) if entry.plan)


def _release(entry: Entry, plan: Plan, *, current: bool) -> Release:
    images = {one.name: one for one in plan.resources if isinstance(one, Image)}
    workloads = tuple(
        ReleasedWorkload(
            name=group.mark.workload,
            namespace=group.mark.namespace,
            revision=group.mark.revision,
            replicas=group.replicas,
            images=tuple(f"{name}@{digest[:19]}" for name, digest in sorted(_own_images(plan, images[group.image]).items())),
        )
        for group in planner.groups_of(plan)
    )
    return Release(number=entry.release, time=entry.time, action=entry.action, by=str(entry.holder), current=current, workloads=workloads)


def _own_images(plan: Plan, image: Image) -> Mapping[str, str]:
    """Return the images of a Pod's containers, without those of the base."""
    known = {one.reference for one in plan.lock.images.values()} if plan.lock else set()
    return {name: digest for name, digest in image.sources.items() if not known or name in known}


def rollback(
    environment: Environment,
    application: str,
    *,
    to: int | None = None,
    workload: str | None = None,
    options: DeployOptions = DeployOptions(),
    report: Report = silent,
    cancel: Cancel | None = None,
) -> Outcome:
    """Return an application, or one workload of it, to an earlier release: by default the one before the present one.

    After a deploy that failed or was interrupted, the default is the last good release itself; after a rollback that was killed, where it
    was going. Raises `InvalidInput` when there is nothing to go back to.

    >>> import i2kit
    >>> i2kit.deploy(["examples/hello"], environment=environment).ok
    True
    >>> i2kit.rollback(environment, "hello", to=1).ok
    True
    """
    with closing(connect(environment)) as driver:
        entries = read_entries(driver, application)
        chosen = _chosen(entries, application, to)
        plan = _goal(entries, chosen, application, workload)
        number = chosen.release
        what = f"rollback to {number}" + (f" of {workload}" if workload else "")
        report(Event(kind="stage", message=f"going back to release {number}"))
        return carry_out(run_of(driver, environment, options, report, cancel), plan, _NONE, action=what)


def preview_rollback(
    environment: Environment,
    application: str,
    *,
    to: int | None = None,
    workload: str | None = None,
    options: DeployOptions = DeployOptions(),
) -> Preview:
    """Return what `rollback` would do, and do nothing.

    >>> import i2kit
    >>> i2kit.deploy(["examples/hello"], environment=environment).ok
    True
    >>> i2kit.preview_rollback(environment, "hello", to=1).changes.pending
    ()
    """
    with closing(connect(environment)) as driver:
        entries = read_entries(driver, application)
        plan = _goal(entries, _chosen(entries, application, to), application, workload)
        return with_cost(with_problems(look_ahead(plan, driver.observe(), entries, environment, options), driver), environment)


def _chosen(entries: Sequence[Entry], application: str, to: int | None) -> Entry:
    """Return the release to go back to."""
    known = releases(entries)
    if not known:
        raise InvalidInput(Problem(code="no-release", message=f"application {application!r} was never deployed whole", hint="deploy it"))
    if to is not None:
        found = next((entry for entry in known if entry.release == to), None)
        if found is None:
            numbers = ", ".join(str(entry.release) for entry in known)
            raise InvalidInput(
                Problem(code="no-such-release", message=f"there is no release {to} of {application!r}", expected=f"one of {numbers}")
            )
        return found
    present = known[-1]
    if entries[-1].kind != "release":
        return _interrupted(entries, known) or present
    print_of = present.plan.fingerprint if present.plan else ""
    earlier = [entry for entry in known if entry.plan and entry.plan.fingerprint != print_of]
    if not earlier:
        raise InvalidInput(
            Problem(
                code="no-release",
                message=f"application {application!r} has no earlier release",
                hint="`i2kit history` shows which there are; revisionHistoryLimit says how many are kept",
            )
        )
    return earlier[-1]


def _interrupted(entries: Sequence[Entry], known: Sequence[Entry]) -> Entry | None:
    """Return the release to which a rollback was going that did not come to its end: the same command again goes on there."""
    claimed = next((entry for entry in reversed(entries) if entry.kind == "claim"), None)
    return next((entry for entry in known if claimed and claimed.action.split(" of ")[0] == f"rollback to {entry.release}"), None)


def _goal(entries: Sequence[Entry], chosen: Entry, application: str, workload: str | None) -> Plan:
    """Return the plan of the chosen release, or the present one with a single workload of it."""
    plan, present = chosen.plan, last_release(entries)
    if plan is None or present is None or present.plan is None:
        raise InvalidInput(Problem(code="no-release", message=f"release {chosen.release} of {application!r} holds no plan"))
    if workload is None:
        return plan
    return replanning.merged(present.plan, plan, named_workloads(plan, workload, application))


def named_workloads(plan: Plan, workload: str | None, application: str) -> Collection[tuple[str, str]]:
    """Return namespace and name of the workloads of a plan that a user means: all, or the one called ``name`` or ``namespace/name``."""
    known = [(group.mark.namespace, group.mark.workload) for group in planner.groups_of(plan)]
    namespace, _, name = (workload or "").rpartition("/")
    found = [one for one in known if workload is None or (one[1] == mark_value(name) and namespace in ("", one[0]))]
    if not found:
        names = ", ".join(name for _, name in known)
        message = f"application {application!r} has no workload {workload!r}"
        raise InvalidInput(Problem(code="no-such-workload", message=message, expected=f"one of {names}"))
    return found


def restart(
    environment: Environment,
    application: str,
    *,
    workload: str | None = None,
    options: DeployOptions = DeployOptions(),
    report: Report = silent,
    cancel: Cancel | None = None,
) -> Outcome:
    """Replace the members of an application's workloads, or of one, without a change, by the strategy of each.

    >>> import i2kit
    >>> i2kit.deploy(["examples/hello"], environment=environment).ok
    True
    >>> i2kit.restart(environment, "hello").ok
    True
    """
    with closing(connect(environment)) as driver:
        released = last_release(read_entries(driver, application))
        if released is None or released.plan is None:
            raise InvalidInput(
                Problem(code="no-release", message=f"application {application!r} was never deployed whole", hint="deploy it")
            )
        which = named_workloads(released.plan, workload, application)
        plan = replanning.restarted(released.plan, which, target(environment, application))
        return carry_out(run_of(driver, environment, options, report, cancel), plan, _NONE, action="restart")
