"""Plug-ins: found by entry point, loaded one at a time, listed with their errors when broken."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points

import pluggy
from attrs import field, frozen

from i2kit import hookspecs
from i2kit.driver import DRIVER_API, Artefact, Provider
from i2kit.errors import I2kitError, InvalidInput, Problem
from i2kit.images.builder import Builder
from i2kit.log import logger
from i2kit.plan import Change, ChangeOutcome, Changes, Plan
from i2kit.resources import Image

GROUP = "i2kit.providers"
HOOKS_GROUP = "i2kit.plugins"


@frozen(kw_only=True)
class ProviderInfo:
    """An installed provider: the name users select, where it comes from, and why it cannot be used if it cannot.

    `capabilities` maps what a plan may ask for to how well it is supported; `settings` and `network` are the keys of ``provider:`` and
    ``network:`` in environment.yml, with a sentence each.
    """

    name: str
    source: str
    summary: str = ""
    error: str = ""
    capabilities: dict[str, str]
    formats: tuple[str, ...] = ()
    settings: dict[str, str] = field(factory=dict)
    network: dict[str, str] = field(factory=dict)


class Registry:
    """A typed facade over pluggy: one method per hook.

    Providers are loaded by name; plug-ins of the group ``i2kit.plugins`` (builders, life-cycle hooks) all at once when a registry is made.
    """

    def __init__(self) -> None:
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self.broken: dict[str, str] = {}
        self._providers: dict[str, Provider] = {}
        from i2kit.images import builders

        self._manager.register(builders, "i2kit.images")
        for entry in _entries(HOOKS_GROUP):
            self._load(entry)

    def _load(self, entry: EntryPoint) -> object | None:
        """Import and register one plug-in; a broken one is noted in `broken` and hides no other."""
        known: object | None = self._manager.get_plugin(f"{entry.group}:{entry.name}")
        if known is not None:
            return known
        try:
            plugin: object = entry.load()
            self._manager.register(plugin, f"{entry.group}:{entry.name}")
            self._manager.check_pending()
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            self.broken[entry.name] = f"{type(error).__name__}: {error}"
            logger("i2kit.registry").warning("plugin-broken", plugin=entry.name, error=self.broken[entry.name])
            return None
        return plugin

    def provider(self, name: str) -> Provider:
        """Return the provider that environments call `name`; import only its plug-in.

        Raises `InvalidInput` for a name that is not installed, a plug-in that is broken, or one made for another driver API.
        """
        if name in self._providers:
            return self._providers[name]
        entries = _unique(_entries(GROUP))
        if name not in entries:
            raise InvalidInput(
                Problem(
                    code="unknown-provider",
                    message=f"no provider {name!r} is installed",
                    expected=f"one of {', '.join(sorted(entries)) or 'none: no provider is installed'}",
                    hint="install the plug-in that brings it, or correct `provider` in environment.yml",
                )
            )
        plugin = self._load(entries[name])
        if plugin is None:
            raise InvalidInput(
                Problem(
                    code="broken-provider",
                    message=f"the plug-in of provider {name!r} cannot be loaded: {self.broken[name]}",
                    hint=f"reinstall {_source(entries[name])}",
                )
            )
        provider = next((one for one in self._registered(plugin) if one.name == name), None)
        if provider is None:
            raise InvalidInput(
                Problem(
                    code="broken-provider",
                    message=f"the plug-in of provider {name!r} registers no provider of that name",
                    hint=f"tell the authors of {_source(entries[name])}",
                )
            )
        _check_api(provider)
        self._providers[name] = provider
        return provider

    def _registered(self, plugin: object) -> list[Provider]:
        others = [one for one in self._manager.get_plugins() if one is not plugin]
        caller = self._manager.subset_hook_caller("i2kit_register_providers", remove_plugins=others)
        return [provider for batch in caller() for provider in batch]

    def providers(self) -> tuple[ProviderInfo, ...]:
        """Return every installed provider, broken ones with their errors."""
        return tuple(self._info(entry) for entry in sorted(_entries(GROUP), key=lambda entry: entry.name))

    def _info(self, entry: EntryPoint) -> ProviderInfo:
        try:
            provider = self.provider(entry.name)
        except InvalidInput as error:
            return ProviderInfo(name=entry.name, source=_source(entry), error=error.problems[0].message, capabilities={})
        return ProviderInfo(
            name=entry.name,
            source=_source(entry),
            summary=provider.summary,
            capabilities={
                capability.name: level.support.value + (f" ({level.reason})" if level.reason else "")
                for capability, level in provider.capabilities.items()
            },
            formats=provider.formats,
            settings=dict(provider.settings),
            network=dict(provider.network),
        )

    def builders(self) -> dict[str, Builder]:
        """Return the image builders by name; raise `I2kitError` when two plug-ins claim one name."""
        found: dict[str, Builder] = {}
        for batch in self._manager.hook.i2kit_register_builders():
            for builder in batch:
                if builder.name in found:
                    raise I2kitError.of("duplicate-builder", f"two plug-ins bring an image builder called {builder.name!r}")
                found[builder.name] = builder
        return found

    def builder(self, name: str) -> Builder:
        """Return the builder that environments call `name`; raise `InvalidInput` listing the choices when there is none."""
        builders = self.builders()
        if name not in builders:
            raise InvalidInput(
                Problem(
                    code="unknown-builder",
                    message=f"there is no image builder {name!r}",
                    expected=f"one of {', '.join(sorted(builders))}",
                )
            )
        return builders[name]

    def after_plan(self, plan: Plan, changes: Changes) -> None:
        """Let plug-ins look at a plan; any may refuse it by raising."""
        self._manager.hook.i2kit_after_plan(plan=plan, changes=changes)

    def before_change(self, change: Change) -> None:
        """Let plug-ins look at a change; any may refuse it by raising."""
        self._manager.hook.i2kit_before_change(change=change)

    def after_change(self, change: Change, outcome: ChangeOutcome) -> None:
        """Tell plug-ins what became of a change."""
        self._manager.hook.i2kit_after_change(change=change, outcome=outcome)

    def after_build(self, image: Image, artefact: Artefact) -> None:
        """Tell plug-ins of a built image; any may refuse it by raising."""
        self._manager.hook.i2kit_after_build(image=image, artefact=artefact)


def _entries(group: str) -> Iterable[EntryPoint]:
    return entry_points(group=group)


def _unique(entries: Iterable[EntryPoint]) -> dict[str, EntryPoint]:
    """Return the entries by name; raise `InvalidInput` when two distributions bring one name."""
    found: dict[str, EntryPoint] = {}
    for entry in entries:
        other = found.setdefault(entry.name, entry)
        if other.value != entry.value:
            raise InvalidInput(
                Problem(
                    code="duplicate-provider",
                    message=f"{_source(other)} and {_source(entry)} both bring a provider called {entry.name!r}",
                    hint="uninstall one of them",
                )
            )
    return found


def _source(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else entry.value


def _check_api(provider: Provider) -> None:
    if provider.api[0] != DRIVER_API[0] or provider.api[1] > DRIVER_API[1]:
        raise InvalidInput(
            Problem(
                code="driver-api",
                message=f"provider {provider.name!r} was made for driver API {_dotted(provider.api)}",
                expected=f"{_dotted(DRIVER_API)}",
                hint="install versions of i2kit and of the plug-in that go together",
            )
        )


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(str(number) for number in version)
