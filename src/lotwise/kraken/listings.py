"""What Kraken asked of an order on each pair, as dated observations; nothing here is read live.

Source: public tables and AssetPairs captures of 2021-04 to 2026-09, compiled in November 2026. The
minimums are dated; tick size, lot decimals and costmin are the last ones known and stand in every row
of their pair. Quote precision 5 is `cost_decimals` of XBTUSDT in an AssetPairs answer of November 2025,
taken for all four quotes. USDT and USDC minimums of 2026 were not observed: there the USD pair's value
is a guess and its basis says so (in July 2025 39 of 481 bases differed between their quotes).
For ETH two sources of 2026 differ: 0.001, kept here, and 0.002.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from decimal import Decimal

from lotwise.domain.market import Listing, split_symbol

QUOTE_PRECISION = 5

COLUMNS = (
    (date(2021, 4, 17), "observed"),
    (date(2024, 2, 27), "observed"),
    (date(2025, 1, 1), "observed January 2025, day unknown"),
    (date(2025, 7, 29), "observed"),
    (date(2025, 11, 15), "observed November 2025, day unknown"),
    (date(2026, 7, 3), "observed"),
)
"""The date and basis of each column of minimums in TABLE."""

DAY_UNKNOWN = (date(2026, 7, 1), "observed July to September 2026, day unknown")
"""What a minimum marked * means: the first day it may have been seen stands for it."""

# Minimum quantities by date; "-" was not observed. costmin? is inferred from the quote.
TABLE = """
pair           tick        lot costmin 2021-04 2024-02 2025-01 2025-07 2025-11  2026-07
SOL/USDT       0.01        8   0.5?    -       -       0.02    0.02    -        -
SOL/USD        0.01        8   0.5     -       0.2     0.02    0.02    -        0.06
SOL/EUR        0.01        8   0.45    -       -       0.02    0.02    -        0.06*
SOL/USDC       0.01        8   0.5?    -       -       0.02    0.02    -        -
ADA/USDT       0.000001    8   0.5     25      10      4.4     4.4     -        -
ADA/USD        0.000001    8   0.5     25      10      4.4     4.4     -        20
ADA/EUR        0.000001    8   0.45    25      -       4.4     4.4     -        20*
ADA/USDC       0.000001    8   0.5?    -       -       4.4     4.4     -        -
DOGE/USDT      0.00001     8   0.5     50      60      13      13      -        -
DOGE/USD       0.0000001   8   0.5     50      60      13      13      -        50
DOGE/EUR       0.0000001   8   0.45    50      -       13      13      -        50*
DOGE/USDC      0.00001     8   0.5?    -       -       13      13      -        -
SHIB/USDT      0.00000001  5   0.5?    -       -       -       160000  -        -
SHIB/USD       0.00000001  5   0.5?    -       -       -       160000  -        -
SHIB/EUR       0.00000001  5   0.45?   -       -       -       160000  -        -
SHIB/USDC      0.00000001  5   0.5?    -       -       -       160000  -        -
MANA/USDT      0.00001     8   0.5?    -       -       -       8       -        -
MANA/USD       0.00001     8   0.5?    50      10      -       8       -        -
MANA/EUR       0.00001     8   0.45?   50      -       -       8       -        -
MANA/USDC      0.00001     8   0.5?    -       -       -       8       -        -
BTC/USDT       0.1         8   0.5     0.0002  0.0001  -       0.00005 0.00005  -
BTC/USD        0.1         8   0.5     0.0002  -       -       0.00005 -        0.00005
BTC/EUR        0.1         8   0.45?   0.0002  -       -       0.00005 -        -
BTC/USDC       0.01        8   0.5?    0.0002  -       -       0.00005 -        -
ETH/USDT       0.01        8   0.5     0.005   0.01    -       0.002   -        -
ETH/USD        0.01        8   0.5     0.005   -       -       0.002   -        0.001
ETH/EUR        0.01        8   0.45?   0.005   -       -       0.002   -        -
ETH/USDC       0.01        8   0.5?    0.005   -       -       0.002   -        -
XRP/USDT       0.00001     8   0.5     20      -       -       2       -        -
XRP/USD        0.00001     8   0.5     20      -       -       2       -        1.65
XRP/EUR        0.00001     8   0.45?   20      -       -       2       -        -
XRP/USDC       0.00001     8   0.5?    -       -       -       2       -        -
LTC/USDT       0.00001     8   0.5     0.05    -       -       0.05    -        -
LTC/USD        0.01        8   0.5     0.05    -       -       0.05    -        0.1
LTC/EUR        0.01        8   0.45?   0.05    -       -       0.05    -        -
LTC/USDC       0.001       8   0.5?    -       -       -       0.05    -        -
LINK/USDT      0.00001     8   0.5?    0.5     -       -       0.2     -        -
LINK/USD       0.00001     8   0.5     0.5     -       -       0.2     -        0.55
LINK/EUR       0.00001     8   0.45    0.5     -       -       0.2     -        0.55*
LINK/USDC      0.00001     8   0.5?    -       -       -       0.2     -        -
DOT/USDT       0.0001      8   0.5?    0.5     -       -       0.6     -        -
DOT/USD        0.0001      8   0.5     0.5     -       -       0.6     -        3.9
DOT/EUR        0.0001      8   0.45    0.5     -       -       0.6     -        3.9*
DOT/USDC       0.0001      8   0.5?    -       -       -       0.6     -        -
AVAX/USDT      0.01        8   0.5?    -       -       -       0.1     -        -
AVAX/USD       0.01        8   0.5     -       -       -       0.1     -        0.5
AVAX/EUR       0.01        8   0.45    -       -       -       0.1     -        0.5*
AVAX/USDC      0.01        8   0.5?    -       -       -       0.1     -        -
ALGO/USDT      0.00001     8   0.5?    -       -       -       10      -        -
ALGO/USD       0.00001     8   0.5     15      -       -       10      -        41
ALGO/EUR       0.00001     8   0.45?   15      -       -       10      -        -
ALGO/USDC      0.00001     8   0.5?    -       -       -       10      -        -
ATOM/USDT      0.0001      8   0.5?    -       -       -       0.5     -        -
ATOM/USD       0.0001      8   0.5?    1       -       -       0.5     -        -
ATOM/EUR       0.0001      8   0.45?   1       -       -       0.5     -        -
ATOM/USDC      0.0001      8   0.5?    -       -       -       0.5     -        -
POL/USD        0.00001     5   0.5?    -       -       -       6       -        -
POL/EUR        0.00001     5   0.45?   -       -       -       6       -        -
BERA/USDT      0.001       5   0.5?    -       -       -       0.5     -        -
BERA/USD       0.001       5   0.5?    -       -       -       0.5     -        -
BERA/EUR       0.001       5   0.45?   -       -       -       0.5     -        -
BERA/USDC      0.001       5   0.5?    -       -       -       0.5     -        -
FARTCOIN/USDT  0.0001      5   0.5?    -       -       -       5       -        -
FARTCOIN/USD   0.0001      5   0.5?    -       -       -       5       -        -
FARTCOIN/EUR   0.0001      5   0.45?   -       -       -       5       -        -
FARTCOIN/USDC  0.0001      5   0.5?    -       -       -       5       -        -
AI16Z/USDT     0.0001      5   0.5?    -       -       -       5       -        -
AI16Z/USD      0.0001      5   0.5?    -       -       -       5       -        -
AI16Z/EUR      0.0001      5   0.45?   -       -       -       5       -        -
AI16Z/USDC     0.0001      5   0.5?    -       -       -       5       -        -
"""


def _observations(row: str) -> Iterator[Listing]:
    symbol, tick, lot_decimals, costmin, *minimums = row.split()
    doubt = "; costmin inferred from the quote" if costmin.endswith("?") else ""
    for (observed, basis), minimum in zip(COLUMNS, minimums, strict=True):
        if minimum == "-":
            continue
        if minimum.endswith("*"):
            observed, basis = DAY_UNKNOWN
        yield Listing(
            symbol,
            observed,
            tick_size=Decimal(tick),
            lot_step=Decimal(1).scaleb(-int(lot_decimals)),
            min_quantity=Decimal(minimum.rstrip("*")),
            min_notional=Decimal(costmin.rstrip("?")),
            quote_precision=QUOTE_PRECISION,
            basis=basis + doubt,
        )


def _guesses(observed: tuple[Listing, ...]) -> Iterator[Listing]:
    """For USDT and USDC pairs last seen before their USD pair: its minimum, marked as a guess."""
    latest = {listing.symbol: listing for listing in observed}
    for listing in latest.values():
        base, quote = split_symbol(listing.symbol)
        dollars = latest[f"{base}/USD"]
        if quote in ("USDT", "USDC") and listing.observed < dollars.observed:
            _, mark, doubt = listing.basis.partition("; ")
            yield replace(
                listing,
                observed=dollars.observed,
                min_quantity=dollars.min_quantity,
                basis=f"guess: as {dollars.symbol}{mark}{doubt}",
            )


_OBSERVED = tuple(listing for row in TABLE.splitlines()[2:] for listing in _observations(row))

LISTINGS: tuple[Listing, ...] = (*_OBSERVED, *_guesses(_OBSERVED))
"""Every observation of every pair, each pair's in order of date, then the guesses."""
