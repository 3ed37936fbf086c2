"""Registries, through skopeo: the only place that asks one. The user's docker credentials and helpers are skopeo's own business."""

from __future__ import annotations

import ipaddress
import os
import re
import shutil
import subprocess
from pathlib import Path

from attrs import frozen

from i2kit.errors import I2kitError, Problem
from i2kit.images import oci
from i2kit.images.logins import Login, docker_configuration
from i2kit.images.reference import Reference

PROGRAM = "skopeo"
HINT = "`sudo apt-get install skopeo`"
_LOOK_SECONDS = 60
_PULL_SECONDS = 1800

# What skopeo and registries say, and what it means; the first match counts.
_MEANINGS = (
    ("disk-full", re.compile(r"no space left on device|disk quota exceeded", re.I)),
    ("digest-mismatch", re.compile(r"digest did not match|digest .*does not match", re.I)),
    ("registry-untrusted", re.compile(r"x509: |certificate signed by unknown|tls: failed to verify", re.I)),
    # A registry that has the image and lost a part of it.
    ("registry-failed", re.compile(r"(reading|fetching) blob.*\b404\b", re.I)),
    (
        "registry-auth",
        re.compile(
            r"unauthorized|authentication required|invalid username/password|access to the resource is denied|403 \(Forbidden\)", re.I
        ),
    ),
    ("image-not-found", re.compile(r"manifest unknown|name unknown|repository name not known|not found|StatusCode: 404", re.I)),
    (
        "registry-unreachable",
        re.compile(
            r"dial tcp|no such host|connection re(fused|set)|timeout|deadline exceeded|tls:|HTTP response to HTTPS|proxyconnect|"
            r"network is unreachable|EOF|pinging container registry",
            re.I,
        ),
    ),
)
_CREDENTIALS = re.compile(r"(?<=//)[^/@\s\"]+@|(?<=[?&])[^\s\"]+|(?:Basic|Bearer)\s+\S+", re.I)


@frozen(kw_only=True)
class RemoteImage:
    """What a registry has under a reference: the digest of the manifest for one architecture, and the manifest, where it was seen."""

    reference: Reference
    digest: str
    manifest: bytes = b""

    @property
    def exact(self) -> Reference:
        """The reference by digest."""
        return Reference(registry=self.reference.registry, repository=self.reference.repository, digest=self.digest)


class RegistryError(I2kitError):
    """A registry did not give an image; the code of its problem says why."""


def installed() -> bool:
    """Whether skopeo is there."""
    return shutil.which(PROGRAM) is not None


def look_up(reference: Reference, architecture: str, login: Login = None) -> RemoteImage:
    """Ask the registry what a reference stands for. Raises `RegistryError`.

    Its codes: ``image-not-found``, ``image-architecture``, ``registry-auth``, ``registry-unreachable``, ``registry-untrusted``,
    ``registry-failed``, ``digest-mismatch``.
    """
    data = _run(reference, ["inspect", "--raw", *_options(reference, login), _source(reference)], _LOOK_SECONDS)
    if reference.digest and oci.digest_of(data) != reference.digest:
        raise wrong_content(reference, reference.digest)
    document = oci.load(str(reference), data)
    if "manifests" not in document:
        return RemoteImage(reference=reference, digest=oci.digest_of(data), manifest=data)
    descriptors = document["manifests"]
    if not isinstance(descriptors, list):
        raise oci.malformed(str(reference), "`manifests` is not a list")
    wanted = oci.ARCHITECTURES.get(architecture, architecture)
    found = []
    for descriptor in descriptors:
        digest = oci.descriptor_digest(str(reference), descriptor)
        platform = descriptor.get("platform") or {}
        found.append("/".join(str(platform[part]) for part in ("os", "architecture", "variant") if platform.get(part)))
        if platform.get("architecture") == wanted and platform.get("os", "linux") == "linux":
            return RemoteImage(reference=reference, digest=digest)
    raise wrong_architecture(reference, architecture, found)


def wrong_architecture(reference: Reference, architecture: str, found: list[str]) -> RegistryError:
    """Make the error for an image that is not for our kind of machine."""
    offered = ", ".join(sorted({name for name in found if name and not name.startswith("unknown")})) or "nothing that is named"
    return _error(
        "image-architecture",
        f"image {reference} is not for linux/{oci.ARCHITECTURES.get(architecture, architecture)}, but for {offered}",
    )


def wrong_content(reference: Reference, digest: str) -> RegistryError:
    """Make the error for a registry that gives something else than it says."""
    return _error("digest-mismatch", f"registry {reference.registry} gives something else than {digest} for {reference}")


def manifest(image: RemoteImage, login: Login) -> bytes:
    """Return an image's manifest as the registry has it, verified. Raises `RegistryError`."""
    data = _run(image.reference, ["inspect", "--raw", *_options(image.reference, login), _source(image.exact)], _LOOK_SECONDS)
    if oci.digest_of(data) != image.digest:
        raise wrong_content(image.reference, image.digest)
    return data


def configuration(image: RemoteImage, login: Login) -> bytes:
    """Return an image's configuration as the registry has it. Raises `RegistryError`."""
    arguments = ["inspect", "--config", "--raw", *_options(image.reference, login), _source(image.exact)]
    return _run(image.reference, arguments, _LOOK_SECONDS)


def copy(image: RemoteImage, login: Login, layout: Path, blobs: Path, *, docker: bool) -> None:
    """Fetch an image's layers into `blobs`, except those that lie there already; `layout` is for what else skopeo writes.

    Of images in Docker's own format (`docker`) it makes OCI's, and compresses layers that are not. Raises `RegistryError`.
    """
    arguments = ["copy", "--quiet", "--retry-times", "2", *_options(image.reference, login, "src-")]
    # Without it skopeo would compress what is not; with it, it converts nothing.
    arguments += [] if docker else ["--preserve-digests"]
    arguments += ["--dest-shared-blob-dir", str(blobs), _source(image.exact), f"oci:{layout}:image"]
    _run(image.reference, arguments, _PULL_SECONDS)


def copy_whole(image: RemoteImage, login: Login, folder: Path) -> None:
    """Fetch an image as it is, all of its layers, each under the digits of its digest. Raises `RegistryError`."""
    arguments = ["copy", "--quiet", "--retry-times", "2", *_options(image.reference, login, "src-")]
    _run(image.reference, [*arguments, _source(image.exact), f"dir:{folder}"], _PULL_SECONDS)


def _source(reference: Reference) -> str:
    # skopeo refuses a reference with both.
    suffix = f"@{reference.digest}" if reference.digest else f":{reference.tag}"
    return f"docker://{reference.name}{suffix}"


def _options(reference: Reference, login: Login, prefix: str = "") -> list[str]:
    options = []
    # skopeo knows REGISTRY_AUTH_FILE and ~/.docker/config.json, but not docker's own variable.
    if login is None and "DOCKER_CONFIG" in os.environ and "REGISTRY_AUTH_FILE" not in os.environ and docker_configuration().is_file():
        login = docker_configuration()
    if login is not None:
        options += ["--authfile", str(login)]
    if is_loopback(reference.registry):
        options.append(f"--{prefix}tls-verify=false")
    return options


def is_loopback(registry: str) -> bool:
    """Whether a registry is on this machine, where docker does not insist on TLS either.

    >>> is_loopback("127.0.0.1:5000"), is_loopback("docker.io")
    (True, False)
    """
    host = registry.rpartition(":")[0] if re.search(r":\d+$", registry) else registry
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _policy() -> list[str]:
    """Skopeo will not start without a signature policy; the distribution's own accepts everything."""
    files = (Path.home() / ".config/containers/policy.json", Path("/etc/containers/policy.json"))
    return [] if any(file.exists() for file in files) else ["--insecure-policy"]


def _run(reference: Reference, arguments: list[str], seconds: int) -> bytes:
    try:
        done = subprocess.run(
            [PROGRAM, *_policy(), *arguments], capture_output=True, timeout=seconds, check=False, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired as error:
        raise _error("registry-unreachable", f"registry {reference.registry} did not answer within {seconds} s") from error
    except FileNotFoundError as error:
        raise _error("program-missing", "skopeo, which asks registries, is not installed", HINT) from error
    if done.returncode != 0:
        raise _meaning(reference, done.stderr.decode(errors="replace"))
    return done.stdout


def _meaning(reference: Reference, said: str) -> RegistryError:
    code = next((code for code, pattern in _MEANINGS if pattern.search(said)), "registry-failed")
    reason = without_credentials(said.strip().splitlines()[-1] if said.strip() else "it said nothing")
    if code == "registry-auth":
        return _error(code, f"registry {reference.registry} does not give {reference} to you", f"`docker login {reference.registry}`")
    if code == "image-not-found":
        return _error(code, f"registry {reference.registry} has no {reference}")
    if code == "registry-untrusted":
        return _error(
            code,
            f"the certificate of registry {reference.registry} cannot be trusted: {reason}",
            f"if it is the right one, put its CA's certificate into ~/.config/containers/certs.d/{reference.registry}/ca.crt",
        )
    if code == "disk-full":
        return _error(code, f"there is no space left for {reference}", "free some in $XDG_CACHE_HOME (~/.cache)")
    if code == "digest-mismatch":
        return _error(code, f"registry {reference.registry} gives damaged content for {reference}: {reason}", "push the image again")
    if code == "registry-unreachable":
        return _error(code, f"registry {reference.registry} cannot be reached: {reason}")
    return _error(code, f"registry {reference.registry} failed: {reason}")


def without_credentials(text: str) -> str:
    """Cut what could be a secret out of a message: user names and passwords in URLs, queries, authorization headers."""
    match = re.search(r'msg="((?:[^"\\]|\\.)*)"', text)
    plain = match[1].replace('\\"', '"') if match else text
    return _CREDENTIALS.sub("***", plain)


def _error(code: str, message: str, hint: str = "") -> RegistryError:
    return RegistryError(Problem(code=code, message=message, hint=hint))
