"""What comes after the first deploy: saved plans, dry runs, undone and paused rollouts, history, rollback, rollout, gc."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from i2kit import saved
from i2kit.errors import ExitCode

from .conftest import Ended
from .fake_api import FakeApi
from .sample import ABORTED, CHANGES, DONE, FAILED, PAUSED, PLAN, REASON, RELEASES, ROLLED_BACK, SETTLED

Run = Callable[..., Ended]


def verbs(api: FakeApi) -> list[str]:
    """Return the functions that were called and may change something."""
    return [name for name, _, _ in api.calls if name in ("deploy", "destroy", "rollback", "promote", "abort", "restart")]


def test_a_plan_shows_each_rollout_step_by_step(i2kit: Run, api: FakeApi) -> None:
    lines = i2kit("plan", "-f", "hello.yaml").out.splitlines()
    steps = lines[lines.index("default/web (canary):") + 1 :]
    assert steps[0] == "  1. web-1a2b3c-0f0f0f0f: new, size 1"
    assert any("traffic: web-old 80%, web-1a2b3c-0f0f0f0f 20%" in step for step in steps)
    assert any("waiting to be promoted" in step for step in steps)
    (rollout,) = json.loads(i2kit("plan", "-f", "hello.yaml", "-o", "json").out)["rollouts"]
    assert (rollout["workload"], rollout["strategy"]) == ("default/web", "canary")
    assert [step["kind"] for step in rollout["steps"]].count("pause") == 1
    assert rollout["steps"][-1] == {"kind": "remove", "text": "web-old: drained and removed"}
    api.answers["changes"] = SETTLED
    assert json.loads(i2kit("plan", "-f", "hello.yaml", "-o", "json").out)["rollouts"] == []


@pytest.mark.parametrize("form", ["table", "json"])
def test_a_saved_plan_is_carried_out_with_its_own_sources_and_application(form: str, i2kit: Run, api: FakeApi, tmp_path: Path) -> None:
    place = tmp_path / "hello.plan"
    assert i2kit("plan", "-f", str(tmp_path / "hello.yaml"), "--prune", "--out", str(place), "-o", form).code == ExitCode.OK
    assert api.called("preview")[1]["options"].given["prune"] is True
    assert i2kit("deploy", "--plan", str(place)).code == ExitCode.OK
    (sources,), named = api.called("deploy")
    assert sources == [str(tmp_path / "hello.yaml")]
    assert named["application"] == PLAN.application
    assert named["saved"].prune
    assert named["saved"] == saved.SavedPlan.of(PLAN, CHANGES, (str(tmp_path / "hello.yaml"),), prune=True)


def test_the_command_line_decides_over_the_saved_plan_where_the_manifests_are(i2kit: Run, api: FakeApi, tmp_path: Path) -> None:
    place = tmp_path / "hello.plan"
    i2kit("plan", "-f", "hello.yaml", "--out", str(place))
    i2kit("deploy", "--plan", str(place), "-f", "moved.yaml", "-a", "hello-2")
    (sources,), named = api.called("deploy")
    assert (sources, named["application"]) == (["moved.yaml"], "hello-2")


def test_a_stale_plan_a_broken_one_and_none_are_4(i2kit: Run, api: FakeApi, tmp_path: Path) -> None:
    place = tmp_path / "hello.plan"
    i2kit("plan", "-f", "hello.yaml", "--out", str(place))
    api.answers["deploy"] = lambda _sources, *, saved, **_: saved.check(PLAN, SETTLED)
    ended = i2kit("deploy", "--plan", str(place))
    assert ended.code == ExitCode.INVALID
    assert "what runs has changed since the plan was saved" in ended.err
    place.write_text("{}")
    assert i2kit("deploy", "--plan", str(place)).code == ExitCode.INVALID
    assert i2kit("deploy", "--plan", str(tmp_path / "none")).code == ExitCode.INVALID


@pytest.mark.parametrize("flag", ["--dry-run", "--prune", "--update-base"])
def test_a_saved_plan_is_not_varied(flag: str, i2kit: Run, api: FakeApi) -> None:
    ended = i2kit("deploy", "--plan", "hello.plan", flag)
    assert ended.code == ExitCode.USAGE
    assert flag in ended.err


def test_deploy_wants_manifests_or_a_plan(i2kit: Run, api: FakeApi) -> None:
    assert i2kit("deploy").code == ExitCode.USAGE
    assert verbs(api) == []


@pytest.mark.parametrize("form", ["table", "json"])
def test_a_dry_run_of_deploy_is_what_plan_shows(form: str, i2kit: Run, api: FakeApi) -> None:
    ended = i2kit("deploy", "-f", "hello.yaml", "--dry-run", "--prune", "-o", form)
    assert (ended.code, ended.out) == (0, i2kit("plan", "-f", "hello.yaml", "-o", form).out)
    assert verbs(api) == []
    assert api.calls[0][2]["options"].given["prune"] is True


def test_a_dry_run_of_destroy_removes_nothing_and_asks_nothing(i2kit: Run, api: FakeApi) -> None:
    api.known = ("hello", "shop")
    assert i2kit("destroy", "-f", "k8s", "--dry-run").out.splitlines()[-1] == "hello in local: 2 to delete, 0 unchanged"
    assert api.called("preview_destroy") == ((["k8s"],), {"application": None})
    assert len(json.loads(i2kit("destroy", "--all", "--dry-run", "-o", "json").out)) == 2
    api.answers["preview_destroy"] = evolve(SETTLED, changes=())
    assert i2kit("destroy", "-a", "hello", "--dry-run").out == "hello in local: nothing is there\n"
    assert verbs(api) == []


def test_what_was_rolled_back_is_3_and_shows_the_last_lines(i2kit: Run, api: FakeApi) -> None:
    api.answers["deploy"] = ROLLED_BACK
    ended = i2kit("deploy", "-f", "hello.yaml")
    assert ended.code == ExitCode.ROLLED_BACK
    assert f"(rolled back): {REASON}" in ended.err
    assert "  | web-0 [web] Traceback" in ended.err
    shown = json.loads(i2kit("deploy", "-f", "hello.yaml", "-o", "json").out)
    assert (shown["ok"], shown["rolled_back"], shown["paused"]) == (False, True, False)


def test_a_failure_beside_what_was_rolled_back_is_1(i2kit: Run, api: FakeApi) -> None:
    other = evolve(FAILED.changes[0], key="InstanceGroup/db-1")
    api.answers["deploy"] = evolve(ROLLED_BACK, changes=(*ROLLED_BACK.changes, other))
    assert i2kit("deploy", "-f", "hello.yaml").code == ExitCode.FAILED


def test_a_paused_rollout_is_0_and_says_how_to_go_on(i2kit: Run, api: FakeApi) -> None:
    api.answers["deploy"] = PAUSED
    ended = i2kit("deploy", "-f", "hello.yaml")
    assert ended.code == ExitCode.OK
    assert ended.out.splitlines()[-2:] == ["hello in local: 2 paused", "http://127.0.0.1:8080"]
    assert ended.err.splitlines() == [
        "paused: step 1 of 2 (20% of the traffic): waiting to be promoted or aborted",
        "go on with `i2kit rollout promote -a hello`, or go back with `i2kit rollout abort -a hello`",
    ]


def test_history_of_nothing_says_so(i2kit: Run, api: FakeApi) -> None:
    api.answers["history"] = ()
    assert i2kit("history").out == "there is no release of application hello in environment local\n"
    assert i2kit("history", "-o", "json").out == "[]\n"
    api.known = ()
    assert i2kit("history").out == "there is no release of any application in environment local\n"


def test_history_marks_the_present_release(i2kit: Run) -> None:
    shown = json.loads(i2kit("history", "-o", "json").out)
    assert [one["number"] for one in shown if one["current"]] == [3]
    assert shown[0]["time"] == "2023-11-14T22:14:20Z"
    assert [line.split()[1] for line in i2kit("history").out.splitlines()] == ["NOW", "-", "-", "*"]
    assert len(shown) == len(RELEASES)


def test_rollback_hands_its_flags_to_the_library(i2kit: Run, api: FakeApi) -> None:
    i2kit("rollback", "-a", "shop", "--to", "3", "--workload", "web", "--take-over", "--timeout", "2m")
    arguments, named = api.called("rollback")
    assert (arguments, named["to"], named["workload"]) == (("shop",), 3, "web")
    assert named["options"].given == {"take_over": True, "change_seconds": 120.0}


def test_a_rollback_can_be_planned_first(i2kit: Run, api: FakeApi) -> None:
    ended = i2kit("rollback", "--to", "1", "-w", "web", "--dry-run")
    assert "default/web (canary):" in ended.out
    arguments, named = api.called("preview_rollback")
    assert (arguments, named["to"], named["workload"]) == (("hello",), 1, "web")
    assert verbs(api) == []


@pytest.mark.parametrize("command", [("rollback",), ("rollout", "promote"), ("rollout", "abort"), ("rollout", "restart")])
def test_what_changes_something_takes_only_the_one_application_there_is(command: tuple[str, ...], i2kit: Run, api: FakeApi) -> None:
    assert i2kit(*command, "-w", "web").code == ExitCode.OK
    (call,) = [call for call in api.calls if call[0] == command[-1]]
    assert (call[1], call[2]["workload"]) == (("hello",), "web")
    for known in ((), ("hello", "shop")):
        api.known = known
        assert i2kit(*command).code == ExitCode.USAGE
    assert verbs(api) == [command[-1]]


@pytest.mark.parametrize(
    ("outcome", "code"), [(ABORTED, ExitCode.OK), (FAILED, ExitCode.FAILED), (ROLLED_BACK, ExitCode.ROLLED_BACK), (PAUSED, ExitCode.OK)]
)
@pytest.mark.parametrize("verb", ["promote", "abort", "restart"])
def test_the_actions_of_rollout_end_as_their_run_did(verb: str, outcome: Any, code: int, i2kit: Run, api: FakeApi) -> None:
    api.answers[verb] = outcome
    assert i2kit("rollout", verb).code == code


def test_rollout_status_of_one_workload(i2kit: Run, api: FakeApi) -> None:
    def workloads(*flags: str) -> list[str]:
        return [one["workload"] for one in json.loads(i2kit("rollout", "status", "-o", "json", *flags).out)]

    assert workloads() == ["default/web", "shop/db"]
    assert workloads("--workload", "db") == workloads("--workload", "shop/db") == ["shop/db"]
    assert i2kit("rollout", "status", "-w", "db2").out == "no rollout of db2 is under way in environment local\n"
    api.answers["rollout_status"] = ()
    assert i2kit("rollout", "status").out == "no rollout of hello is under way in environment local\n"
    api.known = ()
    assert i2kit("rollout", "status").out == "no rollout of any application is under way in environment local\n"


def test_gc_only_shows_what_would_go(i2kit: Run, api: FakeApi) -> None:
    ended = i2kit("gc")
    assert ended.code == ExitCode.OK
    assert ended.out.splitlines() == [
        "KIND           NAME      APPLICATION  REASON",
        "Image          web-0011  -            no group and no release uses it",
        "InstanceGroup  web-old   hello        no release knows it",
        "2 to remove in environment local",
    ]
    assert ended.err == "nothing was removed; `i2kit gc --yes` removes it\n"
    assert [name for name, _, _ in api.calls] == ["garbage"]


def test_gc_removes_with_yes(i2kit: Run, api: FakeApi) -> None:
    ended = i2kit("gc", "--yes", "--take-over")
    assert (ended.out.splitlines()[-1], ended.err) == ("2 removed in environment local", "")
    assert api.called("collect")[1]["options"].given == {"take_over": True}
    assert [one["kind"] for one in json.loads(i2kit("gc", "--yes", "-o", "json").out)] == ["Image", "InstanceGroup"]


def test_gc_of_nothing_advises_nothing(i2kit: Run, api: FakeApi) -> None:
    api.answers["garbage"] = ()
    assert i2kit("gc") == Ended(0, "0 to remove in environment local\n", "")


@pytest.mark.parametrize("line", ["rollback --to 0", "rollback --to last", "rollout", "rollout pause", "gc -a hello"])
def test_what_is_wrong_is_64(line: str, i2kit: Run, api: FakeApi) -> None:
    assert i2kit(*line.split()).code == ExitCode.USAGE
    assert api.calls == []


def test_a_finished_run_shows_its_urls(i2kit: Run, api: FakeApi) -> None:
    api.answers["restart"] = DONE
    assert i2kit("rollout", "restart").out.splitlines()[-1] == "http://127.0.0.1:8080"
