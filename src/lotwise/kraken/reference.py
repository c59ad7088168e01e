"""Dated prices in USDT to show what an order may cost when no live price is at hand.

Law: they are references only, never quotes: no order is priced by them, and a screen that uses one
names its date. Source: dollars of one minimum order on three days, divided by that minimum, to 3
significant digits.
"""

from datetime import date
from decimal import Decimal

DAYS = (date(2025, 7, 12), date(2025, 11, 13), date(2026, 1, 2))

# "-" is not known.
TABLE = """
SOL   160        144         132
ADA   0.709      0.530       0.395
DOGE  0.198      0.164       0.142
SHIB  0.0000132  0.00000931  0.00000812
MANA  0.305      0.221       -
BTC   117000     99600       90000
ETH   2940       3230        3120
"""

REFERENCE_PRICES: dict[str, dict[date, Decimal]] = {
    base: {day: Decimal(price) for day, price in zip(DAYS, prices, strict=True) if price != "-"}
    for base, *prices in (row.split() for row in TABLE.strip().splitlines())
}
"""By base and date, in USDT."""


def reference_price(base: str, on: date) -> tuple[Decimal, date] | None:
    """The latest price at or before a day, else the earliest, with its date; None: none is known."""
    prices = REFERENCE_PRICES.get(base)
    if prices is None:
        return None
    day = max((day for day in prices if day <= on), default=min(prices))
    return prices[day], day
