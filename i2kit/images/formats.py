"""LinuxKit's names for output formats, and what our own builder makes of them."""

from __future__ import annotations

from collections.abc import Iterable

from i2kit.errors import BuildError

FORMATS: dict[str, str] = {
    "aws": "raw disk that Amazon imports",
    "docker": "tar with a Dockerfile",
    "dynamic-vhd": "VHD disk that grows",
    "gcp": "compressed raw disk that Google imports",
    "iso-bios": "CD image for BIOS",
    "iso-efi": "CD image for UEFI",
    "iso-efi-initrd": "CD image for UEFI with an initramfs",
    "kernel+erofs": "kernel and EROFS root file system",
    "kernel+initrd": "kernel, initramfs and kernel command line",
    "kernel+iso": "kernel and ISO 9660 root file system",
    "kernel+squashfs": "kernel and squashfs root file system",
    "qcow2-bios": "QEMU disk for BIOS",
    "qcow2-efi": "QEMU disk for UEFI",
    "raw-bios": "raw disk for BIOS",
    "raw-efi": "raw disk for UEFI",
    "rpi3": "files for a Raspberry Pi 3",
    "tar": "the root file system as a tar",
    "tar-kernel-initrd": "one tar of kernel, initramfs and kernel command line",
    "vhd": "VHD disk",
    "vmdk": "VMware disk",
}
"""Every format that LinuxKit 1.8 knows, with what it is."""


def check_format(name: str, builder: str, supported: Iterable[str]) -> None:
    """Raise `BuildError` (``format-unknown``, ``format-unsupported``) for a format that `builder` does not make."""
    supported = tuple(supported)
    if name in supported:
        return
    choices = ", ".join(supported)
    if name not in FORMATS:
        raise BuildError.of("format-unknown", f"{name!r} is no image format", expected=f"one of {choices}")
    raise BuildError.of(
        "format-unsupported", f"the builder {builder!r} does not make {name} ({FORMATS[name]})", expected=f"one of {choices}"
    )
