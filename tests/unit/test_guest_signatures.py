"""The guest signs requests as botocore does: both are held to the same cases, `guest/testdata/signatures.json`.

Those called "documented" are AWS's own: the example of "Create a signed AWS API request", and the Signature Version 4 test suite.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.compat import HTTPHeaders
from botocore.credentials import Credentials

CASES = Path(__file__).parents[2] / "guest" / "testdata" / "signatures.json"


def cases() -> list[dict[str, Any]]:
    loaded: list[dict[str, Any]] = json.loads(CASES.read_text())
    return loaded


def authorization(case: Mapping[str, Any]) -> str:
    """Sign a case's request with botocore, at its time."""
    headers = HTTPHeaders()
    for name, value in case["headers"]:
        headers[name] = value
    request = AWSRequest(method=case["method"], url=case["url"], headers=dict(headers), data=case["body"].encode())
    keys = Credentials(case["accessKeyID"], case["secretAccessKey"], case["token"] or None)
    signer = botocore.auth.SigV4Auth(keys, case["service"], case["region"])
    request.context["timestamp"] = case["time"]
    signer._modify_request_before_signing(request)
    text = signer.string_to_sign(request, signer.canonical_request(request))
    signer._inject_signature_to_request(request, signer.signature(text, request))
    signed: str = request.headers["Authorization"]
    return signed


@pytest.mark.parametrize("case", cases(), ids=lambda case: str(case["name"]))
def test_botocore_signs_the_guests_cases_alike(case: Mapping[str, Any]) -> None:
    assert authorization(case) == case["authorization"]


def test_the_cases_have_what_the_guest_sends() -> None:
    sent = [case for case in cases() if case["service"] == "ssm"]
    assert all(case["token"] and case["method"] == "POST" for case in sent)
    assert {"NextToken" in case["body"] for case in sent} == {True, False}
