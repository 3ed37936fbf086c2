"""The stages of the way, one function each: load, resolve, plan, observe, diff, build."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TextIO
from urllib.parse import urlparse

from attrs import evolve, frozen

from i2kit import misfits, planner
from i2kit.calls import limited
from i2kit.clock import SystemClock
from i2kit.diff import diff as diff_resources
from i2kit.driver import Driver, Provider
from i2kit.environment import Environment
from i2kit.errors import InvalidInput, MissingRequirement, Problem
from i2kit.events import Event, EventKind, Report, silent
from i2kit.images.builder import Builder, BuildRequest
from i2kit.images.formats import Root, holding
from i2kit.images.locked import Locked, LockedImage
from i2kit.images.platforms import platform_of
from i2kit.images.resolve import UnresolvedImages, examine
from i2kit.images.resolve import resolve as resolve_images
from i2kit.manifest import load as load_manifests
from i2kit.manifest.workloads import InvalidManifests, Workloads
from i2kit.names import mark_value, slug
from i2kit.plan import Changes, Observed, Plan
from i2kit.registry import ProviderInfo, Registry
from i2kit.resources import Image, key
from i2kit.secretkeys import secret_key
from i2kit.target import Target

Source = str | Path


@frozen(kw_only=True)
class BuiltImage:
    """An image that was built or found in the cache; `bytes` is the size of its files together."""

    name: str
    digest: str
    format: str
    files: Mapping[str, Path]
    bytes: int


def load(sources: Sequence[Source], *, stdin: TextIO | None = None) -> Workloads:
    """Read manifests: files, folders (their ``*.yaml``, ``*.yml``, ``*.json``), URLs, or ``-`` for `stdin`.

    Raises `InvalidInput` with every problem at once.

    >>> import io
    >>> import i2kit
    >>> paper = "name: web\\nreplicas: 2\\ncontainers: [{image: 'hello:1', ports: [8080]}]"
    >>> workloads = i2kit.load(["-"], stdin=io.StringIO(paper))
    >>> [(workload.name, workload.replicas) for workload in workloads.workloads]
    [('web', 2)]
    """
    return load_manifests(sources, stdin=stdin)


def load_for(environment: Environment, sources: Sequence[Source], *, stdin: TextIO | None = None) -> Workloads:
    """Read manifests that are to run in `environment`.

    Raises `InvalidInput` with everything that is wrong with them, although later stages do not run: images that are nowhere, and what the
    provider cannot do, are looked for in what could be read.
    """
    try:
        return load(sources, stdin=stdin)
    except InvalidManifests as error:
        found, missing = examine(error.readable, environment.architecture)
        misfits = _misfits(error.readable, found, environment)
        raise InvalidInput(_by_file([*error.problems, *missing, *misfits], error.files)) from error


def _misfits(workloads: Workloads, images: Mapping[str, LockedImage], environment: Environment) -> Sequence[Problem]:
    """Return what of the workloads does not fit the provider, as far as it is known."""
    readable = evolve(workloads, workloads=tuple(one for one in workloads.workloads if one.pod.containers))
    try:
        return misfits.misfits(readable, images, target(environment, environment.application or ""))
    except InvalidInput as error:
        return error.problems


def _by_file(problems: Sequence[Problem], files: Iterable[str]) -> list[Problem]:
    """Sort problems by line within their files; those without a place, or with one elsewhere, come first."""
    order = {name: index for index, name in enumerate(dict.fromkeys(files))}
    return sorted(problems, key=lambda one: (order.get(one.where.file, -1), one.where.line or 0) if one.where else (-1, 0))


def default_application(sources: Sequence[Source]) -> str:
    """Return the application's name when none is given: that of the first folder or file.

    >>> default_application(["examples/hello/hello.yaml"])
    'hello'
    """
    if not sources or str(sources[0]) == "-":
        return "stdin"
    first = str(sources[0])
    path = Path(urlparse(first).path) if "://" in first else Path(first).resolve()
    return slug(path.name if "://" not in first and path.is_dir() else path.stem)


def application_of(environment: Environment, sources: Sequence[Source], named: str | None) -> str:
    """Return the application that a command is about: the one named, the environment's, or the default."""
    return named or environment.application or default_application(sources)


def resolve(
    workloads: Workloads,
    environment: Environment,
    *,
    previous: Locked | None = None,
    update_base: bool = False,
    format: str | None = None,  # noqa: A002
    report: Report = silent,
) -> Locked:
    """Resolve every image reference and the base to digests: the image store first, then the registries.

    `previous` keeps the base of an earlier release unless `update_base`; `format` is the image format that `plan` will be asked for: the
    base is made for where such images run. Raises `InvalidInput` naming every image that is nowhere, and
    what of the others does not fit the provider.

    >>> import i2kit
    >>> workloads = i2kit.load(["examples/hello"])
    >>> locked = i2kit.resolve(workloads, environment)
    >>> locked.images["hello:1"].reference
    'docker.io/library/hello:1'
    """
    builder = Registry().builder(environment.builder)
    provider = Registry().provider(environment.provider)
    try:
        return resolve_images(
            workloads,
            environment,
            previous=previous,
            update_base=update_base,
            builder_version=builder.version(),
            progress=progress_of(report, "stage"),
            platform=platform_of(provider.platform, format),
            formats=_used(_formats(provider, builder, format)),
        )
    except UnresolvedImages as error:
        misfits = _misfits(workloads, error.found, environment)
        raise InvalidInput(_by_file([*error.problems, *misfits], [one.where.file for one in workloads.workloads])) from error


def plan(
    workloads: Workloads,
    locked: Locked,
    environment: Environment,
    *,
    application: str,
    format: str | None = None,  # noqa: A002
    previous: Plan | None = None,
) -> Plan:
    """Turn workloads into abstract resources; touches nothing and needs no credentials.

    `format` overrides the image format that the provider likes best; `previous` is the last release's plan, by which a workload that was
    restarted stays so. Raises `InvalidInput` for what the provider cannot do and
    what does not fit.

    >>> import i2kit
    >>> workloads = i2kit.load(["examples/hello"])
    >>> planned = i2kit.plan(workloads, i2kit.resolve(workloads, environment), environment, application="hello")
    >>> [resource.kind for resource in planned.resources]
    ['Network', 'Image', 'InstanceGroup', 'Balancer', 'DnsRecord']
    """
    key_needed = any(workloads.secrets)
    return planner.plan(
        workloads,
        locked,
        target(environment, application, format),
        secret_key=secret_key(environment) if key_needed else b"",
        previous=previous,
    )


def connect(environment: Environment) -> Driver:
    """Return a driver for the environment, called within its provider's limits; close it (`contextlib.closing`) when done.

    Raises `MissingRequirement` for what this machine lacks.
    """
    provider = Registry().provider(environment.provider)
    problems = provider.problems(environment)
    if problems:
        raise MissingRequirement(problems)
    return limited(provider, provider.connect(environment), SystemClock())


def observe(environment: Environment) -> Observed:
    """Return everything of the environment that carries a mark, seen at the real thing.

    >>> import i2kit
    >>> i2kit.observe(environment).resources
    ()
    """
    with closing(connect(environment)) as driver:
        return driver.observe()


def diff(plan: Plan, observed: Observed) -> Changes:
    """Return what has to change for `observed` to become `plan`, in order, each change with its reason. Pure.

    >>> from i2kit.plan import Observed, Plan
    >>> nothing = Plan(environment="local", application="web", provider="local", resources=(), fingerprint="")
    >>> diff(nothing, Observed()).pending
    ()
    """
    return diff_resources(plan, observed)


def build(
    sources: Sequence[Source],
    *,
    environment: Environment | None = None,
    application: str | None = None,
    format: str | None = None,  # noqa: A002
    no_cache: bool = False,
    update_base: bool = False,
    report: Report = silent,
    stdin: TextIO | None = None,
) -> tuple[BuiltImage, ...]:
    """Build the images of the manifests' Pods, without deploying anything.

    >>> import i2kit
    >>> (image,) = i2kit.build(["examples/hello"], environment=environment)
    >>> sorted(image.files), image.bytes < 21_000_000
    (['cmdline', 'initrd', 'kernel'], True)
    """
    environment = environment or Environment()
    workloads = load_for(environment, sources, stdin=stdin)
    builder = ready_builder(environment.builder)
    locked = resolve(workloads, environment, update_base=update_base, format=format, report=report)
    planned = plan(workloads, locked, environment, application=application_of(environment, sources, application), format=format)
    built = []
    for image in (one for one in planned.resources if isinstance(one, Image)):
        artefact = builder.build(BuildRequest(image=image, no_cache=no_cache, progress=progress_of(report, "progress", key(image))))
        size = sum(path.stat().st_size for path in artefact.files.values())
        built.append(BuiltImage(name=image.name, digest=image.digest, format=artefact.format, files=artefact.files, bytes=size))
    return tuple(built)


def providers() -> tuple[ProviderInfo, ...]:
    """Return the installed providers, broken ones with the reason.

    >>> import i2kit
    >>> [provider.name for provider in i2kit.providers() if provider.name == "local"]
    ['local']
    """
    return Registry().providers()


def target(environment: Environment, application: str, asked: str | None = None) -> Target:
    """Return what the planner has to know of where `environment` lies; `asked` is an image format to use instead of the provider's best."""
    provider = Registry().provider(environment.provider)
    builder = Registry().builder(environment.builder)
    return Target(
        environment=environment,
        provider=provider,
        limits=provider.limits(),
        formats=_formats(provider, builder, asked),
        application=mark_value(application),
    )


def _formats(provider: Provider, builder: Builder, asked: str | None) -> tuple[str, ...]:
    wanted = (asked,) if asked else provider.formats
    formats = tuple(one for one in wanted if one in builder.formats)
    if not formats:
        raise InvalidInput(
            Problem(
                code="unsupported-format",
                message=f"builder {builder.name} makes no {' or '.join(wanted)} images",
                expected=f"one of {', '.join(builder.formats)}",
            )
        )
    return formats


def _used(formats: Sequence[str]) -> tuple[str, ...]:
    """Return those of a provider's formats that a Pod's image can have: the best for each place of the root file systems."""
    roots: tuple[Root, ...] = ("memory", "disk")
    return tuple(form for root in roots if (form := holding(root, formats)) is not None)


def ready_builder(name: str) -> Builder:
    """Return the builder called `name`; raise `MissingRequirement` for what it needs and this machine lacks."""
    builder = Registry().builder(name)
    problems = builder.check()
    if problems:
        raise MissingRequirement(problems)
    return builder


def progress_of(report: Report, kind: EventKind, name: str = "") -> Callable[[str], None]:
    """Return a function that reports each text it is given as an event of `kind`."""
    return lambda message: report(Event(kind=kind, message=message, key=name))
