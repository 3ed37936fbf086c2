"""Image references: ``nginx`` is short for ``docker.io/library/nginx:latest``, everywhere in i2kit."""

from __future__ import annotations

import re

from attrs import frozen

from i2kit.errors import I2kitError

DEFAULT_REGISTRY = "docker.io"

# The grammar of the distribution specification ("Pulling manifests") and of Docker's reference package.
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_HOST = re.compile(r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_LONGEST_REPOSITORY = 255


@frozen(kw_only=True)
class Reference:
    """A full image reference; exactly one of `tag` and `digest` decides, the digest where both are given."""

    registry: str
    repository: str
    tag: str = ""
    digest: str = ""

    @property
    def name(self) -> str:
        """The reference without tag and digest."""
        return f"{self.registry}/{self.repository}"

    def __str__(self) -> str:
        text = self.name
        if self.tag:
            text += f":{self.tag}"
        if self.digest:
            text += f"@{self.digest}"
        return text


def parse(reference: str) -> Reference:
    """Take a reference apart and fill in what it leaves out.

    Raises `I2kitError` (code ``image-reference-invalid``) when it is not one.
    """
    rest, _, digest = reference.partition("@")
    if "@" in reference and not _DIGEST.fullmatch(digest):
        raise _invalid(reference, "the digest after @ is not sha256: and 64 hexadecimal digits")
    head, slash, last = rest.rpartition("/")
    last, colon, tag = last.partition(":")
    if colon and not _TAG.fullmatch(tag):
        raise _invalid(reference, f"{tag!r} is not a tag")
    registry, repository = _split_registry(f"{head}{slash}{last}")
    if not _HOST.fullmatch(registry):
        raise _invalid(reference, f"{registry!r} is not the name of a registry")
    if not _REPOSITORY.fullmatch(repository) or len(repository) > _LONGEST_REPOSITORY:
        raise _invalid(reference, f"{repository!r} is not the name of a repository (lower case letters, digits and ._- between them)")
    return Reference(registry=registry, repository=repository, tag=tag or ("" if digest else "latest"), digest=digest)


def _split_registry(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    # Docker's rule: the first part is a registry only if it looks like a host.
    if slash and ("." in first or ":" in first or first == "localhost"):
        registry, repository = ("docker.io" if first == "index.docker.io" else first), rest
    else:
        registry, repository = DEFAULT_REGISTRY, name
    if registry == DEFAULT_REGISTRY and "/" not in repository:
        repository = f"library/{repository}"
    return registry, repository


def normalise(reference: str) -> str:
    """Return the full form of a reference.

    >>> normalise("nginx")
    'docker.io/library/nginx:latest'
    >>> normalise("localhost:5000/team/app:1")
    'localhost:5000/team/app:1'

    Raises `I2kitError` (code ``image-reference-invalid``).
    """
    return str(parse(reference))


def _invalid(reference: str, reason: str) -> I2kitError:
    return I2kitError.of(
        "image-reference-invalid",
        f"{reference!r} is not an image reference: {reason}",
        expected="[registry/]repository[:tag][@sha256:digest]",
    )
