"""The embedded market: made-up prices with the habits of real ones, and no edge for anybody.

Laws: a fair martingale: whatever has happened, the expected next price is the present one (but for
the rounding to steps), so that no strategy gains before costs. One seed gives the same bytes
everywhere: raw random words (their stream is fixed), integers, and only such float operations as
every machine rounds alike (+ - * / sqrt).
"""

import math
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from numpy.random import PCG64, SeedSequence
from numpy.typing import NDArray

from lotwise.domain.values import Time, is_multiple, require, steps_down
from lotwise.strategies.candles import TIMEFRAMES, Candles, Floats, Ints

Words = NDArray[np.uint64]

HOUR, DAY, YEAR = 3_600_000, 86_400_000, 31_536_000_000
"""In milliseconds."""

SUBSTEPS = 16
"""Moves of the price within a bar; its open, high, low and close are read off these."""

REGIMES = (HOUR // 2, 2 * HOUR, 8 * HOUR, 32 * HOUR, 128 * HOUR, 512 * HOUR, 2048 * HOUR)
"""The variance is a product of factors; each keeps its value for so many milliseconds on average."""

SWING = 0.45
"""A factor is 1 + SWING or 1 - SWING with equal odds: calm and wild times come in clusters."""

JUMPS_EVERY = 7 * DAY
JUMP_DAYS = 1.5
"""A jump, up or down with equal odds, measures at most so many typical days' deviations."""

TURNOVER = 60_000.0
"""Quote units traded in a typical hour: an assumption, not a measurement."""

WORDS = SUBSTEPS + 2 + len(REGIMES)
"""Random words for one bar: its moves, a jump, its volume, and the factors of the variance."""

BLOCK = 16_384
"""Bars made at once, to bound memory; it changes no value."""


@dataclass(frozen=True, slots=True)
class PriceProcess:
    """The made-up market of one pair: a random walk by factors, its variance in regimes, rare jumps.

    start_price lies on the grid of step (10^-n, quote per base). volatility: the standard deviation
    of a typical year, as a fraction. Pairs of one seed move independently, unlike real ones.
    Raises BadField.
    """

    symbol: str
    start_price: Decimal
    step: Decimal
    seed: int
    volatility: float = 0.8

    def __post_init__(self) -> None:
        on_grid = self.start_price > 0 and is_multiple(self.start_price, self.step)
        require(on_grid, "start_price", f"{self.start_price} is no positive multiple of {self.step}")
        require(self.seed >= 0, "seed", "must not be below 0")
        # Up to 3, the largest move and jump together stay below the whole price.
        require(0 < self.volatility <= 3, "volatility", "must be above 0 and at most 3")


@dataclass(slots=True)
class _Walk:
    """Where the walk of one pair stands, in steps; each block of bars carries it on."""

    source: PCG64
    bar: int
    volatility: float
    price: float
    last_close: int
    factors: Floats

    def variance(self, words: Words) -> Floats:
        """For each bar, the product of the factors in force; uses a word for each factor."""
        product = np.ones(len(words))
        for place, lasting in enumerate(REGIMES):
            drawn = words[:, place]
            changes = _fraction(drawn) < self.bar / lasting
            values = np.where(drawn & 1, 1 + SWING, 1 - SWING)
            latest = np.maximum.accumulate(np.where(changes, np.arange(1, len(words) + 1), 0))
            held = np.concatenate((self.factors[place : place + 1], values))[latest]
            self.factors[place] = held[-1]
            product *= held
        return product

    def moves(self, words: Words, variance: Floats) -> Floats:
        """The relative moves of each bar's substeps, symmetric about 0; jumps use the last word."""
        deviation = self.volatility * math.sqrt(self.bar / YEAR / SUBSTEPS)
        moves = _bell(words[:, :SUBSTEPS]) * (np.sqrt(variance) * deviation)[:, np.newaxis]
        jumping = words[:, SUBSTEPS]
        (bars,) = np.nonzero(_fraction(jumping) < self.bar / JUMPS_EVERY)
        low_bits = jumping[bars]
        sizes = ((low_bits >> 4 & 127).astype(np.float64) - 63.5) / 63.5
        largest = JUMP_DAYS * self.volatility * math.sqrt(DAY / YEAR)
        moves[bars, (low_bits & 15).astype(np.intp)] += sizes * largest
        return moves

    def block(self, bars: int) -> tuple[Ints, Floats]:
        """(open, high, low, close) of the next bars in rows, in steps; and how busy each bar is."""
        words = self.source.random_raw(bars * WORDS).reshape(bars, WORDS)
        variance = self.variance(words[:, SUBSTEPS + 2 :])
        path = (1.0 + self.moves(words, variance)).ravel()
        path[0] *= self.price
        np.multiply.accumulate(path, out=path)
        self.price = float(path[-1])
        # To the nearest step: any other direction would be a drift.
        steps = np.maximum(np.rint(path), 1.0).astype(np.int64).reshape(bars, SUBSTEPS)
        closes = steps[:, -1]
        opens = np.concatenate(([self.last_close], closes[:-1]))
        self.last_close = int(closes[-1])
        highs = np.maximum(opens, steps.max(axis=1))
        lows = np.minimum(opens, steps.min(axis=1))
        busy = np.sqrt(variance) * (0.25 + 1.5 * _fraction(words[:, SUBSTEPS + 1]))
        return np.stack((opens, highs, lows, closes)), busy


def synthetic_candles(process: PriceProcess, bars: int, timeframe: str, start: Time) -> Candles:
    """The first candles of a made-up market; more bars only add at the end.

    start: opening time of the first bar. Raises BadField.
    """
    require(bars > 0, "bars", "must be above 0")
    require(timeframe in TIMEFRAMES, "timeframe", f"{timeframe!r} is not one of {' '.join(TIMEFRAMES)}")
    bar = TIMEFRAMES[timeframe]
    source = PCG64(SeedSequence([process.seed, int.from_bytes(process.symbol.encode(), "big")]))
    factors = np.where(source.random_raw(len(REGIMES)) & np.uint64(1), 1 + SWING, 1 - SWING)
    first = steps_down(process.start_price, process.step)
    walk = _Walk(source, bar, process.volatility, float(first), first, factors)
    blocks = [walk.block(min(BLOCK, bars - done)) for done in range(0, bars, BLOCK)]
    opens, highs, lows, closes = np.concatenate([prices for prices, _ in blocks], axis=1)
    busy = np.concatenate([busy for _, busy in blocks])
    typical = TURNOVER * (bar / HOUR) / (closes * float(process.step))
    return Candles(
        process.symbol,
        timeframe,
        dates=start + bar * np.arange(bars, dtype=np.int64),
        open=opens,
        high=highs,
        low=lows,
        close=closes,
        step=process.step,
        volume=np.rint(busy * typical * 1e8) / 1e8,
    )


def _fraction(words: Words) -> Floats:
    """From 0 to below 1, of the upper 53 bits: the lower 11 are free for another draw."""
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _bell(words: Words) -> Floats:
    """About normal, deviation 1, exactly symmetric about 0: the sum of a word's four 16-bit parts."""
    total = np.zeros(words.shape, dtype=np.uint64)
    for bits in (0, 16, 32, 48):
        total += words >> np.uint64(bits) & np.uint64(0xFFFF)
    return (total.astype(np.float64) - 2 * 0xFFFF) / math.sqrt((2**32 - 1) / 3)
