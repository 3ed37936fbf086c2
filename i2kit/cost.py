"""What resources cost: a bill for a month, as far as the prices are known."""

from __future__ import annotations

from attrs import field, frozen
from attrs.validators import ge, matches_re

HOURS_PER_MONTH = 730


@frozen(kw_only=True)
class CostItem:
    """One line of a bill: `what` is paid for (``2 x t4g.small for default/web``), and how much `monthly`, in the bill's currency."""

    what: str
    monthly: float = field(validator=ge(0.0))


@frozen(kw_only=True)
class Cost:
    """What resources cost a month of 730 hours.

    `currency` is by ISO 4217; `place` is where the prices are those of (a region), `date` the day of the price table (``2026-11-01``).
    `notes` name what is not in it, such as traffic.
    """

    currency: str = field(validator=matches_re("[A-Z]{3}"))
    place: str
    date: str = field(validator=matches_re("[0-9]{4}-[0-9]{2}-[0-9]{2}"))
    items: tuple[CostItem, ...]
    notes: tuple[str, ...] = ()

    @property
    def monthly(self) -> float:
        """All items together."""
        return sum(item.monthly for item in self.items)

    def __str__(self) -> str:
        items = ", ".join(f"{item.what} {amount(item.monthly, self.currency)}" for item in self.items)
        text = f"about {amount(self.monthly, self.currency)} a month (prices of {self.place}, {self.date})"
        return f"{text}: {items}" if items else text


def amount(value: float, currency: str) -> str:
    """Return an amount of money for people.

    >>> amount(1234.5, "USD"), amount(3, "EUR")
    ('$1,234.50', 'EUR 3.00')
    """
    return f"${value:,.2f}" if currency == "USD" else f"{currency} {value:,.2f}"
