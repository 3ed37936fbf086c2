"""docs/providers/coverage.md says of every request which library makes it, and why."""

from __future__ import annotations

import re
from pathlib import Path

from aws.requests import asked, operations

from i2kit_aws import _libcloud
from i2kit_aws.permissions import permission

PAGE = Path(__file__).parents[3] / "docs/providers/coverage.md"
ROW = re.compile(r"^\| `(?P<service>[a-z0-9-]+):(?P<operation>\w+)` \| (?P<library>\w+) \| (?P<why>.+) \|$", re.MULTILINE)
ROWS = list(ROW.finditer(PAGE.read_text(encoding="utf-8")))


def test_every_request_has_a_row_and_every_row_a_request() -> None:
    rows = {permission(row["service"], row["operation"]) for row in ROWS}
    assert len(rows) == len(ROWS) > 100
    assert [names for names in asked() if not set(names) & rows] == []
    assert rows - {name for names in asked() for name in names} == set()


def test_rows_name_requests_that_there_are() -> None:
    assert [row[0] for row in ROWS if row["operation"] not in operations(row["service"])] == []


def test_rows_are_in_order() -> None:
    order = [(row["service"], row["operation"]) for row in ROWS]
    assert order == sorted(order)


def test_the_library_of_a_row_is_the_one_that_makes_the_request() -> None:
    told = {row["operation"]: row["why"] for row in ROWS if (row["service"], row["library"]) == ("ec2", "libcloud")}
    assert set(told) == set(_libcloud.CARRIED)
    assert {name for name, why in told.items() if f"`{_libcloud.CARRIED[name].method}`" not in why} == set()
    assert {row["library"] for row in ROWS if row["service"] != "ec2"} == {"boto3"}
