"""Where a pair's fair price goes: made up by chance, or along recorded candles.

Laws: made-up prices are a fair martingale (the expected next price is the present one); only such float
operations as every machine rounds alike. A fair price is a signal, never money.
"""

import math
from collections.abc import Sequence
from typing import Protocol

from lotwise.domain.market import Candle
from lotwise.domain.values import require
from lotwise.exchange.dice import Dice
from lotwise.exchange.prices import SWING, YEAR

REGIMES = (900, 14_400, 172_800)
"""The variance is a product of factors; each keeps its value for so many seconds on average."""


class Path(Protocol):
    """A fair price over time, asked for at times that never go back."""

    def at(self, time: int) -> float:
        """The fair price in quote at a time in milliseconds."""


class Walk:
    """A random walk by factors with its variance in regimes. volatility: the standard deviation of a
    typical year, as a fraction. `price`, `time`, `factors` and the dice are its state. Raises BadField."""

    def __init__(self, price: float, volatility: float, dice: Dice, time: int) -> None:
        require(price > 0, "price", "must be above 0")
        require(0 < volatility <= 3, "volatility", "must be above 0 and at most 3")
        self.price = price
        self.volatility = volatility
        self.dice = dice
        self.time = time
        self.factors = [1.0 + SWING, 1.0 - SWING, 1.0 + SWING]

    def at(self, time: int) -> float:
        """See Path. One move, however long ago the last was."""
        if time > self.time:
            variance = self.volatility * self.volatility * (time - self.time) / YEAR
            self.time = time
            word = self.dice.word()
            for place, lasting in enumerate(REGIMES):
                if word % lasting == 0:
                    self.factors[place] = 1.0 + SWING if word // lasting & 1 else 1.0 - SWING
                variance *= self.factors[place]
            # Four 16-bit parts sum to about a bell, exactly symmetric: no drift.
            word = self.dice.word()
            parts = (word & 0xFFFF) + (word >> 16 & 0xFFFF) + (word >> 32 & 0xFFFF) + (word >> 48)
            bell = (parts - 2 * 0xFFFF) / math.sqrt((2**32 - 1) / 3)
            self.price *= 1.0 + bell * math.sqrt(variance)
        return self.price


class Recorded:
    """Along candles: from the open by the nearer extreme and the other one to the close, in thirds of the
    bar; before the first and after the last it stands still. Raises BadField without candles."""

    def __init__(self, candles: Sequence[Candle], bar: int) -> None:
        require(len(candles) > 0, "candles", "must be some")
        self._candles = candles
        self._bar = bar
        self._place = 0

    def at(self, time: int) -> float:
        """See Path."""
        candles = self._candles
        while self._place + 1 < len(candles) and candles[self._place + 1].date <= time:
            self._place += 1
        candle = candles[self._place]
        opened, high, low, close = map(float, (candle.open, candle.high, candle.low, candle.close))
        turns = (opened, low, high, close) if opened - low < high - opened else (opened, high, low, close)
        part = min(max(3.0 * (time - candle.date) / self._bar, 0.0), 3.0)
        leg = min(int(part), 2)
        return turns[leg] + (turns[leg + 1] - turns[leg]) * (part - leg)
