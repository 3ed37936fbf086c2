"""URLs of balancers: the scheme follows a port's name and number, and the usual port is left out."""

from __future__ import annotations

import pytest

from i2kit.endpoints import url


@pytest.mark.parametrize(
    ("name", "port", "expected"),
    [
        ("", 80, "http://h:1"),
        ("http", 8080, "http://h:1"),
        ("web", 3000, "http://h:1"),
        ("https", 8443, "https://h:1"),
        ("", 443, "https://h:1"),
        ("", 3000, "http://h:1"),
        ("redis", 6379, "tcp://h:1"),
    ],
)
def test_the_scheme_follows_the_ports_name_and_number(name: str, port: int, expected: str) -> None:
    assert url(name, port, "h", 1) == expected


@pytest.mark.parametrize(
    ("name", "port", "tls", "expected"),
    [
        ("", 80, False, "http://h"),
        ("", 443, False, "https://h"),
        ("web", 443, True, "https://h"),
        ("web", 8080, True, "https://h:8080"),
        ("redis", 6379, True, "tls://h:6379"),
        ("http", 443, False, "https://h"),
    ],
)
def test_the_usual_port_is_left_out_and_tls_shows(name: str, port: int, tls: bool, expected: str) -> None:
    assert url(name, port, "h", tls=tls) == expected


def test_datagrams_are_no_web() -> None:
    assert url("", 8080, "h", protocol="UDP") == "udp://h:8080"
