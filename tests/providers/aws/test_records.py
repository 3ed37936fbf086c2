"""Release records in Systems Manager: whole or not there, whatever happens on the way; nothing is left of them afterwards."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from attrs import evolve
from aws.bed import Bed

from i2kit.environment import Environment
from i2kit.errors import ConflictingRecord, ProviderError
from i2kit_aws import records
from i2kit_aws.site import Site

SMALL = b"small"
# Incompressible, and more than one page of pieces.
LARGE = random.Random(1).randbytes(32_000)
BODIES = {"none": b"", "small": SMALL, "the largest of one parameter": LARGE[:2900], "large": LARGE, "64 KiB": bytes(1 << 16)}
ROOT = "/i2kit/prod/records/shop"


def read(site: Site, application: str = "shop") -> list[tuple[int, bytes]]:
    return [(one.number, one.body) for one in records.read(site, application)]


def parameters(bed: Bed) -> Sequence[str]:
    return bed.inventory().get("ssm:parameter", [])


def pieces(number: int, body: bytes = LARGE) -> str:
    return f"{ROOT}/{number}/{hashlib.sha256(body).hexdigest()}"


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_record_comes_back_as_it_was_and_leaves_nothing(site: Site, bed: Bed, body: bytes) -> None:
    records.append(site, "shop", 1, body)
    assert read(site) == [(1, body)]
    records.remove(site, "shop", 1)
    assert read(site) == []
    assert bed.inventory() == {}


def test_what_fits_is_one_call(site: Site, bed: Bed) -> None:
    records.append(site, "shop", 1, BODIES["the largest of one parameter"])
    assert bed.calls() == {"ssm:PutParameter": 1}


def test_everything_is_tagged_when_it_is_created(site: Site, bed: Bed) -> None:
    records.append(site, "shop", 1, LARGE)
    put = [one["parameters"] for one in bed.journal() if one["action"] == "ssm:PutParameter"]
    assert len(put) == len(parameters(bed)) > 2
    for one in put:
        assert {"Key": "i2kit:environment", "Value": "prod"} in one["Tags"]
        assert {"Key": "i2kit:application", "Value": "shop"} in one["Tags"]
        assert (one["Type"], one["Tier"], one.get("Overwrite", False)) == ("String", "Standard", False)


def test_records_come_in_the_order_of_their_numbers(site: Site) -> None:
    for number in (11, 9, 100, 10, 2):
        records.append(site, "shop", number, b"%d" % number)
    assert [number for number, _ in read(site)] == [2, 9, 10, 11, 100]


@pytest.mark.parametrize("body", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("other", [SMALL, LARGE, LARGE[::-1]], ids=["small", "large", "other"])
def test_who_comes_second_is_told_and_leaves_nothing(site: Site, bed: Bed, body: bytes, other: bytes) -> None:
    records.append(site, "shop", 1, body)
    before = parameters(bed)
    with pytest.raises(ConflictingRecord):
        records.append(site, "shop", 1, other)
    assert read(site) == [(1, body)]
    assert parameters(bed) == before


def test_of_many_at_once_one_succeeds(site: Site, bed: Bed, environment: Environment) -> None:
    def append(number: int) -> bytes | None:
        body = b"%d" % number + LARGE
        try:
            records.append(Site.of(environment), "shop", 1, body)
        except ConflictingRecord:
            return None
        return body

    with ThreadPoolExecutor(4) as pool:
        winners = [one for one in pool.map(append, range(4)) if one]
    assert read(site) == [(1, body) for body in winners]
    assert len(winners) == 1
    assert {name for name in parameters(bed) if name != f"{ROOT}/1"} == {
        name for name in parameters(bed) if name.startswith(pieces(1, winners[0]))
    }


@pytest.mark.parametrize("body", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("trouble", ["cut", "fail", "throttle"])
def test_a_lost_answer_is_no_conflict(site: Site, bed: Bed, body: bytes, trouble: str) -> None:
    moment = {} if trouble == "throttle" else {"moment": "after"}
    getattr(bed.faults, trouble)("ssm:PutParameter", where={"Name": f"{ROOT}/1"}, times=2, **moment)
    records.append(site, "shop", 1, body)
    assert read(site) == [(1, body)]
    # And who really comes second still learns it.
    with pytest.raises(ConflictingRecord):
        records.append(site, "shop", 1, body)


def test_a_fifth_of_the_calls_throttled_delay_and_nothing_more(site: Site, bed: Bed) -> None:
    bed.faults.throttle("ssm:*", times=-1, share=0.2, seed=7)
    records.append(site, "shop", 1, LARGE)
    assert read(site) == [(1, LARGE)]
    records.remove(site, "shop", 1)
    bed.faults.clear()
    assert bed.inventory() == {}


def requests(bed: Bed) -> int:
    return len([one for one in bed.journal() if one["action"].startswith("ssm:")])


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize(
    "work", [records.append, lambda site, name, number, _: records.remove(site, name, number)], ids=["append", "remove"]
)
def test_killed_at_any_request_and_run_again_nothing_is_half(
    site: Site, bed: Bed, environment: Environment, moment: str, work: Any
) -> None:
    body, other = LARGE[:9000], LARGE[9000:20000]
    first = [(1, SMALL)]

    def begin() -> None:
        bed.reset()
        records.append(site, "shop", 1, SMALL)
        if work is not records.append:
            records.append(site, "shop", 2, body)

    begin()
    before = requests(bed)
    work(site, "shop", 2, body)
    whole, after = requests(bed) - before, read(site)
    for at in range(whole):
        begin()
        bed.faults.die("ssm:*", moment, skip=at)
        with pytest.raises(ProviderError):
            work(site, "shop", 2, body)
        bed.faults.clear()
        # Whole or not there, in whatever moment somebody looks.
        assert read(site) in (first, [*first, (2, body)])
        # The next run writes something else, since it is another one.
        try:
            work(site, "shop", 2, other)
        except ConflictingRecord:
            assert read(site) == [*first, (2, body)]
        else:
            assert read(site) == (after if work is not records.append else [*first, (2, other)])
        for number in (1, 2):
            records.remove(site, "shop", number)
        assert bed.inventory() == {}


def test_pieces_that_no_record_needs_go_with_the_next_removal(site: Site, bed: Bed) -> None:
    records.append(site, "shop", 1, SMALL)
    bed.faults.die("ssm:PutParameter", skip=3)
    with pytest.raises(ProviderError):
        records.append(site, "shop", 2, LARGE)
    bed.faults.clear()
    assert len(parameters(bed)) == 4
    records.append(site, "shop", 3, SMALL)
    records.remove(site, "shop", 1)
    assert parameters(bed) == [f"{ROOT}/3"]


def test_pieces_of_a_record_that_is_being_appended_are_left_alone(site: Site, bed: Bed, environment: Environment) -> None:
    for number in (1, 2):
        records.append(site, "shop", number, SMALL)
    held = bed.faults.hold("ssm:PutParameter", where={"Name": f"{ROOT}/3"})
    with ThreadPoolExecutor(1) as pool:
        appended = pool.submit(records.append, Site.of(environment), "shop", 3, LARGE)
        try:
            assert held.reached()
            records.remove(site, "shop", 1)
            assert f"{pieces(3)}/0" in parameters(bed)
        finally:
            held.release()
        appended.result(30)
    assert read(site) == [(2, SMALL), (3, LARGE)]


def test_a_record_whose_pieces_were_taken_for_leftovers_is_made_whole(site: Site, bed: Bed, environment: Environment) -> None:
    records.append(site, "shop", 1, SMALL)
    held = bed.faults.hold("ssm:PutParameter", where={"Name": f"{ROOT}/2"})
    with ThreadPoolExecutor(1) as pool:
        appended = pool.submit(records.append, Site.of(environment), "shop", 2, LARGE)
        try:
            assert held.reached()
            records.remove(site, "shop", 1)
            assert parameters(bed) == []
        finally:
            held.release()
        appended.result(30)
    assert read(site) == [(2, LARGE)]


def test_a_record_that_goes_while_it_is_read_is_not_there(site: Site, bed: Bed, environment: Environment) -> None:
    records.append(site, "shop", 1, LARGE)
    # As if the first page, with the claim, had been read before the removal began, and the page with this piece afterwards.
    bed.client("ssm").delete_parameter(Name=f"{pieces(1)}/0")
    held = bed.faults.hold("ssm:GetParametersByPath", where={"Path": pieces(1)})
    with ThreadPoolExecutor(1) as pool:
        seen = pool.submit(read, Site.of(environment))
        try:
            assert held.reached()
            records.remove(site, "shop", 1)
        finally:
            held.release()
        assert seen.result(30) == []


def test_a_record_that_comes_while_it_is_read_is_whole(site: Site, bed: Bed, environment: Environment) -> None:
    stale = bed.client("ssm")
    records.append(site, "shop", 1, LARGE)
    # As if the page with a piece had been read before it was written.
    lost = stale.get_parameter(Name=f"{pieces(1)}/0")["Parameter"]["Value"]
    stale.delete_parameter(Name=f"{pieces(1)}/0")
    held = bed.faults.hold("ssm:GetParametersByPath", where={"Path": pieces(1)})
    with ThreadPoolExecutor(1) as pool:
        seen = pool.submit(read, Site.of(environment))
        try:
            assert held.reached()
            stale.put_parameter(Name=f"{pieces(1)}/0", Type="String", Value=lost)
        finally:
            held.release()
        assert seen.result(30) == [(1, LARGE)]


@pytest.mark.parametrize("damage", ["lacks pieces", "other pieces", "no claim", "no body"])
def test_what_is_damaged_is_an_error_that_says_what_to_remove(site: Site, bed: Bed, damage: str) -> None:
    ssm = bed.client("ssm")
    records.append(site, "shop", 1, LARGE)
    if damage == "lacks pieces":
        ssm.delete_parameter(Name=f"{pieces(1)}/3")
    elif damage == "other pieces":
        ssm.put_parameter(Name=f"{pieces(1)}/3", Value="AAAA", Overwrite=True)
    else:
        value = "{}" if damage == "no claim" else '{"schema":1,"by":"","sha256":"","body":"?"}'
        ssm.put_parameter(Name=f"{ROOT}/1", Value=value, Overwrite=True)
    with pytest.raises(ProviderError, match=f"delete-parameter --name {ROOT}/1 .damaged-record"):
        records.read(site, "shop")


def test_what_a_newer_i2kit_wrote_is_not_guessed(site: Site, bed: Bed) -> None:
    bed.client("ssm").put_parameter(Name=f"{ROOT}/1", Type="String", Value='{"schema":2}')
    with pytest.raises(ProviderError, match="newer-record"):
        records.read(site, "shop")


def test_removing_what_is_not_there_is_fine(site: Site) -> None:
    records.remove(site, "shop", 1)
    records.append(site, "shop", 1, SMALL)
    for _ in range(2):
        records.remove(site, "shop", 1)
    assert read(site) == []


def test_the_last_record_goes_with_its_pieces_and_leaves_the_others(site: Site, bed: Bed) -> None:
    records.append(site, "shop", 1, SMALL)
    records.append(site, "shop", 2, LARGE)
    records.remove(site, "shop", 2)
    assert parameters(bed) == [f"{ROOT}/1"]


def test_applications_and_environments_have_records_of_their_own(site: Site, environment: Environment) -> None:
    other = Site.of(evolve(environment, name="prod-2"))
    records.append(site, "shop", 1, SMALL)
    records.append(site, "shop-2", 1, LARGE)
    records.append(other, "blog", 1, SMALL)
    assert read(site) == [(1, SMALL)]
    assert records.applications(site) == ["shop", "shop-2"]
    records.remove(site, "shop-2", 1)
    assert (records.applications(site), records.applications(other)) == (["shop"], ["blog"])


def test_pieces_alone_make_no_application(site: Site, bed: Bed) -> None:
    bed.faults.die("ssm:PutParameter", skip=3)
    with pytest.raises(ProviderError):
        records.append(site, "shop", 1, LARGE)
    bed.faults.clear()
    assert len(parameters(bed)) == 3
    assert records.applications(site) == []
    assert read(site) == []
