"""Bytes of hello's image beside the paper's 60 MB, and what a build costs: cold, after a change of the application, of its configuration.

    python bench/images.py [rounds]

Beside it the same builds by the real LinuxKit, where the command is on PATH. Store and caches are the bench's own; Debian packages are
fetched once, before anything is measured.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
PAPER = 60_000_000
AIM = 20_000_000


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory() as folder:
        os.environ.update(XDG_DATA_HOME=f"{folder}/data", XDG_CACHE_HOME=f"{folder}/cache")
        from i2kit.images import assembler, linuxkit

        bench = Bench(Path(folder))
        print_sizes(bench)
        builders = {"assembler": assembler.build}
        if shutil.which("linuxkit"):
            builders["linuxkit"] = linuxkit.build
        else:
            print("linuxkit is not on PATH: measured without it")
        medians = {name: bench.measure(build, rounds) for name, build in builders.items()}
        for step in ("cold", "application changed", "configuration changed", "nothing changed"):
            line = ", ".join(f"{name} {values[step]:.3f} s" for name, values in medians.items())
            ratio = f" (ratio {medians['linuxkit'][step] / medians['assembler'][step]:.1f})" if "linuxkit" in medians else ""
            print(f"{step}: {line}{ratio} (medians of {rounds})")


class Bench:
    """Hello, in any number of variants."""

    def __init__(self, folder: Path) -> None:
        from i2kit.environment import BaseSettings
        from i2kit.images.base import lock_base
        from i2kit.images.store import default_store

        self.folder = folder
        self.store = default_store()
        self.base = lock_base(BaseSettings(), self.store)
        subprocess.run(
            [sys.executable, str(HERE.parent / "examples" / "hello" / "image" / "build.py"), "--out", str(folder / "hello")],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        (self.stored,) = self.store.import_path(folder / "hello")
        self.variants = 0

    def request(self, *, application: bool = False, configuration: bool = False):  # type: ignore[no-untyped-def]
        """Return what to build; with `application` its last layer is another, with `configuration` its ConfigMap."""
        from i2kit.errors import Where
        from i2kit.images.builder import BuildRequest
        from i2kit.images.inspection import locked_image
        from i2kit.images.linuxkit_yaml import linuxkit_yaml, sources
        from i2kit.images.oci import digest_of
        from i2kit.manifest.workloads import ConfigVolume, Container, Mount, Pod, VolumeFile
        from i2kit.resources import Image, Mark

        if application or configuration:
            self.variants += 1
        if application:
            self.change_application()
        image = locked_image(self.store, self.store.find("hello:1") or self.stored)
        greeting = f"hello {self.variants if configuration else 0}\n".encode()
        container = Container(
            name="web", image="hello:1", where=Where(file="hello.yaml"), mounts=(Mount(volume="conf", path="/etc/hello"),)
        )
        pod = Pod(containers=(container,), volumes=(ConfigVolume(name="conf", files=(VolumeFile(path="greeting", content=greeting),)),))
        text = linuxkit_yaml(pod, {"hello:1": image}, self.base)
        used = sources(pod, {"hello:1": image}, self.base)
        made = Image(
            name="hello",
            mark=Mark(environment="bench"),
            digest=digest_of(f"{text}{sorted(used.items())}".encode()),
            format="kernel+initrd",
            architecture="x86_64",
            builder="assembler",
            yaml=text,
            sources=used,
        )
        return BuildRequest(image=made)

    def change_application(self) -> None:
        """Give hello another last layer, of a few files, as a new version of an application has."""
        from i2kit.images.tars import TarFiles

        manifest = self.store.manifest(self.stored.digest)
        files = TarFiles()
        for number in range(20):
            files.file(f"www/page{number}.html", f"<p>{self.variants} {number}</p>\n".encode() * 200)
        layer = self.folder / "layer.tar"
        layer.write_bytes(files.bytes())
        self.store.add("hello:1", [*(self.store.blob(found.digest) for found in manifest.layers), layer], {"Entrypoint": ["/bin/httpd"]})

    def measure(self, build: Callable[..., object], rounds: int) -> dict[str, float]:
        times: dict[str, list[float]] = {}
        for _ in range(rounds):
            shutil.rmtree(self.folder / "cache", ignore_errors=True)
            request = self.request()
            shutil.rmtree(self.folder / "cache", ignore_errors=True)
            steps = (("cold", request), ("application changed", None), ("configuration changed", None), ("nothing changed", None))
            for step, known in steps:
                if step != "nothing changed":
                    request = known or self.request(application=step.startswith("app"), configuration=step.startswith("conf"))
                start = time.perf_counter()
                build(request)
                times.setdefault(step, []).append(time.perf_counter() - start)
        return {step: statistics.median(values) for step, values in times.items()}


def print_sizes(bench: Bench) -> None:
    from i2kit.images import assembler

    files = assembler.build(bench.request()).files
    sizes = {role: path.stat().st_size for role, path in files.items()}
    total = sum(sizes.values())
    print(f"hello: {total:,} bytes ({', '.join(f'{role} {size:,}' for role, size in sizes.items())})")
    verdict = "met" if total <= AIM else "missed"
    print(f"the paper's image has {PAPER:,} bytes: {PAPER / total:.1f} times as many; the aim is {AIM:,}: {verdict}")


if __name__ == "__main__":
    main()
