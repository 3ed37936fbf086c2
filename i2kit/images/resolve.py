"""Every image reference of the manifests becomes a digest, and the base a list of hashes. The only reader of registries and base."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from attrs import evolve, frozen

from i2kit.environment import Environment
from i2kit.errors import I2kitError, InvalidInput, Problem, Where
from i2kit.images import pulls, skopeo
from i2kit.images.base import Wanted, lock_base
from i2kit.images.inspection import locked_image
from i2kit.images.locked import Locked, LockedImage
from i2kit.images.logins import Login, logins
from i2kit.images.platforms import started_by_firmware
from i2kit.images.reference import Reference, parse
from i2kit.images.store import ImageStore, StoredImage, default_store
from i2kit.manifest.workloads import SecretData, Workloads

_AT_ONCE = 4

Progress = Callable[[str], None]


def resolve(
    workloads: Workloads,
    environment: Environment,
    *,
    previous: Locked | None = None,
    update_base: bool = False,
    builder_version: str,
    progress: Progress = lambda _message: None,
    store: ImageStore | None = None,
    platform: str = "local",
    formats: Sequence[str] = (),
) -> Locked:
    """Look up every image, in the store first, then in its registry, and lock the base; what registries have is pulled into the store.

    `previous` keeps the base unless `update_base` moves it. The base is made for `platform` (`i2kit.images.platforms`), with boot loaders
    where one of the image formats `formats` needs any. Raises `UnresolvedImages` with a problem for every container whose image cannot
    be had: ``image-not-found``, ``image-reference-invalid``, ``image-architecture``, ``registry-auth``, ``registry-unreachable``,
    ``registry-untrusted``, ``registry-failed``, ``digest-mismatch``; and what `lock_base` raises.
    """
    store = store or default_store()
    images = _images(workloads, store, environment.architecture, progress)
    wanted = Wanted(platform=platform, architecture=environment.architecture, loader=started_by_firmware(formats))
    base = lock_base(environment.base, store, wanted, previous=previous.base if previous else None, update=update_base, progress=progress)
    return Locked(
        images=images,
        base=base,
        builder=environment.builder,
        builder_version=builder_version,
        architecture=environment.architecture,
    )


class UnresolvedImages(InvalidInput):
    """Images cannot be had; `found` are the others, as they are written in the manifests."""

    def __init__(self, problems: Iterable[Problem], found: Mapping[str, LockedImage]) -> None:
        super().__init__(problems)
        self.found = found


def examine(
    workloads: Workloads, architecture: str, *, store: ImageStore | None = None
) -> tuple[dict[str, LockedImage], tuple[Problem, ...]]:
    """Return the images that are in the store, and what is wrong with the others; registries are asked, but nothing is pulled."""
    try:
        return _images(workloads, store or default_store(), architecture, None), ()
    except UnresolvedImages as error:
        return dict(error.found), error.problems


def _images(workloads: Workloads, store: ImageStore, architecture: str, progress: Progress | None) -> dict[str, LockedImage]:
    """Look up every image; without `progress` nothing is pulled, and what only registries have is left out."""
    places: dict[str, list[Where]] = {}
    secrets: dict[str, list[SecretData]] = {}
    known = {(secret.namespace, secret.name): secret for secret in workloads.pull_secrets}
    for workload in workloads.workloads:
        for container in workload.pod.containers:
            if container.image:  # one that could not be read has been complained about already
                places.setdefault(container.image, []).append(container.where)
                own = secrets.setdefault(container.image, [])
                own += [known[workload.namespace, name] for name in workload.pod.pull_secrets if known[workload.namespace, name] not in own]
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        looked_up = pool.map(lambda written: _image(written, _Source(store, architecture, progress, secrets[written])), places)
        found = dict(zip(places, looked_up, strict=True))
    problems = [
        evolve(problem, where=where)
        for written, outcome in found.items()
        if isinstance(outcome, I2kitError)
        for where in places[written]
        for problem in outcome.problems
    ]
    images = {written: image for written, image in found.items() if isinstance(image, LockedImage)}
    if problems:
        raise UnresolvedImages(problems, images)
    return images


@frozen
class _Source:
    """Where an image is looked for: the store, and its registry with the Secrets that may open it. Without `progress` nothing is pulled."""

    store: ImageStore
    architecture: str
    progress: Progress | None
    secrets: Sequence[SecretData]


def _image(written: str, source: _Source) -> LockedImage | I2kitError | None:
    store = source.store
    try:
        reference = parse(written)
        # What somebody imported is meant; what was only pulled may have moved since, unless it is named by its digest.
        stored = store.find(written)
        if stored is not None and store.has(stored.digest) and (not stored.pulled or reference.digest):
            return _checked(source, stored, reference)
        if not skopeo.installed():
            return I2kitError(
                Problem(
                    code="image-not-found",
                    message=f"image {reference} is not in the store, and skopeo, which asks registries, is not installed",
                    hint=f"{skopeo.HINT}, or `i2kit images import` the image",
                )
            )
        return _from_registry(reference, source)
    except I2kitError as error:
        return error


def _from_registry(reference: Reference, source: _Source) -> LockedImage | None:
    store, progress = source.store, source.progress
    stored = store.find(str(reference))
    with logins(reference, source.secrets) as tried:
        try:
            remote, login = _look_up(reference, source.architecture, tried)
        except skopeo.RegistryError as error:
            if stored is None or error.problems[0].code != "registry-unreachable" or not store.has(stored.digest):
                raise _told(error) from None
            if progress:
                progress(f"{error.problems[0].message}; taking {reference} as it was pulled before")
            return _checked(source, stored, reference)
        if stored is not None and stored.digest == remote.digest and store.has(stored.digest):
            return _checked(source, stored, reference)
        if not progress:
            return None
        progress(f"pulling {reference}")
        try:
            with pulls.pulled(remote, store, source.architecture, login) as layout:
                (image,) = store.import_path(layout, name=str(reference), architecture=source.architecture, pulled=True)
        except skopeo.RegistryError as error:
            raise _told(error) from None
        return _checked(source, image, reference)


def _look_up(reference: Reference, architecture: str, tried: Sequence[Login]) -> tuple[skopeo.RemoteImage, Login]:
    """Look a reference up with one login after the other, until the registry accepts one."""
    for login in tried[:-1]:
        try:
            return skopeo.look_up(reference, architecture, login), login
        except skopeo.RegistryError as error:
            if error.problems[0].code != "registry-auth":
                raise
    return skopeo.look_up(reference, architecture, tried[-1]), tried[-1]


def _checked(source: _Source, stored: StoredImage, reference: Reference) -> LockedImage:
    if stored.architecture != source.architecture:
        raise skopeo.wrong_architecture(reference, source.architecture, [stored.architecture])
    return locked_image(source.store, stored)


def _told(error: skopeo.RegistryError) -> I2kitError:
    """Say of an image that is nowhere how it could come into the store."""
    return I2kitError(_with_hint(error.problems))


def _with_hint(problems: Iterable[Problem]) -> list[Problem]:
    advice = "`i2kit images import` puts an image into the store, which is looked up first"
    return [evolve(problem, hint=problem.hint or advice) for problem in problems]
