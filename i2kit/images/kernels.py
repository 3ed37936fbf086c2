"""Debian's kernel packages: the kernel, and its modules with what they depend on."""

from __future__ import annotations

import posixpath
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

from i2kit.errors import BuildError
from i2kit.images import elf
from i2kit.images.tars import TarFiles, package_files


@frozen
class Kernel:
    """A kernel package that lies open: `paths` are its modules' files by the modules' names, `read` gives a file's content."""

    release: str
    image: bytes
    builtin: frozenset[str]
    paths: Mapping[str, str]
    read: Callable[[str], bytes]

    @property
    def folder(self) -> str:
        """The modules' folder."""
        return f"lib/modules/{self.release}"

    def order(self, wanted: Sequence[str]) -> tuple[str, ...]:
        """Return modules and what they depend on in an order in which they load; what is built in is left out.

        Raises `BuildError` when a module is neither in the package nor built in.
        """
        order: dict[str, None] = {}

        def visit(name: str) -> None:
            if name in order or name in self.builtin:
                return
            for dependency in self._dependencies(name):
                visit(dependency)
            order[name] = None

        for name in wanted:
            visit(name)
        return tuple(order)

    def add(self, files: TarFiles, modules: Sequence[str], indexed: Sequence[str]) -> None:
        """Add modules to files, and an index (``modules.dep``) of `indexed`, which are all that will lie in the folder."""
        for name in modules:
            files.file(self.paths[name], self.read(self.paths[name]))
        lines = [" ".join([f"{self._short(name)}:", *(self._short(other) for other in self._needs(name, indexed))]) for name in indexed]
        files.file(f"{self.folder}/modules.dep", "".join(f"{line}\n" for line in sorted(lines)).encode())

    def _short(self, name: str) -> str:
        return self.paths[name].removeprefix(f"{self.folder}/")

    def _needs(self, name: str, kept: Sequence[str]) -> Iterator[str]:
        """Yield everything a module needs, nearest first, as depmod writes it."""
        seen: list[str] = []
        todo = [name]
        while todo:
            for other in self._dependencies(todo.pop(0)):
                if other in kept and other not in seen:
                    seen.append(other)
                    todo.append(other)
        yield from seen

    def _dependencies(self, name: str) -> list[str]:
        if name not in self.paths:
            raise BuildError.of("base-damaged", f"the kernel package has no module {name}")
        path = self.paths[name]
        return [other.replace("-", "_") for other in elf.module_dependencies(path, self.read(path))]


@contextmanager
def kernel(deb: Path) -> Iterator[Kernel]:
    """Open a kernel package for as long as the context lasts. Raises `BuildError` (``base-damaged``) when it has no kernel."""
    image, release = b"", ""
    builtin: frozenset[str] = frozenset()
    places: dict[str, tuple[int, int]] = {}
    # All modules together would be too much for the memory of a small machine.
    with tempfile.TemporaryFile() as spool:
        for info, content in package_files(deb, lambda path: path.startswith(("boot/vmlinuz-", "lib/modules/"))):
            if info.name.startswith("boot/"):
                image, release = content, info.name.removeprefix("boot/vmlinuz-")
            elif info.name.endswith("/modules.builtin"):
                builtin = frozenset(module_name(line) for line in content.decode().splitlines())
            elif info.name.endswith(".ko"):
                places[info.name] = (spool.tell(), len(content))
                spool.write(content)
        if not image:
            raise BuildError.of("base-damaged", f"{deb.name} has no kernel")

        def read(path: str) -> bytes:
            start, size = places[path]
            spool.seek(start)
            return spool.read(size)

        yield Kernel(release, image, builtin, {module_name(path): path for path in places}, read)


def module_name(path: str) -> str:
    """Return the kernel's own name for a module file."""
    return posixpath.basename(path).partition(".ko")[0].replace("-", "_")
