"""What each command asks of the library, prints, and ends with."""

from __future__ import annotations

import importlib
import inspect
import json
import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from attrs import evolve

from i2kit.cost import Cost, CostItem
from i2kit.errors import ExitCode, Held, I2kitError, InvalidInput, MissingRequirement, Problem
from i2kit.plan import Change, Observed, ObservedResource
from i2kit.registry import ProviderInfo

from .conftest import Ended
from .fake_api import FakeApi
from .sample import CHANGES, DONE, FAILED, PLAN, SETTLED, STATUS

GOLDEN = Path(__file__).parents[2] / "data" / "cli"
Run = Callable[..., Ended]

# Each file under tests/data/cli holds what one of these prints to standard output; I2KIT_GOLDEN=write writes them anew.
SHOWN = {
    "validate.txt": ("validate", "-f", "hello.yaml"),
    "validate.json": ("validate", "-f", "hello.yaml", "-o", "json"),
    "plan.txt": ("plan", "-f", "hello.yaml"),
    "plan.json": ("plan", "-f", "hello.yaml", "-o", "json"),
    "deploy.txt": ("deploy", "-f", "hello.yaml"),
    "deploy.json": ("deploy", "-f", "hello.yaml", "-o", "json"),
    "status.txt": ("status",),
    "status.yaml": ("status", "-o", "yaml"),
    "status.json": ("status", "-o", "json"),
    "logs.txt": ("logs",),
    "logs.jsonl": ("logs", "-o", "json"),
    "logs.yaml": ("logs", "-o", "yaml"),
    "destroy.txt": ("destroy", "-a", "hello"),
    "destroy.json": ("destroy", "-a", "hello", "-o", "json"),
    "destroy-dry-run.txt": ("destroy", "-a", "hello", "--dry-run"),
    "destroy-dry-run.json": ("destroy", "-a", "hello", "--dry-run", "-o", "json"),
    "history.txt": ("history",),
    "history.json": ("history", "-o", "json"),
    "rollback.txt": ("rollback",),
    "rollback.json": ("rollback", "-o", "json"),
    "rollout-status.txt": ("rollout", "status"),
    "rollout-status.json": ("rollout", "status", "-o", "json"),
    "rollout-abort.txt": ("rollout", "abort"),
    "graph.mmd": ("graph", "-f", "hello.yaml"),
}


@pytest.mark.parametrize("name", SHOWN)
def test_standard_output_is_exactly(name: str, i2kit: Run) -> None:
    ended = i2kit(*SHOWN[name])
    golden = GOLDEN / name
    if os.environ.get("I2KIT_GOLDEN") == "write":
        golden.write_text(ended.out)
    assert ended.out == golden.read_text()
    assert ended.code == 0


def test_every_golden_file_has_its_command() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == set(SHOWN)


def test_plan_gives_fingerprint_resources_changes_and_notices_as_data(i2kit: Run) -> None:
    shown = json.loads(i2kit("plan", "-f", "hello.yaml", "-o", "json").out)
    assert shown["fingerprint"] == PLAN.fingerprint
    assert [one["kind"] for one in shown["resources"]] == ["Network", "Secret", "Image", "InstanceGroup", "Balancer", "DnsRecord"]
    assert all(one["name"] for one in shown["resources"])
    assert all(set(one) == {"action", "kind", "name", "reason"} for one in shown["changes"])
    assert shown["notices"] == [
        {"file": "hello.yaml", "line": 9, "path": "spec.strategy", "message": "it has no effect here: every change is rolling"}
    ]


def test_json_and_yaml_say_the_same(i2kit: Run) -> None:
    for command in (("plan", "-f", "hello.yaml"), ("status",), ("deploy", "-f", "hello.yaml"), ("validate", "-f", "hello.yaml")):
        assert json.loads(i2kit(*command, "-o", "json").out) == yaml.safe_load(i2kit(*command, "-o", "yaml").out)


def test_plan_ends_with_2_only_when_asked_and_only_when_changes_are_pending(i2kit: Run, api: FakeApi) -> None:
    assert i2kit("plan", "-f", "hello.yaml").code == ExitCode.OK
    assert i2kit("plan", "-f", "hello.yaml", "--detailed-exitcode").code == ExitCode.CHANGES_PENDING
    api.answers["changes"] = SETTLED
    ended = i2kit("plan", "-f", "hello.yaml", "--detailed-exitcode")
    assert ended.code == ExitCode.OK
    assert "hello in local: nothing to change, 1 unchanged" in ended.out


def test_progress_and_notices_go_to_standard_error(i2kit: Run) -> None:
    ended = i2kit("plan", "-f", "hello.yaml", "-o", "json")
    assert "looking up hello:1" in ended.err
    json.loads(ended.out)
    assert "warning: hello.yaml:9 spec.strategy: it has no effect here" in i2kit("plan", "-f", "hello.yaml").err


def test_deploy_hands_its_flags_to_the_library(i2kit: Run, api: FakeApi) -> None:
    i2kit(
        *("deploy", "-f", "a.yaml", "-f", "folder", "-e", "production.yml", "-a", "shop", "--builder", "linuxkit", "--timeout", "2m"),
        *("--update-base", "--keep-failed", "--take-over", "--no-cache", "--prune"),
    )
    (sources,), named = api.called("deploy")
    assert sources == ["a.yaml", "folder"]
    assert (named["environment"].name, named["environment"].builder, named["application"]) == ("production", "linuxkit", "shop")
    assert named["options"].given == {
        "update_base": True,
        "keep_failed": True,
        "take_over": True,
        "no_cache": True,
        "prune": True,
        "change_seconds": 120.0,
    }


def test_a_failed_deploy_shows_the_last_lines_and_ends_with_1(i2kit: Run, api: FakeApi) -> None:
    api.answers["deploy"] = FAILED
    ended = i2kit("deploy", "-f", "hello.yaml")
    assert ended.code == ExitCode.FAILED
    assert "not ready after 60 s" in ended.out
    assert "  | web-0 [web] ValueError: no  [31mgreeting" in ended.err
    assert "\x1b" not in ended.err
    assert "127.0.0.1" not in ended.out


def test_endpoints_that_cannot_be_looked_up_do_not_fail_a_deploy(i2kit: Run, api: FakeApi) -> None:
    api.answers["status"] = I2kitError.of("gone", "no answer")
    ended = i2kit("deploy", "-f", "hello.yaml")
    assert ended.code == ExitCode.OK
    assert "warning: deployed, but its endpoints cannot be looked up: no answer" in ended.err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidInput.of("bad", "it is wrong"), 4),
        (Held.of("held", "it is wrong"), 5),
        (MissingRequirement.of("missing", "it is wrong"), 1),
        (KeyError("it is wrong"), 1),
        (PermissionError(13, "Permission denied", "/secret"), 1),
    ],
)
def test_each_error_is_one_line_and_one_exit_code(error: Exception, code: int, i2kit: Run, api: FakeApi) -> None:
    api.answers["deploy"] = error
    ended = i2kit("deploy", "-f", "hello.yaml")
    assert ended.code == code
    assert ended.err.startswith("error: ")
    assert ended.err.count("\n") == 1
    assert ended.out == ""


def test_every_problem_is_a_line_of_its_own(i2kit: Run, api: FakeApi) -> None:
    api.answers["deploy"] = InvalidInput([Problem(code="one", message="first\nsecond"), Problem(code="two", message="x" * 500)])
    lines = i2kit("deploy", "-f", "hello.yaml").err.splitlines()
    assert lines == ["error: first second [one]", f"error: {'x' * 500} [two]"]


def test_a_bug_says_where_it_is_and_that_it_should_be_reported(i2kit: Run, api: FakeApi) -> None:
    api.answers["deploy"] = ZeroDivisionError("division by zero")
    ended = i2kit("deploy", "-f", "hello.yaml")
    assert "ZeroDivisionError: division by zero (cli.fake_api:" in ended.err
    assert "please report it" in ended.err
    assert "Traceback" not in ended.err
    assert "Traceback" in i2kit("deploy", "-f", "hello.yaml", "--debug").err
    assert "Traceback" in i2kit("--debug", "deploy", "-f", "hello.yaml").err


def test_status_takes_the_only_application_and_refuses_to_choose(i2kit: Run, api: FakeApi) -> None:
    assert i2kit("status").code == ExitCode.OK
    assert api.called("status")[0][1] == "hello"
    api.known = ("hello", "shop")
    ended = i2kit("status")
    assert ended.code == ExitCode.USAGE
    assert "name the application with -a; environment local holds hello, shop" in ended.err
    api.known = ()
    assert i2kit("status").out == "nothing of any application runs in environment local\n"
    assert json.loads(i2kit("status", "-o", "json").out)["workloads"] == []


def test_status_shows_an_application_of_which_nothing_is_left(i2kit: Run, api: FakeApi) -> None:
    api.answers["status"] = evolve(STATUS, workloads=(), faults=())
    assert i2kit("status", "-a", "hello").out == "nothing of application hello runs in environment local\n"


def test_logs_pass_on_what_to_show(i2kit: Run, api: FakeApi) -> None:
    i2kit("logs", "-f", "hello.yaml", "-w", "web", "--tail", "5", "--follow")
    (_, application), named = api.called("logs")
    assert (application, named) == ("hello", {"workload": "web", "tail": 5, "follow": True})


def test_destroy_wants_the_application_named(i2kit: Run, api: FakeApi) -> None:
    assert i2kit("destroy").code == ExitCode.USAGE
    assert i2kit("destroy", "--all", "-a", "hello").code == ExitCode.USAGE
    assert [call for call in api.calls if call[0] == "destroy"] == []


def test_destroy_all_takes_every_application_and_goes_on_after_a_failure(i2kit: Run, api: FakeApi) -> None:
    api.known = ("hello", "shop")
    api.answers["destroy"] = lambda _sources, *, application, **_: evolve(
        FAILED if application == "hello" else DONE, application=application
    )
    ended = i2kit("destroy", "--all", "-o", "json")
    assert [(one["application"], one["ok"]) for one in json.loads(ended.out)] == [("hello", False), ("shop", True)]
    assert ended.code == ExitCode.FAILED


def test_destroying_what_is_not_there_is_fine(i2kit: Run, api: FakeApi) -> None:
    api.answers["destroy"] = evolve(DONE, changes=())
    ended = i2kit("destroy", "-a", "hello")
    assert (ended.code, ended.out) == (0, "hello in local: nothing is there\n")
    api.known = ()
    assert i2kit("destroy", "--all").out == "environment local holds no application\n"


def test_destroy_all_also_takes_a_network_that_no_application_uses_any_more(i2kit: Run, api: FakeApi) -> None:
    api.known, api.left = (), Observed(resources=tuple(ObservedResource(resource=one) for one in PLAN.resources))
    assert i2kit("destroy", "--all").code == ExitCode.OK
    assert [(arguments, named["application"]) for name, arguments, named in api.calls if name == "destroy"] == [(((),), "local")]


class Built:
    def __init__(self, name: str, files: dict[str, Path]) -> None:
        self.name, self.digest, self.format, self.files = name, "0" * 64, "kernel+initrd", files
        self.bytes = sum(path.stat().st_size for path in files.values())


def built(folder: Path, name: str, *roles: str) -> Any:
    files = {role: folder / f"{name}-{role}" for role in roles}
    for role, path in files.items():
        path.write_text(role)
    return Built(name, files)


def test_build_prints_where_the_image_is(i2kit: Run, api: FakeApi, tmp_path: Path) -> None:
    api.answers["build"] = (built(tmp_path, "web", "kernel", "initrd"),)
    ended = i2kit("build", "-f", "hello.yaml", "--format", "kernel+initrd", "--no-cache", "--update-base", "--builder", "linuxkit")
    assert ended.out.splitlines()[-1] == str(tmp_path / "web-kernel")
    _, named = api.called("build")
    assert (named["format"], named["no_cache"], named["update_base"], named["environment"].builder) == (
        "kernel+initrd",
        True,
        True,
        "linuxkit",
    )
    shown = json.loads(i2kit("build", "-f", "hello.yaml", "-o", "json").out)
    assert shown[0]["files"]["initrd"] == str(tmp_path / "web-initrd")


def test_build_copies_one_image_to_a_file_or_a_folder_of_its_parts(i2kit: Run, api: FakeApi, tmp_path: Path) -> None:
    api.answers["build"] = (built(tmp_path, "web", "disk"),)
    i2kit("build", "-f", "hello.yaml", "--out", str(tmp_path / "out" / "web.qcow2"))
    assert (tmp_path / "out" / "web.qcow2").read_text() == "disk"
    api.answers["build"] = (built(tmp_path, "web", "kernel", "initrd"),)
    i2kit("build", "-f", "hello.yaml", "--out", str(tmp_path / "parts"))
    assert sorted(path.name for path in (tmp_path / "parts").iterdir()) == ["initrd", "kernel"]


def test_build_copies_several_images_into_a_folder(i2kit: Run, api: FakeApi, tmp_path: Path) -> None:
    api.answers["build"] = (built(tmp_path, "web", "disk"), built(tmp_path, "db", "kernel", "initrd"))
    ended = i2kit("build", "-f", "hello.yaml", "--out", str(tmp_path / "out"))
    found = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert found == ["db/initrd", "db/kernel", "web"]
    assert ended.code == 0


def test_files_that_are_written_have_ordinary_modes_and_leave_nothing_beside(i2kit: Run, tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        i2kit("graph", "-f", "hello.yaml", "--out", str(tmp_path / "hello.svg"))
    finally:
        os.umask(before)
    assert [path.name for path in tmp_path.iterdir()] == ["hello.svg"]
    assert (tmp_path / "hello.svg").stat().st_mode & 0o777 == 0o644


def test_a_path_that_cannot_be_written_is_an_error_and_no_bug(i2kit: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ended = i2kit("graph", "-f", "hello.yaml", "--out", str(tmp_path / "file" / "hello.svg"))
    assert ended.code == ExitCode.FAILED
    assert "report" not in ended.err
    assert str(tmp_path / "file") in ended.err


@pytest.mark.parametrize(("flags", "begins"), [((), "---\ntitle"), (("--format", "dot"), "digraph"), (("--format", "svg"), "<svg")])
def test_graph_draws_in_each_language(flags: tuple[str, ...], begins: str, i2kit: Run) -> None:
    assert i2kit("graph", "-f", "hello.yaml", *flags).out.startswith(begins)


@pytest.mark.parametrize(("name", "begins"), [("a.svg", "<svg"), ("a.dot", "digraph"), ("a.gv", "digraph"), ("a.md", "---")])
def test_graph_takes_the_language_from_the_file(name: str, begins: str, i2kit: Run, tmp_path: Path) -> None:
    i2kit("graph", "-f", "hello.yaml", "--out", str(tmp_path / name))
    assert (tmp_path / name).read_text().startswith(begins)


def test_providers_lists_broken_ones_with_their_error(i2kit: Run, api: FakeApi) -> None:
    api.answers["providers"] = (
        ProviderInfo(name="local", source="i2kit 1", summary="this machine", capabilities={"GROUPS": "full"}, formats=("kernel+initrd",)),
        ProviderInfo(name="mars", source="i2kit-mars 2", error="ImportError: no rover", capabilities={}),
    )
    ended = i2kit("providers")
    assert ended.code == 0
    assert "mars   broken  i2kit-mars 2  -              ImportError: no rover" in ended.out
    assert json.loads(i2kit("providers", "-o", "json").out)[0]["capabilities"] == {"GROUPS": "full"}


class FakeRegistry:
    found: tuple[Problem, ...] = ()

    def provider(self, _name: str) -> Any:
        return self

    builder = provider
    formats = ("kernel+initrd", "kernel+squashfs")

    def check(self) -> tuple[Problem, ...]:
        return self.found

    def problems(self, _environment: Any) -> tuple[Problem, ...]:
        return self.found


def test_doctor_says_what_is_missing_and_what_helps(i2kit: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    # A module that is first imported while the fake is there would keep it for good.
    import_module("i2kit.api")
    monkeypatch.setattr("i2kit.registry.Registry", FakeRegistry)
    ended = i2kit("doctor")
    assert (ended.code, ended.out) == (0, "nothing is missing for provider local and builder assembler of environment local\n")
    problem = Problem(code="missing-program", message="there is no haproxy", hint="apt-get install haproxy")
    monkeypatch.setattr(FakeRegistry, "found", (problem,))
    ended = i2kit("doctor")
    assert ended.code == ExitCode.FAILED
    assert ended.out.splitlines()[1] == "missing  there is no haproxy  apt-get install haproxy"
    assert json.loads(i2kit("doctor", "-o", "json").out)["problems"][0]["code"] == "missing-program"


def test_doctor_names_what_the_providers_image_formats_need(i2kit: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import_module("i2kit.api")
    monkeypatch.setattr("i2kit.registry.Registry", FakeRegistry)
    monkeypatch.setenv("PATH", str(tmp_path))
    ended = i2kit("doctor")
    assert ended.code == ExitCode.FAILED
    assert ended.out.splitlines()[1:] == ["missing  mksquashfs is not installed  `sudo apt-get install squashfs-tools`"]


def test_tables_do_not_wrap_or_cut_off_a_terminal(i2kit: Run, api: FakeApi) -> None:
    message = "a reason " * 60
    api.answers["deploy"] = evolve(DONE, changes=(evolve(DONE.changes[0], message=message),))
    assert message.strip() in i2kit("deploy", "-f", "hello.yaml").out


def test_the_fake_takes_what_the_library_takes() -> None:
    """What passes here over the fake must not fail over the real thing for want of an argument."""
    real = importlib.import_module("i2kit.api")
    faked = {name for name, value in vars(FakeApi).items() if inspect.isfunction(value) and not name.startswith("_")} - {"called"}
    assert len(faked) == 25
    for name in faked:
        expected = {parameter: one.kind for parameter, one in inspect.signature(getattr(real, name)).parameters.items()}
        given = {parameter: one.kind for parameter, one in inspect.signature(getattr(FakeApi, name)).parameters.items()}
        given.pop("self")
        assert given == expected, name


def test_the_options_of_the_commands_are_the_library_s(i2kit: Run, api: FakeApi) -> None:
    options = importlib.import_module("i2kit.runs").DeployOptions
    for command in (
        *(("plan", "-f", "x"), ("deploy", "-f", "x"), ("destroy", "-a", "x"), ("rollback",), ("rollback", "--dry-run")),
        *(("rollout", verb) for verb in ("promote", "abort", "restart")),
        ("gc", "--yes"),
    ):
        i2kit(*command)
    for _, _, named in api.calls:
        if "options" in named:
            options(**named["options"].given)


def test_an_application_that_only_its_files_name_is_checked_against_them(i2kit: Run, api: FakeApi) -> None:
    i2kit("destroy", "-f", "k8s")
    i2kit("destroy", "-f", "k8s", "-a", "shop")
    given = [(arguments, named["application"]) for name, arguments, named in api.calls if name == "destroy"]
    assert given == [((["k8s"],), None), (((),), "shop")]


IN_THE_WAY = Problem(code="quota", message="VMs: 2 of 2 are in use", hint="ask for more")
BILL = Cost(
    currency="USD",
    place="eu-west-1",
    date="2026-11-01",
    items=(CostItem(what="2 VMs", monthly=24.528), CostItem(what="a balancer", monthly=16.42)),
    notes=("traffic", "logs"),
)


def test_plan_shows_what_it_costs_and_what_is_in_the_way(i2kit: Run, api: FakeApi) -> None:
    api.answers |= {"problems": (IN_THE_WAY,), "cost": BILL}
    ended = i2kit("plan", "-f", "hello.yaml")
    assert ended.code == ExitCode.OK
    lines = ended.out.splitlines()
    assert "about $40.95 a month (prices of eu-west-1, 2026-11-01): 2 VMs $24.53, a balancer $16.42" in lines
    assert "not in it: traffic; logs" in lines
    assert "warning: VMs: 2 of 2 are in use; ask for more [quota]" in ended.err


def test_plan_gives_cost_and_problems_as_data(i2kit: Run, api: FakeApi) -> None:
    api.answers |= {"problems": (IN_THE_WAY,), "cost": BILL}
    shown = json.loads(i2kit("plan", "-f", "hello.yaml", "-o", "json").out)
    assert shown["problems"] == [
        {"code": "quota", "message": "VMs: 2 of 2 are in use", "where": None, "expected": "", "hint": "ask for more"}
    ]
    assert shown["cost"] == {
        "currency": "USD",
        "monthly": 40.95,
        "place": "eu-west-1",
        "date": "2026-11-01",
        "items": [{"what": "2 VMs", "monthly": 24.53}, {"what": "a balancer", "monthly": 16.42}],
        "notes": ["traffic", "logs"],
    }
    del api.answers["cost"]
    assert json.loads(i2kit("plan", "-f", "hello.yaml", "-o", "json").out)["cost"] is None


def test_a_plan_without_credentials_says_so_and_is_no_failure(i2kit: Run, api: FakeApi, tmp_path: Path) -> None:
    missing = Problem(code="aws-credentials", message="there are no credentials", hint="log in")
    unknown = tuple(Change(action="unknown", resource=one, reason="unknown: no credentials") for one in PLAN.resources)
    api.answers |= {"problems": (missing,), "changes": evolve(CHANGES, changes=unknown, rollouts=())}
    ended = i2kit("plan", "-f", "hello.yaml")
    assert ended.code == ExitCode.OK
    assert "hello in local: 6 resources, and what would change is unknown" in ended.out
    assert ended.out.count("unknown: no credentials") == 6
    assert "warning: there are no credentials; log in [aws-credentials]" in ended.err
    assert i2kit("plan", "-f", "hello.yaml", "--detailed-exitcode").code == ExitCode.CHANGES_PENDING
    refused = i2kit("plan", "-f", "hello.yaml", "--out", str(tmp_path / "plan.json"))
    assert (refused.code, refused.out) == (ExitCode.INVALID, "")
    assert "[unknown-changes]" in refused.err
    assert not (tmp_path / "plan.json").exists()
