"""The builder `assembler`: LinuxKit YAML and OCI images in, kernel, initramfs and root disk out; neither LinuxKit nor Docker is needed.

Its file tree is LinuxKit's for the same YAML. Everything is cached by content, so that a rebuild costs what changed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

from attrs import define, evolve, field

from i2kit.driver import Artefact
from i2kit.errors import BuildError, Problem
from i2kit.images import document as documents
from i2kit.images import oci, packers, rootdisk, runtime_spec
from i2kit.images.builder import Builder, BuildRequest
from i2kit.images.folders import folder_aside, locked, written_aside
from i2kit.images.formats import FORMATS as KNOWN
from i2kit.images.formats import check_format
from i2kit.images.inspection import chain_id, layer_contents, read_file
from i2kit.images.layers import members
from i2kit.images.loaders import loader_files
from i2kit.images.locked import Layer
from i2kit.images.parts import Parts
from i2kit.images.reference import normalise
from i2kit.images.rootfs import Item, ancestors, made_file, made_folder, made_link, place
from i2kit.images.segments import COMPRESSION, SCHEMA, Segment, SegmentCache, split
from i2kit.images.store import ImageStore, default_store
from i2kit.images.tree import Entry, Inode, merge
from i2kit.paths import cache_home
from i2kit.resources import Image

NAME = "assembler"
VERSION = f"1.{SCHEMA}.{rootdisk.SCHEMA}.{packers.SCHEMA}+{COMPRESSION}+{rootdisk.COMPRESSION}"
"""Part of every image's identity: raise it when the same YAML and images give another tree."""

FORMATS = tuple(packers.PACKERS)
_FIRST_ID = 100


def builder() -> Builder:
    """Return the builder for registration."""
    return Builder(
        name=NAME,
        summary="kernel and initramfs from OCI images, without LinuxKit and Docker",
        version=lambda: VERSION,
        formats=FORMATS,
        build=build,
        check=check,
    )


def check() -> Sequence[Problem]:
    """List what is missing on this machine: nothing. What a format needs is asked for when an image has it."""
    return ()


def build(request: BuildRequest) -> Artefact:
    """Build an image, or find it in the cache. Raises `BuildError`."""
    return _build(request, default_store())


def _build(request: BuildRequest, store: ImageStore) -> Artefact:
    image = request.image
    check_format(image.format, NAME, FORMATS)
    folder = cache_home() / "images" / image.digest.removeprefix("sha256:")
    roles = KNOWN[image.format].roles
    artefact = Artefact(format=image.format, files={role: folder / role for role in roles})
    if folder.is_dir() and not request.no_cache:
        return artefact
    with locked(folder.with_name(f"{folder.name}.lock")):
        # Somebody may have built it while this run waited.
        if not folder.is_dir():
            with folder_aside(folder) as aside:
                _write(request, store, aside)
        elif request.no_cache:
            with folder_aside(folder.with_name(f"{folder.name}.again")) as aside:
                _write(request, store, aside)
                for role in roles:
                    (aside / role).replace(folder / role)
            shutil.rmtree(folder.with_name(f"{folder.name}.again"), ignore_errors=True)
    return artefact


def _write(request: BuildRequest, store: ImageStore, folder: Path) -> None:
    image = request.image
    packers.require(image)
    assembly = Assembly(image=image, store=store, fresh=request.no_cache)
    request.progress(f"building {image.name}")
    packers.pack(image.format, assembly.parts(), folder)


@define
class Assembly:
    """One image on its way from YAML to segments."""

    image: Image
    store: ImageStore
    fresh: bool = False
    document: documents.Document = field(init=False)
    _cache: SegmentCache = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Read the YAML."""
        self.document = documents.parse(self.image.yaml)
        self._cache = SegmentCache(cache_home() / "segments", self.fresh)

    def parts(self) -> Parts:
        """Return the image's parts, built where they are not in the cache. Raises `BuildError`."""
        disk = self.root_disk() if self.image.root == "disk" else None
        return Parts(
            architecture=self.image.architecture,
            digest=self.image.digest,
            kernel=self.kernel(),
            initrd=self.segments(),
            cmdline=" ".join([self.document.cmdline, *([disk.word] if disk else [])]),
            root=disk.path if disk else None,
            loader=self.loader(),
        )

    def root_disk(self) -> rootdisk.RootDisk:
        """Return the disk with all containers' root file systems. Raises `BuildError` and `MissingRequirement`."""
        roots = [(self._manifest(reference), prefix) for reference, prefix in self._roots()]
        inputs = [f"{chain_id(manifest)} {prefix}" for manifest, prefix in roots]

        def write(stream: IO[bytes]) -> None:
            trees = (rootdisk.Tree(place(self.store.entries(manifest), prefix), manifest.layers) for manifest, prefix in roots)
            rootdisk.tar_of(trees, self.store.blob)(stream)

        return rootdisk.RootDisks(cache_home() / "roots", self.fresh).get(rootdisk.key_of(*inputs), write)

    def loader(self) -> Mapping[str, Path]:
        """Return the boot loaders' files, where the format needs any. Raises `BuildError`."""
        if not self.image.loader:
            return {}
        return loader_files(self.store, self.image.sources[self.image.loader], self.image.architecture)

    def segments(self) -> tuple[Path, ...]:
        """Return the files that make the initramfs, in LinuxKit's order: kernel, init, onboot, services, files."""
        roots = self._roots() if self.image.root == "memory" else []
        rows: list[Callable[[], Sequence[Path]]] = [self._kernel_row]
        rows += [lambda reference=reference: self._root(reference, "", of_vm=True) for reference in self.document.init]  # type: ignore[misc]
        rows += [lambda root=root: self._root(*root) for root in roots]  # type: ignore[misc]
        # Compressing is what takes time, and it runs beside other threads.
        with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
            found = [path for row in pool.map(lambda row: row(), rows) for path in row]
        made = [*self._service_files("onboot"), *self._service_files("services"), *self._files()]
        return (*found, self._cache.get(Segment(items=_last_wins(made)), self.store.blob))

    def kernel(self) -> Path:
        """Return the kernel's file. Raises `BuildError` when the kernel image has none."""
        manifest = self._manifest(self.document.kernel)
        path = cache_home() / "kernels" / chain_id(manifest)
        if self.fresh or not path.exists():
            with written_aside(path) as aside:
                aside.write_bytes(self._kernel_file(manifest, "kernel"))
        return path

    def trees(self) -> tuple[Item, ...]:
        """Return every item of the image, without any content: for looking at, and for comparing with LinuxKit's."""
        items = list(self._kernel_items())
        for reference in self.document.init:
            items += place(self.store.entries(self._manifest(reference)), "", of_vm=True)
        for section in ("onboot", "services"):
            for root in self._bundles(section):
                if root is not None:
                    items += place(self.store.entries(self._manifest(root[0])), root[1])
            items += self._service_files(section)
        return _last_wins([*items, *self._files()])

    def _manifest(self, reference: str) -> oci.Manifest:
        digest = self.image.sources.get(reference) or self.image.sources.get(normalise(reference))
        if digest is None:
            raise BuildError.of("image-not-resolved", f"image {self.image.name}: nobody resolved {reference} to a digest")
        return self.store.manifest(digest)

    def _root(self, reference: str, prefix: str, of_vm: bool = False) -> tuple[Path, ...]:
        manifest = self._manifest(reference)
        key = hashlib.sha256(f"root {SCHEMA} {COMPRESSION} {chain_id(manifest)} {prefix} {of_vm}".encode()).hexdigest()

        def plan() -> Iterable[Segment]:
            return split(place(self.store.entries(manifest), prefix, of_vm=of_vm), manifest.layers)

        return self._cache.row(key, plan, self.store.blob)

    def _kernel_row(self) -> tuple[Path, ...]:
        manifest = self._manifest(self.document.kernel)
        key = hashlib.sha256(f"kernel {SCHEMA} {COMPRESSION} {chain_id(manifest)}".encode()).hexdigest()
        return self._cache.row(key, lambda: [Segment(items=self._kernel_items())], self.store.blob)

    def _kernel_items(self) -> tuple[Item, ...]:
        """Return what LinuxKit takes from a kernel image besides the kernel: an empty /boot and all of kernel.tar."""
        content = self._kernel_file(self._manifest(self.document.kernel), "kernel.tar")
        plain = f"sha256:{hashlib.sha256(content).hexdigest()}"
        with written_aside(cache_home() / "kernels" / f"{plain.removeprefix('sha256:')}.tar") as aside:
            aside.write_bytes(content)
            found = members(Layer(digest=plain, diff_id=plain, size=len(content)), aside)
            bodies = layer_contents(plain, aside, {member.number for member in found if member.type == "file"})
        entries = [entry for entry in merge([(plain, found)]) if entry.path]
        return (made_folder("boot"), *(_with_content(entry, bodies) for entry in entries if not entry.path.startswith("boot/")))

    def _kernel_file(self, manifest: oci.Manifest, name: str) -> bytes:
        content = read_file(self.store, manifest, name)
        if content is None:
            raise BuildError.of("kernel-missing", f"the kernel image {self.document.kernel} has no /{name}")
        return content

    def _bundles(self, section: str) -> list[tuple[str, str] | None]:
        """Return reference and folder of every root file system of a section; None where an earlier one serves (LinuxKit shares them)."""
        seen: set[str] = set()
        if section == "services":
            seen = {normalise(service.image) for service in self.document.onboot}
        found: list[tuple[str, str] | None] = []
        for folder, service, readonly in self._folders(section):
            full = normalise(service.image)
            found.append(None if full in seen else (service.image, f"{folder}/{'rootfs' if readonly else 'lower'}"))
            seen.add(full)
        return found

    def _roots(self) -> list[tuple[str, str]]:
        """Return reference and folder of every root file system."""
        return [root for section in ("onboot", "services") for root in self._bundles(section) if root is not None]

    def _folders(self, section: str) -> list[tuple[str, documents.Service, bool]]:
        services = self.document.onboot if section == "onboot" else self.document.services
        found = []
        for number, service in enumerate(services):
            name = f"{number:03d}-{service.name}" if section == "onboot" else service.name
            settings = runtime_spec.settings_of(service, self._manifest(service.image).config)
            found.append((f"containers/{section}/{name}", service, bool(settings.get("readonly", False))))
        return found

    def _service_files(self, section: str) -> list[Item]:
        """Return what LinuxKit writes beside the root file systems of a section."""
        roots = self._shared_roots()
        items = []
        for folder, service, readonly in self._folders(section):
            root = roots[normalise(service.image)]
            own = root.startswith(f"{folder}/")
            config = runtime_spec.config(service, self._manifest(service.image).config, self._ids())
            items += [made_folder(path) for path in (*ancestors(folder), folder)]
            items.append(made_file(f"{folder}/config.json", config))
            items.append(made_file(f"{folder}/runtime.json", runtime_spec.runtime(root, folder, readonly=readonly)))
            if not readonly:
                items.append(made_folder(f"{folder}/tmp"))  # noqa: S108 (in the image)
            if not (readonly and own):
                items.append(made_folder(f"{folder}/rootfs"))
        return items

    def _shared_roots(self) -> dict[str, str]:
        roots: dict[str, str] = {}
        for reference, folder in self._roots():
            roots.setdefault(normalise(reference), folder)
        return roots

    def _ids(self) -> dict[str, int]:
        names = [service.name for service in (*self.document.onboot, *self.document.services)]
        return {name: _FIRST_ID + number for number, name in enumerate(names)}

    def _files(self) -> list[Item]:
        """Return the items of ``files``; a folder that is implied gets its file's mode, as LinuxKit has it."""
        items: list[Item] = []
        known: set[str] = set()
        for number, file in enumerate(self.document.files):
            uid, gid = (runtime_spec.numeric_id(f"files[{number}]", value, self._ids()) for value in (file.uid, file.gid))
            mode = _folder_mode(file.mode)
            items += [made_folder(path, mode, uid, gid) for path in ancestors(file.path) if path not in known]
            known.update(ancestors(file.path), [file.path])
            if file.contents is not None:
                items.append(made_file(file.path, file.contents, file.mode, uid, gid))
            elif file.symlink is not None:
                items.append(made_link(file.path, file.symlink, uid, gid))
            else:
                items.append(made_folder(file.path, file.mode, uid, gid))
        return items


def _folder_mode(mode: int) -> int:
    """Add the right to enter for all who have any right."""
    for rights, enter in ((0o700, 0o100), (0o070, 0o010), (0o007, 0o001)):
        if mode & rights:
            mode |= enter
    return mode


def _last_wins(items: Iterable[Item]) -> tuple[Item, ...]:
    """Keep the last item of every path, in the order of the paths."""
    by_path = {item.path: item for item in items}
    return tuple(by_path[path] for path in sorted(by_path))


def _with_content(entry: Entry, bodies: dict[int, bytes]) -> Item:
    inode: Inode = evolve(entry.inode, layer=-1)
    return Item(entry.path, inode, bodies[inode.member] if inode.type == "file" else None)
