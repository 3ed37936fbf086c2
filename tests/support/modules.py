"""What kernel modules say of themselves, and whether those of an image are complete: depmod's questions, asked of the files."""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from attrs import frozen
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from i2kit.images import base_images, elf
from i2kit.images.kernels import Kernel, module_name
from i2kit.images.platforms import PLATFORMS

DEVICES: Mapping[str, Mapping[str, str]] = {
    # Virtio's own bus has its devices' types in the aliases; a PCI device of any type is first one of virtio's.
    "local": {
        "virtio network card": "pci:v00001AF4d00001041sv00001AF4sd00001100bc02sc00i00",
        "virtio network card on its bus": "virtio:d00000001v00001AF4",
        "virtio random numbers": "virtio:d00000004v00001AF4",
        "QEMU's configuration device": "acpi:QEMU0002:",
    },
    "aws": {
        "Elastic Network Adapter, physical": "pci:v00001D0Fd00000EC2sv00000000sd00000000bc02sc00i00",
        "Elastic Network Adapter, physical, low latency": "pci:v00001D0Fd00001EC2sv00000000sd00000000bc02sc00i00",
        "Elastic Network Adapter": "pci:v00001D0Fd0000EC20sv00001D0Fsd0000EC20bc02sc00i00",
        "Elastic Network Adapter, low latency": "pci:v00001D0Fd0000EC21sv00001D0Fsd0000EC21bc02sc00i00",
    },
    "gcp": {
        "Google Virtual NIC": "pci:v00001AE0d00000042sv00001AE0sd00000058bc02sc00i00",
        "virtio network card": "pci:v00001AF4d00001000sv00001AF4sd00000001bc02sc00i00",
        "virtio network card on its bus": "virtio:d00000001v00001AF4",
    },
    "openstack": {
        "virtio network card": "pci:v00001AF4d00001000sv00001AF4sd00000001bc02sc00i00",
        "virtio network card on its bus": "virtio:d00000001v00001AF4",
        "virtio disk": "virtio:d00000002v00001AF4",
        "virtio SCSI": "virtio:d00000008v00001AF4",
        "SCSI disk": "scsi:t-0x00",
        "SCSI CD": "scsi:t-0x05",
        "file system of CDs": "fs-iso9660",
        "file system of config drives": "fs-vfat",
    },
}
"""Devices that every VM of a platform can have, as the kernel asks for their drivers."""

PC_DEVICES: Mapping[str, Mapping[str, str]] = {
    "openstack": {
        "IDE of a PC": "pci:v00008086d00007010sv00001AF4sd00001100bc01sc01i80",
        "SATA of a q35": "pci:v00008086d00002922sv00001AF4sd00001100bc01sc06i01",
    }
}

DISK_DEVICES: Mapping[str, Mapping[str, str]] = {
    "local": {"virtio disk": "virtio:d00000002v00001AF4"},
    "gcp": {"virtio SCSI": "virtio:d00000008v00001AF4", "SCSI disk": "scsi:t-0x00"},
    "openstack": {"virtio disk": "virtio:d00000002v00001AF4"},
}
"""Devices on which root disks lie, besides those below."""

NVME_DEVICES: Mapping[str, str] = {
    "EBS volume": "pci:v00001D0Fd00008061sv00001D0Fsd00008061bc01sc08i02",
    "Amazon's instance store": "pci:v00001D0Fd0000CD01sv00001D0Fsd0000CD01bc01sc08i02",
    "Google's local SSD": "pci:v00001AE0d0000001Fsv00001AE0sd0000001Fbc01sc08i02",
}
"""Disks of Amazon and Google. Their driver is built into the cloud kernel, and what is built in says nothing of its devices."""


@frozen
class Tree:
    """The modules of a VM by their names, and the index that stands for them."""

    files: Mapping[str, bytes]
    index: Mapping[str, tuple[str, ...]]


def unpacked(*tars: bytes) -> Tree:
    """Lay tars over each other and return the modules that lie there then."""
    files: dict[str, bytes] = {}
    index: dict[str, tuple[str, ...]] = {}
    for data in tars:
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            for info in archive:
                content = archive.extractfile(info) if info.isreg() else None
                if content is None:
                    continue
                if info.name.endswith(".ko"):
                    files[module_name(info.name)] = content.read()
                elif info.name.endswith("/modules.dep"):
                    lines = (line.split(":") for line in content.read().decode().splitlines())
                    index = {module_name(path): tuple(module_name(other) for other in others.split()) for path, others in lines}
    return Tree(files, index)


def trees(kernel: Kernel, platform: str, architecture: str) -> tuple[base_images.Modules, Tree, Tree]:
    """Return what loads on a platform, its VMs' modules, and those of VMs with a root disk."""
    modules = base_images.modules_of(kernel, PLATFORMS[platform], architecture)
    with tarfile.open(fileobj=io.BytesIO(base_images.kernel_layer(kernel, modules))) as layer:
        content = layer.extractfile("kernel.tar")
        assert content is not None
        always = content.read()
    return modules, unpacked(always), unpacked(always, base_images.disk_layer(kernel, modules))


def unmatched(modules: Iterable[bytes], devices: Mapping[str, str]) -> list[str]:
    """Return the devices that none of the modules is for."""
    patterns = {pattern for module in modules for pattern in elf.modinfo("module", module, "alias")}
    return [name for name, device in devices.items() if not any(fnmatchcase(device, pattern) for pattern in patterns)]


def unresolved(kernel: Kernel, tree: Tree, loaded: Iterable[str]) -> list[str]:
    """Load modules in their order, as far as symbols go; return those that another module of the package would have had to give."""
    elsewhere = {symbol for path in kernel.paths.values() for symbol in exported(kernel.read(path))}
    found: set[str] = set()
    lacking = []
    for name in loaded:
        lacking += [f"{name} needs {symbol}" for symbol in imported(tree.files[name]) if symbol in elsewhere and symbol not in found]
        found |= exported(tree.files[name])
    return lacking


def exported(module: bytes) -> set[str]:
    """Return the symbols that a module gives to others."""
    return {name.decode() for name in re.findall(rb"\0__ksymtab_([A-Za-z0-9_.]+)(?=\0)", module)}


def imported(module: bytes) -> list[str]:
    """Return the symbols that a module takes from the kernel or from others."""
    table = ELFFile(io.BytesIO(module)).get_section_by_name(".symtab")
    assert isinstance(table, SymbolTableSection)
    return [symbol.name for symbol in table.iter_symbols() if symbol["st_shndx"] == "SHN_UNDEF" and symbol.name]
