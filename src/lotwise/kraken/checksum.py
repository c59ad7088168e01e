"""The CRC32 by which a client proves that its copy of Kraken's book is the exchange's.

Law: it runs over the digits as they stood on the wire, trailing zeros included. Kraken's guide to the
book of WebSocket v2, read in copies of 2026: asks low to high, then bids high to low, ten levels of each,
price then quantity, the point removed, then leading zeros; its two worked examples are tests here.
"""

import zlib
from collections.abc import Sequence
from decimal import Decimal

LEVELS = 10
"""How many levels of each side count, whatever the depth of the subscription."""

Level = tuple[Decimal, Decimal]
"""Price and quantity with the digits of the wire: 45283.5 and 0.10000000."""


def book_checksum(asks: Sequence[Level], bids: Sequence[Level]) -> int:
    """The checksum of a book whose sides are in order, best level first."""
    text = "".join(
        _digits(price) + _digits(quantity) for side in (asks, bids) for price, quantity in side[:LEVELS]
    )
    return zlib.crc32(text.encode())


def _digits(number: Decimal) -> str:
    return f"{number:f}".replace(".", "").lstrip("0")
