"""Registries, through skopeo: the only place that asks one. The user's docker credentials and helpers are skopeo's own business."""

from __future__ import annotations

import ipaddress
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

from i2kit.errors import I2kitError, Problem
from i2kit.images import archives, oci
from i2kit.images.reference import Reference

PROGRAM = "skopeo"
HINT = "`sudo apt-get install skopeo`"
_LOOK_SECONDS = 60
_PULL_SECONDS = 1800

# What skopeo and registries say, and what it means; the first match counts.
_MEANINGS = (
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
            r"dial tcp|no such host|connection re(fused|set)|timeout|deadline exceeded|x509|tls:|HTTP response to HTTPS|proxyconnect|"
            r"network is unreachable|EOF|pinging container registry",
            re.I,
        ),
    ),
)
_CREDENTIALS = re.compile(r"(?<=//)[^/@\s\"]+@|(?<=[?&])[^\s\"]+|(?:Basic|Bearer)\s+\S+", re.I)


@frozen(kw_only=True)
class RemoteImage:
    """What a registry has under a reference: the digest of the manifest for one architecture."""

    reference: Reference
    digest: str


class RegistryError(I2kitError):
    """A registry did not give an image; the code of its problem says why."""


def installed() -> bool:
    """Whether skopeo is there."""
    return shutil.which(PROGRAM) is not None


def look_up(reference: Reference, architecture: str) -> RemoteImage:
    """Ask the registry what a reference stands for. Raises `RegistryError`.

    Its codes: ``image-not-found``, ``image-architecture``, ``registry-auth``, ``registry-unreachable``, ``registry-failed``.
    """
    data = _run(reference, ["inspect", "--raw", *_options(reference, ""), _source(reference)], _LOOK_SECONDS)
    document = oci.load(str(reference), data)
    if "manifests" not in document:
        return RemoteImage(reference=reference, digest=oci.digest_of(data))
    wanted = oci.ARCHITECTURES.get(architecture, architecture)
    found = []
    for descriptor in document["manifests"]:
        platform = descriptor.get("platform") or {}
        found.append(str(platform.get("architecture")))
        if platform.get("architecture") == wanted and platform.get("os", "linux") == "linux":
            return RemoteImage(reference=reference, digest=oci.descriptor_digest(str(reference), descriptor))
    raise wrong_architecture(reference, architecture, found)


def wrong_architecture(reference: Reference, architecture: str, found: list[str]) -> RegistryError:
    """Make the error for an image that is not for our kind of machine."""
    offered = ", ".join(sorted({name for name in found if name not in ("", "unknown", "None")})) or "nothing that is named"
    return _error(
        "image-architecture",
        f"image {reference} is not for linux/{oci.ARCHITECTURES.get(architecture, architecture)}, but for {offered}",
    )


@contextmanager
def pulled(image: RemoteImage) -> Iterator[Path]:
    """Yield a folder with an OCI layout of the image, bytes as the registry has them. Raises `RegistryError`."""
    reference = Reference(registry=image.reference.registry, repository=image.reference.repository, digest=image.digest)
    with tempfile.TemporaryDirectory(prefix="i2kit-pull-") as scratch:
        # skopeo's own oci: would rewrite Docker's manifests, and with them their digests.
        copied = Path(scratch) / "dir"
        arguments = ["copy", "--quiet", "--retry-times", "2", *_options(reference, "src-"), _source(reference), f"dir:{copied}"]
        _run(reference, arguments, _PULL_SECONDS)
        yield _layout(copied, Path(scratch) / "layout", image)


def _layout(copied: Path, layout: Path, image: RemoteImage) -> Path:
    manifest = (copied / "manifest.json").read_bytes()
    blobs = layout / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    for path in copied.iterdir():
        if re.fullmatch(r"[0-9a-f]{64}", path.name):
            path.rename(blobs / path.name)
    digest = oci.digest_of(manifest)
    (layout / archives.blob_name(digest)).write_bytes(manifest)
    descriptor = {"mediaType": oci.MANIFEST, "digest": digest, "size": len(manifest)}
    (layout / "index.json").write_bytes(oci.dump({"schemaVersion": 2, "manifests": [descriptor]}))
    return layout


def _source(reference: Reference) -> str:
    # skopeo refuses a reference with both.
    suffix = f"@{reference.digest}" if reference.digest else f":{reference.tag}"
    return f"docker://{reference.name}{suffix}"


def _options(reference: Reference, prefix: str) -> list[str]:
    options = []
    configuration = os.environ.get("DOCKER_CONFIG")
    # skopeo knows REGISTRY_AUTH_FILE and ~/.docker/config.json, but not docker's own variable.
    if configuration and "REGISTRY_AUTH_FILE" not in os.environ:
        file = Path(configuration) / "config.json"
        options += [f"--{prefix}authfile", str(file)] if prefix == "" and file.is_file() else []
        options += ["--authfile", str(file)] if prefix and file.is_file() else []
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
