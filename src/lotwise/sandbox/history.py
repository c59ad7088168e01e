"""What the tape of a pair tells of the time before the doors opened.

Laws: a past is one run of candles, fine ones up to now and the coarser the older, so that every length that
Kraken tells is there; all pairs of a base share it; it is a signal until it is cut to a pair's steps.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Self

import numpy as np

from lotwise.domain.market import Market
from lotwise.domain.values import EXACT, Time
from lotwise.exchange.prices import TURNOVER, PriceProcess, synthetic_candles
from lotwise.exchange.tape import BARS_KEPT, DAY_OF_BARS, MINUTE, MINUTES, Bar, Tape
from lotwise.strategies.candles import TIMEFRAMES, Candles, Floats, Ints

CHAIN = {
    "1m": DAY_OF_BARS,
    "5m": BARS_KEPT,
    "15m": BARS_KEPT,
    "1h": BARS_KEPT,
    "4h": BARS_KEPT,
    "1d": BARS_KEPT,
}
"""So many candles of each length from now back; those of the next begin where these end."""

BEGIN, GRAIN = Decimal(1000), Decimal("0.0001")
"""At what price, in what steps, a candle chain is made up; it is scaled to its end afterwards."""

TRADE = Decimal(80)
"""Quote units of a typical trade: an assumption."""


@dataclass(frozen=True, slots=True)
class Past:
    """Candles in order of time: opening times and lengths in milliseconds, prices in quote per base, what
    was traded in quote units."""

    time: Ints
    length: Ints
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    traded: Floats

    @classmethod
    def of(cls, candles: Candles, by: int = 0, scale: float = 1.0) -> Self:
        """Recorded or made-up candles, `by` milliseconds later, their prices times `scale`."""
        unit = float(candles.step)

        def priced(steps: Ints) -> Floats:
            return np.multiply(steps, unit * scale, dtype=np.float64)

        return cls(
            candles.dates + by,
            np.full(len(candles), candles.bar, dtype=np.int64),
            priced(candles.open),
            priced(candles.high),
            priced(candles.low),
            priced(candles.close),
            candles.volume * candles.close * unit,
        )

    @classmethod
    def chained(cls, parts: "list[Past]") -> Self:
        """One after another."""
        names = [column.name for column in fields(cls)]
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    def since(self, first: int) -> "Past":
        """From an index on."""
        return Past(*(getattr(self, column.name)[first:] for column in fields(self)))


def made_up(seed: int, price: float, now: Time, volatility: float) -> Past:
    """A past that ends with the last whole minute before now, at a price."""
    parts: list[Past] = []
    end = now - now % MINUTE
    lengths = [TIMEFRAMES[timeframe] for timeframe in CHAIN]
    for place, (timeframe, count) in enumerate(CHAIN.items()):
        bar = lengths[place]
        first = now - count * bar
        first -= first % lengths[min(place + 1, len(lengths) - 1)]
        process = PriceProcess("PAST/USD", BEGIN, GRAIN, seed * len(CHAIN) + place, volatility)
        candles = synthetic_candles(process, (end - first) // bar, timeframe, Time(first))
        part = Past.of(candles, scale=price / (float(candles.close[-1]) * float(GRAIN)))
        parts.insert(0, part)
        price, end = float(part.open[0]), first
    return Past.chained(parts)


def tell(tape: Tape, market: Market, past: Past, scale: float, share: float) -> None:
    """Put a past on an empty tape, its prices times `scale`, of its trade a share."""
    for minutes in MINUTES:
        bar = minutes * MINUTE
        if past.length[-1] > bar:
            continue
        # A bar that is not there as a whole is left out, and so is what is coarser than a bar.
        whole = int(np.argmax(past.length <= bar))
        begin = -(-int(past.time[whole]) // bar) * bar
        seen = past.since(int(np.searchsorted(past.time, begin)))
        if len(seen.time):
            tape.bars[minutes].extend(_bars(seen, bar, market, (scale, share)))


def _bars(past: Past, bar: int, market: Market, part: tuple[float, float]) -> Iterator[Bar]:
    """The past in bars of a length, cut to the pair's steps; what rounds to nothing is one step."""
    scale, share = part
    opened = past.time - past.time % bar
    starts = np.flatnonzero(np.diff(opened, prepend=opened[0] - 1))
    ends = np.append(starts[1:], len(opened)) - 1
    high, low = np.maximum.reduceat(past.high, starts), np.minimum.reduceat(past.low, starts)
    traded = np.add.reduceat(past.traded, starts) * share
    columns = [past.open[starts], high, low, past.close[ends]]
    ticks = [_steps(column * scale, market.tick_size) for column in (*columns, (high + low) / 2)]
    lots, counts = _steps(traded / (columns[3] * scale), market.lot_step), _steps(traded, TRADE)
    for time, *prices, lot, count in zip(opened[starts].tolist(), *ticks, lots, counts, strict=True):
        first, most, least, last, middle = (EXACT.multiply(market.tick_size, price) for price in prices)
        volume = EXACT.multiply(market.lot_step, lot)
        yield Bar(Time(time), first, most, least, last, volume, EXACT.multiply(middle, volume), count)


def _steps(numbers: Floats, step: Decimal) -> list[int]:
    counts: list[int] = np.maximum(1, numbers / float(step)).astype(np.int64).tolist()
    return counts


def share_of(turnover: float) -> float:
    """What part of a made-up past's trade a pair with this turnover an hour has."""
    return turnover / TURNOVER
