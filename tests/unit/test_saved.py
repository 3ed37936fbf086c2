"""Saved plans: carried out exactly, or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from clouds import SAMPLES
from runs import WORKLOADS
from shops import Shop, group_of, groups_in, is_as_planned, shop

from i2kit import operations, saved
from i2kit.diff import Past, diff
from i2kit.errors import InvalidInput
from i2kit.operations import Preview, look_ahead
from i2kit.plan import Observed, Plan
from i2kit.saved import SavedPlan
from i2kit.testing.cloud import FakeCloud

OLD, NEW = shop("1"), shop("2")


def made(plan: Plan, observed: Observed, released: Plan | None = OLD) -> SavedPlan:
    return SavedPlan.of(plan, diff(plan, observed, Past(released=released)), ("shop.yaml",))


@pytest.fixture
def there(tmp_path: Path) -> Shop:
    found = Shop(cloud=FakeCloud(), folder=tmp_path)
    assert found.operator().deploy(OLD).ok
    return found


@pytest.fixture
def carry_out(there: Shop, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Deploy with a saved plan; the manifests are `plan`'s, and `meanwhile` happens behind the first look."""

    def deploy(kept: SavedPlan, plan: Plan, meanwhile: Callable[[], object] = lambda: None) -> Any:
        operator = there.operator()

        def previewed(driver: Any, *_: Any) -> Preview:
            seen = look_ahead(plan, driver.observe(), there.entries, operator.environment, operator.timed)
            meanwhile()
            return seen

        monkeypatch.setattr(operations, "load_for", lambda *_, **_more: WORKLOADS)
        monkeypatch.setattr(operations, "_previewed", previewed)
        with operator.in_place():
            return operations.deploy(
                ["shop.yaml"], environment=operator.environment, application=SAMPLES.application, saved=kept, options=operator.timed
            )

    return deploy


def test_what_was_read_is_what_happens(there: Shop, carry_out: Callable[..., Any]) -> None:
    assert carry_out(made(NEW, there.cloud.truth()), NEW).ok
    is_as_planned(there, NEW)


def drifted(there: Shop) -> None:
    there.cloud.resize(group_of(OLD).name, 1)


def deployed(there: Shop) -> None:
    assert there.operator().deploy(shop("3")).ok


@pytest.mark.parametrize("happened", [drifted, deployed])
def test_where_the_world_has_changed_nothing_is_touched(
    happened: Callable[[Shop], None], there: Shop, carry_out: Callable[..., Any]
) -> None:
    kept = made(NEW, there.cloud.truth())
    happened(there)
    before = (there.cloud.truth(), there.entries)
    with pytest.raises(InvalidInput, match=r"what runs has changed since the plan was saved.*stale-plan"):
        carry_out(kept, NEW)
    assert (there.cloud.truth(), there.entries) == before


@pytest.mark.parametrize("happened", [drifted, deployed])
def test_also_what_changes_between_the_look_and_the_claim_is_noticed(
    happened: Callable[[Shop], None], there: Shop, carry_out: Callable[..., Any]
) -> None:
    kept = made(NEW, there.cloud.truth())
    with pytest.raises(InvalidInput, match="stale-plan"):
        carry_out(kept, NEW, lambda: happened(there))
    assert group_of(NEW).name not in groups_in(there.cloud.truth())
    assert there.entries[-1].kind == "release", "a claim was left"


def test_where_the_manifests_have_changed_nothing_is_touched(there: Shop, carry_out: Callable[..., Any]) -> None:
    before = there.cloud.truth()
    with pytest.raises(InvalidInput, match=r"the manifests, their images or the environment have changed.*stale-plan"):
        carry_out(made(NEW, before), shop("3"))
    assert there.cloud.truth() == before


def test_how_ready_members_are_just_now_does_not_make_a_plan_stale(there: Shop, carry_out: Callable[..., Any]) -> None:
    kept = made(NEW, there.cloud.truth())
    there.cloud.kill_member(group_of(OLD).name, 0)
    assert carry_out(kept, NEW).ok


def test_a_plan_that_is_read_is_the_one_that_was_written(there: Shop, tmp_path: Path) -> None:
    kept = made(NEW, there.cloud.truth())
    saved.write(kept, tmp_path / "plan.json")
    assert saved.read(tmp_path / "plan.json") == kept
    assert kept.sources == (str(Path("shop.yaml").resolve()),)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (None, "unreadable-plan"),
        ("no JSON", "invalid-plan"),
        ("[]", "invalid-plan"),
        (json.dumps({"schema": 1}), "invalid-plan"),
        (json.dumps({"schema": saved.SCHEMA + 1}), "newer-plan"),
    ],
)
def test_what_is_no_saved_plan_is_refused(text: str | None, code: str, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InvalidInput) as raised:
        saved.read(path)
    assert [one.code for one in raised.value.problems] == [code]


def test_a_plan_for_another_application_is_stale(there: Shop) -> None:
    kept = made(NEW, there.cloud.truth())
    with pytest.raises(InvalidInput, match="stale-plan"):
        kept.check(evolve(NEW, application="other"), diff(NEW, there.cloud.truth()))
