"""One pair's candles as columns: prices in whole steps, dates in milliseconds.

Laws: candles are valid at birth and never change; prices are exact, floats are for signals only;
a missing bar is legal (the exchange sends none when nothing traded), a bar off its grid is not.
"""

from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from lotwise.domain.market import Candle, split_symbol
from lotwise.domain.values import EXACT, BadField, Time, plain, require

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

MINUTE = 60_000
TIMEFRAMES = {
    "1m": MINUTE,
    "5m": 5 * MINUTE,
    "15m": 15 * MINUTE,
    "1h": 60 * MINUTE,
    "4h": 240 * MINUTE,
    "1d": 1440 * MINUTE,
}
"""Length of a bar in milliseconds."""

PRICES = ("open", "high", "low", "close")
COLUMNS = ("dates", *PRICES, "volume")
MAX_DECIMALS = 18
"""A price has at most 18 decimals and fewer than 10^18 steps: it fits 64 bits, with room to add."""


class BadCandle(BadField):
    """A bar that cannot be; `index` counts from 0."""

    def __init__(self, index: int, field: str, problem: str) -> None:
        super().__init__(field, problem)
        self.index = index


def utc_text(time: int) -> str:
    """Milliseconds as ISO 8601: "2025-01-01T00:00:00Z"."""
    return f"{np.datetime_as_string(np.datetime64(time, 'ms'), unit='s')}Z"


@dataclass(frozen=True, slots=True, eq=False)
class Candles:
    """The bars of one pair, oldest first; bar i opens at dates[i] and ends one timeframe later.

    dates: UTC, milliseconds. Prices: whole `step`s in quote per base, step = 10^-n. volume: base
    units. All arrays are read-only. Raises BadField, or BadCandle for one bar.
    """

    symbol: str
    timeframe: str
    dates: Ints
    open: Ints
    high: Ints
    low: Ints
    close: Ints
    step: Decimal
    volume: Floats

    def __post_init__(self) -> None:
        split_symbol(self.symbol)
        known = " ".join(TIMEFRAMES)
        require(self.timeframe in TIMEFRAMES, "timeframe", f"{self.timeframe!r} is not one of {known}")
        decimals = -self.step.adjusted()
        require(
            0 <= decimals <= MAX_DECIMALS and self.step == Decimal(1).scaleb(-decimals),
            "step",
            f"{self.step} is no power of ten from 1 down to 10^-{MAX_DECIMALS}",
        )
        for name in COLUMNS:
            column = getattr(self, name)
            kind = np.float64 if name == "volume" else np.int64
            require(column.dtype == kind and column.shape == self.dates.shape, name, "has no such bars")
            view = column.view()
            view.flags.writeable = False
            object.__setattr__(self, name, view)
        self._check_bars()

    def __len__(self) -> int:
        return len(self.dates)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Candles):
            return NotImplemented
        same = (self.symbol, self.timeframe, self.step) == (other.symbol, other.timeframe, other.step)
        return same and all(np.array_equal(getattr(self, name), getattr(other, name)) for name in COLUMNS)

    @property
    def bar(self) -> int:
        """Length of a bar in milliseconds."""
        return TIMEFRAMES[self.timeframe]

    @property
    def decimals(self) -> int:
        """The n of step = 10^-n."""
        return -self.step.adjusted()

    def price(self, steps: int | np.int64) -> Decimal:
        """The exact price of so many steps."""
        return EXACT.multiply(Decimal(int(steps)), self.step)

    def candle(self, index: int) -> Candle:
        """One bar with exact prices."""
        return Candle(
            self.symbol,
            Time(int(self.dates[index])),
            self.price(self.open[index]),
            self.price(self.high[index]),
            self.price(self.low[index]),
            self.price(self.close[index]),
            Decimal(repr(float(self.volume[index]))),
        )

    def close_time(self, index: int) -> Time:
        """When the bar is over and may be acted on."""
        return Time(int(self.dates[index]) + self.bar)

    def closes(self) -> Floats:
        """Closing prices as floats, for signals only."""
        # Dividing by 10^n gives the float nearest to the price; multiplying by 10^-n would not.
        return self.close / float(10**self.decimals)

    def between(self, start: Time, end: Time) -> "Candles":
        """The bars that open at or after start and before end (views, not copies)."""
        first, last = np.searchsorted(self.dates, (start, end))
        # Bars in a row of valid candles are valid candles: they are not checked again.
        cut = object.__new__(Candles)
        for name in ("symbol", "timeframe", "step"):
            object.__setattr__(cut, name, getattr(self, name))
        for name in COLUMNS:
            object.__setattr__(cut, name, getattr(self, name)[first:last])
        return cut

    def _check_bars(self) -> None:
        self._refuse("date", self.dates % self.bar != 0, f"is not the start of a {self.timeframe} bar in UTC")
        after = np.diff(self.dates, prepend=self.dates[:1] - 1)
        self._refuse("date", after == 0, "comes twice; keep one of the two rows")
        self._refuse("date", after < 0, "is earlier than the row before it; sort the rows by date")
        for name in PRICES:
            prices = getattr(self, name)
            self._refuse(name, prices <= 0, "is not above 0")
            self._refuse(name, prices >= 10**MAX_DECIMALS, "is absurd")
        self._refuse("high", self.high < np.maximum(self.open, self.close), "is below the open or the close")
        self._refuse("low", self.low > np.minimum(self.open, self.close), "is above the open or the close")
        sane = (self.volume >= 0) & (self.volume < 1e30)
        self._refuse("volume", ~sane, "is not a finite number from 0 to below 10^30")

    def _refuse(self, field: str, bad: NDArray[np.bool_], problem: str) -> None:
        if not bad.any():
            return
        index = int(np.argmax(bad))
        if field == "date":
            value = utc_text(int(self.dates[index]))
        elif field == "volume":
            value = repr(float(self.volume[index]))
        else:
            value = plain(self.price(getattr(self, field)[index]))
        raise BadCandle(index, field, f"{value} {problem}")
