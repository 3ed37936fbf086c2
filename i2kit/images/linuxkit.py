"""The `linuxkit` builder: the real LinuxKit command, fed the same YAML and the same images, offline.

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
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from attrs import frozen

from i2kit.driver import Artefact
from i2kit.errors import BuildError, I2kitError, MissingRequirement, Problem
from i2kit.images import oci
from i2kit.images.builder import Builder, BuildRequest
from i2kit.images.formats import check_format
from i2kit.images.layers import members
from i2kit.images.linuxkit_layers import Difference, difference
from i2kit.images.store import ImageStore, default_store
from i2kit.paths import cache_home
from i2kit.resources import Image

COMMAND = "linuxkit"
FORMAT = "kernel+initrd"
OLDEST = (1, 8)

_OUTPUTS = {"kernel": "image-kernel", "initrd": "image-initrd.img", "cmdline": "image-cmdline"}
_SECTIONS = ("onboot", "onshutdown", "services")
_VERSION = re.compile(r"version\s+(v?(\d+)\.(\d+)\S*)(?:\s+commit:\s+(\S+))?")
_LINES_KEPT = 20
# Port 9 (discard) of this machine: what LinuxKit would ask a registry fails at once, and says what it asked for.
_NOWHERE = "http://127.0.0.1:9"
_INSTALL = f"install LinuxKit {OLDEST[0]}.{OLDEST[1]} or newer so that `{COMMAND}` is on PATH, or use the builder `assembler`"


def builder() -> Builder:
    """Return the record of the `linuxkit` builder."""
    return Builder(
        name="linuxkit",
        summary="the LinuxKit command of this machine",
        version=version,
        formats=(FORMAT,),
        build=build,
        check=check,
    )


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


def check() -> Sequence[Problem]:
    """Return what is missing on this machine."""
    try:
        version()
    except MissingRequirement as error:
        return error.problems
    return ()


def build(request: BuildRequest) -> Artefact:
    """Build an image with LinuxKit, or return it from the cache.

    Raises `MissingRequirement` without a usable command, `BuildError` when the image cannot be built.
    """
    image = request.image
    check_format(image.format, "linuxkit", (FORMAT,))
    folder = cache_home() / "images" / image.digest.removeprefix("sha256:")
    artefact = Artefact(format=FORMAT, files={role: folder / role for role in _OUTPUTS})
    if not request.no_cache and all(path.is_file() for path in artefact.files.values()):
        return artefact
    version()
    store = default_store()
    _refuse_strangers(image)
    _refuse_absent(image, store)
    _refuse_other_trees(image, store)
    with tempfile.TemporaryDirectory(prefix="linuxkit-", dir=_made(cache_home())) as work:
        built = _Run(Path(work), request.progress).build(image, store)
        _made(folder)
        for role, path in built.items():
            path.chmod(0o644)
            # Renamed one by one: a VM that starts meanwhile finds each file whole, and a folder that lacks one is built again.
            path.replace(folder / role)
    return artefact


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _refuse_strangers(image: Image) -> None:
    """Refuse a YAML that names images which are not among the request's: LinuxKit would ask a registry for them."""
    problems = [
        Problem(
            code="image-not-resolved",
            message=f"image {image.name}: nobody resolved {reference} to a digest",
            hint="plan again, so that every image is resolved",
        )
        for reference in sorted({*_kernel(image.yaml), *_roots(image.yaml)} - image.sources.keys())
    ]
    if problems:
        raise BuildError(problems)


def _refuse_absent(image: Image, store: ImageStore) -> None:
    problems = [
        Problem(
            code="image-missing",
            message=f"{reference} ({digest}) is not in the image store",
            hint="plan again, or import it with `i2kit images import`",
        )
        for reference, digest in sorted(image.sources.items())
        if not store.has(digest)
    ]
    if problems:
        raise BuildError(problems)


def _refuse_other_trees(image: Image, store: ImageStore) -> None:
    """Refuse images of which LinuxKit would make something else without a word; the guest would refuse to start them."""
    problems = []
    for reference in sorted(_roots(image.yaml)):
        manifest = store.manifest(image.sources[reference])
        found = difference(
            [members(layer, store.blob(layer.digest)) for layer in manifest.layers],
            [entry.path for entry in store.entries(manifest)],
        )
        if found:
            problems.append(
                Problem(
                    code="linuxkit-other-tree",
                    message=f"LinuxKit would not build {reference} as it is: {_told(found)}",
                    hint="use the builder `assembler`, or make the image's layers with an entry for every folder and no opaque whiteouts",
                )
            )
    if problems:
        raise BuildError(problems)


def _told(found: Difference) -> str:
    told = []
    for paths, what in ((found.lost, "loses"), (found.returned, "brings back removed")):
        if paths:
            more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
            told.append(f"it {what} {', '.join(paths[:3])}{more}")
    return "; ".join(told)


def _kernel(text: str) -> set[str]:
    document = _document(text)
    return {document["kernel"]["image"]} if "kernel" in document else set()


def _roots(text: str) -> set[str]:
    """Return the images whose file trees LinuxKit unpacks."""
    document = _document(text)
    return {*(document.get("init") or ()), *(item["image"] for section in _SECTIONS for item in document.get(section) or ())}


def _document(text: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    return document


@frozen
class _Run:
    """One build in a folder of its own; every line that LinuxKit says goes to `progress`."""

    work: Path
    progress: Callable[[str], None]

    def build(self, image: Image, store: ImageStore) -> dict[str, Path]:
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
            *("--format", FORMAT),
            *("--arch", oci.ARCHITECTURES[image.architecture]),
            *("--cache", str(cache)),
            *("--dir", str(out)),
            *("--name", "image"),
            # From a file LinuxKit would expand templates, in the contents of files too.
            "-",
            stdin=image.yaml,
        )
        built = {role: out / name for role, name in _OUTPUTS.items()}
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
                env=_environment(self.work),
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
            raise _translated(arguments, code, list(lines))


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


_PULL = re.compile(r"could not pull image (\S+): ")
_LINK = re.compile(r"root filesystem for (\S+): archive/tar: write too long|tarball from (\S+): archive/tar: write too long")
_REASONS: tuple[tuple[re.Pattern[str], str, str, str], ...] = (
    (
        _PULL,
        "linuxkit-image",
        "LinuxKit cannot use the image {0}",
        "import or pull the image again; if that does not help, use the builder `assembler`",
    ),
    (
        _LINK,
        "linuxkit-link",
        "LinuxKit cannot build {0}: its etc/hosts or etc/resolv.conf is a link",
        "make it an ordinary file in the image, or use the builder `assembler`",
    ),
    (
        re.compile(r"no space left on device"),
        "disk-full",
        "LinuxKit ran out of disk space",
        "free space in $XDG_CACHE_HOME (~/.cache)",
    ),
    (
        re.compile(r"(did not find kernel(?: tar)?) in kernel image"),
        "linuxkit-kernel",
        "LinuxKit {0} in the kernel image",
        "the base's kernel image needs the files kernel and kernel.tar: move to a good base with --update-base",
    ),
    (
        re.compile(r"invalid config: (.*)"),
        "linuxkit-yaml",
        "LinuxKit refuses the YAML: {0}",
        "this version of LinuxKit does not know it; use the builder `assembler` or another LinuxKit",
    ),
)


def _translated(arguments: Sequence[str], code: int, lines: list[str]) -> I2kitError:
    """Return LinuxKit's failure as an error that says what to do; unknown ones keep LinuxKit's own last words."""
    if code < 0:
        return BuildError.of(
            "linuxkit-killed",
            f"`linuxkit {arguments[0]}` was ended by signal {-code}",
            hint="LinuxKit holds the whole image in memory several times: was there enough?" if code == -9 else "run it again",
        )
    said = "\n".join(lines)
    for pattern, name, message, hint in _REASONS:
        found = pattern.search(said)
        if found:
            groups = [group for group in found.groups() if group]
            return BuildError.of(name, message.format(*groups), hint=hint)
    last = next((line for line in reversed(lines) if line.startswith("Error:")), lines[-1] if lines else "nothing")
    return BuildError.of(
        "linuxkit-failed",
        f"`linuxkit {arguments[0]}` ended with {code}, saying: {last.removeprefix('Error: ')}",
        hint="the builder `assembler` may build it",
    )
