"""Makes the image of this example: a web server out of one Debian package, as an OCI image layout.

No Docker, no registry, no root. The package is kept beside the layout and used again; --update takes the newest.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from i2kit.environment import BaseSettings
from i2kit.errors import I2kitError
from i2kit.images.apt import Apt, sources
from i2kit.images.oci import ARCHITECTURES
from i2kit.images.store import ImageStore
from i2kit.images.tars import TarFiles, package_files

HERE = Path(__file__).resolve().parent
NAME = "hello:1"
PACKAGE = "busybox-static"
PROGRAMS = ("httpd", "sh", "hostname", "sed")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE.parents[2] / "out" / "images" / "hello", help="the layout's folder")
    parser.add_argument("--mirror", help="the Debian mirror to use instead of this machine's own")
    parser.add_argument("--architecture", choices=tuple(ARCHITECTURES), default="x86_64", help="the VMs' (default: x86_64)")
    parser.add_argument("--update", action="store_true", help="take the newest package")
    options = parser.parse_args()
    try:
        build(options.out, BaseSettings(mirror=options.mirror), options.architecture, update=options.update)
    except I2kitError as error:
        print(error, file=sys.stderr)
        return 1
    print(options.out)
    return 0


def build(out: Path, settings: BaseSettings, architecture: str = "x86_64", *, update: bool = False) -> None:
    """Write the layout to `out`, over what is there."""
    deb = out.with_name(f"{out.name}.deb")
    if update or not deb.exists():
        fetch(deb, settings, ARCHITECTURES[architecture])
    with tempfile.TemporaryDirectory() as scratch:
        layer = Path(scratch) / "layer.tar"
        layer.write_bytes(files(deb).bytes())
        shutil.rmtree(out, ignore_errors=True)
        ImageStore(out).add(
            NAME,
            [layer],
            {
                "Entrypoint": ["/bin/httpd", "-f", "-p", "8080", "-h", "/www"],
                "Env": ["PATH=/bin"],
                "ExposedPorts": {"8080/tcp": {}},
                "User": "65534:65534",
                "WorkingDir": "/www",
            },
            architecture=architecture,
        )


def fetch(deb: Path, settings: BaseSettings, architecture: str) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        apt = Apt(Path(scratch), sources(settings.mirror), architecture)
        apt.update()
        (package,) = apt.alone([PACKAGE])
        deb.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(apt.download([package], Path(scratch))[PACKAGE], deb)


def files(deb: Path) -> TarFiles:
    """Collect what goes into the image: busybox under the names that are used, and the folder `root`."""
    found = TarFiles()
    for _info, content in package_files(deb, lambda path: path == "bin/busybox"):
        found.file("bin/busybox", content, 0o755)
    for program in PROGRAMS:
        found.link(f"bin/{program}", "busybox")
    found.folder("tmp", 0o1777)
    for path in sorted((HERE / "root").rglob("*")):
        if path.is_file():
            found.file(str(path.relative_to(HERE / "root")), path.read_bytes(), 0o755 if path.suffix == ".cgi" else 0o644)
    return found


if __name__ == "__main__":
    sys.exit(main())
