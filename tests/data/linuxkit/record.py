"""Record what the real LinuxKit makes of the cases in this folder: ``python tests/data/linuxkit/record.py [CASE ...]``.

Needs ``linuxkit`` on PATH; no network, no Docker. Each case is a folder with ``build.yml`` (LinuxKit YAML) and ``images.yml`` (the OCI
images it names, see ``tests/unit/images/synthetic.py``); ``tree.json`` is written beside them.
``hello`` is the example of that name, on whatever versions the packages have.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "unit"))

from images import hello, initramfs, synthetic  # noqa: E402

from i2kit.images import linuxkit  # noqa: E402
from i2kit.images.builder import BuildRequest  # noqa: E402
from i2kit.paths import data_home  # noqa: E402

DOCUMENTS = ("config.json", "runtime.json")


def images_of(case: Path) -> dict[str, Any]:
    """Return the descriptions of all images that a case may name."""
    return {**synthetic.load_images(HERE / "base.yml"), **synthetic.load_images(case / "images.yml")}


def build(case: Path, folder: Path) -> dict[str, Any]:
    """Build a case in `folder` and return what came out."""
    layout, cache, out = folder / "images.tar", folder / "cache", folder / "out"
    layout.write_bytes(synthetic.Layout(images_of(case), nested=True).tar())
    out.mkdir()
    _run(folder, "cache", "import", "--cache", str(cache), str(layout))
    arguments = ["build", "--no-sbom", "--format", "kernel+initrd", "--arch", "amd64"]
    _run(folder, *arguments, "--cache", str(cache), "--dir", str(out), "--name", "image", str(case / "build.yml"))
    initrd = out / "image-initrd.img"
    tree, lost = initramfs.read_tree(initrd)
    return {
        "linuxkit": _run(folder, "version").splitlines(),
        "arguments": [*arguments, "--cache", "CACHE", "--dir", "OUT", "--name", "image", "build.yml"],
        "kernel": hashlib.sha256((out / "image-kernel").read_bytes()).hexdigest(),
        "cmdline": (out / "image-cmdline").read_text(),
        "tree": tree,
        "lost": lost,
        "documents": {path: json.loads(text) for path, text in initramfs.texts(initrd, *DOCUMENTS).items()},
    }


def build_hello(folder: Path) -> dict[str, Any]:
    """Build the example hello by the real command and return what does not change with every package."""
    user_store = data_home() / "store"
    os.environ.update(XDG_DATA_HOME=str(folder / "data"), XDG_CACHE_HOME=str(folder / "cache"))
    image = hello.hello_image(folder, user_store)
    log = _log_calls(folder / "bin")
    artefact = linuxkit.build(BuildRequest(image=image))
    calls = [re.sub(r"/\S+/linuxkit-[^/]+", "WORK", line) for line in log.read_text().splitlines()]
    tree, lost = initramfs.read_tree(artefact.files["initrd"])
    return {
        "linuxkit": _run(folder, "version").splitlines(),
        "arguments": calls,
        "tree": hello.outline(tree),
        "lost": lost,
    }


def _log_calls(folder: Path) -> Path:
    """Put a `linuxkit` before the real one on PATH that notes its arguments, a line for each call."""
    real, log = shutil.which("linuxkit"), folder / "calls"
    folder.mkdir()
    (folder / "linuxkit").write_text(f'#!/bin/sh\necho "$*" >> {log}\nexec {real} "$@"\n')
    (folder / "linuxkit").chmod(0o755)
    os.environ["PATH"] = f"{folder}{os.pathsep}{os.environ['PATH']}"
    return log


def _run(home: Path, *arguments: str) -> str:
    environment = {"HOME": str(home), "TMPDIR": str(home), "PATH": os.environ["PATH"]}
    done = subprocess.run(["linuxkit", *arguments], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"linuxkit {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def dump(recorded: dict[str, Any]) -> str:
    """Return the record as JSON with a line for each path of the tree, so that differences are easy to read."""
    tree = ",\n".join(f"  {json.dumps(path)}: {json.dumps(node)}" for path, node in recorded["tree"].items())
    rest = json.dumps({**recorded, "tree": "TREE"}, indent=1)
    return rest.replace('"TREE"', "{\n" + tree + "\n }") + "\n"


def main() -> None:
    """Record the cases named on the command line, or all of them."""
    names = sys.argv[1:] or [*sorted(path.parent.name for path in HERE.glob("*/images.yml")), "hello"]
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            recorded = build_hello(Path(folder)) if name == "hello" else build(HERE / name, Path(folder))
            (HERE / name / "tree.json").write_text(dump(recorded))
        sys.stdout.write(f"recorded {name}\n")


if __name__ == "__main__":
    main()
