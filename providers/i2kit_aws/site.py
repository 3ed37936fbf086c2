"""Where a driver works: what every part of it knows of its environment."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import evolve, field, frozen

from i2kit.driver import Context
from i2kit.environment import Environment
from i2kit.names import mark_value, resource_name
from i2kit.resources import Mark
from i2kit_aws import tags
from i2kit_aws.gateway import Gateway
from i2kit_aws.memory import Memory
from i2kit_aws.settings import Settings


@frozen(kw_only=True)
class Site:
    """An environment in an account and region; `gateway` is the way there, `memory` what all changes of a driver know already."""

    environment: Environment
    settings: Settings
    gateway: Gateway
    memory: Memory = field(factory=Memory, repr=False)

    @classmethod
    def of(cls, environment: Environment) -> Site:
        """Return an environment's site; raise `InvalidInput` for settings that are wrong."""
        settings = Settings.of(environment)
        return cls(environment=environment, settings=settings, gateway=Gateway.connect(settings))

    def during(self, context: Context) -> Site:
        """Return the same site for one change."""
        return evolve(self, gateway=self.gateway.during(context))

    @property
    def label(self) -> str:
        """The environment's name as marks carry it."""
        return mark_value(self.environment.name)

    @property
    def mark(self) -> Mark:
        """The mark of what belongs to the environment as a whole."""
        return Mark(environment=self.label)

    def tags(self, mark: Mark, name: str, **facts: str) -> dict[str, str]:
        """Return everything a resource is tagged with: the user's own tags too."""
        return {**self.settings.tags, **tags.tags_of(mark, name, **facts)}

    def retag(self, resource: str, held: Mapping[str, str], wanted: Mapping[str, str]) -> None:
        """Bring a resource of EC2 from the tags that it has to those that it should have; others' stay."""
        changed, stale = tags.changes(held, wanted)
        if stale:
            self.gateway.call("ec2", "DeleteTags", Resources=[resource], Tags=[{"Key": name} for name in stale])
        if changed:
            self.gateway.call("ec2", "CreateTags", Resources=[resource], Tags=tags.listed(changed))

    def own(self, **facts: str) -> dict[str, str]:
        """Return the tags by which the environment's resources are found."""
        return {tags.ENVIRONMENT: self.label, **{f"{tags.PREFIX}{name}": value for name, value in facts.items()}}

    def name(self, readable: str, *identity: str, limit: int = 63) -> str:
        """Name what AWS wants a name for and the plan has none."""
        return resource_name(readable, self.environment.name, *identity, limit=limit)

    def path(self, *parts: str) -> str:
        """Return the path of a parameter of Systems Manager."""
        return "/".join(("", "i2kit", self.label, *parts))
