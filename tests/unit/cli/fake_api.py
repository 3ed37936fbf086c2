"""The library's public surface, faked: remembers how it was called and answers what a test wants.

`install` puts it where the command line imports it from; as a program it is the `i2kit` command over the fake, in one of
the situations of `SITUATIONS`.
"""

from __future__ import annotations

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from types import ModuleType
from typing import Any

from i2kit.driver import LogLine
from i2kit.environment import Environment
from i2kit.errors import InvalidInput, Problem, ProviderError, Where
from i2kit.events import Event
from i2kit.graph import graph as draw
from i2kit.manifest.workloads import Container, Pod, Service, ServicePort, Workload, Workloads
from i2kit.plan import ChangeOutcome, Observed, Outcome, Plan, Status

from .sample import ABORTED, BALANCER, CHANGES, DONE, FAILED, GARBAGE, GONE, GROUP, OBSERVED, PLAN, RELEASES, ROLLOUTS, STATUS

WHERE = Where(file="hello.yaml", line=3, path="spec")
WORKLOADS = Workloads(
    workloads=(
        Workload(
            name="web",
            namespace="default",
            replicas=2,
            pod=Pod(containers=(Container(name="web", image="hello:1", where=WHERE),)),
            where=WHERE,
        ),
    ),
    services=(
        Service(
            name="web",
            namespace="default",
            type="LoadBalancer",
            ports=(ServicePort(port=80, target_port=8080),),
            workloads=("web",),
            where=WHERE,
        ),
    ),
    notices=PLAN.notices,
)
LINES = (
    LogLine(instance="web-0", container="web", text="GET / 200"),
    LogLine(instance="web-0", container="", text='i2kit {"event": "start"}'),
)


class FakeApi(ModuleType):
    """Answers with the sample application; tests replace single functions."""

    def __init__(self) -> None:
        super().__init__("i2kit.api")
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self.known: tuple[str, ...] = ("hello",)
        self.left = Observed()
        self.answers: dict[str, Any] = {
            "deploy": DONE,
            "destroy": DONE,
            "status": STATUS,
            "changes": CHANGES,
            "preview_destroy": GONE,
            "history": RELEASES,
            "rollout_status": ROLLOUTS,
            "rollback": DONE,
            "promote": DONE,
            "abort": ABORTED,
            "restart": DONE,
            "garbage": GARBAGE,
            "collect": GARBAGE,
        }

    def called(self, name: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments of the only call of `name`."""
        ((_, arguments, named),) = [call for call in self.calls if call[0] == name]
        return arguments, named

    def _note(self, name: str, *arguments: Any, **named: Any) -> Any:
        self.calls.append((name, arguments, named))
        answer = self.answers.get(name)
        if isinstance(answer, BaseException):
            raise answer
        return answer(*arguments, **named) if callable(answer) else answer

    class DeployOptions:
        def __init__(self, **given: Any) -> None:
            self.given = given

    def load_environment(self, path: str | Path | None = None) -> Environment:
        return Environment(name=Path(path).stem) if path else Environment()

    def application_of(self, environment: Environment, sources: Any, named: str | None) -> str:
        return named or environment.application or Path(str(sources[0])).stem

    def load(self, sources: Any, *, stdin: Any = None) -> Workloads:
        self._note("load", sources, stdin=stdin)
        return WORKLOADS

    def resolve(
        self,
        workloads: Any,
        environment: Any,
        *,
        previous: Any = None,
        update_base: bool = False,
        format: Any = None,  # noqa: A002
        report: Any = None,
    ) -> None:
        report(Event(kind="stage", message="looking up hello:1"))

    def plan(
        self,
        workloads: Any,
        locked: Any,
        environment: Any,
        *,
        application: str,
        format: str | None = None,  # noqa: A002
        previous: Any = None,
    ) -> Plan:
        self._note("plan", application=application)
        return PLAN

    def graph(self, plan: Plan, form: str = "mermaid") -> str:
        return draw(plan, form)

    def preview(
        self, sources: Any, *, environment: Any = None, application: Any = None, options: Any = None, report: Any = None, stdin: Any = None
    ) -> Any:
        self._note("preview", sources, environment=environment, application=application, options=options)
        report(Event(kind="stage", message="looking up hello:1"))
        return self._previewed()

    def _previewed(self) -> Any:
        answer = ModuleType("preview")
        answer.plan, answer.observed, answer.changes = PLAN, OBSERVED, self.answers["changes"]  # type: ignore[attr-defined]
        answer.entries = ()  # type: ignore[attr-defined]
        answer.problems, answer.cost = self.answers.get("problems", ()), self.answers.get("cost")  # type: ignore[attr-defined]
        return answer

    def deploy(
        self,
        sources: Any,
        *,
        environment: Any = None,
        application: Any = None,
        options: Any = None,
        saved: Any = None,
        report: Any = None,
        cancel: Any = None,
        stdin: Any = None,
    ) -> Outcome:
        return self._note(
            "deploy", sources, environment=environment, application=application, options=options, saved=saved, report=report, cancel=cancel
        )

    def destroy(
        self,
        sources: Any = (),
        *,
        environment: Any = None,
        application: str | None = None,
        options: Any = None,
        report: Any = None,
        cancel: Any = None,
        stdin: Any = None,
    ) -> Outcome:
        return self._note(
            "destroy", sources, environment=environment, application=application, options=options, report=report, cancel=cancel
        )

    def preview_destroy(
        self, sources: Any = (), *, environment: Any = None, application: Any = None, options: Any = None, stdin: Any = None
    ) -> Any:
        return self._note("preview_destroy", sources, application=application)

    def history(self, environment: Any, application: str) -> Any:
        return self._note("history", environment, application)

    def rollout_status(self, environment: Any, application: str) -> Any:
        return self._note("rollout_status", environment, application)

    def preview_rollback(self, environment: Any, application: str, *, to: Any = None, workload: Any = None, options: Any = None) -> Any:
        self._note("preview_rollback", application, to=to, workload=workload, options=options)
        return self._previewed()

    def rollback(
        self,
        environment: Any,
        application: str,
        *,
        to: Any = None,
        workload: Any = None,
        options: Any = None,
        report: Any = None,
        cancel: Any = None,
    ) -> Any:
        return self._note("rollback", application, to=to, workload=workload, options=options)

    def promote(
        self, environment: Any, application: str, *, workload: Any = None, options: Any = None, report: Any = None, cancel: Any = None
    ) -> Any:
        return self._note("promote", application, workload=workload, options=options)

    def abort(
        self, environment: Any, application: str, *, workload: Any = None, options: Any = None, report: Any = None, cancel: Any = None
    ) -> Any:
        return self._note("abort", application, workload=workload, options=options)

    def restart(
        self, environment: Any, application: str, *, workload: Any = None, options: Any = None, report: Any = None, cancel: Any = None
    ) -> Any:
        return self._note("restart", application, workload=workload, options=options)

    def garbage(self, environment: Any) -> Any:
        return self._note("garbage")

    def collect(self, environment: Any, *, options: Any = None, report: Any = None, cancel: Any = None) -> Any:
        return self._note("collect", options=options)

    def applications(self, environment: Environment) -> tuple[str, ...]:
        return self.known

    def observe(self, environment: Environment) -> Observed:
        return self.left

    def status(self, environment: Environment, application: str) -> Status:
        return self._note("status", environment, application)

    def logs(self, environment: Any, application: str, *, workload: Any = None, tail: Any = None, follow: bool = False) -> Any:
        self._note("logs", environment, application, workload=workload, tail=tail, follow=follow)
        return self.answers.get("lines", iter(LINES))

    def build(
        self,
        sources: Any,
        *,
        environment: Any = None,
        application: Any = None,
        format: Any = None,  # noqa: A002
        no_cache: bool = False,
        update_base: bool = False,
        report: Any = None,
        stdin: Any = None,
    ) -> Any:
        return self._note("build", sources, environment=environment, format=format, no_cache=no_cache, update_base=update_base)

    def providers(self) -> Any:
        return self._note("providers")


def install() -> FakeApi:
    """Put a fake where the command line looks for the library's surface."""
    fake = FakeApi()
    sys.modules["i2kit.api"] = fake
    return fake


def _until(condition: Any) -> None:
    """Wait for what a signal brings about; a test that waits for this process sets the limit."""
    while not condition():
        threading.Event().wait(0.01)


def _working(gentle: bool) -> Any:
    """A deploy that says it is under way, and goes on until it is asked to stop (or, if it is not gentle, for ever)."""

    def deploy(_sources: Any, *, report: Any, cancel: Any, **_named: Any) -> Outcome:
        report(Event(kind="change-started", key=f"InstanceGroup/{GROUP.name}", message="create: it does not exist yet"))
        report(Event(kind="change-started", key=f"Balancer/{BALANCER.name}", message="create: a name with [bold]brackets[/bold]"))
        report(Event(kind="change-finished", key=f"Balancer/{BALANCER.name}", message="done"))
        pool = ThreadPoolExecutor(1)
        work = pool.submit(_until, lambda: gentle and cancel.is_set())
        try:
            while not work.done():
                # As the executor does: a signal that comes right before a wait without an end would be heard only after it.
                wait([work], timeout=0.1)
        finally:
            pool.shutdown(wait=False)
        result = ChangeOutcome(
            key=f"InstanceGroup/{GROUP.name}", action="create", result="skipped", message="interrupted before it was done"
        )
        return Outcome(application="hello", environment="local", changes=(result,), interrupted=True)

    return deploy


def _failing_after_cancel(_sources: Any, *, report: Any, cancel: Any, **_named: Any) -> Outcome:
    report(Event(kind="change-started", key="Image/web", message="create"))
    _until(cancel.is_set)
    raise ProviderError.of("program-failed", "skopeo was interrupted")


def _bug(*_arguments: Any, **_named: Any) -> Outcome:
    return {}["greeting"]


def _endless() -> Any:
    number = 0
    while True:
        yield LogLine(instance="web-0", container="web", text=f"line {number}")
        number += 1


INVALID = InvalidInput(
    [
        Problem(
            code="unknown-field",
            message="unknown field 'replica'",
            where=WHERE,
            expected="one of replicas, selector",
            hint="did you mean replicas?",
        ),
        Problem(code="image-not-found", message="image hello:2 is nowhere,\nneither here\nnor there", where=WHERE),
    ]
)

SITUATIONS: dict[str, dict[str, Any]] = {
    "done": {},
    "failed": {"deploy": FAILED},
    "gentle": {"deploy": _working(True)},
    "stubborn": {"deploy": _working(False)},
    "cut": {"deploy": _failing_after_cancel},
    "bug": {"deploy": _bug},
    "invalid": {"deploy": INVALID},
    "endless": {"lines": _endless()},
}


def main() -> None:
    fake = install()
    fake.answers.update(SITUATIONS[os.environ["SITUATION"]])
    from i2kit.cli import main as command

    sys.exit(command())


if __name__ == "__main__":
    main()
