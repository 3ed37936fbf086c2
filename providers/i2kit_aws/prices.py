"""AWS's list prices, on demand and in US dollars, as they were on one day. Data only; free tiers and discounts are not in it."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

DATE = "2025-03-02"
"""The day on which these were AWS's prices; those of instances were compared with its public price list of that day."""

DEFAULT_REGION = "us-east-1"
"""Whose prices are shown for regions of which none are known here."""


@frozen(kw_only=True)
class Prices:
    """A region's prices.

    `large` is what the `large` of each family of instance types costs an hour, with Linux and shared hardware: within a family prices go
    with the size exactly. By the hour are also a `balancer` (Network Load Balancer), a `nat` gateway and an `address` (public IPv4,
    whatever has it); by the month a GiB of a `volume` (gp3) and of a `snapshot`, and a hosted `zone`, of the first 25 of an account.
    """

    large: Mapping[str, float]
    balancer: float
    nat: float
    volume: float
    snapshot: float
    address: float = 0.005
    zone: float = 0.50


_VIRGINIA = Prices(
    large={
        "t3": 0.0832,
        "c6i": 0.085,
        "c7i": 0.08925,
        "m6i": 0.096,
        "m7i": 0.1008,
        "r6i": 0.126,
        "r7i": 0.1323,
        "t4g": 0.0672,
        "c7g": 0.0725,
        "m7g": 0.0816,
        "r7g": 0.1071,
    },
    balancer=0.0225,
    nat=0.045,
    volume=0.08,
    snapshot=0.05,
)

REGIONS: Mapping[str, Prices] = {
    "us-east-1": _VIRGINIA,
    "us-west-2": _VIRGINIA,
    "eu-west-1": Prices(
        large={
            "t3": 0.0912,
            "c6i": 0.0912,
            "c7i": 0.09576,
            "m6i": 0.107,
            "m7i": 0.11235,
            "r6i": 0.141,
            "r7i": 0.14805,
            "t4g": 0.0736,
            "c7g": 0.0775,
            "m7g": 0.091,
            "r7g": 0.11985,
        },
        balancer=0.0252,
        nat=0.048,
        volume=0.088,
        snapshot=0.05,
    ),
    "eu-central-1": Prices(
        large={
            "t3": 0.096,
            "c6i": 0.097,
            "c7i": 0.10185,
            "m6i": 0.115,
            "m7i": 0.12075,
            "r6i": 0.152,
            "r7i": 0.1596,
            "t4g": 0.0768,
            "c7g": 0.0825,
            "m7g": 0.0978,
            "r7g": 0.1292,
        },
        balancer=0.027,
        nat=0.052,
        volume=0.0952,
        snapshot=0.054,
    ),
}
"""Prices by region; us-east-1 and us-west-2 have the same."""
