"""The example hello as an image to build, from the machine's own packages; nothing of the user's store is changed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import i2kit
from i2kit.environment import Environment
from i2kit.images.linuxkit_yaml import linuxkit_yaml, sources
from i2kit.images.store import default_store
from i2kit.resources import Image, Mark

from . import initramfs

ROOT = Path(__file__).parents[3]


def hello_image(scratch: Path, user_store: Path) -> Image:
    """Return the image of hello's Pod for any builder, its sources in the default store, which begins as a copy of `user_store`.

    What that lacks of the base is downloaded, as it is for every first deployment.
    """
    store = default_store()
    if user_store.is_dir():
        shutil.copytree(user_store, store.root, dirs_exist_ok=True)
    layout = ROOT / "out" / "images" / "hello"
    if not layout.is_dir():
        layout = scratch / "hello"
        script = ROOT / "examples" / "hello" / "image" / "build.py"
        subprocess.run([sys.executable, str(script), "--out", str(layout)], check=True, stdout=subprocess.DEVNULL)
    store.import_path(layout)
    workloads = i2kit.load([ROOT / "examples" / "hello"])
    (workload,) = workloads.workloads
    locked = i2kit.resolve(workloads, Environment())
    return Image(
        name="hello",
        mark=Mark(environment="test"),
        digest="0" * 64,
        format="kernel+initrd",
        architecture=locked.architecture,
        builder="",
        yaml=linuxkit_yaml(workload.pod, locked.images, locked.base),
        sources=sources(workload.pod, locked.images, locked.base),
    )


def outline(tree: initramfs.Tree) -> initramfs.Tree:
    """Return a tree without what another version of a package changes: contents, dates, the kernel's release and its modules."""
    kept = ("type", "mode", "uid", "gid", "target")
    return {
        re.sub(r"^lib/modules/[^/]+", "lib/modules/RELEASE", path): {name: node[name] for name in kept if name in node}
        for path, node in tree.items()
        if not re.match(r"lib/modules/[^/]+/", path)
    }
