"""Record what the real LinuxKit makes of the cases in this folder: ``python tests/data/linuxkit/record.py [CASE ...]``.

Needs ``linuxkit`` on PATH; no network, no Docker. README.md says what is recorded, and when to do it again.
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
sys.path[:0] = [str(HERE.parents[1] / "unit"), str(HERE.parents[1] / "support")]

import generatedpods  # noqa: E402
import linuxkitcases  # noqa: E402
import linuxkittrees  # noqa: E402
from images import hello, initramfs, synthetic  # noqa: E402

from i2kit.images import assembler, linuxkit  # noqa: E402
from i2kit.images.builder import BuildRequest  # noqa: E402
from i2kit.images.store import default_store  # noqa: E402
from i2kit.paths import data_home  # noqa: E402

DOCUMENTS = ("config.json", "runtime.json")
_USER_STORE = data_home() / "store"


def build(described: dict[str, Any], text: str, folder: Path) -> dict[str, Any]:
    """Build images with a YAML in `folder` by the command alone, without our builder, and return what came out."""
    layout, cache, out = folder / "images.tar", folder / "cache", folder / "out"
    layout.write_bytes(synthetic.Layout(described, nested=True).tar())
    out.mkdir()
    _run(folder, "cache", "import", "--cache", str(cache), str(layout))
    arguments = ["build", "--no-sbom", "--format", "kernel+initrd", "--arch", "amd64"]
    # From a file LinuxKit would expand templates, in the contents of files too.
    _run(folder, *arguments, "--cache", str(cache), "--dir", str(out), "--name", "image", "-", stdin=text)
    initrd = out / "image-initrd.img"
    tree, lost = initramfs.read_tree(initrd)
    return {
        "linuxkit": _run(folder, "version").splitlines(),
        "arguments": [*arguments, "--cache", "CACHE", "--dir", "OUT", "--name", "image", "-"],
        "kernel": hashlib.sha256((out / "image-kernel").read_bytes()).hexdigest(),
        "cmdline": (out / "image-cmdline").read_text(),
        "tree": tree,
        "lost": lost,
        "documents": {path: json.loads(text) for path, text in initramfs.texts(initrd, *DOCUMENTS).items()},
    }


def build_hello(folder: Path) -> dict[str, Any]:
    """Build the example hello by the real command and return what does not change with every package."""
    image = hello.hello_image(folder, _USER_STORE)
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


def _run(home: Path, *arguments: str, stdin: str = "") -> str:
    environment = {"HOME": str(home), "TMPDIR": str(home), "PATH": os.environ["PATH"]}
    done = subprocess.run(["linuxkit", *arguments], env=environment, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"linuxkit {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def dump(recorded: dict[str, Any]) -> str:
    """Return the record as JSON with a line for each path of the tree, so that differences are easy to read."""
    tree = ",\n".join(f"  {json.dumps(path)}: {json.dumps(node)}" for path, node in recorded["tree"].items())
    rest = json.dumps({**recorded, "tree": "TREE"}, indent=1)
    return rest.replace('"TREE"', "{\n" + tree + "\n }") + "\n"


def record_generated(number: int, folder: Path) -> str:
    """Record a generated Pod: the YAML that i2kit makes of it today, what its images are, LinuxKit's tree, and the exceptions to it."""
    pod = generatedpods.generated(number)
    described, text = linuxkitcases.of_generated(pod), linuxkitcases.yaml_of(pod)
    recorded = build(described, text, folder)
    case = linuxkitcases.GENERATED / pod.name
    case.mkdir(parents=True, exist_ok=True)
    (case / "build.yml").write_text(text)
    (case / "tree.txt").write_text(linuxkittrees.dump(recorded["tree"]))
    about = {name: recorded[name] for name in ("linuxkit", "arguments", "kernel", "cmdline", "lost")}
    image = linuxkitcases.imported(pod.name, described, text)
    ours, _ = initramfs.read_tree(assembler.build(BuildRequest(image=image)).files["initrd"])
    excepted = linuxkittrees.explained(image, default_store(), linuxkittrees.differences(recorded["tree"], ours))
    about = {"images": synthetic.Layout(pod.images).digests, **about, "excepted": excepted}
    (case / "about.json").write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n")
    return pod.name


def record(name: str, folder: Path) -> None:
    """Record one case of a name."""
    if name == "hello":
        recorded = build_hello(folder)
    else:
        recorded = build(linuxkitcases.descriptions(name), (HERE / name / "build.yml").read_text(), folder)
    (HERE / name / "tree.json").write_text(dump(recorded))


def main() -> None:
    """Record the cases named on the command line (``generated`` are all generated Pods), or all of them."""
    for name in sys.argv[1:] or [*linuxkitcases.CASES, "hello", "generated"]:
        for number in generatedpods.SEEDS if name == "generated" else (0,):
            with tempfile.TemporaryDirectory() as folder:
                os.environ.update(XDG_DATA_HOME=f"{folder}/data", XDG_CACHE_HOME=f"{folder}/cache")
                Path(folder, "work").mkdir()
                if name == "generated":
                    record_generated(number, Path(folder, "work"))
                else:
                    record(name, Path(folder, "work"))
        sys.stdout.write(f"recorded {name}\n")


if __name__ == "__main__":
    main()
