"""LinuxKit's names for output formats: what each is, which files it has, and where it can hold the containers' root file systems."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from attrs import frozen

from i2kit.errors import BuildError

Root = Literal["memory", "disk"]
"""Where the containers' root file systems lie: in the initramfs, or on a read-only disk (or partition) beside it."""

Firmware = Literal["bios", "efi"]

_DIRECT = ("kernel", "initrd", "cmdline")


@frozen(kw_only=True)
class Format:
    """An output format.

    `roles` are its files where a builder of ours makes it, else empty. `roots` says where the containers' root file systems can lie,
    `firmware` what starts it: empty where nothing does, because whoever runs the VM loads the kernel.
    """

    summary: str
    roles: tuple[str, ...] = ()
    roots: tuple[Root, ...] = ("memory",)
    firmware: tuple[Firmware, ...] = ()


def _disk(summary: str, *firmware: Firmware) -> Format:
    return Format(summary=summary, roles=("disk",), roots=("memory", "disk"), firmware=firmware)


FORMATS: dict[str, Format] = {
    "aws": _disk("raw disk that Amazon takes", "bios", "efi"),
    "docker": Format(summary="tar with a Dockerfile"),
    "dynamic-vhd": _disk("VHD disk that grows", "bios"),
    "gcp": _disk("compressed raw disk that Google imports", "bios", "efi"),
    "iso-bios": Format(summary="CD image for BIOS", roles=("disk",), firmware=("bios",)),
    "iso-efi": Format(summary="CD image for UEFI", roles=("disk",), firmware=("efi",)),
    "iso-efi-initrd": Format(summary="CD image for UEFI with an initramfs"),
    "kernel+erofs": Format(summary="kernel and EROFS root file system"),
    "kernel+initrd": Format(summary="kernel, initramfs and kernel command line", roles=_DIRECT),
    "kernel+iso": Format(summary="kernel and ISO 9660 root file system"),
    "kernel+squashfs": Format(summary="kernel, initramfs and squashfs root file system", roles=(*_DIRECT, "root"), roots=("disk",)),
    "qcow2-bios": _disk("QEMU disk for BIOS", "bios"),
    "qcow2-efi": _disk("QEMU disk for UEFI", "efi"),
    "raw-bios": _disk("raw disk for BIOS", "bios"),
    "raw-efi": _disk("raw disk for UEFI", "efi"),
    "rpi3": Format(summary="files for a Raspberry Pi 3"),
    "tar": Format(summary="the root file system as a tar", roles=("tar",)),
    "tar-kernel-initrd": Format(summary="one tar of kernel, initramfs and kernel command line", roles=("tar",)),
    "vhd": _disk("VHD disk", "bios"),
    "vmdk": _disk("VMware disk", "bios"),
}
"""Every format that LinuxKit 1.8 knows."""


def firmware_for(name: str, architecture: str) -> tuple[Firmware, ...]:
    """Return what starts a format on machines of an architecture: only those of x86_64 have a BIOS.

    >>> firmware_for("aws", "x86_64"), firmware_for("aws", "aarch64"), firmware_for("qcow2-bios", "aarch64")
    (('bios', 'efi'), ('efi',), ())
    """
    return tuple(one for one in FORMATS[name].firmware if one == "efi" or architecture == "x86_64")


def holding(root: Root, formats: Iterable[str], architecture: str = "x86_64") -> str | None:
    """Return the first of `formats` that can hold the root file systems there and that the architecture can start; None when none can.

    >>> holding("disk", ["kernel+initrd", "kernel+squashfs"])
    'kernel+squashfs'
    >>> holding("memory", ["qcow2-bios", "qcow2-efi"], "aarch64")
    'qcow2-efi'
    """
    for name in formats:
        form = FORMATS.get(name)
        if form is not None and root in form.roots and (not form.firmware or firmware_for(name, architecture)):
            return name
    return None


def check_format(name: str, builder: str, supported: Iterable[str]) -> None:
    """Raise `BuildError` (``format-unknown``, ``format-unsupported``) for a format that `builder` does not make."""
    supported = tuple(supported)
    if name in supported:
        return
    choices = ", ".join(supported)
    if name not in FORMATS:
        raise BuildError.of("format-unknown", f"{name!r} is no image format", expected=f"one of {choices}")
    raise BuildError.of(
        "format-unsupported", f"the builder {builder!r} does not make {name} ({FORMATS[name].summary})", expected=f"one of {choices}"
    )
