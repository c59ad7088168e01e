"""The last bars of one pair, as the exchange told them.

Laws: of two tellings of one bar the one with more trades holds (a bar only grows), and of equals the later;
a bar without trades is none, as in recorded candles. Prices are exact.
"""

from decimal import Decimal
from typing import NamedTuple

import numpy as np

from lotwise.domain.market import Candle, exponent
from lotwise.domain.values import EPOCH, EXACT, Time
from lotwise.kraken.stream import Malformed
from lotwise.kraken.stream_market import Bar
from lotwise.strategies.candles import MAX_DECIMALS, TIMEFRAMES, Candles


class _Row(NamedTuple):
    """Prices in steps, volume in base."""

    open: int
    high: int
    low: int
    close: int
    volume: float
    trades: int


class Window:
    """At least the last `kept` bars of a pair; never more than half as many again."""

    def __init__(self, symbol: str, timeframe: str, kept: int) -> None:
        self.symbol = symbol
        self._timeframe = timeframe
        self._kept = kept
        self._decimals = 0
        self._rows: dict[int, _Row] = {}

    @property
    def newest(self) -> Time | None:
        """When the last bar opened."""
        return Time(max(self._rows)) if self._rows else None

    def __contains__(self, date: Time) -> bool:
        return date in self._rows

    def put(self, bar: Bar) -> bool:
        """Take in a bar; whether it told anything that was not known. Raises Malformed for what is no bar."""
        self._check(bar)
        known = self._rows.get(bar.begin)
        if not bar.trades or (known is not None and bar.trades < known.trades):
            return False
        prices = (bar.open, bar.high, bar.low, bar.close)
        decimals = max(self._decimals, *(-exponent(price) for price in prices))
        if decimals > MAX_DECIMALS or bar.high.adjusted() + decimals >= MAX_DECIMALS:
            raise Malformed(f"{bar.symbol} has absurd prices: {_shown(bar)}")
        self._refine(decimals)
        opened, high, low, close = (int(EXACT.scaleb(price, self._decimals)) for price in prices)
        # Volumes are shown and weighed, never booked.
        row = _Row(opened, high, low, close, float(bar.volume), bar.trades)
        if row == known:
            return False
        self._rows[bar.begin] = row
        if len(self._rows) > self._kept * 3 // 2:
            self._rows = {date: self._rows[date] for date in sorted(self._rows)[-self._kept :]}
        return bar.begin in self._rows

    def dates(self, first: Time, last: Time) -> list[Time]:
        """When the bars opened that did so within these times (both included), oldest first."""
        return [Time(date) for date in sorted(self._rows) if first <= date <= last]

    def candle(self, date: Time) -> Candle:
        """One bar; KeyError when there is none."""
        row = self._rows[date]
        opened, high, low, close = (
            EXACT.scaleb(Decimal(steps), -self._decimals)
            for steps in (row.open, row.high, row.low, row.close)
        )
        return Candle(self.symbol, date, opened, high, low, close, Decimal(repr(row.volume)))

    def candles(self, until: Time) -> Candles:
        """The last bars that opened at a time or before. Raises BadField."""
        dates = self.dates(EPOCH, until)[-self._kept :]
        rows = [self._rows[date] for date in dates]
        prices = np.array([row[:4] for row in rows], dtype=np.int64).reshape(-1, 4)
        opened, high, low, close = prices.T.copy()
        return Candles(
            self.symbol,
            self._timeframe,
            np.array(dates, dtype=np.int64),
            opened,
            high,
            low,
            close,
            Decimal(1).scaleb(-self._decimals),
            np.array([row.volume for row in rows], dtype=np.float64),
        )

    def _check(self, bar: Bar) -> None:
        low, high = sorted((bar.open, bar.close))
        sound = 0 < bar.low <= low and high <= bar.high and bar.volume >= 0 and bar.trades >= 0
        if not sound or bar.begin % TIMEFRAMES[self._timeframe]:
            raise Malformed(f"{bar.symbol} has no such bar: {_shown(bar)}")

    def _refine(self, decimals: int) -> None:
        """Count in steps so fine that such a price is a whole number of them."""
        if decimals == self._decimals:
            return
        factor = 10 ** (decimals - self._decimals)
        for date, row in self._rows.items():
            opened, high, low, close = (factor * steps for steps in row[:4])
            self._rows[date] = _Row(opened, high, low, close, row.volume, row.trades)
        self._decimals = decimals


def _shown(bar: Bar) -> str:
    prices = f"open {bar.open}, high {bar.high}, low {bar.low}, close {bar.close}"
    return f"{prices}, volume {bar.volume}, {bar.trades} trades at {bar.begin}"
