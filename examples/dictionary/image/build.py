"""Makes the image of this example out of Debian packages: Python, Flask, gunicorn and WordNet, 100 MB, as an OCI image layout.

mmdebstrap unpacks the packages; no Docker, no registry. What was made before of the same files is used again; --update takes the newest
packages.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from i2kit.errors import I2kitError
from i2kit.images.apt import SUITE, sources
from i2kit.images.store import ImageStore
from i2kit.images.tree import BUILD_TIME

HERE = Path(__file__).resolve().parent
NAME = "dictionary:1"
PACKAGES = ("gunicorn", "python3-flask", "wordnet-base")
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE.parents[2] / "out" / "images" / "dictionary", help="the layout's folder")
    parser.add_argument("--mirror", help="the Debian mirror to use instead of this machine's own")
    parser.add_argument("--update", action="store_true", help="take the newest packages")
    options = parser.parse_args()
    recipe = options.out.with_name(f"{options.out.name}.recipe")
    try:
        if options.update or not options.out.is_dir() or not recipe.is_file() or recipe.read_text() != identity():
            build(options.out, options.mirror)
            recipe.write_text(identity())
    except I2kitError as error:
        print(error, file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        print(error.stderr, error, sep="\n", file=sys.stderr)
        return 1
    print(options.out)
    return 0


def identity() -> str:
    """Return what tells whether the image has to be made again."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(HERE.glob("*.py")))).hexdigest()


def build(out: Path, mirror: str | None) -> None:
    """Write the layout to `out`, over what is there."""
    with tempfile.TemporaryDirectory() as scratch:
        layer = Path(scratch) / "layer.tar"
        unpack(layer, mirror)
        shutil.rmtree(out, ignore_errors=True)
        ImageStore(out).add(
            NAME,
            [layer],
            {
                "Entrypoint": ["/usr/bin/python3", "-m", "gunicorn", "--bind=0.0.0.0:8080", "--threads=4", "--worker-tmp-dir=/dev/shm"],
                "Cmd": ["dictionary:app"],
                "Env": ["PATH=/usr/bin:/bin", "PYTHONUNBUFFERED=1"],
                "ExposedPorts": {"8080/tcp": {}},
                "User": "65534:65534",
                "WorkingDir": "/srv",
            },
        )


def unpack(layer: Path, mirror: str | None) -> None:
    """Have mmdebstrap write the tar of all packages and of the application."""
    lines = [f"deb {source.uri} {source.suite} main" for source in sources(mirror)]
    hooks = [
        'mkdir -p "$1/srv"',
        f"copy-in {HERE / 'dictionary.py'} /srv",
        f'chroot "$1" {COMPILE}',
        f'cd "$1" && rm -rf {" ".join(LEFT_OUT)} && mkdir -m 1777 tmp',
    ]
    command = ["mmdebstrap", "--variant=extract", "--format=tar", f"--include={','.join(PACKAGES)}", "--skip=cleanup", "--quiet"]
    command += [f"--extract-hook={hook}" for hook in hooks]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(BUILD_TIME), "PYTHONHASHSEED": "0"}
    subprocess.run([*command, SUITE, str(layer), "-"], input="\n".join(lines), env=environment, check=True, capture_output=True, text=True)


if __name__ == "__main__":
    sys.exit(main())
