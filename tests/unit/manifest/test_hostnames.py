"""Public names."""

from __future__ import annotations

import pytest

from i2kit.manifest.hostnames import host_name


@pytest.mark.parametrize(
    "name", ["example.com", "a.b-c.example.co.uk", "1.example.com", f"{'a.' * 104}example.com0", "cluster.local.example.com"]
)
def test_names_that_are_some(name: str) -> None:
    assert host_name(name) == ""


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("", "parts of"),
        ("shop", "a domain"),
        ("Shop.example.com", "parts of"),
        ("shop_1.example.com", "parts of"),
        ("-shop.example.com", "parts of"),
        ("shop..example.com", "parts of"),
        (f"{'a' * 64}.example.com", "parts of at most 63"),
        (f"{'a.' * 105}example.com", "at most 220"),
        ("web.default.svc.cluster.local", "no name under svc.cluster.local"),
        ("web.cluster.local", "no name under svc.cluster.local"),
    ],
)
def test_names_that_are_none(name: str, expected: str) -> None:
    assert expected in host_name(name)
