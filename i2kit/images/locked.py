"""What `resolve` finds out: every image and the base by digest, nothing left to look up."""

from __future__ import annotations

from attrs import field, frozen
from attrs.validators import matches_re

DIGEST = r"sha256:[0-9a-f]{64}"


@frozen(kw_only=True)
class Inventory:
    """What must be there when an image's file system is unpacked: number of regular files, their bytes, sha256 of the list.

    `links` are the names of files that have several (hard links), which do not count. How the list is made is fixed in
    ``docs/reference/guest.md``; the guest checks it before it starts a container.
    """

    files: int
    bytes: int
    sha256: str
    links: tuple[str, ...] = ()


@frozen(kw_only=True)
class Layer:
    """One layer: `digest` of the (compressed) blob, `diff_id` of the plain tar, `size` of the blob in bytes."""

    digest: str
    diff_id: str
    size: int


@frozen(kw_only=True)
class LockedImage:
    """An OCI image by digest, with what the planner needs of its configuration.

    `reference` is the full name (``docker.io/library/nginx:1``), `unpacked` the sum in bytes of what its merged file system takes in
    memory. `uid` and `gid` are what `user` means in the image.
    """

    reference: str
    digest: str = field(validator=matches_re(DIGEST))
    architecture: str
    layers: tuple[Layer, ...]
    inventory: Inventory
    unpacked: int
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    working_dir: str = ""
    user: str = ""
    uid: int = 0
    gid: int = 0


@frozen(kw_only=True)
class Package:
    """One package of the base: a .deb file by its sha256."""

    name: str
    version: str
    architecture: str
    sha256: str
    filename: str
    size: int


@frozen(kw_only=True)
class LockedBase:
    """The base, down to the last byte: its packages, and the OCI images made of them and of the guest.

    `platform` is where its VMs run (`i2kit.images.platforms`). `kernel` goes to LinuxKit's ``kernel: image``, `pod` to ``init``, as does
    `disk` (the modules for root disks) of Pods that have one; `cmdline` is the kernel command line. `loader` has the boot loaders, for
    formats that firmware starts; it is None where nobody asked for such a format.
    """

    name: str
    platform: str = "local"
    packages: tuple[Package, ...]
    guest: str = field(validator=matches_re(DIGEST))
    kernel: LockedImage
    pod: LockedImage
    cmdline: str
    disk: LockedImage | None = None
    loader: LockedImage | None = None


@frozen(kw_only=True)
class Locked:
    """Every image reference of the manifests, as written there, and the base, resolved to digests.

    `builder` and `builder_version` are part of an image's identity, as the architecture is.
    """

    images: dict[str, LockedImage]
    base: LockedBase
    builder: str
    builder_version: str
    architecture: str = "x86_64"
