"""Images: snapshots registered as AMIs. An AMI's name tells whether the image is there; tags on it and its snapshot carry the facts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from i2kit.driver import Context
from i2kit.errors import ProviderError
from i2kit.images.formats import Firmware, firmware_for
from i2kit.plan import ObservedResource
from i2kit.resources import Image
from i2kit_aws import waits
from i2kit_aws.blocks import Disk
from i2kit_aws.gateway import AwsError, absent
from i2kit_aws.site import Site
from i2kit_aws.tags import PREFIX, fact, having, listed, mark_of, specification, unlisted
from i2kit_aws.uploads import Upload

ROOT_DEVICE = "/dev/xvda"
ARCHITECTURES = {"x86_64": "x86_64", "aarch64": "arm64"}
"""What EC2 calls the architectures of machines."""

_BOOT_MODES: Mapping[tuple[Firmware, ...], str] = {("bios", "efi"): "uefi-preferred", ("efi",): "uefi"}
# What ends badly for an upload is begun anew with the next number, and numbers start at 0 in every run.
_MOST_UPLOADS = 100
_SETTLING_SECONDS = 300.0
_RELEASE_SECONDS = 60.0

_Found = Mapping[str, Any]


def ami(site: Site, image_name: str) -> str:
    """Return the id of an image's AMI; raise `ProviderError` (``no-image``) when there is none that can be started.

    It is asked for once: groups of one image share it.
    """
    return site.memory.recall(_kept(image_name), lambda: _startable(image_name, _amis(site, image_name)))


def _kept(image_name: str) -> str:
    return f"ami/{image_name}"


def _startable(image_name: str, found: Sequence[_Found]) -> str:
    if not found or found[0]["State"] != "available":
        state = f"is {found[0]['State']}" if found else "is not there"
        raise ProviderError.of("no-image", f"image {image_name} {state}", hint="run `i2kit deploy` again")
    return str(found[0]["ImageId"])


def observe(site: Site) -> Sequence[ObservedResource]:
    """Return the environment's images, those too of which there is only what a lost upload has left: two requests, but for pages."""
    snapshots: dict[str, list[_Found]] = {}
    for one in _snapshots(site):
        snapshots.setdefault(fact(unlisted(one["Tags"]), "image"), []).append(one)
    images: dict[str, _Found] = {}
    for one in _amis(site, "*"):
        images.setdefault(str(one["Name"]).removeprefix(_ami_name(site, "")), one)
    for name, one in images.items():
        site.memory.forget(_kept(name))
        if one["State"] == "available":
            site.memory.recall(_kept(name), partial(str, one["ImageId"]))
    registered = [_seen(site, name, one, snapshots.get(name, [])) for name, one in images.items()]
    return [*registered, *(_left(site, name, left) for name, left in snapshots.items() if name not in images)]


def ensure(site: Site, image: Image, context: Context) -> None:
    """Have the image as an AMI that can be started; its disk is built and uploaded only where there is none."""
    found, snapshot = _settled(site, image.name, context), ""
    if found and found[0]["State"] != "available":
        for one in found:
            _deregister(site, str(one["ImageId"]))
        found = []
    if not found:
        found, snapshot = _made(site, image, context)
    _tag(site, image, found[0])
    _tidy(site, image, found, snapshot, context)
    site.memory.renew(_kept(image.name), lambda: _startable(image.name, found))


def delete(site: Site, image: Image, context: Context) -> None:
    """Remove the AMI, and then all snapshots that were uploaded for it; nothing happens when they are not there."""
    site.memory.forget(_kept(image.name))
    found = _amis(site, image.name)
    snapshots = [*_snapshots_of(found), *(str(one["SnapshotId"]) for one in _snapshots(site, image.name))]
    for one in found:
        _deregister(site, str(one["ImageId"]))
    for snapshot in dict.fromkeys(snapshots):
        _remove(site, snapshot, context)


def _ami_name(site: Site, image_name: str) -> str:
    # A slash is in no environment's name: "prod" does not begin the names of "prod-eu".
    return f"i2kit/{site.label}/{image_name}"


def _amis(site: Site, image_name: str) -> list[_Found]:
    """Return the AMIs of an image, or of all (``*``), the oldest first. An account can have only one of a name, but where AWS is played."""
    named = [{"Name": "name", "Values": [_ami_name(site, image_name)]}]
    found = site.gateway.pages("ec2", "DescribeImages", "Images", Owners=["self"], Filters=named)
    return sorted(found, key=lambda one: (str(one.get("CreationDate", "")), str(one["ImageId"])))


def _snapshots(site: Site, image_name: str | None = None) -> list[_Found]:
    """Return the snapshots that were begun for an image, or for all."""
    filters = having(site.own() if image_name is None else site.own(image=image_name))
    filters += [{"Name": "tag-key", "Values": [f"{PREFIX}image"]}]
    return list(site.gateway.pages("ec2", "DescribeSnapshots", "Snapshots", OwnerIds=["self"], Filters=filters))


def _snapshots_of(amis: Sequence[_Found]) -> list[str]:
    disks = [disk.get("Ebs", {}) for one in amis for disk in one.get("BlockDeviceMappings", [])]
    return [str(disk["SnapshotId"]) for disk in disks if disk.get("SnapshotId")]


def _seen(site: Site, name: str, found: _Found, snapshots: Sequence[_Found]) -> ObservedResource:
    tags, faults = unlisted(found.get("Tags")), []
    if found["State"] != "available":
        faults.append(f"it is {found['State']}{_because(found)}")
    if not fact(tags, "digest"):
        faults.append("its tags are missing")
        tags = unlisted(snapshots[0]["Tags"]) if snapshots else {}
    if unused := _unused(found, snapshots):
        faults.append(f"snapshots of uploads that were lost are left: {', '.join(unused)}")
    return ObservedResource(resource=_image(site, name, tags), faults=tuple(faults))


def _left(site: Site, name: str, snapshots: Sequence[_Found]) -> ObservedResource:
    states = ", ".join(f"{one['SnapshotId']} is {one['State']}{_because(one)}" for one in snapshots)
    return ObservedResource(resource=_image(site, name, unlisted(snapshots[0]["Tags"])), faults=(f"it is not registered ({states})",))


def _because(found: _Found) -> str:
    reason = found.get("StateReason", {}).get("Message") or found.get("StateMessage")
    return f": {reason}" if reason else ""


def _image(site: Site, name: str, tags: Mapping[str, str]) -> Image:
    return Image(
        name=name,
        mark=mark_of(tags) or site.mark,
        digest=fact(tags, "digest"),
        format=fact(tags, "format"),
        architecture=fact(tags, "architecture"),
        builder=fact(tags, "builder"),
        root="disk" if fact(tags, "root") == "disk" else "memory",
        loader=fact(tags, "loader"),
        yaml="",
    )


def _tags(site: Site, image: Image) -> dict[str, str]:
    names = ("digest", "format", "architecture", "builder", "root", "loader")
    return site.tags(image.mark, image.name, image=image.name, **{one: getattr(image, one) for one in names})


def _settled(site: Site, image_name: str, context: Context, *, expected: bool = False) -> list[_Found]:
    """Return the image's AMIs once AWS has decided about the first; one that is `expected` is waited for too."""

    def look() -> list[_Found] | None:
        found = _amis(site, image_name)
        if found and found[0]["State"] in ("pending", "transient"):
            return None
        return None if expected and not found else found

    name = _ami_name(site, image_name)
    return waits.until(look, context, seconds=_SETTLING_SECONDS, otherwise=f"AMI {name} is pending, or disabled and does not show,")


def _made(site: Site, image: Image, context: Context) -> tuple[list[_Found], str]:
    """Upload and register the image; return its AMI and the snapshot that was uploaded, empty where another run's is used."""
    machine = _machine(image)
    disk = Disk.of(_disk(image, context))
    context.progress(f"uploading {disk.size / (1 << 20):.1f} MiB in {len(disk.checksums)} blocks")
    for number in range(_MOST_UPLOADS):
        tags = _tags(site, image)
        upload = Upload(site=site, context=context, disk=disk, image_digest=image.digest, tags=tags, number=number)
        snapshot = upload.run()
        if snapshot is not None and _register(site, image, machine, snapshot, context):
            found = _settled(site, image.name, context, expected=True)
            if found[0]["State"] != "available":
                raise ProviderError.of("aws-image", f"AMI {found[0]['ImageId']} is {found[0]['State']}{_because(found[0])}")
            return found, snapshot
        # Whoever made the image meanwhile has removed what it does not need.
        if (found := _settled(site, image.name, context)) and found[0]["State"] == "available":
            return found, ""
    raise ProviderError.of("aws-image", f"none of {_MOST_UPLOADS} uploads of image {image.name} became a snapshot")


def _machine(image: Image) -> dict[str, str]:
    """Return what EC2 has to know of the machines that start the image; raise `ProviderError` (``unsupported``) when it has none."""
    firmware = firmware_for(image.format, image.architecture)
    if image.architecture not in ARCHITECTURES or firmware not in _BOOT_MODES:
        raise ProviderError.of("unsupported", f"no machine of EC2 starts image {image.name}: it is {image.format} for {image.architecture}")
    return {"Architecture": ARCHITECTURES[image.architecture], "BootMode": _BOOT_MODES[firmware]}


def _disk(image: Image, context: Context) -> Path:
    artefact = context.artefact(image.name)
    if artefact.format != image.format or "disk" not in artefact.files:
        raise ProviderError.of("bad-artefact", f"image {image.name} is {artefact.format} with {', '.join(sorted(artefact.files))}")
    return artefact.files["disk"]


def _register(site: Site, image: Image, machine: Mapping[str, str], snapshot: str, context: Context) -> bool:
    """Register an AMI of a snapshot; say whether there is one of the name now. There is none if somebody has removed the snapshot."""
    tags = specification(_tags(site, image), "image")
    # Nothing is said of encryption: it is the snapshot's, and that the account's default.
    disk = {"SnapshotId": snapshot, "VolumeType": "gp3", "DeleteOnTermination": True}

    def look() -> bool | None:
        try:
            site.gateway.call(
                "ec2",
                "RegisterImage",
                Name=_ami_name(site, image.name),
                Description=f"i2kit image {image.digest}",
                **machine,
                VirtualizationType="hvm",
                EnaSupport=True,
                ImdsSupport="v2.0",
                RootDeviceName=ROOT_DEVICE,
                BlockDeviceMappings=[{"DeviceName": ROOT_DEVICE, "Ebs": disk}],
                TagSpecifications=tags,
            )
        except AwsError as error:
            # Made before, its answer was lost, or by another run; or not everywhere is it known that the snapshot is completed.
            answers = {"InvalidAMIName.Duplicate": True, "InvalidSnapshot.NotFound": False, "IncorrectState": None}
            if error.code not in answers:
                raise
            return answers[error.code]
        return True

    return waits.until(look, context, seconds=_SETTLING_SECONDS, otherwise=f"snapshot {snapshot} cannot be registered")


def _tag(site: Site, image: Image, found: _Found) -> None:
    """Have an AMI's tags, also where those of the creating request were passed over or somebody has removed them."""
    wanted = _tags(site, image)
    if not wanted.items() <= unlisted(found.get("Tags")).items():
        site.gateway.call("ec2", "CreateTags", Resources=[str(found["ImageId"])], Tags=listed(wanted))


def _tidy(site: Site, image: Image, found: Sequence[_Found], snapshot: str, context: Context) -> None:
    """Remove what lost uploads have left, and AMIs that another run has registered under the same name, where AWS is played."""
    for twin in found[1:]:
        _deregister(site, str(twin["ImageId"]))
    for unused in _unused(found[0], _snapshots(site, image.name), snapshot):
        _remove(site, unused, context)


def _unused(found: _Found, snapshots: Sequence[_Found], uploaded: str = "") -> list[str]:
    """Return the snapshots that the AMI is not made of; none where it does not tell, nor anybody knows what was `uploaded` for it."""
    there = {str(one["SnapshotId"]) for one in snapshots}
    used = there & set(_snapshots_of([found])) or there & {uploaded}
    return sorted(there - used) if used else []


def _deregister(site: Site, name: str) -> None:
    gone = absent("InvalidAMIID.NotFound", "InvalidAMIID.Unavailable")
    gone(lambda: site.gateway.call("ec2", "DeregisterImage", ImageId=name))


def _remove(site: Site, snapshot: str, context: Context) -> None:
    """Remove a snapshot, for which it may take a moment until the AMI of it is gone everywhere."""

    def look() -> bool | None:
        try:
            site.gateway.call("ec2", "DeleteSnapshot", SnapshotId=snapshot)
        except AwsError as error:
            if error.code == "InvalidSnapshot.InUse":
                return None
            if error.code != "InvalidSnapshot.NotFound":
                raise
        return True

    waits.until(look, context, seconds=_RELEASE_SECONDS, otherwise=f"an AMI is still made of snapshot {snapshot}")
