"""The boot configuration at plan time: what of it is known, how long it gets, and what is too long for a provider."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from sample import container, locked, secret, target, workload, workloads

from i2kit.bootconfig import boot_of, greatest_bytes
from i2kit.driver import Limits
from i2kit.errors import InvalidInput, Problem
from i2kit.manifest.workloads import EnvSecret, Pod, SecretData, Workload
from i2kit.planner import plan

VALUE = b"s" * 5000
LONGEST = "x" * 63


def pod(**changes: Any) -> Pod:
    asked = container(env=(EnvSecret(name="P", secret="db", key="password"), EnvSecret(name="Q", secret="none", key="k", optional=True)))
    return Pod(containers=(asked,), labels={"app": "web"}, **changes)


def problems(given: Workload, secrets: tuple[SecretData, ...], limits: Limits) -> tuple[Problem, ...]:
    try:
        plan(workloads(given, secrets=secrets), locked(), target(limits=limits), secret_key=b"key")
    except InvalidInput as error:
        return error.problems
    return ()


def limits(size: int, *, inline: bool) -> Limits:
    return Limits(max_memory_mib=4096, max_cpu_millis=4000, boot_config_bytes=size, secrets_in_boot_config=inline)


def test_a_workload_s_part_is_its_labels_annotations_domains_and_secrets() -> None:
    boot = boot_of(workload(namespace="shop", pod=pod(annotations={"note": "x"})), {"db": "db-1", "other": "other-1"})
    assert boot.fields == {"metadata.namespace": "shop", "metadata.labels['app']": "web", "metadata.annotations['note']": "x"}
    assert boot.search[0] == "shop.svc.cluster.local"
    assert boot.secrets == {"db": "db-1"}


def test_no_document_that_a_driver_makes_is_longer() -> None:
    boot = boot_of(workload(pod=pod(annotations={"note": "é" * 400})), {"db": LONGEST})
    about = {
        "schema": 1,
        "instance": LONGEST,
        "hostname": LONGEST,
        "healthFrom": ["203.0.113.113/32"] * 6,
        "fields": {"metadata.name": LONGEST, **boot.fields},
    }
    inline = {**about, "secrets": {"db": {"password": base64.b64encode(VALUE).decode()}}}
    store = {"region": "ap-southeast-1", "endpoint": "https://ssm.ap-southeast-1.amazonaws.com", "secrets": {}}
    referring = {
        **about,
        "search": boot.search,
        "parameterStore": {**store, "secrets": {"db": f"/i2kit/{'e' * 40}/secrets/{LONGEST}"}},
    }
    assert len(json.dumps(inline)) <= greatest_bytes(boot, {"db": secret(password=VALUE)}) < len(json.dumps(inline)) + 1024
    assert len(json.dumps(referring)) <= greatest_bytes(boot) < len(json.dumps(referring)) + 1024


def test_labels_and_annotations_that_are_too_long_are_refused_before_anything_is_touched() -> None:
    long = workload(pod=pod(annotations={"note": "n" * 16_000}))
    (problem,) = problems(long, (secret(password=b"p"),), limits(16 << 10, inline=False))
    assert problem.code == "boot-config-too-large"
    assert problem.where == long.where
    assert "labels and annotations, takes 17" in problem.message
    assert problem.expected == "at most 16384, which provider sample hands to a VM"
    assert "annotations" in problem.hint
    assert not problems(workload(pod=pod(annotations={"note": "n" * 14_000})), (secret(password=b"p"),), limits(16 << 10, inline=False))


@pytest.mark.parametrize(("inline", "refused"), [(True, True), (False, False)])
def test_values_of_secrets_count_only_where_they_lie_in_it(inline: bool, refused: bool) -> None:
    found = problems(workload(pod=pod()), (secret(password=b"s" * 16_000),), limits(16 << 10, inline=inline))
    assert [one.code for one in found] == (["boot-config-too-large"] if refused else [])
    assert all("annotations and Secrets, takes" in one.message and "out of the Secrets" in one.hint for one in found)


def test_secrets_of_another_namespace_do_not_count() -> None:
    big = secret(namespace="other", password=b"s" * 16_000)
    assert not problems(workload(pod=pod()), (big,), limits(16 << 10, inline=True))
