"""What differs between the places where VMs run, as the base sees it: the kernel, its drivers, and where the boot configuration lies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from attrs import field, frozen

from i2kit.errors import InvalidInput
from i2kit.images.formats import FORMATS

ARCHITECTURES = ("x86_64", "aarch64")
"""The architectures that a base can be made for, as the kernel calls them."""

# What every VM needs besides its platform's drivers: to run containers, and to hear the power button.
_ANYWHERE = ("overlay", "button", "evdev")
_VIRTIO = ("virtio_pci", "virtio_net", "virtio_rng")
# What reads a root disk: a squashfs that dm-verity checks.
_ROOT_DISK = ("dm_mod", "dm_bufio", "dm_verity", "squashfs")
_DRIVES = ("virtio_blk", "virtio_scsi", "sd_mod", "sr_mod", "isofs", "vfat", "nls_cp437", "nls_ascii")


@frozen(kw_only=True)
class Platform:
    """A place where VMs run.

    `boot_config` is what the guest is told of where its boot configuration lies (``docs/reference/guest.md``). `modules` are the kernel
    modules that every VM there needs, `disk_modules` those that only VMs with a root disk need besides; what they depend on, and that
    some are built in, is found out when the base is made. `own` are modules for one architecture only. `kernels` is the kind of Debian's
    kernel per architecture (``cloud`` unless stated). `roots` are the root certificates that the guest needs, none where it verifies
    nobody: names of files in Debian's package (`i2kit.images.authorities`), ``*`` standing for anything.
    """

    name: str
    boot_config: str
    modules: tuple[str, ...]
    disk_modules: tuple[str, ...]
    own: Mapping[str, tuple[str, ...]] = field(factory=dict)
    kernels: Mapping[str, str] = field(factory=dict)
    roots: tuple[str, ...] = ()

    def modules_for(self, architecture: str) -> tuple[str, ...]:
        """Return the modules that every VM of an architecture needs."""
        return (*self.modules, *self.own.get(architecture, ()), *_ANYWHERE)

    def kernel_for(self, architecture: str) -> str:
        """Return the kind of Debian's kernel: ``cloud``, or ``generic`` where that lacks a driver."""
        return self.kernels.get(architecture, "cloud")


PLATFORMS: Mapping[str, Platform] = {
    platform.name: platform
    for platform in (
        Platform(
            name="local",
            boot_config="fw_cfg",
            modules=(*_VIRTIO, "qemu_fw_cfg"),
            disk_modules=("virtio_blk", *_ROOT_DISK),
        ),
        Platform(
            name="aws",
            boot_config="aws",
            # Nobody looks at /livez from outside, so the kernel has to find out that the guest hangs.
            modules=("ena", "softdog"),
            disk_modules=("nvme", *_ROOT_DISK),
            # Amazon Trust Services' own, by which AWS's services are certified; the guest reads secrets from one of them.
            roots=("Amazon_Root_CA_*", "Starfield_Services_Root_Certificate_Authority_-_G2"),
        ),
        Platform(
            name="gcp",
            boot_config="gcp",
            modules=(*_VIRTIO, "gve"),
            disk_modules=("virtio_scsi", "sd_mod", "nvme", *_ROOT_DISK),
        ),
        Platform(
            name="openstack",
            boot_config="openstack",
            # Config drives are CDs or disks on whatever bus the image's properties ask for.
            modules=(*_VIRTIO, *_DRIVES),
            disk_modules=_ROOT_DISK,
            own={"x86_64": ("ata_piix", "ahci")},
            # Debian's cloud kernel has no driver for SATA, on which the drives of a q35 lie.
            kernels={"x86_64": "generic"},
        ),
    )
}
"""Every platform by its name."""

_OF_FORMATS = {"aws": "aws", "gcp": "gcp"}


def platform_called(name: str) -> Platform:
    """Return the platform called `name`. Raises `InvalidInput` (``platform-unknown``)."""
    if name not in PLATFORMS:
        raise InvalidInput.of(
            "platform-unknown",
            f"there is no platform {name!r}",
            expected=f"one of {', '.join(PLATFORMS)}",
            hint="the provider's plug-in names it (Provider.platform)",
        )
    return PLATFORMS[name]


def platform_of(provider: str, format_name: str | None) -> str:
    """Return the platform that an image is for: the one its format is made for, else the provider's.

    >>> platform_of("local", "gcp"), platform_of("openstack", "qcow2-bios"), platform_of("aws", None)
    ('gcp', 'openstack', 'aws')
    """
    return _OF_FORMATS.get(format_name or "", provider)


def started_by_firmware(formats: Iterable[str]) -> bool:
    """Whether one of `formats` needs a boot loader.

    >>> started_by_firmware(("kernel+initrd", "raw-bios")), started_by_firmware(("kernel+initrd",))
    (True, False)
    """
    return any(FORMATS[name].firmware for name in formats if name in FORMATS)
