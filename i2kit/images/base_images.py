"""The OCI images that the `debian` base is made of: LinuxKit's kernel image, the pod runtime's root file system, and what root disks need.

Deterministic: the same packages are the same bytes.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import frozen

from i2kit.errors import BuildError
from i2kit.images import authorities, elf
from i2kit.images.kernels import Kernel
from i2kit.images.platforms import Platform
from i2kit.images.tars import TarFiles, package_files

RECIPE = 2
"""Part of the images' names: raise it whenever this module makes other bytes of the same packages."""

STUBBED = "libsystemd.so.0"

_FOLDERS = ("bin", "containers", "dev", "etc", "proc", "run", "sys", "tmp", "usr", "var")
_PROGRAMS = ("bin/busybox", "usr/bin/crun")
_WORDS = "quiet panic=-1 rootfstype=ramfs lockdown=confidentiality cryptomgr.notests sysctl.vm.overcommit_memory=1"


@frozen(kw_only=True)
class Machine:
    """What an architecture calls its libraries and their loader, and the words that its kernel alone has."""

    libraries: str
    loader: str
    words: str = ""


MACHINES: Mapping[str, Machine] = {
    "x86_64": Machine(
        libraries="lib/x86_64-linux-gnu", loader="lib64/ld-linux-x86-64.so.2", words="console=ttyS0 no_timer_check percpu_alloc=page"
    ),
    # Its firmware (or device tree) names the console: Amazon's is not QEMU's.
    "aarch64": Machine(libraries="lib/aarch64-linux-gnu", loader="lib/ld-linux-aarch64.so.1"),
}


def cmdline(architecture: str) -> str:
    """Return the kernel command line; why each word is there is in docs/explanation/base.md."""
    return " ".join(f"{MACHINES[architecture].words} {_WORDS}".split())


@frozen(kw_only=True)
class Modules:
    """The modules of a VM, in an order in which they load: those of every VM, and those that a root disk needs besides."""

    always: tuple[str, ...]
    disk: tuple[str, ...]


def modules_of(kernel: Kernel, platform: Platform, architecture: str) -> Modules:
    """Find out which modules a platform needs of this kernel. Raises `BuildError` (``base-damaged``) when it lacks one."""
    always = kernel.order(platform.modules_for(architecture))
    both = kernel.order((*always, *platform.disk_modules))
    return Modules(always=always, disk=both[len(always) :])


def kernel_layer(kernel: Kernel, modules: Modules) -> bytes:
    """Make the layer of LinuxKit's kernel image: the kernel, and a tar of the modules of every VM."""
    tree = TarFiles()
    kernel.add(tree, modules.always, modules.always)
    layer = TarFiles()
    layer.file("kernel", kernel.image)
    layer.file("kernel.tar", tree.bytes())
    return layer.bytes()


def disk_layer(kernel: Kernel, modules: Modules) -> bytes:
    """Make the layer that is laid over a VM's tree where it has a root disk: more modules, which of them to load, and an index of all."""
    layer = TarFiles()
    kernel.add(layer, modules.disk, (*modules.always, *modules.disk))
    layer.file("etc/i2kit/disk.json", _described(modules=list(modules.disk)))
    return layer.bytes()


def pod_layer(debs: Sequence[Path], guest: bytes, modules: Modules, boot_config: str, architecture: str, roots: bytes = b"") -> bytes:
    """Make the layer of the pod image from packages, the guest, the modules it loads, where it finds its boot configuration, and perhaps
    root certificates in PEM."""
    machine = MACHINES[architecture]
    programs: dict[str, bytes] = {}
    libraries: dict[str, bytes] = {}
    for deb in debs:
        _collect(deb, programs, libraries)
    layer = TarFiles()
    for folder in _FOLDERS:
        layer.folder(folder, 0o1777 if folder == "tmp" else 0o755)
    layer.file("init", guest, 0o755)
    layer.link("usr/share/i2kit/udhcpc", "/init")
    layer.file("etc/i2kit/base.json", _described(modules=list(modules.always), bootConfig=boot_config))
    if roots:
        layer.file(authorities.PATH, roots)
    for path in _PROGRAMS:
        if path not in programs:
            raise BuildError.of("base-damaged", f"no package of the base has {path}")
        layer.file(path, programs[path], 0o755)
    stand_in = elf.stand_in(STUBBED, elf.imports("crun", programs["usr/bin/crun"], STUBBED), architecture)
    loader = posixpath.basename(machine.loader)
    for name, content in _needed_libraries(programs, {**libraries, STUBBED: stand_in}, loader).items():
        layer.file(machine.loader if name == loader else f"{machine.libraries}/{name}", content, 0o755)
    return layer.bytes()


def _described(**settings: object) -> bytes:
    return (json.dumps({"schema": 1, **settings}, indent=1) + "\n").encode()


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


def _needed_libraries(programs: Mapping[str, bytes], libraries: Mapping[str, bytes], loader: str) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    todo = [(path, programs[path]) for path in _PROGRAMS]
    while todo:
        user, content = todo.pop()
        for name in elf.needed(user, content):
            if name in found:
                continue
            if name not in libraries:
                raise BuildError.of("base-damaged", f"{user} needs {name}, which no package of the base has")
            found[name] = libraries[name]
            todo.append((name, libraries[name]))
    if loader not in libraries:
        raise BuildError.of("base-damaged", f"no package of the base has {loader}")
    found.setdefault(loader, libraries[loader])
    return dict(sorted(found.items()))
