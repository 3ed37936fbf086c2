"""The LinuxKit command: its version, and one build by it, offline.

LinuxKit keeps images in a cache of its own. Each build gets a fresh one that holds the images of the request and nothing else, so that no
earlier build, no registry and no Docker has a say in the result.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import tarfile
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import field, frozen

from i2kit.errors import BuildError, MissingRequirement
from i2kit.images import oci
from i2kit.images.linuxkit_errors import translated
from i2kit.images.store import ImageStore
from i2kit.resources import Image

COMMAND = "linuxkit"
OLDEST = (1, 8)

_VERSION = re.compile(r"version\s+(v?(\d+)\.(\d+)\S*)(?:\s+commit:\s+(\S+))?")
_LINES_KEPT = 20
# Port 9 (discard) of this machine: what LinuxKit would ask a registry fails at once, and says what it asked for.
_NOWHERE = "http://127.0.0.1:9"
_INSTALL = f"install LinuxKit {OLDEST[0]}.{OLDEST[1]} or newer so that `{COMMAND}` is on PATH, or use the builder `assembler`"


def version() -> str:
    """Return the command's version and commit, such as ``1.8.2+43200ea6342590c6806f808b318d7f3a69b0cdd8``.

    Raises `MissingRequirement` when there is no command, or none that this builder can use.
    """
    program = shutil.which(COMMAND)
    if program is None:
        raise MissingRequirement.of("linuxkit-missing", f"the command `{COMMAND}` is not on PATH", hint=_INSTALL)
    try:
        answer = subprocess.run([program, "version"], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MissingRequirement.of("linuxkit-unusable", f"{program} does not run: {error}", hint=_INSTALL) from error
    found = _VERSION.search(answer.stdout)
    if found is None:
        said = (answer.stdout + answer.stderr).strip() or "nothing"
        raise MissingRequirement.of("linuxkit-unusable", f"`{program} version` says {said!r}", expected="a version", hint=_INSTALL)
    number, major, minor, commit = found.groups()
    if (int(major), int(minor)) < OLDEST:
        wanted = f"LinuxKit {OLDEST[0]}.{OLDEST[1]} or newer"
        raise MissingRequirement.of("linuxkit-too-old", f"{program} is LinuxKit {number}", expected=wanted, hint=_INSTALL)
    return number.removeprefix("v") + (f"+{commit}" if commit else "")


@frozen
class Run:
    """One build in a folder of its own; what LinuxKit says goes to `progress` line by line, `environment` are variables it gets besides."""

    work: Path
    progress: Callable[[str], None]
    environment: Mapping[str, str] = field(factory=dict)

    def build(self, image: Image, store: ImageStore, form: str, outputs: Mapping[str, str]) -> dict[str, Path]:
        """Build an output format; `outputs` are LinuxKit's names of its files by their roles, without ``image`` before them.

        Raises `BuildError`.
        """
        images, cache, out = (self.work / name for name in ("images.tar", "cache", "out"))
        _write_images(images, image, store)
        out.mkdir()
        self._linuxkit("cache", "import", "--cache", str(cache), str(images))
        images.unlink()
        self._linuxkit(
            "build",
            # The software bill of materials that LinuxKit would add holds a random number.
            "--no-sbom",
            "--docker=false",
            "--pull=false",
            *("--format", form),
            *("--arch", oci.ARCHITECTURES[image.architecture]),
            *("--cache", str(cache)),
            *("--dir", str(out)),
            *("--name", "image"),
            # From a file LinuxKit would expand templates, in the contents of files too.
            "-",
            stdin=image.yaml,
        )
        built = {role: out / f"image{name}" for role, name in outputs.items()}
        if "cmdline" in built:
            # LinuxKit writes no file for an empty command line.
            built["cmdline"].touch()
        missing = [path.name for path in built.values() if not path.is_file()]
        if missing:
            raise BuildError.of("linuxkit-failed", f"LinuxKit ended well but did not write {', '.join(missing)}")
        return built

    def _linuxkit(self, *arguments: str, stdin: str = "") -> None:
        lines: deque[str] = deque(maxlen=_LINES_KEPT)
        (self.work / "stdin").write_text(stdin)
        with (self.work / "stdin").open() as source:
            process = subprocess.Popen(
                [COMMAND, *arguments],
                stdin=source,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                env={**_environment(self.work), **self.environment},
                cwd=self.work,
            )
        try:
            for line in process.stdout or ():
                if line.strip():
                    lines.append(line.rstrip())
                    self.progress(line.rstrip())
            code = process.wait()
        finally:
            # When progress raises (the user asked to stop), LinuxKit must not go on by itself.
            process.kill()
            process.wait()
            if process.stdout:
                process.stdout.close()
        if code:
            raise translated(arguments, code, list(lines))


def _environment(home: Path) -> dict[str, str]:
    """Return LinuxKit's whole environment: nothing of the user's but PATH, so that nothing of the user's changes the result."""
    proxies = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(home),
        "TMPDIR": str(home),
        "DOCKER_CONFIG": str(home),
        "LC_ALL": "C",
        "TZ": "UTC",
        **dict.fromkeys(proxies, _NOWHERE),
    }


def _write_images(path: Path, image: Image, store: ImageStore) -> None:
    """Write the request's images as the tar of an OCI layout, each behind an index of its own.

    LinuxKit refuses bare manifests whose layers are not gzip, and takes them from an index. A descriptor without the annotation
    ``io.containerd.image.name`` would be imported without a name.
    """
    blobs: dict[str, bytes | None] = {}
    tops = []
    for reference, digest in sorted(image.sources.items()):
        if reference == image.loader:
            continue  # it is for our own packers
        manifest, document = store.manifest(digest), store.read(digest)
        blobs.update({digest: document, manifest.config_digest: None, **{layer.digest: None for layer in manifest.layers}})
        descriptor = {
            **_described(oci.load(reference, document).get("mediaType") or oci.MANIFEST, document),
            "platform": {"os": "linux", "architecture": manifest.config.architecture},
        }
        index = oci.dump({"schemaVersion": 2, "mediaType": oci.INDEX, "manifests": [descriptor]})
        blobs[oci.digest_of(index)] = index
        tops.append({**_described(oci.INDEX, index), "annotations": {oci.IMAGE_NAME: reference}})
    with tarfile.open(path, "w") as archive:
        for name, content in _layout(tops, blobs):
            if content is not None:
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
            else:
                archive.add(store.root / name, arcname=name)


def _described(media_type: str, data: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": oci.digest_of(data), "size": len(data)}


def _layout(tops: list[dict[str, Any]], blobs: dict[str, bytes | None]) -> Iterator[tuple[str, bytes | None]]:
    yield "oci-layout", oci.LAYOUT
    for digest, content in blobs.items():
        yield f"blobs/{digest.replace(':', '/')}", content
    yield "index.json", oci.dump({"schemaVersion": 2, "mediaType": oci.INDEX, "manifests": tops})
