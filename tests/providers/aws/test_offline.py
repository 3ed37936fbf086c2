"""Without credentials: a plan is made all the same, with what it costs, and a deploy is one clear error."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from sample import locked

import i2kit
from i2kit import operations
from i2kit.environment import Environment
from i2kit.errors import MissingCredentials

MANIFEST = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: web, image: 'hello:1'}]
---
apiVersion: v1
kind: Service
metadata: {name: web, annotations: {i2kit.dev/hostname: shop.example.com}}
spec: {type: LoadBalancer, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
"""


@pytest.fixture
def manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A manifest whose images are resolved, for somebody whom AWS does not know."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    # Nobody would answer there.
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(operations, "resolve", lambda *_arguments, **_options: locked())
    path = tmp_path / "web.yaml"
    path.write_text(MANIFEST)
    return str(path)


def test_a_plan_is_made_and_every_change_is_unknown(manifest: str, environment: Environment) -> None:
    seen = i2kit.preview([manifest], environment=environment)
    assert [one.kind for one in seen.plan.resources] == ["Network", "Image", "InstanceGroup", "Balancer", "DnsRecord", "DnsRecord"]
    assert {one.action for one in seen.changes.changes} == {"unknown"}
    (problem,) = seen.problems
    assert (problem.code, "aws configure" in problem.hint) == ("aws-credentials", True)


def test_what_it_costs_needs_no_credentials(manifest: str, environment: Environment) -> None:
    cost = i2kit.preview([manifest], environment=environment).cost
    assert cost is not None
    assert cost.place == "eu-west-1"
    assert {one.what for one in cost.items} >= {"2 x t3.nano", "1 x Network Load Balancer"}


def test_a_profile_that_is_not_there_is_told(manifest: str) -> None:
    nobodys = Environment(name="prod", provider="aws", settings={"region": "eu-west-1", "profile": "nobody"})
    (problem,) = i2kit.preview([manifest], environment=nobodys).problems
    assert "nobody" in problem.message


def test_a_deploy_is_one_clear_error(manifest: str, environment: Environment) -> None:
    with pytest.raises(MissingCredentials) as caught:
        i2kit.deploy([manifest], environment=environment)
    (problem,) = caught.value.problems
    assert problem.code == "aws-credentials"
    assert caught.value.exit_code == 1


def test_the_desired_side_is_drawn_without_anybody_being_asked(manifest: str, environment: Environment) -> None:
    workloads = i2kit.load([manifest])
    planned = i2kit.plan(workloads, locked(), environment, application="web")
    assert "shop.example.com" in i2kit.graph(planned, "dot")
