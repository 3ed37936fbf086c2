"""The two OCI images that the `debian` base is made of: LinuxKit's kernel image, and the pod runtime's root file system. Deterministic."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from attrs import frozen

from i2kit.errors import BuildError
from i2kit.images import elf
from i2kit.images.tars import TarFiles, package_files

RECIPE = 1
"""Part of the images' names: raise it whenever this module makes other bytes of the same packages."""

CMDLINE = (
    "console=ttyS0 quiet panic=-1 rootfstype=ramfs no_timer_check lockdown=confidentiality cryptomgr.notests percpu_alloc=page "
    "sysctl.vm.overcommit_memory=1"
)
"""The kernel command line; why each word is there is in docs/explanation/base.md."""

LIBRARY_FOLDER = "lib/x86_64-linux-gnu"
LOADER = "lib64/ld-linux-x86-64.so.2"
STUBBED = "libsystemd.so.0"

# What a VM needs to find its disk, network and boot configuration, to run containers, and to hear the power button.
MODULES = (
    "virtio_pci",
    "virtio_mmio",
    "virtio_net",
    "virtio_blk",
    "virtio_rng",
    "overlay",
    "qemu_fw_cfg",
    "button",
    "evdev",
)
_FOLDERS = ("bin", "containers", "dev", "etc", "proc", "run", "sys", "tmp", "usr", "var")


@frozen(kw_only=True)
class KernelFiles:
    """What the kernel package gives: the kernel, its modules' tar, and the modules in an order in which they load."""

    kernel: bytes
    modules_tar: bytes
    modules: tuple[str, ...]


def kernel_files(deb: Path) -> KernelFiles:
    """Read the kernel package. Raises `BuildError` when a module is neither in it nor built in."""
    kernel = b""
    modules: dict[str, tuple[str, bytes]] = {}
    builtin: set[str] = set()
    release = ""
    for info, content in package_files(deb, lambda path: path.startswith(("boot/vmlinuz-", "lib/modules/"))):
        if info.name.startswith("boot/"):
            kernel, release = content, info.name.removeprefix("boot/vmlinuz-")
        elif info.name.endswith("/modules.builtin"):
            builtin = {module_name(line) for line in content.decode().splitlines()}
        elif info.name.endswith(".ko"):
            modules[module_name(info.name)] = (info.name, content)
    if not kernel:
        raise BuildError.of("base-damaged", f"{deb.name} has no kernel")
    order = _load_order(modules, builtin)
    return KernelFiles(kernel=kernel, modules_tar=_modules_tar(release, modules, order), modules=order)


def module_name(path: str) -> str:
    """Return the kernel's own name for a module file."""
    return posixpath.basename(path).partition(".ko")[0].replace("-", "_")


def _load_order(modules: Mapping[str, tuple[str, bytes]], builtin: set[str]) -> tuple[str, ...]:
    order: dict[str, None] = {}

    def visit(name: str) -> None:
        if name in order or name in builtin:
            return
        if name not in modules:
            raise BuildError.of("base-damaged", f"the kernel package has no module {name}")
        for dependency in elf.module_dependencies(*modules[name]):
            visit(dependency.replace("-", "_"))
        order[name] = None

    for name in MODULES:
        visit(name)
    return tuple(order)


def _modules_tar(release: str, modules: Mapping[str, tuple[str, bytes]], order: tuple[str, ...]) -> bytes:
    files = TarFiles()
    folder = f"lib/modules/{release}"
    paths = {name: modules[name][0].removeprefix(f"{folder}/") for name in order}
    lines = []
    for name in order:
        path, content = modules[name]
        files.file(path, content)
        lines.append(f"{paths[name]}: {' '.join(paths[other] for other in _needs(name, modules, paths))}".rstrip() + "\n")
    files.file(f"{folder}/modules.dep", "".join(sorted(lines)).encode())
    return files.bytes()


def _needs(name: str, modules: Mapping[str, tuple[str, bytes]], kept: Mapping[str, str]) -> Iterator[str]:
    """Yield everything a module needs, nearest first, as depmod writes it."""
    seen: list[str] = []
    todo = [name]
    while todo:
        current = todo.pop(0)
        for dependency in elf.module_dependencies(*modules[current]):
            other = dependency.replace("-", "_")
            if other in kept and other not in seen:
                seen.append(other)
                todo.append(other)
    yield from seen


def kernel_layer(files: KernelFiles) -> bytes:
    """Make the layer of LinuxKit's kernel image."""
    layer = TarFiles()
    layer.file("kernel", files.kernel)
    layer.file("kernel.tar", files.modules_tar)
    return layer.bytes()


def pod_layer(debs: Callable[[str], Path], packages: tuple[str, ...], guest: bytes, modules: tuple[str, ...]) -> bytes:
    """Make the layer of the pod image from packages (`debs` finds a package's file), the guest and the modules it loads."""
    programs: dict[str, bytes] = {}
    libraries: dict[str, bytes] = {}
    for package in packages:
        _collect(debs(package), programs, libraries)
    layer = TarFiles()
    for folder in _FOLDERS:
        layer.folder(folder, 0o1777 if folder == "tmp" else 0o755)
    layer.file("init", guest, 0o755)
    layer.link("usr/share/i2kit/udhcpc", "/init")
    base = {"schema": 1, "modules": list(modules), "bootConfig": "fw_cfg"}
    layer.file("etc/i2kit/base.json", (json.dumps(base, indent=1) + "\n").encode())
    for path in ("bin/busybox", "usr/bin/crun"):
        if path not in programs:
            raise BuildError.of("base-damaged", f"no package of the base has {path}")
        layer.file(path, programs[path], 0o755)
    stand_in = elf.stand_in(STUBBED, elf.imports("crun", programs["usr/bin/crun"], STUBBED))
    for name, content in _needed_libraries(programs, {**libraries, STUBBED: stand_in}).items():
        layer.file(LOADER if name == posixpath.basename(LOADER) else f"{LIBRARY_FOLDER}/{name}", content, 0o755)
    return layer.bytes()


def _collect(deb: Path, programs: dict[str, bytes], libraries: dict[str, bytes]) -> None:
    links: dict[str, str] = {}
    files: dict[str, bytes] = {}
    for info, content in package_files(deb, lambda path: path.startswith(("lib", "usr/lib", "bin/", "usr/bin/"))):
        if info.issym():
            links[info.name] = posixpath.normpath(posixpath.join(posixpath.dirname(info.name), info.linkname))
        elif info.name.startswith(("bin/", "usr/bin/")):
            programs[info.name] = content
        else:
            files[info.name] = content
    # A library is known by the name programs ask for, which mostly is a link to the file.
    for path, content in files.items():
        libraries.setdefault(posixpath.basename(path), content)
    for path, target in links.items():
        if target in files:
            libraries.setdefault(posixpath.basename(path), files[target])


def _needed_libraries(programs: Mapping[str, bytes], libraries: Mapping[str, bytes]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    todo = [(path, programs[path]) for path in ("bin/busybox", "usr/bin/crun")]
    while todo:
        user, content = todo.pop()
        for name in elf.needed(user, content):
            if name in found:
                continue
            if name not in libraries:
                raise BuildError.of("base-damaged", f"{user} needs {name}, which no package of the base has")
            found[name] = libraries[name]
            todo.append((name, libraries[name]))
    loader = posixpath.basename(LOADER)
    found.setdefault(loader, libraries[loader])
    return dict(sorted(found.items()))
