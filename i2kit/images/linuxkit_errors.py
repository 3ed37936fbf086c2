"""What LinuxKit says when it fails, as errors that say what to do. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from i2kit.errors import BuildError, I2kitError

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
        re.compile(r"docker (pull|run) (\S+) failed:"),
        "linuxkit-docker",
        "LinuxKit's `docker {0} {1}` failed",
        "Docker's own words stand above; the engine must be able to fetch this image, or use the builder `linuxkit`, which needs no Docker",
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


def translated(arguments: Sequence[str], code: int, lines: list[str]) -> I2kitError:
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
