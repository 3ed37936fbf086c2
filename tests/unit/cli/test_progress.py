"""What a run tells, off a terminal."""

from __future__ import annotations

import io
import re

import pytest

from i2kit.cli.messages import Messages
from i2kit.cli.progress import Lines, Live, progress
from i2kit.events import Event


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(*events: Event) -> list[str]:
    stream = io.StringIO()
    with progress(Messages(stream)) as report:
        for event in events:
            report(event)
    return stream.getvalue().splitlines()


def test_each_event_is_a_line_with_its_seconds() -> None:
    (line,) = shown(Event(kind="change-started", key="Image/web", message="create:\n\x1b[2Jit does not exist yet"))
    assert re.fullmatch(r" +\d+\.\ds  Image/web: create: +\[2Jit does not exist yet", line)


def test_a_field_without_effect_is_a_warning() -> None:
    assert shown(Event(kind="notice", message="hello.yaml:9 spec.strategy: no effect")) == [
        "warning: hello.yaml:9 spec.strategy: no effect"
    ]


def test_the_last_lines_of_what_failed_are_left_to_the_outcome() -> None:
    assert shown(Event(kind="log", key="InstanceGroup/web", message="Traceback")) == []


@pytest.mark.parametrize(
    ("stream", "plain", "term", "kind"),
    [
        (Screen(), False, "xterm", Live),
        (Screen(), True, "xterm", Lines),
        (Screen(), False, "dumb", Lines),
        (io.StringIO(), False, "xterm", Lines),
    ],
)
def test_it_is_live_only_where_that_can_be_seen(
    stream: io.StringIO, plain: bool, term: str, kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", term)
    assert isinstance(progress(Messages(stream), plain=plain), kind)


def test_live_prints_what_is_done_and_keeps_what_is_not() -> None:
    stream = Screen()
    with Live(Messages(stream)) as live:
        live(Event(kind="stage", message="looking up hello:1"))
        live(Event(kind="notice", message="no effect"))
        live(Event(kind="change-started", key="Image/a", message="create"))
        live(Event(kind="change-started", key="Image/b", message="create"))
        live(Event(kind="change-finished", key="Image/a", message="done"))
        live(Event(kind="taken-over", message="the run of pid 7 is dead; its claim was taken over"))
        assert list(live._running) == ["Image/b"]
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue())
    assert "warning: no effect" in text
    assert "Image/a: done" in text
    assert "its claim was taken over" in text
    assert "Image/b: done" not in text


UNDONE = (
    Event(kind="change-started", key="InstanceGroup/web", message="update: at most 3 members at once"),
    Event(kind="rolled-back", key="InstanceGroup/web", message="not ready\nafter 60 s"),
)


def test_a_rollout_that_goes_back_is_a_warning() -> None:
    started, back = shown(*UNDONE)
    assert started.endswith("s  InstanceGroup/web: update: at most 3 members at once")
    assert back == "warning: InstanceGroup/web: going back: not ready after 60 s"


def test_live_warns_of_what_goes_back_and_ends_it() -> None:
    stream = Screen()
    with Live(Messages(stream)) as live:
        for event in UNDONE:
            live(event)
        assert live._running == {}
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue())
    assert "warning: InstanceGroup/web: going back: not ready after 60 s" in text
