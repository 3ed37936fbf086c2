"""How much memory and how many cores a Pod's VM gets. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil

from i2kit.images.formats import Root
from i2kit.images.locked import LockedImage
from i2kit.manifest.workloads import Container, Pod

MIB = 1 << 20

BASE_OVERHEAD_MIB = 64
"""What kernel, guest and container runtime take beside containers and their root file systems (docs/explanation/sizes.md)."""

BOOT_OVERHEAD_MIB = 74
"""What the base takes while the initramfs is unpacked, when the kernel has not yet given its own leftovers back: measured, and 4 to spare.

It also keeps every VM above the 68 MiB below which a PC's firmware works in the memory that a directly booted kernel lies in.
"""

ROOT_DISK_MIB = 4
"""What reading from a root disk takes: the modules, dm-verity's and squashfs' buffers (measured, docs/explanation/sizes.md)."""

DEFAULT_CONTAINER_MIB = 64
"""What a container gets that states neither a limit nor a request."""

ROOT_IN_MEMORY_MIB = 16
"""The greatest unpacked root file systems of a Pod that lie in the initramfs where the provider takes disks too."""

INITRAMFS_LIMIT_MIB = 128
"""The greatest unpacked root file systems of a Pod where the provider takes no disk: they lie in the VM's memory."""

DEFAULT_CPU_MILLIS = 1000


def container_mib(container: Container) -> int:
    """Return the memory in MiB that a container is given: its limit, else its request, else a default."""
    asked = container.resources.memory_limit or container.resources.memory_request
    return ceil(asked / MIB) if asked else DEFAULT_CONTAINER_MIB


def container_millis(container: Container) -> int:
    """Return the thousandths of a core that a container asks for: its limit, else its request, else none."""
    return container.resources.cpu_limit or container.resources.cpu_request or 0


def root_mib(pod: Pod, images: Mapping[str, LockedImage]) -> int:
    """Return what the containers' root file systems take in MiB, unpacked in memory."""
    return sum(ceil(image.unpacked / MIB) for image in _images(pod, images))


def _images(pod: Pod, images: Mapping[str, LockedImage]) -> list[LockedImage]:
    """Return the known images of a Pod, each once: containers of one image share its files."""
    known = [images[container.image] for container in pod.containers if container.image in images]
    return list({image.digest: image for image in known}.values())


def memory_mib(pod: Pod, images: Mapping[str, LockedImage], root: Root = "memory") -> int:
    """Return the memory of the Pod's VM in MiB; `root` is where the containers' root file systems lie.

    The initramfs and what it unpacks to are in memory together while the VM boots; afterwards the containers take its place. What lies
    on a disk takes none of it: what is read is kept as far as there is room, and counts against the limit of the container that reads it.
    An image that is not among `images` counts as empty: the result is then the least that the VM needs.
    """
    containers = sum(container_mib(container) for container in pod.containers)
    if root == "disk":
        return max(BASE_OVERHEAD_MIB + ROOT_DISK_MIB + containers, BOOT_OVERHEAD_MIB)
    packed = sum(ceil(layer.size / MIB) for image in _images(pod, images) for layer in image.layers)
    return root_mib(pod, images) + max(BASE_OVERHEAD_MIB + containers, BOOT_OVERHEAD_MIB + packed)


def cpu_millis(pod: Pod) -> int:
    """Return the thousandths of a core that the Pod asks for: limits, else requests, else a default per Pod."""
    return sum(container_millis(container) for container in pod.containers) or DEFAULT_CPU_MILLIS
