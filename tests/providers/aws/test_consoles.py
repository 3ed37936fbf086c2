"""Consoles: the last lines of each member, and on from there as EC2's window moves."""

from __future__ import annotations

import doctest
from itertools import pairwise
from pathlib import Path

import pytest
from aws.bed import Bed
from awsfronts import Fronts
from hypothesis import given
from hypothesis import strategies as st

from i2kit.driver import LogLine
from i2kit_aws import consoles, waits
from i2kit_aws.site import Site

WINDOW = 64 << 10


@pytest.fixture
def fronts(site: Site, bed: Bed, tmp_path: Path) -> Fronts:
    return Fronts.quickly(site, bed, tmp_path)


def read(fronts: Fronts, group: str, tail: int | None = None) -> list[tuple[str, str]]:
    return [(one.container, one.text) for one in consoles.lines(fronts.site, group, tail=tail, follow=False)]


def test_the_lines_of_each_member_are_told_apart(fronts: Fronts) -> None:
    group = fronts.group().name
    first, second = sorted(one["InstanceId"] for one in fronts.aws.members(group))
    fronts.bed.console(first, "[    0.1] Linux\r\n[web] one\r\n[web] two\r\n")
    fronts.bed.console(second, '[side-car] three\r\ni2kit {"event": "start"}\r\n')
    found = [*consoles.lines(fronts.site, group, tail=2, follow=False)]
    assert found == [
        LogLine(instance=first, container="web", text="one"),
        LogLine(instance=first, container="web", text="two"),
        LogLine(instance=second, container="side-car", text="three"),
        LogLine(instance=second, container="", text='i2kit {"event": "start"}'),
    ]
    assert read(fronts, group, 0) == []
    assert len(read(fronts, group)) == 5


def test_who_has_said_nothing_has_no_lines_and_nobody_has_none(fronts: Fronts) -> None:
    group = fronts.group(size=1).name
    assert read(fronts, group) == []
    assert read(fronts, "nobody") == []


def test_a_line_that_was_cut_is_not_shown(fronts: Fronts) -> None:
    group = fronts.group(size=1).name
    (one,) = fronts.aws.members(group)
    fronts.bed.console(one["InstanceId"], ("cut off\n" + "[web] hello\n" * 6000)[-WINDOW:])
    assert set(read(fronts, group)) == {("web", "hello")}


def test_following_goes_on_until_the_driver_is_closed(fronts: Fronts, monkeypatch: pytest.MonkeyPatch) -> None:
    group = fronts.group(size=1).name
    instance = fronts.aws.members(group)[0]["InstanceId"]
    said = ["[web] 1\n[web] 2\n", "[web] 1\n[web] 2\n[web] 3\n[we", "[web] 1\n[web] 2\n[web] 3\n[web] 4\n"]
    turns = iter(said[1:])
    fronts.bed.console(instance, said[0])

    def rest(closed: object, seconds: float) -> bool:
        text = next(turns, None)
        if text is not None:
            fronts.bed.console(instance, text)
        return text is None

    monkeypatch.setattr(waits, "unless", rest)
    found = [one.text for one in consoles.lines(fronts.site, group, tail=1, follow=True)]
    assert found == ["2", "3", "4"]


def test_who_comes_later_is_followed_from_its_beginning_and_who_leaves_to_its_end(fronts: Fronts, monkeypatch: pytest.MonkeyPatch) -> None:
    group = fronts.group(size=1).name
    old = fronts.aws.members(group)[0]["InstanceId"]
    fronts.bed.console(old, "[web] old 1\n[web] old 2\n")
    turns = iter([True, False])

    def rest(closed: object, seconds: float) -> bool:
        if not next(turns):
            return True
        fronts.bed.console(old, "[web] old 1\n[web] old 2\n[web] bye\n")
        fronts.bed.power_off(old)
        (new,) = fronts.aws.members(group)
        fronts.bed.console(new["InstanceId"], "[web] new 1\n[web] new 2\n")
        return False

    monkeypatch.setattr(waits, "unless", rest)
    found = [one.text for one in consoles.lines(fronts.site, group, tail=1, follow=True)]
    assert found == ["old 2", "bye", "new 1", "new 2"]


def test_a_driver_that_is_closed_ends_who_follows(fronts: Fronts) -> None:
    fronts.site.gateway.retries.close()
    group = fronts.group(size=1).name
    assert list(consoles.lines(fronts.site, group, tail=None, follow=True)) == []


@given(lines=st.lists(st.text("ab [", min_size=0, max_size=300), min_size=1, max_size=12), window=st.integers(400, 3000), data=st.data())
def test_a_window_that_moves_shows_each_line_once(lines: list[str], window: int, data: st.DataObject) -> None:
    # Lines are numbered, as no console says the same for ever.
    whole = "".join(f"{number}:{line}\n" for number, line in enumerate(lines)).encode()
    stops = sorted({data.draw(st.integers(0, len(whole))) for _ in range(4)} | {0, len(whole)})
    if any(later - earlier >= window for earlier, later in pairwise(stops)):
        return  # what nobody looked at in time is lost
    reader = consoles.Reader()
    found = [line for stop in stops for line in reader.news(whole[max(0, stop - window) : stop])]
    assert found == [f"{number}:{line}" for number, line in enumerate(lines)]


def test_after_another_boot_everything_is_new() -> None:
    reader = consoles.Reader()
    assert reader.news(b"[web] before\n") == ["[web] before"]
    assert reader.news(b"") == []
    assert reader.news(b"SeaBIOS\n[web] after\n") == ["SeaBIOS", "[web] after"]


def test_examples_are_true() -> None:
    assert doctest.testmod(consoles).failed == 0
