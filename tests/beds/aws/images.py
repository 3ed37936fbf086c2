"""Snapshots by the EBS direct API and AMIs as AWS does them: blocks verified, tokens honoured, images made of their snapshots."""

from __future__ import annotations

import base64
import datetime
import hashlib
from typing import Any

from moto.core.responses import ActionResult
from moto.ebs.models import EBSBackend, EBSSnapshot, ebs_backends
from moto.ebs.responses import EBSResponse
from moto.ec2.models import ec2_backends
from moto.ec2.models.amis import Ami, AmiBackend
from moto.ec2.responses.amis import AmisResponse

from aws.protocols import Call, Refusal
from aws.settings import SETTINGS

BLOCK = 512 << 10


def install() -> None:
    """Put the patches in place, once for a process."""
    EBSBackend.start_snapshot = _started(EBSBackend.start_snapshot)
    EBSBackend.complete_snapshot = _completed
    EBSResponse.start_snapshot = _answered(EBSResponse.start_snapshot)
    AmisResponse.register_image = _registered
    AmiBackend.deregister_image = _deregistered(AmiBackend.deregister_image)
    Ami.block_device_mappings = property(lambda image: image.__dict__.get("mappings") or [])


def _invalid(reason: str, message: str) -> Refusal:
    return Refusal("ValidationException", message, Reason=reason)


def check(call: Call) -> None:
    """Refuse what the EBS direct API does not take. Raises Refusal."""
    backend = ebs_backends[call.account][call.region]
    given = call.parameters
    if call.name == "StartSnapshot":
        token = given.get("ClientToken")
        asked = {name: value for name, value in given.items() if name not in ("ClientToken", "Timeout")}
        if token in SETTINGS.tokens and SETTINGS.tokens[token][0] != asked:
            raise Refusal("ConflictException", "The request uses the same client token as a previous, but non-identical request.", 409)
        return
    snapshot = backend.snapshots.get(given.get("SnapshotId", ""))
    # A snapshot that was deleted is not dropped here by moto.
    if snapshot is None or snapshot.snapshot_id not in backend.ec2_backend.snapshots:
        raise Refusal(
            "ResourceNotFoundException", f"The snapshot '{given.get('SnapshotId')}' does not exist.", 404, Reason="SNAPSHOT_NOT_FOUND"
        )
    if call.name in ("PutSnapshotBlock", "CompleteSnapshot"):
        if snapshot.status != "pending":
            raise _invalid("INVALID_SNAPSHOT_ID", f"The snapshot '{snapshot.snapshot_id}' is not in the pending state.")
        (_check_block if call.name == "PutSnapshotBlock" else _check_whole)(snapshot, given)
    elif snapshot.status == "pending":
        raise _invalid("INVALID_SNAPSHOT_ID", f"The snapshot '{snapshot.snapshot_id}' is not completed.")
    if call.name == "GetSnapshotBlock":
        block = snapshot.blocks.get(given["BlockIndex"])
        if block is None or block.block_token != given["BlockToken"]:
            raise _invalid("INVALID_BLOCK_TOKEN", "The block token is not valid for this block.")


def _check_block(snapshot: EBSSnapshot, given: dict[str, Any]) -> None:
    data = given.get("BlockData") or b""
    if given.get("DataLength") != BLOCK or len(data) != BLOCK:
        raise _invalid("INVALID_BLOCK", f"A block has {BLOCK} bytes.")
    if given["BlockIndex"] >= snapshot.volume_size * 2048:
        raise _invalid("INVALID_BLOCK", "The block lies behind the end of the volume.")
    if given.get("ChecksumAlgorithm") != "SHA256":
        raise _invalid("INVALID_PARAMETER_VALUE", "The only checksum algorithm is SHA256.")
    if given.get("Checksum") != base64.b64encode(hashlib.sha256(data).digest()).decode():
        raise _invalid("INVALID_BLOCK", "The checksum does not match the block's data.")


def _check_whole(snapshot: EBSSnapshot, given: dict[str, Any]) -> None:
    if given.get("ChangedBlocksCount") != len(snapshot.blocks):
        raise _invalid("INVALID_PARAMETER_VALUE", "ChangedBlocksCount is not the number of blocks that were put.")
    wanted = given.get("Checksum")
    sums = b"".join(base64.b64decode(snapshot.blocks[index].checksum or "") for index in sorted(snapshot.blocks))
    if wanted is not None and wanted != base64.b64encode(hashlib.sha256(sums).digest()).decode():
        raise _invalid("INVALID_PARAMETER_VALUE", "The checksum does not match the snapshot's blocks.")


def _started(stock: Any) -> Any:
    def start(backend: Any, volume_size: int, tags: Any, description: Any) -> EBSSnapshot:
        made: EBSSnapshot = stock(backend, volume_size, tags, description)
        snapshot = backend.ec2_backend.snapshots[made.snapshot_id]
        # moto makes a volume to make a snapshot of.
        backend.ec2_backend.volumes.pop(snapshot.volume.id, None)
        snapshot.status = "pending"
        made.block_size = BLOCK
        return made

    return start


def _answered(stock: Any) -> Any:
    def start(response: Any) -> ActionResult:
        token = response._get_param("ClientToken")
        given = {name: value for name, value in response.params.items() if name not in ("ClientToken", "Timeout")}
        if token in SETTINGS.tokens:
            known = response.ebs_backend.snapshots.get(SETTINGS.tokens[token][1])
            if known is not None:
                names = ("snapshot_id", "account_id", "status", "start_time", "volume_size", "block_size", "tags", "description")
                shown = ("SnapshotId", "OwnerId", "Status", "StartTime", "VolumeSize", "BlockSize", "Tags", "Description")
                return ActionResult({there: getattr(known, here) for there, here in zip(shown, names, strict=True)})
        result = stock(response)
        if token:
            SETTINGS.tokens[token] = (given, result.result["SnapshotId"])
        return result  # type: ignore[no-any-return]

    return start


def _completed(backend: Any, snapshot_id: str) -> str:
    backend.snapshots[snapshot_id].status = "completed"
    snapshot = backend.ec2_backend.snapshots[snapshot_id]
    snapshot.calls_left = SETTINGS.snapshot_calls
    if not SETTINGS.snapshot_calls:
        snapshot.status = "completed"
    return str(snapshot.status)


def describe_ticks(call: Call) -> None:
    """Let completed snapshots come nearer to being so, and registered images to being available, as readers look at them."""
    if call.action == "ec2:DescribeImages":
        for image in ec2_backends[call.account][call.region].amis.values():
            left = image.__dict__.get("calls_left", 0)
            image.__dict__["calls_left"] = left - 1
            if image.state == "pending" and left <= 0:
                image.state = "available"
        return
    for snapshot in ec2_backends[call.account][call.region].snapshots.values():
        left = getattr(snapshot, "calls_left", None)
        if left is not None and snapshot.status == "pending":
            snapshot.calls_left = left - 1
            snapshot.status = "pending" if left > 0 else "completed"


def check_image(call: Call) -> None:
    """Refuse images that AWS would not register. Raises Refusal."""
    backend = ec2_backends[call.account][call.region]
    name = call.parameters.get("Name", "")
    for image in backend.amis.values():
        if image.name == name and image.owner_id == call.account:
            raise Refusal("InvalidAMIName.Duplicate", f"AMI name {name} is already in use by AMI {image.id}")
    if not 3 <= len(name) <= 128:
        raise Refusal("InvalidAMIName.Malformed", "AMI names must be between 3 and 128 characters long")
    root = call.parameters.get("RootDeviceName", "")
    mappings = call.parameters.get("BlockDeviceMappings", [])
    if root not in [one.get("DeviceName") for one in mappings]:
        raise Refusal("InvalidBlockDeviceMapping", f"The root device {root!r} is not among the block device mappings.")
    for one in mappings:
        wanted = one.get("Ebs", {}).get("SnapshotId")
        snapshot = backend.snapshots.get(wanted)
        if wanted and snapshot is None:
            raise Refusal("InvalidSnapshot.NotFound", f"The snapshot '{wanted}' does not exist.")
        if wanted and snapshot.status != "completed":
            raise Refusal("IncorrectState", f"Snapshot {wanted} is in invalid state - {snapshot.status}")
        if wanted and "Encrypted" in one["Ebs"]:
            message = f"the encrypted flag cannot be specified since device {one.get('DeviceName')} has a snapshot specified."
            raise Refusal("InvalidBlockDeviceMapping", message)
        size = one.get("Ebs", {}).get("VolumeSize")
        if wanted and size is not None and size < snapshot.volume.size:
            raise Refusal("InvalidBlockDeviceMapping", f"Volume of size {size}GB is smaller than snapshot '{wanted}'.")
    if call.parameters.get("Architecture") == "arm64" and call.parameters.get("BootMode") == "legacy-bios":
        raise Refusal("InvalidParameterCombination", "Images for arm64 boot by UEFI only.")


def _registered(response: Any) -> ActionResult:
    given = response.params
    backend = response.ec2_backend
    image = backend.register_image(given.get("Name"), given.get("Description", ""))
    backend.snapshots.pop(image.ebs_snapshot.id, None)
    mappings = []
    for one in given.get("BlockDeviceMappings", []):
        disk = {"VolumeType": "gp2", "DeleteOnTermination": True, "Encrypted": False, **one.get("Ebs", {})}
        snapshot = backend.snapshots.get(disk.get("SnapshotId"))
        if snapshot is not None:
            disk.setdefault("VolumeSize", snapshot.volume.size)
            snapshot.from_ami = image.id
            image.ebs_snapshot = snapshot
        mappings.append({"DeviceName": one["DeviceName"], "Ebs": disk})
    image.__dict__.update(
        mappings=mappings,
        architecture=given.get("Architecture", "i386"),
        ena_support=given.get("EnaSupport", False),
        boot_mode=given.get("BootMode"),
        imds_support=given.get("ImdsSupport"),
        tpm_support=given.get("TpmSupport"),
        root_device_name=given.get("RootDeviceName"),
        root_device_type="ebs",
        virtualization_type=given.get("VirtualizationType", "paravirtual"),
        image_location=f"{backend.account_id}/{given.get('Name')}",
        hypervisor="xen",
    )
    if SETTINGS.image_calls:
        image.state, image.__dict__["calls_left"] = "pending", SETTINGS.image_calls
    for spec in given.get("TagSpecifications", []) if SETTINGS.image_tags else []:
        image.add_tags({one["Key"]: one["Value"] for one in spec["Tags"]})
    return ActionResult({"ImageId": image.id})


def _deregistered(stock: Any) -> Any:
    def deregister(backend: Any, ami_id: str) -> None:
        stock(backend, ami_id)
        for snapshot in backend.snapshots.values():
            if snapshot.from_ami == ami_id:
                snapshot.from_ami = None

    return deregister


def set_snapshot(name: str, state: str | None, message: str, age: float) -> None:
    """Let a snapshot have failed, or have been started so many seconds before it was. Raises KeyError when there is none."""
    for regions in ebs_backends.values():
        for backend in regions.values():
            if name in backend.snapshots:
                snapshot = backend.snapshots[name]
                snapshot.start_time -= datetime.timedelta(seconds=age)
                if state is not None:
                    shown = backend.ec2_backend.snapshots[name]
                    snapshot.status = shown.status = state
                    shown.state_message = message
                return
    raise KeyError(name)


def set_image(name: str, state: str, message: str, calls: int) -> None:
    """Let an image have failed, or be pending for so many readers. Raises KeyError when there is none of the name."""
    for regions in ec2_backends.values():
        for backend in regions.values():
            for image in backend.amis.values():
                if image.name == name:
                    image.state, image.__dict__["calls_left"] = state, calls
                    image.__dict__["state_reason"] = {"Code": "Server.InternalError", "Message": message}
                    return
    raise KeyError(name)
