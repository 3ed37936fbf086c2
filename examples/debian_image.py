"""An image out of Debian packages, as an OCI image layout: what the larger examples' `build.py` share.

mmdebstrap unpacks the packages; no Docker, no registry. What was made before of the same files is used again, and packages that were
fetched are kept beside the layout for the next time; --update takes the newest.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen

from i2kit.errors import I2kitError
from i2kit.images.apt import SUITE, sources
from i2kit.images.store import ImageStore
from i2kit.images.tree import BUILD_TIME

HERE = Path(__file__).resolve().parent
# Not needed by what runs, and some of it is not the same on every machine.
LEFT_OUT = (
    "etc/apt",
    "tmp",
    "usr/share/doc",
    "usr/share/info",
    "usr/share/lintian",
    "usr/share/locale",
    "usr/share/man",
    "var/cache",
    "var/lib",
    "var/log",
)
# Without them Python would compile everything anew at every start of a VM, whose files nobody can write to.
COMPILE = "python3 -m compileall -q --invalidation-mode unchecked-hash /usr/lib/python3.11 /usr/lib/python3 /srv"


@frozen(kw_only=True)
class Recipe:
    """What an image is made of: packages with all that they depend on, an application's files for ``/srv``, and how it runs."""

    name: str
    packages: Sequence[str]
    application: Sequence[Path]
    run: Mapping[str, Any]

    @property
    def folder(self) -> str:
        """What the layout's folder is called."""
        return self.name.partition(":")[0]

    @property
    def identity(self) -> str:
        """What tells whether the image has to be made again."""
        parts = [repr((self.name, self.packages, self.run)).encode(), Path(__file__).read_bytes()]
        return hashlib.sha256(b"".join([*parts, *(path.read_bytes() for path in self.application)])).hexdigest()


def main(recipe: Recipe, description: str) -> int:
    """Make the image as the command line says; return the exit code."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE.parent / "out" / "images" / recipe.folder, help="the layout's folder")
    parser.add_argument("--mirror", help="the Debian mirror to use instead of this machine's own")
    parser.add_argument("--update", action="store_true", help="take the newest packages")
    options = parser.parse_args()
    made = options.out.with_name(f"{options.out.name}.recipe")
    try:
        if options.update or not options.out.is_dir() or not made.is_file() or made.read_text() != recipe.identity:
            build(recipe, options.out, options.mirror)
            made.write_text(recipe.identity)
    except I2kitError as error:
        print(error, file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        print(error.stderr, error, sep="\n", file=sys.stderr)
        return 1
    print(options.out)
    return 0


def build(recipe: Recipe, out: Path, mirror: str | None) -> None:
    """Write the layout to `out`, over what is there."""
    packages = out.with_name(f"{out.name}.debs")
    packages.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        layer = Path(scratch) / "layer.tar"
        unpack(recipe, layer, packages, mirror)
        shutil.rmtree(out, ignore_errors=True)
        ImageStore(out).add(recipe.name, [layer], recipe.run)


def unpack(recipe: Recipe, layer: Path, packages: Path, mirror: str | None) -> None:
    """Have mmdebstrap write the tar of all packages and of the application; `packages` keeps what it fetches."""
    lines = [f"deb {source.uri} {source.suite} main" for source in sources(mirror)]
    command = ["mmdebstrap", "--variant=extract", "--format=tar", f"--include={','.join(recipe.packages)}", "--skip=cleanup", "--quiet"]
    archives = "/var/cache/apt/archives"
    command += [f'--setup-hook=mkdir -p "$1{archives}"', f"--setup-hook=sync-in {packages} {archives}"]
    hooks = [
        f"sync-out {archives} {packages}",
        'mkdir -p "$1/srv"',
        *(f"copy-in {path} /srv" for path in recipe.application),
        f'chroot "$1" {COMPILE}',
        f'cd "$1" && rm -rf {" ".join(LEFT_OUT)} && mkdir -m 1777 tmp',
    ]
    command += [f"--extract-hook={hook}" for hook in hooks]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(BUILD_TIME), "PYTHONHASHSEED": "0"}
    subprocess.run([*command, SUITE, str(layer), "-"], input="\n".join(lines), env=environment, check=True, capture_output=True, text=True)
