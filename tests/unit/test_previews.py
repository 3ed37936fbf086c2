"""Previews: with what stands in the way and what it costs; and without credentials, when nothing can be seen."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from attrs import evolve
from i2kit_memory.driver import MemoryDriver
from i2kit_memory.plugin import PROVIDER
from i2kit_memory.region import Region
from sample import locked

from i2kit import operations, registry, saved
from i2kit.cost import Cost, CostItem
from i2kit.driver import Driver, Provider, Record
from i2kit.environment import Environment
from i2kit.errors import InvalidInput, MissingCredentials, Problem
from i2kit.hookspecs import hookimpl
from i2kit.operations import deploy, preview
from i2kit.plan import Change, Observed
from i2kit.resources import Resource

MANIFEST = "name: web\nreplicas: 2\ncontainers: [{image: 'hello:1', ports: [8080]}]\n"
PROBLEM = Problem(code="credentials", message="there are no credentials", hint="log in")
QUOTA = Problem(code="quota", message="too many VMs")


class Locked(MemoryDriver):
    """Asks for credentials that nobody has."""

    def records(self, application: str) -> Sequence[Record]:
        raise MissingCredentials(PROBLEM)

    def observe(self) -> Observed:
        raise MissingCredentials(PROBLEM)


class Wary(MemoryDriver):
    def preflight(self, changes: Sequence[Change]) -> Sequence[Problem]:
        return [QUOTA] if changes else []


def cost(environment: Environment, resources: Sequence[Resource]) -> Cost:
    item = CostItem(what=f"{len(resources)} things in {environment.name}", monthly=1.5 * len(resources))
    return Cost(currency="USD", place="here", date="2026-11-01", items=(item,), notes=("traffic",))


@pytest.fixture
def manifest(tmp_path: Path) -> str:
    path = tmp_path / "web.yaml"
    path.write_text(MANIFEST)
    return str(path)


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Install a provider under the name `sky`, and resolve every image to the sample one."""

    def put(driver: Driver, **changes: Any) -> Environment:
        module = ModuleType("plugin")

        @hookimpl
        def i2kit_register_providers() -> list[Provider]:
            return [evolve(PROVIDER, name="sky", connect=lambda _environment: driver, **changes)]

        module.i2kit_register_providers = i2kit_register_providers  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "plugin_sky", module)
        entries = [EntryPoint(name="sky", value="plugin_sky", group=registry.GROUP)]
        monkeypatch.setattr(registry, "entry_points", lambda group: entries if group == registry.GROUP else [])
        monkeypatch.setattr(operations, "resolve", lambda *_arguments, **_options: locked())
        return Environment(name="heaven", provider="sky")

    return put


def test_without_credentials_everything_is_planned_and_all_changes_are_unknown(install: Any, manifest: str) -> None:
    seen = preview([manifest], environment=install(Locked(Region("heaven"))))
    assert [one.kind for one in seen.plan.resources] == ["Network", "Image", "InstanceGroup", "Balancer", "DnsRecord"]
    assert [one.resource for one in seen.changes.changes] == list(seen.plan.resources)
    assert {(one.action, one.reason) for one in seen.changes.changes} == {("unknown", "unknown: no credentials")}
    assert seen.changes.pending == seen.changes.changes
    assert seen.changes.rollouts == ()
    assert seen.problems == (PROBLEM,)


def test_with_credentials_nothing_is_unknown(install: Any, manifest: str) -> None:
    seen = preview([manifest], environment=install(MemoryDriver(Region("heaven"))))
    assert {one.action for one in seen.changes.changes} == {"create"}
    assert seen.problems == ()


def test_a_plan_of_what_is_unknown_cannot_be_saved(install: Any, manifest: str) -> None:
    seen = preview([manifest], environment=install(Locked(Region("heaven"))))
    with pytest.raises(InvalidInput, match=r"made without credentials cannot be saved.*\[unknown-changes\]"):
        saved.SavedPlan.of(seen.plan, seen.changes)


def test_deploy_without_credentials_is_one_clear_error(install: Any, manifest: str) -> None:
    environment = install(Locked(Region("heaven")))
    with pytest.raises(MissingCredentials) as caught:
        deploy([manifest], environment=environment)
    assert caught.value.problems == (PROBLEM,)
    assert caught.value.exit_code == 1


def test_what_stands_in_the_way_is_shown(install: Any, manifest: str) -> None:
    driver = Wary(Region("heaven"))
    environment = install(driver)
    assert preview([manifest], environment=environment).problems == (QUOTA,)
    with pytest.raises(InvalidInput, match="too many VMs"):
        deploy([manifest], environment=environment)
    assert driver.observe() == Observed()


@pytest.mark.parametrize("driver", [MemoryDriver, Locked])
def test_what_it_costs_is_known_with_and_without_credentials(install: Any, manifest: str, driver: type[MemoryDriver]) -> None:
    seen = preview([manifest], environment=install(driver(Region("heaven")), cost=cost))
    assert seen.cost == Cost(
        currency="USD", place="here", date="2026-11-01", items=(CostItem(what="5 things in heaven", monthly=7.5),), notes=("traffic",)
    )


def test_where_no_prices_are_known_nothing_is_said(install: Any, manifest: str) -> None:
    assert preview([manifest], environment=install(MemoryDriver(Region("heaven")))).cost is None
    assert preview([manifest], environment=install(MemoryDriver(Region("heaven")), cost=lambda *_: None)).cost is None


def test_a_bill_adds_up_and_is_read_by_people() -> None:
    items = (CostItem(what="2 VMs", monthly=24.528), CostItem(what="a balancer", monthly=1016.425))
    bill = Cost(currency="USD", place="eu-west-1", date="2026-11-01", items=items)
    assert bill.monthly == pytest.approx(1040.953)
    assert str(bill) == "about $1,040.95 a month (prices of eu-west-1, 2026-11-01): 2 VMs $24.53, a balancer $1,016.42"
    assert str(Cost(currency="EUR", place="x", date="2026-11-01", items=())) == "about EUR 0.00 a month (prices of x, 2026-11-01)"
