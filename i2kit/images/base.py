"""The `debian` base: which packages, by hash, and the images made of them and of the guest.

The lock is made when first needed and kept in the store, as are the packages' files; it moves only when asked to.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import cattrs
from attrs import asdict, evolve, frozen

from i2kit.environment import BaseSettings
from i2kit.errors import I2kitError, InvalidInput, MissingRequirement, Problem, Where
from i2kit.images import apt, base_images, oci
from i2kit.images.folders import locked, written_aside
from i2kit.images.inspection import locked_image
from i2kit.images.locked import LockedBase, Package
from i2kit.images.store import ImageStore, StoredImage
from i2kit.paths import cache_home

LOCK_SCHEMA = 1
_KERNEL = "linux-image-cloud-amd64"
# crun's cgroup manager for systemd is the only thing it needs libsystemd for; a stand-in takes its place.
_LEFT_OUT = frozenset({"libsystemd0"})
_PROGRAMS = ("busybox", "crun")

Progress = Callable[[str], None]


@frozen
class BaseLock:
    """The packages of a base by name, version and hash; `name` is the base's."""

    name: str
    packages: tuple[Package, ...]

    def dump(self) -> str:
        """Return the lock as the text of a file."""
        document = {"schema": LOCK_SCHEMA, "base": self.name, "packages": [asdict(package) for package in self.packages]}
        return json.dumps(document, indent=1) + "\n"


def read_lock(path: Path) -> BaseLock:
    """Read a lock that `BaseLock.dump` wrote. Raises `InvalidInput` (``base-lock-invalid``)."""
    try:
        document = json.loads(path.read_text())
        if document["schema"] != LOCK_SCHEMA:
            raise ValueError(f"its schema is {document['schema']!r}, this i2kit reads {LOCK_SCHEMA}")
        return BaseLock(str(document["base"]), tuple(cattrs.structure(document["packages"], list[Package])))
    except (OSError, ValueError, KeyError, TypeError, cattrs.BaseValidationError) as error:
        raise InvalidInput.of(
            "base-lock-invalid",
            f"it is not the lock of a base ({type(error).__name__}: {error})",
            where=Where(file=str(path)),
            expected="a file that `i2kit base lock` wrote",
        ) from error


def lock_base(
    settings: BaseSettings,
    store: ImageStore,
    *,
    previous: LockedBase | None = None,
    update: bool = False,
    progress: Progress = lambda _message: None,
) -> LockedBase:
    """Return the base, its images in the store.

    Packages come from, in this order: the lock file that `settings` name, `previous`, the store's own lock, the mirror; with `update` from
    the mirror, unless a file pins them. Raises `MissingRequirement`, `InvalidInput`, and `I2kitError` (``base-package-gone``) when a
    package is neither in the store nor on the mirror any more.
    """
    guest = guest_binary()
    with locked(store.root / "base" / "lock"):
        lock = current_lock(settings, store, previous=previous, update=update, progress=progress)
        kernel, pod = _images(_Packages(store, settings, progress), lock, guest)
    return LockedBase(
        name=lock.name,
        packages=lock.packages,
        guest=oci.digest_of(guest),
        kernel=evolve(locked_image(store, kernel), unpacked=_modules_size(store, kernel)),
        pod=locked_image(store, pod),
        cmdline=base_images.CMDLINE,
    )


def current_lock(
    settings: BaseSettings,
    store: ImageStore,
    *,
    previous: LockedBase | None = None,
    update: bool = False,
    progress: Progress = lambda _message: None,
) -> BaseLock:
    """Return the packages alone, as `lock_base` chooses them; a lock made now is kept in the store."""
    if settings.lock is not None:
        return read_lock(Path(settings.lock))
    if previous is not None and not update:
        return BaseLock(previous.name, previous.packages)
    kept = store.root / "base" / f"{settings.name}.json"
    if kept.exists() and not update:
        return read_lock(kept)
    progress("looking up the base's packages")
    lock = BaseLock(settings.name, _newest(_Packages(store, settings, progress).apt()))
    with written_aside(kept) as aside:
        aside.write_text(lock.dump())
    return lock


def _newest(mirror: apt.Apt) -> tuple[Package, ...]:
    kernels = [name for name in mirror.depends(_KERNEL) if name.startswith("linux-image-")]
    if len(kernels) != 1:
        raise I2kitError.of("apt-failed", f"{_KERNEL} names {kernels or 'no kernel'}; expected one kernel package")
    libraries = {library for program in _PROGRAMS for library in mirror.depends(program) if library.startswith("lib")}
    return mirror.alone([*kernels, *_PROGRAMS, *sorted(libraries - _LEFT_OUT)])


def guest_binary(architecture: str = "x86_64") -> bytes:
    """Return the guest. Raises `MissingRequirement` when this installation was not built."""
    guest = resources.files("i2kit") / "guest" / architecture / "init"
    if not guest.is_file():
        raise MissingRequirement.of(
            "guest-missing", "the guest that runs in every VM is not compiled in this installation", hint="`make setup` compiles it"
        )
    return guest.read_bytes()


def missing() -> Sequence[Problem]:
    """List what this machine lacks for making the base."""
    return apt.missing()


class _Packages:
    """The files of a base's packages: from the store, else from the mirror."""

    def __init__(self, store: ImageStore, settings: BaseSettings, progress: Progress) -> None:
        self._store = store
        self._settings = settings
        self._progress = progress
        self._apt: apt.Apt | None = None

    def apt(self) -> apt.Apt:
        """Return apt, its lists fetched once."""
        if self._apt is None:
            if problems := apt.missing():
                raise MissingRequirement(problems)
            mirror = apt.Apt(cache_home() / "apt", apt.sources(self._settings.mirror))
            mirror.update()
            self._apt = mirror
        return self._apt

    def files(self, packages: Sequence[Package]) -> dict[str, Path]:
        """Return where the packages' files lie, by the packages' names; what the store lacks is fetched."""
        paths = {package.name: self._store.root / "debs" / f"{package.sha256}.deb" for package in packages}
        lacking = [package for package in packages if not paths[package.name].exists()]
        if lacking:
            self._progress(f"fetching {', '.join(package.name for package in lacking)}")
            with tempfile.TemporaryDirectory(dir=self._store.root) as folder:
                for name, fetched in self.apt().download(lacking, Path(folder)).items():
                    with written_aside(paths[name]) as aside:
                        shutil.copyfile(fetched, aside)
        return paths


def _images(packages: _Packages, lock: BaseLock, guest: bytes) -> tuple[StoredImage, StoredImage]:
    """Find or make the two images; their names say what they are made of."""
    store = packages._store
    kernels = tuple(package for package in lock.packages if package.name.startswith("linux-image-"))
    others = tuple(package for package in lock.packages if package not in kernels)
    if len(kernels) != 1:
        raise I2kitError.of("base-lock-invalid", f"a base has one kernel package, this one {len(kernels)}")
    kernel_name = f"docker.io/i2kit/kernel:{_recipe_id(kernels, b'')}"
    pod_name = f"docker.io/i2kit/pod:{_recipe_id(lock.packages, guest)}"
    kernel, pod = store.find(kernel_name), store.find(pod_name)
    if kernel is not None and pod is not None and store.has(kernel.digest) and store.has(pod.digest):
        return kernel, pod
    packages._progress("making the base")
    paths = packages.files(lock.packages)
    files = base_images.kernel_files(paths[kernels[0].name])
    pod_data = base_images.pod_layer(paths.__getitem__, tuple(package.name for package in others), guest, files.modules)
    return (
        _add(store, kernel_name, base_images.kernel_layer(files)),
        _add(store, pod_name, pod_data),
    )


def _add(store: ImageStore, name: str, layer: bytes) -> StoredImage:
    with tempfile.TemporaryDirectory(dir=store.root) as folder:
        path = Path(folder) / "layer.tar"
        path.write_bytes(layer)
        return store.add(name, [path])


def _recipe_id(packages: Sequence[Package], guest: bytes) -> str:
    parts = [str(base_images.RECIPE), *sorted(package.sha256 for package in packages), hashlib.sha256(guest).hexdigest()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _modules_size(store: ImageStore, kernel: StoredImage) -> int:
    """Return the bytes that the modules take in memory; the kernel itself never lies in the file system."""
    entries: Any = store.entries(store.manifest(kernel.digest))
    return sum(entry.inode.size for entry in entries if entry.path == "kernel.tar")
