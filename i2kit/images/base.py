"""The `debian` base: which packages, by hash, and the images made of them and of the guest.

The lock is made when first needed and kept in the store, as are the packages' files; it moves only when asked to.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import cattrs
from attrs import asdict, evolve, frozen

from i2kit.environment import BaseSettings
from i2kit.errors import I2kitError, InvalidInput, MissingRequirement, Problem, Where
from i2kit.images import apt, authorities, base_images, kernels, loaders, oci
from i2kit.images.folders import locked, written_aside
from i2kit.images.inspection import locked_image
from i2kit.images.locked import LockedBase, LockedImage, Package
from i2kit.images.platforms import PLATFORMS, Platform, platform_called
from i2kit.images.store import ImageStore, StoredImage
from i2kit.paths import cache_home

LOCK_SCHEMA = 1
_KERNEL = "linux-image-"
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


@frozen(kw_only=True)
class Wanted:
    """What a base is to be made for; the boot loaders are only part of it where an image format needs some (`loader`)."""

    platform: str = "local"
    architecture: str = "x86_64"
    loader: bool = False


def lock_base(
    settings: BaseSettings,
    store: ImageStore,
    wanted: Wanted = Wanted(),
    *,
    previous: LockedBase | None = None,
    update: bool = False,
    progress: Progress = lambda _message: None,
) -> LockedBase:
    """Return the base, its images in the store.

    Packages come from, in this order: the lock file that `settings` name, `previous`, the store's own lock, the mirror; with `update` from
    the mirror, unless a file pins them. Raises `MissingRequirement`, `InvalidInput` (``platform-unknown``, ``base-lock-invalid``), and
    `I2kitError`: ``base-package-gone`` when a package is neither in the store nor on the mirror any more, ``base-lock-incomplete`` when an
    older i2kit made the file or the `previous` lock, and it lacks what is needed now.
    """
    platform = platform_called(wanted.platform)
    guest = guest_binary(wanted.architecture)
    with locked(store.root / "base" / "lock"):
        lock = current_lock(settings, store, wanted, previous=previous, update=update, progress=progress)
        chosen = _Chosen.of(lock, platform, wanted)
        images = _Images(_Packages(store, settings, progress, wanted.architecture), chosen, platform, wanted.architecture, guest).all()
    return LockedBase(
        name=lock.name,
        platform=platform.name,
        packages=chosen.all,
        guest=oci.digest_of(guest),
        cmdline=base_images.cmdline(wanted.architecture),
        **images,
    )


def current_lock(
    settings: BaseSettings,
    store: ImageStore,
    wanted: Wanted,
    *,
    previous: LockedBase | None = None,
    update: bool = False,
    progress: Progress = lambda _message: None,
) -> BaseLock:
    """Return the packages alone, as `lock_base` chooses them; a lock made now is kept in the store.

    To the store's own lock is added what an older i2kit did not ask for; what is in it stays.
    """
    if settings.lock is not None:
        return _for_architecture(read_lock(Path(settings.lock)), wanted.architecture, settings.lock)
    # Another architecture than last time has other packages.
    if previous is not None and not update and previous.kernel.architecture == wanted.architecture:
        return BaseLock(previous.name, previous.packages)
    kept = (
        store.root
        / "base"
        / (f"{settings.name}.json" if wanted.architecture == "x86_64" else f"{settings.name}-{wanted.architecture}.json")
    )
    lock = read_lock(kept) if kept.exists() and not update else None
    if lock is not None and not _lacking(lock, wanted):
        return lock
    progress("looking up the base's packages")
    mirror = _Packages(store, settings, progress, wanted.architecture).apt()
    lock = _newest(settings.name, mirror, wanted.architecture) if lock is None else _completed(lock, mirror, wanted.architecture)
    with written_aside(kept) as aside:
        aside.write_text(lock.dump())
    return lock


def _for_architecture(lock: BaseLock, architecture: str, file: str) -> BaseLock:
    name = oci.ARCHITECTURES[architecture]
    if others := sorted({package.architecture for package in lock.packages} - {name, "all"}):
        raise InvalidInput.of(
            "base-lock-invalid",
            f"it is the lock of a base for {', '.join(others)}, and the environment's VMs are {architecture}",
            where=Where(file=file),
            expected=f"packages for {name}",
            hint="`i2kit base lock` with this environment writes one",
        )
    return lock


def _newest(name: str, mirror: apt.Apt, architecture: str) -> BaseLock:
    """Look up everything that a base of any platform is made of, so that a lock serves them all."""
    libraries = {library for program in _PROGRAMS for library in mirror.depends(program) if library.startswith("lib")}
    programs = mirror.alone([*_PROGRAMS, *sorted(libraries - _LEFT_OUT)])
    return _completed(BaseLock(name, programs), mirror, architecture)


def _completed(lock: BaseLock, mirror: apt.Apt, architecture: str) -> BaseLock:
    """Add the kernels, boot loaders and root certificates that a lock lacks."""
    kinds = sorted({platform.kernel_for(architecture) for platform in PLATFORMS.values()})
    known = {package.name for package in lock.packages}
    names = [_kernel_package(mirror, kind, architecture) for kind in kinds if not _kernels(lock, kind)]
    names += [name for name in (*loaders.PACKAGES[architecture], authorities.PACKAGE) if name not in known]
    packages = (*lock.packages, *mirror.alone(names))
    return BaseLock(lock.name, tuple(sorted(packages, key=lambda package: package.name)))


def _kernels(lock: BaseLock, kind: str) -> list[Package]:
    found = [package for package in lock.packages if package.name.startswith(_KERNEL)]
    return [package for package in found if ("-cloud-" in package.name) == (kind == "cloud")]


def _lacking(lock: BaseLock, wanted: Wanted) -> list[str]:
    """Say what a lock lacks of what is wanted."""
    platform = platform_called(wanted.platform)
    kind = platform.kernel_for(wanted.architecture)
    known = {package.name for package in lock.packages}
    missing = [name for name in loaders.PACKAGES[wanted.architecture] if name not in known]
    lacking = [] if _kernels(lock, kind) else [f"the {kind} kernel, which VMs on {wanted.platform} need"]
    if platform.roots and authorities.PACKAGE not in known:
        lacking.append(f"the root certificates ({authorities.PACKAGE}), which VMs on {wanted.platform} need")
    return lacking + ([f"the boot loaders ({', '.join(missing)})"] if wanted.loader and missing else [])


def _kernel_package(mirror: apt.Apt, kind: str, architecture: str) -> str:
    name = f"{_KERNEL}{'cloud-' if kind == 'cloud' else ''}{oci.ARCHITECTURES[architecture]}"
    found = [package for package in mirror.depends(name) if package.startswith(_KERNEL)]
    if len(found) != 1:
        raise I2kitError.of("apt-failed", f"{name} names {found or 'no kernel'}; expected one kernel package")
    return found[0]


@frozen(kw_only=True)
class _Chosen:
    """The packages of a lock that one platform's base is made of."""

    kernel: Package
    programs: tuple[Package, ...]
    loaders: tuple[Package, ...]
    roots: tuple[Package, ...]
    wants_loader: bool

    @classmethod
    def of(cls, lock: BaseLock, platform: Platform, wanted: Wanted) -> _Chosen:
        """Choose. Raises `I2kitError` (``base-lock-incomplete``) naming everything that the lock lacks."""
        if lacking := _lacking(lock, wanted):
            raise I2kitError(
                Problem(
                    code="base-lock-incomplete",
                    message=f"the lock of the base {lock.name} is older than what it is to be used for: it lacks {' and '.join(lacking)}",
                    hint="--update-base makes a new one of what the mirror offers now (`i2kit base lock` where a file pins the base)",
                )
            )
        kind = platform.kernel_for(wanted.architecture)
        fitting = _kernels(lock, kind)
        others = (*loaders.PACKAGES[wanted.architecture], authorities.PACKAGE)
        if len(fitting) != 1:
            raise I2kitError.of("base-lock-invalid", f"a base has one {kind} kernel package, this one {len(fitting)}")
        return cls(
            kernel=fitting[0],
            programs=tuple(one for one in lock.packages if not one.name.startswith(_KERNEL) and one.name not in others),
            loaders=tuple(one for one in lock.packages if one.name in loaders.PACKAGES[wanted.architecture]),
            roots=tuple(one for one in lock.packages if one.name == authorities.PACKAGE),
            wants_loader=wanted.loader,
        )

    @property
    def all(self) -> tuple[Package, ...]:
        """All of them, in the order of their names."""
        return tuple(sorted((self.kernel, *self.programs, *self.loaders, *self.roots), key=lambda package: package.name))


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

    def __init__(self, store: ImageStore, settings: BaseSettings, progress: Progress, architecture: str) -> None:
        self.store = store
        self.progress = progress
        self._settings = settings
        self._architecture = oci.ARCHITECTURES[architecture]
        self._apt: apt.Apt | None = None

    def apt(self) -> apt.Apt:
        """Return apt, its lists fetched once."""
        if self._apt is None:
            if problems := apt.missing():
                raise MissingRequirement(problems)
            folder = "apt" if self._architecture == "amd64" else f"apt-{self._architecture}"
            mirror = apt.Apt(cache_home() / folder, apt.sources(self._settings.mirror), self._architecture)
            mirror.update()
            self._apt = mirror
        return self._apt

    def files(self, packages: Sequence[Package]) -> dict[str, Path]:
        """Return where the packages' files lie, by the packages' names; what the store lacks is fetched."""
        paths = {package.name: self.store.root / "debs" / f"{package.sha256}.deb" for package in packages}
        lacking = [package for package in packages if not paths[package.name].exists()]
        if lacking:
            self.progress(f"fetching {', '.join(package.name for package in lacking)}")
            with tempfile.TemporaryDirectory(dir=self.store.root) as folder:
                for name, fetched in self.apt().download(lacking, Path(folder)).items():
                    with written_aside(paths[name]) as aside:
                        shutil.copyfile(fetched, aside)
        return paths


@frozen
class _Images:
    """The images of a base: found in the store, or made. Their names say what they are made of."""

    packages: _Packages
    chosen: _Chosen
    platform: Platform
    architecture: str
    guest: bytes

    def all(self) -> dict[str, LockedImage]:
        """Return the images by the names of the base's fields."""
        names = self._names()
        store = self.packages.store
        found = {role: image for role, name in names.items() if (image := store.find(name)) is not None and store.has(image.digest)}
        lacking = [role for role in names if role not in found]
        if lacking:
            self.packages.progress("making the base")
            for role, layer in self._layers(lacking):
                found[role] = self._add(names[role], layer)
        images = {role: locked_image(store, image) for role, image in found.items()}
        return {**images, "kernel": evolve(images["kernel"], unpacked=_modules_size(store, found["kernel"]))}

    def _names(self) -> dict[str, str]:
        kernel = (self.architecture, self.chosen.kernel.sha256, *self.platform.modules_for(self.architecture))
        programs = sorted(package.sha256 for package in self.chosen.programs)
        parts: dict[str, tuple[str, ...]] = {
            "kernel": kernel,
            "pod": (*kernel, self.platform.boot_config, *programs, hashlib.sha256(self.guest).hexdigest(), *self._roots()),
            "disk": (*kernel, "disk", *self.platform.disk_modules),
        }
        if self.chosen.wants_loader:
            parts["loader"] = (self.architecture, str(loaders.RECIPE), *(package.sha256 for package in self.chosen.loaders))
        return {role: f"docker.io/i2kit/{role}:{_recipe_id(inputs)}" for role, inputs in parts.items()}

    def _roots(self) -> tuple[str, ...]:
        """Return what the root certificates are made of, if there are any."""
        return (*(package.sha256 for package in self.chosen.roots), *self.platform.roots) if self.platform.roots else ()

    def _layers(self, roles: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        used = [self.chosen.kernel] if roles != ["loader"] else []
        used += self.chosen.programs if "pod" in roles else ()
        used += self.chosen.roots if "pod" in roles and self.platform.roots else ()
        used += self.chosen.loaders if "loader" in roles else ()
        debs = self.packages.files(used)
        if "loader" in roles:
            yield "loader", loaders.loader_layer(debs.__getitem__, self.architecture)
        if roles == ["loader"]:
            return
        with kernels.kernel(debs[self.chosen.kernel.name]) as kernel:
            modules = base_images.modules_of(kernel, self.platform, self.architecture)
            if "kernel" in roles:
                yield "kernel", base_images.kernel_layer(kernel, modules)
            if "disk" in roles:
                yield "disk", base_images.disk_layer(kernel, modules)
        if "pod" in roles:
            programs = [debs[package.name] for package in self.chosen.programs]
            roots = authorities.roots(debs[authorities.PACKAGE], self.platform.roots) if self.platform.roots else b""
            yield "pod", base_images.pod_layer(programs, self.guest, modules, self.platform.boot_config, self.architecture, roots)

    def _add(self, name: str, layer: bytes) -> StoredImage:
        store = self.packages.store
        with tempfile.TemporaryDirectory(dir=store.root) as folder:
            path = Path(folder) / "layer.tar"
            path.write_bytes(layer)
            return store.add(name, [path], architecture=self.architecture)


def _recipe_id(inputs: Sequence[str]) -> str:
    return hashlib.sha256("\n".join([str(base_images.RECIPE), *inputs]).encode()).hexdigest()[:16]


def _modules_size(store: ImageStore, kernel: StoredImage) -> int:
    """Return the bytes that the modules take in memory; the kernel itself never lies in the file system."""
    entries: Any = store.entries(store.manifest(kernel.digest))
    return sum(entry.inode.size for entry in entries if entry.path == "kernel.tar")
