"""Upload of hello to AWS: bytes and requests, and seconds beside the same requests one after the other by boto3, with the same latency.

The account is the bed's (tests/beds/aws), whose server takes one request at a time: seconds are those of this machine, ratios say more.

python bench/aws_upload.py [rounds]
"""

from __future__ import annotations

import base64
import hashlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from vm import HELLO, build, hello

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "beds"))

from aws.bed import REGION, Bed, running

from i2kit import names
from i2kit.driver import Artefact
from i2kit.environment import Environment
from i2kit.resources import Image, Mark
from i2kit.testing.context import SampleContext
from i2kit_aws import images
from i2kit_aws.blocks import BLOCK_BYTES, Disk
from i2kit_aws.site import Site

LATENCY_SECONDS = 0.1
IMAGE = Image(
    name="hello",
    mark=Mark(environment="bench"),
    digest=names.digest("hello"),
    format="aws",
    architecture="x86_64",
    builder="assembler",
    yaml="",
)


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    with tempfile.TemporaryDirectory() as folder, running() as bed:
        os.environ.update(bed.environment)
        scratch = Path(folder)
        hello(scratch)
        build(HELLO / "hello.yaml", scratch / "disk", "aws")
        disk = Disk.of(scratch / "disk")
        whole = disk.path.stat().st_size
        share = 100 * disk.size / whole
        print(f"hello: {len(disk.checksums)} blocks, {disk.size:,} of {whole:,} bytes ({share:.1f} %)")
        site = Site.of(Environment(name="bench", provider="aws", settings={"region": REGION}))
        # Its clients are made with the first requests.
        by_i2kit(site, scratch, disk)
        times: dict[str, list[float]] = {"i2kit": [], "boto3, one by one": []}
        for _ in range(rounds):
            times["i2kit"].append(timed(bed, lambda: by_i2kit(site, scratch, disk)))
            requests = dict(sorted(bed.calls().items()))
            times["boto3, one by one"].append(timed(bed, lambda: one_by_one(bed, disk)))
        print(f"requests: {', '.join(f'{number} {action}' for action, number in requests.items())}")
        for name, values in times.items():
            print(f"{name}: {statistics.median(values):.2f} s with {LATENCY_SECONDS * 1000:.0f} ms a request (median of {rounds})")
        print(f"ratio {statistics.median(times['boto3, one by one']) / statistics.median(times['i2kit']):.1f}")


def timed(bed: Bed, work: Callable[[], None]) -> float:
    bed.reset()
    bed.faults.slow("*", LATENCY_SECONDS)
    begin = time.monotonic()
    work()
    return time.monotonic() - begin


def by_i2kit(site: Site, scratch: Path, disk: Disk) -> None:
    context = SampleContext(scratch, make_artefact=lambda image, _: Artefact(format=image.format, files={"disk": disk.path}))
    context.offer(IMAGE)
    images.ensure(site, IMAGE, context)


def one_by_one(bed: Bed, disk: Disk) -> None:
    ebs, ec2 = bed.client("ebs"), bed.client("ec2")
    snapshot = ebs.start_snapshot(VolumeSize=disk.gib)["SnapshotId"]
    for index in disk.checksums:
        data = disk.read(index)
        checksum = base64.b64encode(hashlib.sha256(data).digest()).decode()
        given = {"BlockData": data, "DataLength": BLOCK_BYTES, "Checksum": checksum, "ChecksumAlgorithm": "SHA256"}
        ebs.put_snapshot_block(SnapshotId=snapshot, BlockIndex=index, **given)
    ebs.complete_snapshot(SnapshotId=snapshot, ChangedBlocksCount=len(disk.checksums))
    while ec2.describe_snapshots(SnapshotIds=[snapshot])["Snapshots"][0]["State"] != "completed":
        time.sleep(0.5)
    disks = [{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot, "VolumeType": "gp3"}}]
    ec2.register_image(Name="hello", Architecture="x86_64", RootDeviceName="/dev/xvda", VirtualizationType="hvm", BlockDeviceMappings=disks)


if __name__ == "__main__":
    main()
