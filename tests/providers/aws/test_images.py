"""Images on AWS: what is in the snapshot, what is registered of it, and that one upload comes out of whatever happens on the way."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve, frozen
from aws.bed import REGION, Bed
from aws.sample import Sample

from i2kit import names
from i2kit.driver import Artefact
from i2kit.environment import Environment
from i2kit.errors import Interrupted, ProviderError
from i2kit.plan import ObservedResource
from i2kit.resources import Image, Mark
from i2kit.testing.cloud.clock import FakeClock
from i2kit.testing.context import SampleContext
from i2kit_aws import images, uploads
from i2kit_aws.blocks import BLOCK_BYTES, Disk
from i2kit_aws.gateway import Gateway
from i2kit_aws.site import Site

PIECES = {0: b"boot", 5 * BLOCK_BYTES - 1: b"both", 700 * BLOCK_BYTES: b"root" * BLOCK_BYTES, (1 << 30) - 1: b"z"}
ONE_IMAGE = {"ebs:snapshot": 1, "ec2:image": 1, "ec2:snapshot": 1}


@frozen
class Account:
    """An account, an environment in it, and a disk to have there."""

    aws: Sample
    site: Site
    disk: Disk
    folder: Path
    clock: FakeClock

    @property
    def bed(self) -> Bed:
        return self.aws.bed

    def image(self, name: str = "web", architecture: str = "x86_64") -> Image:
        digest = names.digest(name, architecture)
        return Image(
            name=names.resource_name(name, digest),
            mark=Mark(environment=self.site.label),
            digest=digest,
            format="aws",
            architecture=architecture,
            builder="assembler",
            yaml="# hello\n",
            sources={"hello": f"sha256:{digest}"},
            root="disk",
            loader="i2kit/loader:debian",
        )

    def context(self, *offered: Image) -> SampleContext:
        def artefact(image: Image, _: Path) -> Artefact:
            return Artefact(format=image.format, files={"disk": self.disk.path})

        context = SampleContext(self.folder, make_artefact=artefact)
        for one in offered:
            context.offer(one)
        return context

    def ensure(self, image: Image | None = None) -> list[str]:
        """Have the image; return what was said of the progress."""
        image = image or self.image()
        context = self.context(image)
        images.ensure(self.site, image, context)
        return context.messages

    def delete(self, image: Image | None = None) -> None:
        images.delete(self.site, image or self.image(), self.context())

    def seen(self) -> ObservedResource:
        (seen,) = images.observe(self.site)
        return seen

    def there(self) -> dict[str, int]:
        return {kind: len(ones) for kind, ones in self.bed.inventory().items()}

    def snapshots(self) -> list[dict[str, Any]]:
        return list(self.aws.ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"])

    def registered(self) -> dict[str, Any]:
        (told,) = self.aws.ec2.describe_images(Owners=["self"])["Images"]
        return dict(told)

    def blocks(self, snapshot: str) -> dict[int, bytes]:
        """What is in a snapshot, read back from its blocks."""
        listed = self.aws.ebs.list_snapshot_blocks(SnapshotId=snapshot)["Blocks"]
        get = self.aws.ebs.get_snapshot_block
        return {
            one["BlockIndex"]: get(SnapshotId=snapshot, BlockIndex=one["BlockIndex"], BlockToken=one["BlockToken"])["BlockData"].read()
            for one in listed
        }

    def is_right(self) -> None:
        """One AMI of one snapshot is there, the snapshot holds the disk, and what is observed is what was asked for."""
        assert self.there() == ONE_IMAGE
        (disk,) = self.registered()["BlockDeviceMappings"]
        assert self.blocks(disk["Ebs"]["SnapshotId"]) == {index: self.disk.read(index) for index in self.disk.checksums}
        assert self.seen() == ObservedResource(resource=evolve(self.image(), yaml="", sources={}))
        assert images.ami(self.site, self.image().name) == self.registered()["ImageId"]


KNOWN: dict[str, Gateway] = {}
"""Whose sessions all tests share: making them takes longer than most tests."""


def site_at(bed: Bed, name: str = "prod", **settings: Any) -> Site:
    made = Site.of(Environment(name=name, provider="aws", settings={"region": REGION, **settings}))
    sessions = KNOWN.setdefault(bed.url, made.gateway).sessions
    return evolve(made, gateway=evolve(made.gateway, sessions=sessions))


def written(path: Path, pieces: Mapping[int, bytes]) -> Disk:
    with path.open("wb") as stream:
        stream.truncate(1 << 30)
        for offset, data in pieces.items():
            stream.seek(offset)
            stream.write(data)
    return Disk.of(path)


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return written(tmp_path / "disk", PIECES)


@pytest.fixture
def account(as_user: Bed, aws: Sample, disk: Disk, clock: FakeClock) -> Iterator[Account]:
    yield Account(aws, site_at(as_user), disk, disk.path.parent, clock)
    as_user.faults.clear()


@pytest.fixture
def stock_account(as_user: Bed, stock: Sample, disk: Disk, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> Account:
    monkeypatch.setenv("AWS_ENDPOINT_URL", stock.bed.url)
    return Account(stock, site_at(stock.bed), disk, disk.path.parent, clock)


# What is there


def test_the_snapshot_holds_the_disk_and_only_its_data_was_uploaded(account: Account) -> None:
    said = account.ensure()
    account.is_right()
    assert len(account.disk.checksums) == 8
    assert account.bed.calls()["ebs:PutSnapshotBlock"] == 8
    assert said[0] == "uploading 4.0 MiB in 8 blocks"
    assert "50 % of 4.0 MiB are uploaded" in said
    assert "100 % of 4.0 MiB are uploaded" in said


@pytest.mark.parametrize(("architecture", "told"), [("x86_64", ("x86_64", "uefi-preferred")), ("aarch64", ("arm64", "uefi"))])
def test_an_ami_is_registered_for_the_machines_that_can_start_the_disk(account: Account, architecture: str, told: tuple[str, str]) -> None:
    image = account.image(architecture=architecture)
    account.ensure(image)
    made = account.registered()
    assert (made["Architecture"], made["BootMode"]) == told
    assert (made["EnaSupport"], made["ImdsSupport"], made["VirtualizationType"]) == (True, "v2.0", "hvm")
    (disk,) = made["BlockDeviceMappings"]
    assert (made["RootDeviceName"], disk["DeviceName"]) == ("/dev/xvda", "/dev/xvda")
    assert (disk["Ebs"]["VolumeType"], disk["Ebs"]["DeleteOnTermination"], disk["Ebs"]["VolumeSize"]) == ("gp3", True, 1)
    assert (made["Name"], len(made["Name"]) <= 128) == (f"i2kit/prod/{image.name}", True)
    assert account.seen().resource == evolve(image, yaml="", sources={})


def test_both_carry_the_facts_and_the_users_own_tags_from_the_creating_call_on(account: Account) -> None:
    account = evolve(account, site=site_at(account.bed, tags={"team": "shop"}))
    account.ensure()
    facts = {"Name": account.image().name, "team": "shop", "i2kit:environment": "prod", "i2kit:digest": account.image().digest}
    (snapshot,) = account.snapshots()
    for told in (account.registered()["Tags"], snapshot["Tags"]):
        assert facts.items() <= {one["Key"]: one["Value"] for one in told}.items()
    assert account.bed.calls()["ec2:CreateTags"] == 0


def test_encryption_is_left_to_the_account(account: Account) -> None:
    account.ensure()
    said = [one["parameters"] for one in account.bed.journal() if one["action"] in ("ebs:StartSnapshot", "ec2:RegisterImage")]
    assert len(said) == 2
    assert "Encrypted" not in str(said)


@pytest.mark.beyond_policy
def test_where_tags_are_passed_over_they_are_made_beside(account: Account) -> None:
    account.bed.set(image_tags=False)
    account.ensure()
    account.is_right()
    assert account.bed.calls()["ec2:CreateTags"] == 1


@pytest.mark.beyond_policy
def test_without_tags_an_image_is_found_by_its_name_and_gets_them_again(account: Account) -> None:
    account.ensure()
    made = account.registered()
    account.aws.ec2.delete_tags(Resources=[made["ImageId"]], Tags=made["Tags"])
    assert account.seen() == ObservedResource(resource=evolve(account.image(), yaml="", sources={}), faults=("its tags are missing",))
    (snapshot,) = account.snapshots()
    account.aws.ec2.delete_tags(Resources=[snapshot["SnapshotId"]], Tags=snapshot["Tags"])
    assert account.seen().resource.name == account.image().name
    account.ensure()
    assert account.seen().faults == ()
    account.delete()
    assert account.bed.inventory() == {}


def test_observing_takes_two_requests_and_shows_nothing_of_others(account: Account) -> None:
    others = evolve(account, site=site_at(account.bed, "prod-eu"))
    for name in ("web", "api"):
        others.ensure(others.image(name))
        account.ensure(account.image(name))
    account.aws.image("web")
    since = len(account.bed.journal())
    assert {one.resource.name for one in images.observe(account.site)} == {account.image(name).name for name in ("web", "api")}
    assert account.bed.calls(since) == {"ec2:DescribeImages": 1, "ec2:DescribeSnapshots": 1}


def test_an_image_that_is_there_is_neither_built_nor_uploaded_again(account: Account) -> None:
    account.ensure()
    since = len(account.bed.journal())
    images.ensure(account.site, account.image(), account.context())
    assert account.bed.calls(since) == {"ec2:DescribeImages": 1, "ec2:DescribeSnapshots": 1}
    account.is_right()


def test_nothing_is_left_of_a_deleted_image_and_deleting_again_is_nothing(account: Account) -> None:
    account.ensure()
    account.ensure(account.image("api"))
    account.delete()
    assert account.seen().resource.name == account.image("api").name
    account.delete()
    account.delete(account.image("api"))
    assert account.bed.inventory() == {}


def test_an_image_that_is_not_there_or_has_failed_cannot_be_started(account: Account) -> None:
    with pytest.raises(ProviderError, match=r"image web-\w+ is not there.*\[no-image\]"):
        images.ami(account.site, account.image().name)
    account.ensure()
    account.bed.image(account.registered()["Name"], "failed")
    images.observe(account.site)
    with pytest.raises(ProviderError, match=r"is failed.*\[no-image\]"):
        images.ami(account.site, account.image().name)


def test_groups_of_one_image_ask_for_it_once_until_it_is_another(account: Account) -> None:
    account.ensure()
    since, anew = len(account.bed.journal()), evolve(account, site=site_at(account.bed))
    made = account.registered()["ImageId"]
    assert [images.ami(anew.site, account.image().name) for _ in range(3)] == [made] * 3
    assert account.bed.calls(since)["ec2:DescribeImages"] == 2, "of which one is the test's own"
    account.aws.ec2.deregister_image(ImageId=made)
    account.ensure()
    images.observe(anew.site)
    assert images.ami(anew.site, account.image().name) == account.registered()["ImageId"] != made
    anew.delete()
    with pytest.raises(ProviderError, match="no-image"):
        images.ami(anew.site, account.image().name)


def test_what_ec2_does_not_start_is_refused_before_it_is_built(account: Account) -> None:
    for image in (account.image(architecture="riscv64"), evolve(account.image(), format="kernel+initrd")):
        with pytest.raises(ProviderError, match="no machine of EC2 starts image"):
            images.ensure(account.site, image, account.context())


def test_an_artefact_without_a_disk_is_refused(account: Account) -> None:
    context = SampleContext(account.folder, make_artefact=lambda image, _: Artefact(format=image.format, files={}))
    context.offer(account.image())
    with pytest.raises(ProviderError, match="bad-artefact"):
        images.ensure(account.site, account.image(), context)
    assert account.bed.inventory() == {}


# Stock moto


def test_stock_moto_does_as_well(stock_account: Account) -> None:
    account = stock_account
    for name in ("web", "api"):
        account.ensure(account.image(name))
    context = account.context()
    images.ensure(account.site, account.image(), context)
    seen = {one.resource.name: one for one in images.observe(account.site)}
    assert seen[account.image().name] == ObservedResource(resource=evolve(account.image(), yaml="", sources={}))
    uploaded = [one for one in account.snapshots() if {"Key": "i2kit:image", "Value": account.image().name} in one.get("Tags", [])]
    assert [account.blocks(one["SnapshotId"]) for one in uploaded] == [{one: account.disk.read(one) for one in account.disk.checksums}]
    for name in ("web", "api"):
        account.delete(account.image(name))
    assert images.observe(account.site) == []
    assert not [one for one in account.snapshots() if one.get("Tags")]


def test_two_at_once_leave_one_image_at_stock_moto_too(stock_account: Account) -> None:
    account = stock_account
    meeting = threading.Barrier(2, timeout=30)

    def run(_: int) -> None:
        site = evolve(account.site)
        # Both have seen that there is no image before either makes one.
        context = account.context(account.image())
        looked = context.artefact
        context.artefact = lambda name: (meeting.wait(), looked(name))[1]  # type: ignore[method-assign]
        images.ensure(site, account.image(), context)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(run, range(2)))
    account.ensure()
    assert len(account.aws.ec2.describe_images(Owners=["self"])["Images"]) == 1
    account.delete()
    assert not [one for one in account.snapshots() if one.get("Tags")]


# What goes wrong on the way


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("trouble", ["throttle", "fail", "cut"])
def test_troubles_with_blocks_pass(account: Account, trouble: str, moment: str) -> None:
    faults = account.bed.faults
    getattr(faults, trouble)("ebs:PutSnapshotBlock", times=-1, share=0.3, seed=7, moment=moment)
    account.ensure()
    assert [one for one in account.bed.journal() if one["met"]]
    account.is_right()


@pytest.mark.parametrize("moment", ["before", "after"])
def test_every_answer_lost_once_is_still_one_image(account: Account, moment: str) -> None:
    for action in ("ebs:StartSnapshot", "ebs:CompleteSnapshot", "ec2:RegisterImage", "ec2:Describe*", "ec2:CreateTags"):
        account.bed.faults.cut(action, moment=moment)
    account.ensure()
    account.is_right()
    for action in ("ec2:DeregisterImage", "ec2:DeleteSnapshot"):
        account.bed.faults.cut(action, moment=moment)
    account.delete()
    assert account.bed.inventory() == {}


def dies(account: Account, run: Callable[[], object]) -> None:
    """Let a run die, which it does at the latest when it looks again at what it has done; then AWS answers again."""

    def whole() -> None:
        run()
        images.observe(account.site)

    with pytest.raises(ProviderError):
        whole()
    account.bed.faults.clear()


def requests(account: Account) -> int:
    since = len(account.bed.journal())
    account.ensure()
    made = len(account.bed.journal()) - since
    account.bed.reset()
    return made


@pytest.mark.parametrize("moment", ["before", "after", "answered"])
def test_a_run_that_died_at_any_request_is_completed_by_the_next(account: Account, moment: str) -> None:
    account = evolve(account, disk=written(account.folder / "small", {0: b"boot", BLOCK_BYTES: b"root"}))
    number = requests(account)
    assert number > 8
    for skip in range(number):
        account.bed.faults.die(moment=moment, skip=skip)
        dies(account, account.ensure)
        begun = account.bed.inventory().get("ebs:snapshot", [])
        account.ensure()
        account.is_right()
        assert begun in ([], account.bed.inventory()["ebs:snapshot"]), "the lost upload went on"
        account.delete()
        assert account.bed.inventory() == {}, f"died {moment} request {skip}"
        account.bed.reset()


@pytest.mark.parametrize("moment", ["before", "after", "answered"])
def test_a_deletion_that_died_at_any_request_is_seen_and_completed(account: Account, moment: str) -> None:
    for skip in range(4):
        account.ensure()
        account.bed.faults.die("ec2:*", moment=moment, skip=skip)
        dies(account, account.delete)
        for seen in images.observe(account.site):
            assert isinstance(seen.resource, Image)
            account.delete(seen.resource)
        assert account.bed.inventory() == {}
        account.bed.reset()


def test_a_lost_upload_goes_on_in_its_snapshot(account: Account) -> None:
    account.bed.faults.die("ebs:PutSnapshotBlock", skip=5)
    with pytest.raises(ProviderError):
        account.ensure()
    account.bed.faults.clear()
    (lost,) = account.snapshots()
    seen = account.seen()
    assert seen == ObservedResource(
        resource=evolve(account.image(), yaml="", sources={}), faults=(f"it is not registered ({lost['SnapshotId']} is pending)",)
    )
    account.ensure()
    assert [one["SnapshotId"] for one in account.snapshots()] == [lost["SnapshotId"]]
    account.is_right()


def test_what_a_lost_upload_has_left_goes_with_the_image(account: Account) -> None:
    account.bed.faults.die("ebs:CompleteSnapshot")
    with pytest.raises(ProviderError):
        account.ensure()
    account.bed.faults.clear()
    resource = account.seen().resource
    assert isinstance(resource, Image)
    account.delete(resource)
    assert account.bed.inventory() == {}


def test_an_upload_that_was_completed_is_not_made_again(account: Account) -> None:
    account.bed.faults.die("ec2:RegisterImage")
    with pytest.raises(ProviderError):
        account.ensure()
    account.bed.faults.clear()
    since = len(account.bed.journal())
    account.ensure()
    puts = [one for one in account.bed.journal(since) if one["action"] == "ebs:PutSnapshotBlock"]
    assert [one["effect"] for one in puts] == [False], "one try shows that there is nothing to do"
    account.is_right()


def test_a_snapshot_that_not_all_of_aws_knows_yet_is_waited_for(account: Account) -> None:
    account.bed.faults.fail("ebs:PutSnapshotBlock", times=3, code="ResourceNotFoundException", status=404)
    account.bed.faults.fail("ec2:DescribeSnapshots", times=4, code="InvalidSnapshot.NotFound", status=400)
    account.ensure()
    account.is_right()
    assert account.bed.calls()["ebs:StartSnapshot"] == 1


def test_after_a_deletion_the_image_is_uploaded_anew(account: Account) -> None:
    account.ensure()
    (first,) = account.snapshots()
    account.bed.snapshot(first["SnapshotId"], age=3600)
    account.delete()
    began = account.clock.now()
    account.ensure()
    assert account.clock.now() < began + 5, "that an old snapshot is gone is not waited for"
    account.is_right()
    account.delete()
    account.ensure()
    assert account.clock.now() > began + 100, "a young one may be unknown"
    account.is_right()
    assert first["SnapshotId"] not in [one["SnapshotId"] for one in account.snapshots()]


def test_a_snapshot_in_error_is_replaced_and_removed(account: Account) -> None:
    account.bed.faults.die("ebs:PutSnapshotBlock", skip=5)
    with pytest.raises(ProviderError):
        account.ensure()
    account.bed.faults.clear()
    (broken,) = account.snapshots()
    account.bed.snapshot(broken["SnapshotId"], "error", "it was cancelled")
    assert account.seen().faults == (f"it is not registered ({broken['SnapshotId']} is error: it was cancelled)",)
    account.ensure()
    account.is_right()
    assert [one["SnapshotId"] for one in account.snapshots()] != [broken["SnapshotId"]]


def test_a_snapshot_that_cannot_be_completed_is_told_and_the_next_run_begins_anew(account: Account) -> None:
    account.bed.set(snapshot_calls=1000)
    held = account.bed.faults.hold("ec2:DescribeSnapshots")
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(account.ensure)
        assert held.reached()
        broken = account.bed.inventory()["ebs:snapshot"][0]
        account.bed.snapshot(broken, "error", "the key is not usable")
        held.release()
        with pytest.raises(ProviderError, match=rf"could not complete snapshot {broken}: the key is not usable.*\[aws-image\]"):
            run.result()
    account.bed.set(snapshot_calls=1)
    account.ensure()
    account.is_right()


def test_an_upload_with_other_tags_does_not_get_in_the_way(account: Account) -> None:
    account.bed.faults.die("ebs:CompleteSnapshot")
    with pytest.raises(ProviderError):
        account.ensure()
    account.bed.faults.clear()
    account = evolve(account, site=site_at(account.bed, tags={"team": "shop"}))
    said = account.ensure()
    assert "an earlier upload was begun with other tags: it is uploaded anew" in said
    account.is_right()


def test_a_refusal_that_lasts_is_raised(account: Account) -> None:
    account.bed.faults.fail("ebs:PutSnapshotBlock", times=-1, code="ValidationException", status=400)
    began = account.clock.now()
    with pytest.raises(ProviderError, match="ValidationException"):
        account.ensure()
    assert account.clock.now() - began == pytest.approx(uploads.COMPLETION_SECONDS)


def test_a_block_that_was_refused_is_put_again_and_no_other(account: Account) -> None:
    """As when another run puts the same block at the same moment."""
    account.bed.faults.fail("ebs:PutSnapshotBlock", skip=4, code="ValidationException", status=400)
    account.ensure()
    account.is_right()
    assert account.bed.calls()["ebs:PutSnapshotBlock"] == 9


def test_what_aws_forbids_is_raised_at_once(account: Account) -> None:
    account.bed.faults.fail("ebs:PutSnapshotBlock", times=-1, code="AccessDeniedException", status=403)
    with pytest.raises(ProviderError, match="AccessDeniedException"):
        account.ensure()
    assert account.bed.calls()["ebs:PutSnapshotBlock"] == 1


def test_a_run_that_is_to_stop_does_so_between_blocks(account: Account) -> None:
    context = account.context(account.image())
    told = context.messages.append

    class Stopping(list[str]):
        def append(self, message: str) -> None:
            told(message)
            context.cancelled = "uploaded" in message

    context.messages = Stopping()
    with pytest.raises(Interrupted):
        images.ensure(account.site, account.image(), context)
    assert account.bed.calls()["ebs:PutSnapshotBlock"] < 8
    account.ensure()
    account.is_right()


# AMIs


def test_an_image_that_is_pending_is_waited_for(account: Account) -> None:
    account.bed.set(image_calls=3)
    account.ensure()
    account.is_right()


def test_an_image_that_somebody_else_is_making_is_waited_for(account: Account) -> None:
    account.ensure()
    account.bed.image(account.registered()["Name"], "pending", calls=1)
    assert account.seen().faults == ("it is pending",)
    since = len(account.bed.journal())
    images.ensure(account.site, account.image(), account.context())
    assert account.bed.calls(since)["ec2:RegisterImage"] == 0
    account.is_right()


def test_an_image_that_has_failed_is_made_again_of_what_was_uploaded(account: Account) -> None:
    account.ensure()
    account.bed.image(account.registered()["Name"], "failed", "a disk is not there")
    assert account.seen().faults == ("it is failed: a disk is not there",)
    since = len(account.bed.journal())
    account.ensure()
    account.is_right()
    assert account.bed.calls(since)["ebs:PutSnapshotBlock"] == 1


def test_an_image_that_fails_again_is_told(account: Account) -> None:
    account.bed.set(image_calls=1000)
    held = account.bed.faults.hold("ec2:DescribeImages", skip=1)
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(account.ensure)
        assert held.reached()
        account.bed.image(f"i2kit/prod/{account.image().name}", "failed", "a disk is not there")
        held.release()
        with pytest.raises(ProviderError, match=r"AMI ami-\w+ is failed: a disk is not there.*\[aws-image\]"):
            run.result()


def test_a_name_that_is_taken_by_what_does_not_show_is_told(account: Account) -> None:
    account.bed.faults.fail("ec2:RegisterImage", times=-1, code="InvalidAMIName.Duplicate", status=400)
    with pytest.raises(ProviderError, match=r"AMI i2kit/prod/web-\w+ is pending, or disabled and does not show"):
        account.ensure()


def test_stale_answers_do_no_harm(account: Account) -> None:
    account.bed.faults.stale("ec2:Describe*", times=4)
    account.ensure()
    account.bed.faults.clear()
    account.is_right()
    account.bed.faults.stale("ec2:DescribeImages", times=2)
    account.ensure()
    account.is_right()


def test_a_snapshot_that_is_still_in_use_is_waited_for(account: Account) -> None:
    account.ensure()
    account.bed.faults.fail("ec2:DeleteSnapshot", times=2, code="InvalidSnapshot.InUse", status=400)
    account.delete()
    assert account.bed.inventory() == {}


def test_a_snapshot_that_somebody_uses_is_told(account: Account) -> None:
    account.ensure()
    account.aws.image("their own", snapshot=account.snapshots()[0]["SnapshotId"])
    with pytest.raises(ProviderError, match="an AMI is still made of snapshot snap-"):
        account.delete()


# Two at once


@pytest.mark.parametrize(
    ("action", "skip"), [("ebs:StartSnapshot", 0), ("ebs:PutSnapshotBlock", 3), ("ebs:CompleteSnapshot", 0), ("ec2:RegisterImage", 0)]
)
@pytest.mark.parametrize("moment", ["before", "after"])
def test_two_at_once_are_one(account: Account, action: str, skip: int, moment: str) -> None:
    held = account.bed.faults.hold(action, moment=moment, skip=skip)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(account.ensure)
        assert held.reached()
        account.ensure()
        held.release()
        first.result()
    account.is_right()
    account.delete()
    assert account.bed.inventory() == {}


def test_a_run_whose_snapshot_was_removed_takes_the_other_runs_image(account: Account) -> None:
    """Another environment.yml has other tags, and so another upload; whoever is first removes what the second has begun."""
    others = evolve(account, site=site_at(account.bed, tags={"team": "shop"}))
    held = account.bed.faults.hold("ebs:CompleteSnapshot")
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(account.ensure)
        assert held.reached()
        others.ensure()
        held.release()
        second.result()
    account.is_right()


def test_what_lost_uploads_have_left_beside_an_image_is_seen_and_removed(account: Account) -> None:
    account.ensure()
    left = account.aws.snapshot(complete=False, Tags=account.snapshots()[0]["Tags"])
    assert account.seen().faults == (f"snapshots of uploads that were lost are left: {left}",)
    images.ensure(account.site, account.image(), account.context())
    account.is_right()


def test_so_many_blocks_are_under_way_and_no_more(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "AT_ONCE", 3)
    under_way, most = set[int](), [0]
    call = Gateway.call

    def counted(gateway: Gateway, service: str, operation: str, **parameters: Any) -> dict[str, Any]:
        under_way.add(index := parameters.get("BlockIndex", -1))
        most[0] = max(most[0], len(under_way))
        try:
            return call(gateway, service, operation, **parameters)
        finally:
            under_way.discard(index)

    monkeypatch.setattr(Gateway, "call", counted)
    held = account.bed.faults.hold("ebs:PutSnapshotBlock", skip=1, times=-1)
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(account.ensure)
        deadline = time.monotonic() + 30
        while account.bed.calls()["ebs:PutSnapshotBlock"] < 4:
            assert time.monotonic() < deadline
        held.release()
        run.result()
    assert most == [3]
    account.is_right()
