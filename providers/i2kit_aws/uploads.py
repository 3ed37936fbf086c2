"""Uploads: a disk's blocks into a snapshot by the EBS direct APIs. What was lost goes on, what is broken is begun anew."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal

from attrs import define, field, frozen

from i2kit.driver import Context
from i2kit.errors import ProviderError
from i2kit.names import digest
from i2kit_aws import blocks, waits
from i2kit_aws.blocks import Disk
from i2kit_aws.gateway import AwsError
from i2kit_aws.site import Site
from i2kit_aws.tags import listed

AT_ONCE = 8
"""How many blocks of one disk are under way at once; no more of it is in memory."""

COMPLETION_SECONDS = 600.0
# For about so long after it was started a snapshot may not be known to all of AWS.
_SPREADING_SECONDS = 120.0

State = Literal["pending", "completed", "error", "gone"]


@frozen(kw_only=True)
class Upload:
    """One upload of an image's disk; `number` counts those whose snapshots turned out to be of no use."""

    site: Site
    context: Context
    disk: Disk
    image_digest: str
    tags: Mapping[str, str]
    number: int = 0

    @property
    def token(self) -> str:
        """By this AWS knows the upload again: whichever run asks for it gets the same snapshot.

        The disk's own checksum is part of it, so that no snapshot ever holds blocks of two disks.
        """
        return digest("upload", self.site.label, self.image_digest, self.disk.checksum.hex(), self.number)

    def run(self) -> str | None:
        """Return the completed snapshot; None when the snapshot of this number was deleted, has failed, or is not ours to go on with.

        Raises `ProviderError`, among others ``aws-image`` when AWS could not complete what was uploaded.
        """
        started = self._start()
        if started is None:
            return None
        snapshot, grown = str(started["SnapshotId"]), _age(started) > _SPREADING_SECONDS
        state = self._fill(snapshot, grown=grown)
        if state == "pending":
            state = self._completed(snapshot, grown=grown)
        return snapshot if state == "completed" else None

    def _start(self) -> dict[str, Any] | None:
        try:
            return self.site.gateway.call(
                "ebs",
                "StartSnapshot",
                VolumeSize=self.disk.gib,
                Description=f"i2kit image {self.image_digest}",
                Tags=listed(self.tags),
                ClientToken=self.token,
            )
        except AwsError as error:
            if error.code != "ConflictException":
                raise
            # AWS knows the token with other tags: environment.yml has changed since, or somebody else's is another.
            self.context.progress("an earlier upload was begun with other tags: it is uploaded anew")
            return None

    def _fill(self, snapshot: str, *, grown: bool) -> State:
        """Put the blocks and complete the snapshot, which is pending then.

        A refusal does not tell why: somebody else has completed the snapshot, is putting the same block at this moment, or has deleted
        it; or it is so new that not all of AWS knows it. Its state tells, if not at once.
        """
        sending = _Sending(upload=self, snapshot=snapshot)
        waited = 0.0
        for pause in waits.pauses(COMPLETION_SECONDS):
            try:
                sending.send()
                sending.complete()
            except AwsError as error:
                if error.code not in ("ValidationException", "ResourceNotFoundException"):
                    raise
                refusal = error
            else:
                return "pending"
            state, _ = state_of(self.site, snapshot)
            if state in ("completed", "error") or (state == "gone" and (grown or waited > _SPREADING_SECONDS)):
                return state
            if not waited:
                self.context.progress("; ".join(one.message for one in refusal.problems))
            waits.rest(pause, self.context)
            waited += pause
        raise refusal

    def _completed(self, snapshot: str, *, grown: bool) -> State:
        """Wait until AWS has completed the snapshot, or it is gone."""
        self.context.progress("everything is uploaded; AWS completes the snapshot")

        def look() -> State | None:
            state, message = state_of(self.site, snapshot)
            if state == "error":
                raise ProviderError.of(
                    "aws-image",
                    f"AWS could not complete snapshot {snapshot}: {message or 'it does not say why'}",
                    hint="where the account encrypts by default, its key must be usable; running the same command again uploads anew",
                )
            return None if state == "pending" or (state == "gone" and not grown) else state

        return waits.until(look, self.context, seconds=COMPLETION_SECONDS, otherwise=f"snapshot {snapshot} is still pending")


@define(kw_only=True)
class _Sending:
    """Puts the blocks of a disk into a snapshot, several at once; what was put is not put again."""

    upload: Upload
    snapshot: str
    _put: set[int] = field(factory=set, init=False)
    _lock: threading.Lock = field(factory=threading.Lock, init=False)
    _stopped: threading.Event = field(factory=threading.Event, init=False)

    def send(self) -> None:
        """Put what is missing; raise the first refusal."""
        missing = (index for index in self.upload.disk.checksums if index not in self._put)
        # One alone: if something is wrong with the snapshot, it shows before many are under way.
        if (first := next(missing, None)) is None:
            return
        self._send(first)
        self._stopped.clear()
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="i2kit-blocks") as pool:
            workers = [pool.submit(self._work, missing) for _ in range(AT_ONCE)]
        for worker in workers:
            worker.result()

    def complete(self) -> None:
        """Seal the snapshot; AWS compares the checksum with that of what it has."""
        disk = self.upload.disk
        self.upload.site.gateway.call(
            "ebs",
            "CompleteSnapshot",
            SnapshotId=self.snapshot,
            ChangedBlocksCount=len(disk.checksums),
            Checksum=blocks.text(disk.checksum),
            ChecksumAlgorithm="SHA256",
            ChecksumAggregationMethod="LINEAR",
        )

    def _work(self, missing: Iterator[int]) -> None:
        while not self._stopped.is_set():
            with self._lock:
                index = next(missing, None)
            if index is None:
                return
            try:
                self._send(index)
            except BaseException:
                self._stopped.set()
                raise

    def _send(self, index: int) -> None:
        upload = self.upload
        upload.context.check()
        upload.site.gateway.call(
            "ebs",
            "PutSnapshotBlock",
            SnapshotId=self.snapshot,
            BlockIndex=index,
            BlockData=upload.disk.read(index),
            DataLength=blocks.BLOCK_BYTES,
            Checksum=blocks.text(upload.disk.checksums[index]),
            ChecksumAlgorithm="SHA256",
        )
        with self._lock:
            self._put.add(index)
            done, whole = len(self._put), len(upload.disk.checksums)
            if done * 10 // whole > (done - 1) * 10 // whole:
                upload.context.progress(f"{done * 100 // whole} % of {upload.disk.size / (1 << 20):.1f} MiB are uploaded")


def state_of(site: Site, snapshot: str) -> tuple[State, str]:
    """Return a snapshot's state, and what AWS says about it."""
    try:
        found = site.gateway.call("ec2", "DescribeSnapshots", SnapshotIds=[snapshot])["Snapshots"]
    except AwsError as error:
        if error.code != "InvalidSnapshot.NotFound":
            raise
        found = []
    if not found:
        return "gone", ""
    states: Mapping[str, State] = {"completed": "completed", "pending": "pending"}
    return states.get(found[0]["State"], "error"), str(found[0].get("StateMessage", ""))


def _age(started: Mapping[str, Any]) -> float:
    """Return how long ago a snapshot was started, in seconds, by AWS's own clock."""
    now, then = started.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date"), started.get("StartTime")
    return (parsedate_to_datetime(now) - then).total_seconds() if now and isinstance(then, datetime) else 0.0
