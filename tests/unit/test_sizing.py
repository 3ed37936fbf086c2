"""A VM's memory: enough for its boot, and enough for its containers."""

from __future__ import annotations

from sample import container, image

from i2kit import sizing
from i2kit.images.formats import Root
from i2kit.manifest.workloads import Pod, Resources


def memory(limit_mib: int, root: Root = "memory", unpacked_mib: int = 2) -> int:
    pod = Pod(containers=(container(resources=Resources(memory_limit=limit_mib << 20)),))
    return sizing.memory_mib(pod, {"hello:1": image(unpacked=unpacked_mib << 20)}, root)


def test_containers_get_what_they_ask_for_beside_kernel_and_guest() -> None:
    assert memory(100) == sizing.BASE_OVERHEAD_MIB + 2 + 100


def test_a_small_container_does_not_make_a_vm_too_small_to_boot() -> None:
    assert memory(2) == memory(4) == sizing.BOOT_OVERHEAD_MIB + 2 + 1


def test_what_lies_on_a_disk_takes_no_memory_but_reading_it_does() -> None:
    assert memory(100, "disk", 1000) == memory(100, "disk", 20) == sizing.BASE_OVERHEAD_MIB + sizing.ROOT_DISK_MIB + 100
    assert memory(2, "disk", 1000) == sizing.BOOT_OVERHEAD_MIB
