"""The page that takes a new user of AWS from credentials to a URL: every command of it is run, against the bed."""

from __future__ import annotations

import re
import sys

import pytest
from attrs import evolve
from conftest import ROOT, Machine
from test_pages import compare

sys.path.insert(0, str(ROOT / "tests" / "beds"))

from aws.bed import running
from awsshops import READY

pytestmark = pytest.mark.e2e

PAGE = ROOT / "docs" / "providers" / "aws.md"


def test_the_page_takes_a_new_user_from_credentials_to_a_url(machine: Machine) -> None:
    (settings,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    folder = machine.home / "pages" / "aws"
    with running() as bed:
        bed.console("*", READY)
        user = evolve(machine, environment={**machine.environment, **bed.environment})
        folder.parent.mkdir(exist_ok=True)
        compare(PAGE, user, folder, settings)
        assert bed.inventory() == {}
