"""Groups that a run died over, and AWS's troubles on the way: whoever comes next completes or removes them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from attrs import evolve
from aws.bed import Bed
from aws.sample import Sample

from i2kit.environment import Environment
from i2kit.resources import InstanceGroup
from i2kit.strategy import Scaling
from i2kit.testing.context import SampleContext
from i2kit_aws import groups
from i2kit_aws.site import Site

from .deaths import deaths
from .group_tools import SAMPLES, instances, prepare, seen, whole


def ensuring(group: InstanceGroup, context: SampleContext) -> Callable[[Site], object]:
    return lambda site: groups.ensure(site, group, context)


FOLLOWING = evolve(SAMPLES.group(replicas=2, secret="1"), scaling=Scaling(minimum=1, maximum=3))
PAUSED = evolve(FOLLOWING, replicas=1, scaling=None, min_ready_seconds=3, options={"instance-type": "t3.large"})


@pytest.mark.parametrize(
    ("before", "after"), [(None, FOLLOWING), (FOLLOWING, PAUSED), (PAUSED, FOLLOWING)], ids=["create", "pause", "resume"]
)
def test_who_died_on_the_way_is_completed(
    ground: dict[str, list[str]], bed: Bed, site: Site, context: SampleContext, before: InstanceGroup | None, after: InstanceGroup
) -> None:
    first = ensuring(before, context) if before else lambda site: None
    for death in deaths(bed, site, ensuring(after, context), first=first):
        (left,) = groups.observe(site)
        assert (left.resource, left.faults) != (after, ()) or death.made >= death.effects - 1, death
        ensuring(after, context)(site)
        assert whole(site, after), death
        assert len(bed.inventory()["ec2:instance"]) == after.replicas, death
        groups.delete(site, after, context)
        assert bed.inventory() == ground, death


def test_who_died_while_making_it_can_be_deleted(ground: dict[str, list[str]], bed: Bed, site: Site, context: SampleContext) -> None:
    for death in deaths(bed, site, ensuring(FOLLOWING, context)):
        (left,) = groups.observe(site)
        assert isinstance(left.resource, InstanceGroup)
        groups.delete(site, left.resource, context)
        assert bed.inventory() == ground, death


def test_who_died_while_deleting_it_is_completed(ground: dict[str, list[str]], bed: Bed, site: Site, context: SampleContext) -> None:
    for death in deaths(bed, site, lambda site: groups.delete(site, FOLLOWING, context), first=ensuring(FOLLOWING, context)):
        assert len(seen(site)) == 1 or bed.inventory() == ground, death
        groups.delete(site, FOLLOWING, context)
        assert bed.inventory() == ground, death


def test_answers_that_get_lost_do_no_harm(ground: dict[str, list[str]], bed: Bed, site: Site, context: SampleContext) -> None:
    groups.ensure(site, FOLLOWING, context)
    groups.ensure(site, PAUSED, context)
    groups.delete(site, PAUSED, context)
    for action in {entry["action"] for entry in bed.journal() if entry["effect"]}:
        bed.faults.cut(action, moment="after")
    groups.ensure(site, FOLLOWING, context)
    assert whole(site, FOLLOWING)
    groups.ensure(site, PAUSED, context)
    assert whole(site, PAUSED)
    groups.delete(site, PAUSED, context)
    assert bed.inventory() == ground


def test_troubles_on_every_call_pass(ground: object, bed: Bed, site: Site, context: SampleContext) -> None:
    group = SAMPLES.group(replicas=2, secret="1")
    bed.faults.throttle("*", times=-1, share=0.3)
    bed.faults.cut("*", moment="after", times=-1, share=0.2, seed=2)
    groups.ensure(site, group, context)
    groups.ensure(site, evolve(group, replicas=3), context)
    bed.faults.clear()
    assert whole(site, evolve(group, replicas=3))


def test_stock_moto_does_as_well(stock: Sample, monkeypatch: pytest.MonkeyPatch, environment: Environment, context: SampleContext) -> None:
    for name, value in stock.bed.environment.items():
        monkeypatch.setenv(name, value)
    site = Site.of(environment)
    prepare(site, context)
    for size in (2, 3, 1, 0, 1):
        groups.ensure(site, evolve(FOLLOWING, replicas=size, scaling=None), context)
        assert whole(site, evolve(FOLLOWING, replicas=size, scaling=None))
    groups.ensure(site, FOLLOWING, context)
    assert whole(site, FOLLOWING)
    groups.delete(site, FOLLOWING, context)
    assert groups.observe(site) == []
    assert not [one for one in instances(stock) if one["State"]["Name"] != "terminated"]
    assert stock.iam.list_roles()["Roles"] == []
