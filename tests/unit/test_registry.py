"""The registry: plug-ins found, loaded one at a time, broken ones contained."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from types import ModuleType

import pytest
from attrs import evolve
from sample import provider

from i2kit import registry
from i2kit.environment import Environment
from i2kit.errors import InvalidInput
from i2kit.hookspecs import hookimpl
from i2kit.registry import Registry


def install(monkeypatch: pytest.MonkeyPatch, **modules: ModuleType | None) -> None:
    """Pretend that these plug-ins are installed; None stands for one that cannot be imported."""
    entries = []
    for name, module in modules.items():
        if module is not None:
            monkeypatch.setitem(sys.modules, f"plugin_{name}", module)
        entries.append(EntryPoint(name=name, value=f"plugin_{name}", group=registry.GROUP))
    monkeypatch.setattr(registry, "entry_points", lambda group: entries if group == registry.GROUP else [])


def plugin(*names: str, api: tuple[int, int] | None = None) -> ModuleType:
    module = ModuleType("plugin")

    @hookimpl
    def i2kit_register_providers() -> list[object]:
        return [evolve(provider(), name=name, **({"api": api} if api else {})) for name in names]

    module.i2kit_register_providers = i2kit_register_providers  # type: ignore[attr-defined]
    return module


def test_a_provider_is_found_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, moon=plugin("moon"))
    assert Registry().provider("moon").name == "moon"


def test_a_wrong_name_lists_the_installed_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, moon=plugin("moon"), mars=plugin("mars"))
    with pytest.raises(InvalidInput, match="one of mars, moon"):
        Registry().provider("mooon")


def test_a_broken_plugin_hides_no_other_and_is_listed_with_its_error(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, broken=None, moon=plugin("moon"))
    listed = {info.name: info.error for info in Registry().providers()}
    assert listed["moon"] == ""
    assert "No module named 'plugin_broken'" in listed["broken"]


def test_only_the_plugin_that_was_asked_for_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, broken=None, moon=plugin("moon"))
    found = Registry()
    found.provider("moon")
    assert found.broken == {}


def test_a_provider_for_another_driver_api_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, moon=plugin("moon", api=(9, 0)))
    with pytest.raises(InvalidInput, match=r"made for driver API 9\.0"):
        Registry().provider("moon")


def test_a_plugin_without_its_provider_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, moon=plugin("sun"))
    with pytest.raises(InvalidInput, match="registers no provider of that name"):
        Registry().provider("moon")


def test_the_builders_of_i2kit_are_registered() -> None:
    assert set(Registry().builders()) >= {"assembler", "linuxkit"}


def test_a_wrong_builder_lists_the_choices() -> None:
    with pytest.raises(InvalidInput, match="one of assembler, linuxkit"):
        Registry().builder("docker")


def test_keys_of_the_network_that_a_provider_does_not_know_are_refused_before_it_is_asked() -> None:
    environment = Environment(network={"private": True, "moat": 3}, source="environment.yml")
    deaf = evolve(provider(), check=lambda _environment: ())
    told = deaf.problems(environment)
    assert [str(one) for one in told] == [
        "environment.yml network: has moat, private, and provider sample takes nothing; "
        "expected no such keys: it makes every environment's network by itself [setting]"
    ]
    picky = evolve(deaf, network={"private": "whether it is"}, check=lambda one: [one.wrong("network.private", "is True")])
    assert [(one.where.path, one.message) for one in picky.problems(environment) if one.where] == [
        ("network.moat", "is nothing that provider sample knows"),
        ("network.private", "is True"),
    ]
    assert deaf.problems(Environment()) == []


def test_providers_are_listed_with_the_keys_that_environments_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    moon = ModuleType("plugin")

    @hookimpl
    def i2kit_register_providers() -> list[object]:
        return [evolve(provider(), name="moon", settings={"crater": "where"}, network={"moat": "how deep"})]

    moon.i2kit_register_providers = i2kit_register_providers  # type: ignore[attr-defined]
    install(monkeypatch, moon=moon)
    (info,) = Registry().providers()
    assert (info.settings, info.network) == ({"crater": "where"}, {"moat": "how deep"})
