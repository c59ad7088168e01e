"""What the tape of a pair says of the time before the doors opened: made-up candles that end at its price.

Laws: the past is a chain of made-up candles, fine ones up to now and the coarser the older, so that every
length of candle that Kraken tells is there; all pairs of a base share it; nobody traded in it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from lotwise.domain.market import Market
from lotwise.domain.values import EXACT, Time, plain
from lotwise.exchange.prices import TURNOVER, PriceProcess, synthetic_candles
from lotwise.exchange.tape import BARS_KEPT, DAY_OF_BARS, MINUTE, MINUTES, Bar, Tape
from lotwise.strategies.candles import TIMEFRAMES, Candles, Floats, Ints

CHAIN = (("1m", DAY_OF_BARS), ("5m", BARS_KEPT), ("15m", BARS_KEPT), ("1h", BARS_KEPT), ("4h", BARS_KEPT), ("1d", BARS_KEPT))
"""So many candles of each length from now back; those of a longer one begin where these end."""

BEGIN, GRAIN = Decimal(1000), Decimal("0.0001")
"""A made-up chain begins at this price, in these steps; it is scaled afterwards."""

TRADE = 80.0
"""Quote units of a typical trade: an assumption."""


@dataclass(frozen=True, slots=True)
class Past:
    """Candles of all lengths in order of time, prices and volumes in quote per base and base as floats: a
    signal, not yet money. `length`: milliseconds of each."""

    time: Ints
    length: Ints
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats

    def part(self, start: int) -> "Past":
        """From an index on."""
        columns = (getattr(self, name)[start:] for name in self.__slots__)
        return Past(*columns)


def made_up(name: str, seed: int, price: float, now: Time, volatility: float) -> Past:
    """A past of a base that ends with the last whole minute before now, at a price."""
    parts: list[list[np.ndarray]] = []
    end = now - now % MINUTE
    for timeframe, count in CHAIN:
        bar = TIMEFRAMES[timeframe]
        longer = next((TIMEFRAMES[word] for word, _ in CHAIN if TIMEFRAMES[word] > bar), bar)
        first = now - now % bar - count * bar
        first -= first % longer
        bars = (end - first) // bar
        if bars <= 0:
            continue
        process = PriceProcess(f"{name}/USD", BEGIN, GRAIN, seed, volatility)
        candles = synthetic_candles(process, bars, timeframe, Time(first))
        parts.insert(0, _scaled(candles, price))
        price, end = float(parts[0][2][0]), first
    return Past(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
