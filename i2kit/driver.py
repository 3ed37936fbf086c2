"""The contract between i2kit and a provider: the `Provider` record that a plug-in registers, and the `Driver` it makes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from attrs import Attribute, field, frozen
from attrs.validators import ge, gt, optional

from i2kit.capabilities import Capability, Level, Support
from i2kit.cost import Cost
from i2kit.environment import Environment
from i2kit.errors import Problem
from i2kit.manifest.workloads import SecretValue
from i2kit.plan import Change, GroupHealth, Observed
from i2kit.resources import Resource

DRIVER_API = (0, 2)
"""Version of this contract; 0.x is a draft. A provider whose major number differs is refused."""


@frozen(kw_only=True)
class Limits:
    """A provider's limits: the greatest VM, and how long each kind's names may be (`name_lengths`, by kind; 63 where not given).

    A boot configuration may be `boot_config_bytes` long; the guest reads no more than 512 KiB of one. `secrets_in_boot_config` tells
    whether the values of Secrets lie in it, or only references to where the guest fetches them.
    """

    max_memory_mib: int
    max_cpu_millis: int
    max_replicas: int = 1000
    boot_config_bytes: int = 512 << 10
    secrets_in_boot_config: bool = True
    name_lengths: Mapping[str, int] = field(factory=dict)


@frozen(kw_only=True)
class CallLimits:
    """How a provider wants to be called; `i2kit.calls` keeps to it, so that no driver has to. Every number of seconds is one of these.

    At most `concurrency` calls are under way at once, and one fewer of those that may take for ever (unless it is 1); appending and reading
    records comes before everything else. `calls_per_second` is how fast they may begin in the long run (None: as fast as
    they come), and `burst` how many of them at once after a rest. A call that ends with `TransientError` is made up to `attempts` times:
    the waits in between are random, up to `first_delay_seconds` the first time, twice as long each further time, and never beyond
    `greatest_delay_seconds`; what the provider asks for in `retry_after` comes on top. What only reads (`observe`, `preflight`, `health`,
    `records`, `applications`) and takes longer than `call_seconds` is given up.
    """

    concurrency: int = field(default=8, validator=ge(1))
    calls_per_second: float | None = field(default=None, validator=optional(gt(0.0)))
    burst: int = field(default=10, validator=ge(1))
    attempts: int = field(default=6, validator=ge(1))
    first_delay_seconds: float = field(default=0.5, validator=ge(0.0))
    greatest_delay_seconds: float = field(default=20.0, validator=ge(0.0))
    call_seconds: float = field(default=60.0, validator=gt(0.0))

    @greatest_delay_seconds.validator
    def _in_order(self, _attribute: Attribute[float], value: float) -> None:
        if value < self.first_delay_seconds:
            raise ValueError(f"the greatest delay ({value} s) is below the first one ({self.first_delay_seconds} s)")


@frozen(kw_only=True)
class Artefact:
    """A built image: its format and its files by role (`i2kit.images.formats` lists them; ``kernel+squashfs`` adds ``root``)."""

    format: str
    files: Mapping[str, Path]


class Context(Protocol):
    """What a driver may ask for while it applies a change."""

    def secret(self, name: str) -> Mapping[str, SecretValue]:
        """Return the values of the `Secret` resource called `name`."""
        ...

    def artefact(self, name: str) -> Artefact:
        """Return the built files of the `Image` resource called `name`; builds them when they are not in the cache."""
        ...

    def progress(self, message: str) -> None:
        """Tell the user what is going on, in a few words."""
        ...

    def check(self) -> None:
        """Raise `Interrupted` when the run is to stop, or `ProviderError` when the change's deadline has passed."""
        ...


@frozen(kw_only=True)
class Record:
    """One release record: `number` counts up from 1 within an application."""

    number: int
    body: bytes = field(repr=False)


@frozen(kw_only=True)
class LogLine:
    """One line of an instance's console; `container` is empty for the guest's own lines."""

    instance: str
    container: str
    text: str


class Driver(Protocol):
    """Talks to one account and region. Every method may raise `ProviderError`; i2kit calls again after a `TransientError`.

    `apply` is idempotent: applying a change twice is one change, and a change that was half applied by a run that died is completed.
    """

    def observe(self) -> Observed:
        """Return everything of the environment that carries a mark, seen at the real thing."""
        ...

    def preflight(self, changes: Sequence[Change]) -> Sequence[Problem]:
        """Return everything that stands in the way of these changes and can be known before the first: quotas, zones that are not there.

        Touches nothing. A group's change asks, on top of what the group has now (`observed`), for as many replicas as all of the workload's
        members are more at any time of its rollout than they are now. Drivers made for the API 0.1 lack this method.
        """
        ...

    def apply(self, change: Change, context: Context) -> None:
        """Make one create, update, replace or delete happen; return when the provider has accepted and finished it.

        A group's VMs need not serve when this returns (`health` tells); a deleted group's VMs are gone.
        """
        ...

    def health(self, group: str) -> GroupHealth:
        """Return which members of the group are ready; a group that does not exist has none."""
        ...

    def logs(self, group: str, *, tail: int | None = None, follow: bool = False) -> Iterator[LogLine]:
        """Yield the console lines of the group's members, the last `tail` of each; with `follow`, go on until closed."""
        ...

    def records(self, application: str) -> Sequence[Record]:
        """Return the application's release records in order, as they are: every one whose appending or removal has returned counts."""
        ...

    def append_record(self, application: str, number: int, body: bytes) -> None:
        """Create record `number`, whole or not at all; raise `ConflictingRecord` if it exists."""
        ...

    def remove_record(self, application: str, number: int) -> None:
        """Remove record `number`; nothing happens when it is not there."""
        ...

    def applications(self) -> Sequence[str]:
        """Return the names of the applications that have records or resources."""
        ...

    def close(self) -> None:
        """Give back connections and files; the driver is not used afterwards."""
        ...


def preflight(driver: Driver, changes: Sequence[Change]) -> Sequence[Problem]:
    """Return what stands in the way of changes, as far as the driver knows: one that was made for the API 0.1 knows of nothing."""
    ask: Callable[[Sequence[Change]], Sequence[Problem]] | None = getattr(driver, "preflight", None)
    return ask(changes) if ask else ()


@frozen(kw_only=True)
class Provider:
    """What a plug-in registers.

    `formats` are the image formats it boots, the best first; `platform` is what its VMs are to the guest (`i2kit.images.platforms`: which
    kernel modules it needs, where its boot configuration lies). `connect` makes a driver for an environment; `check` lists what is missing
    on this machine or in the environment's settings, each with the command or change that helps, and touches nothing. `settings`
    describes the keys that ``provider:`` in environment.yml may have: name -> one sentence; `network` those of ``network:``, which takes no
    others; `annotations` those that objects may have
    under ``<name>.i2kit.dev/``, by the kind of resource (``InstanceGroup``: a Deployment's, ``Balancer``: a Service's), which come as its
    `options`. `calls` says how often and how many at once
    its drivers may be called. `lag_seconds` is how much older than the truth the answers of `observe` and `health` may be: a run that
    follows another one waits that long before it looks. `cost` tells what the resources of an application cost in an environment, those
    that it shares with others among them, without asking anybody; None where prices are not known.
    """

    name: str
    summary: str
    api: tuple[int, int]
    formats: tuple[str, ...]
    capabilities: Mapping[Capability, Level]
    limits: Callable[[], Limits]
    connect: Callable[[Environment], Driver]
    check: Callable[[Environment], Sequence[Problem]]
    settings: Mapping[str, str] = field(factory=dict)
    network: Mapping[str, str] = field(factory=dict)
    annotations: Mapping[str, Mapping[str, str]] = field(factory=dict)
    calls: CallLimits = CallLimits()
    platform: str = "local"
    lag_seconds: float = field(default=0.0, validator=ge(0.0))
    cost: Callable[[Environment, Sequence[Resource]], Cost | None] | None = None

    def problems(self, environment: Environment) -> Sequence[Problem]:
        """Return what `check` lists, and the keys of the environment's ``network:`` that the provider does not know."""
        return [*self._unknown_network(environment), *self.check(environment)]

    def _unknown_network(self, environment: Environment) -> Iterator[Problem]:
        unknown = sorted(environment.network.keys() - self.network.keys())
        if unknown and not self.network:
            expected = "no such keys: it makes every environment's network by itself"
            yield environment.wrong("network", f"has {', '.join(unknown)}, and provider {self.name} takes nothing", expected=expected)
            return
        for name in unknown:
            yield environment.wrong(
                f"network.{name}", f"is nothing that provider {self.name} knows", expected=f"one of {', '.join(sorted(self.network))}"
            )

    def level(self, capability: Capability) -> Level:
        """Return how well the provider supports `capability`; what it does not mention is unsupported."""
        return self.capabilities.get(capability, Level(support=Support.UNSUPPORTED, reason=f"provider {self.name} does not mention it"))
