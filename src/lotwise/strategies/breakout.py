"""Buy a breakout: an example of a strategy, not a profitable one."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lotwise.domain.values import require
from lotwise.strategies.candles import Candles, Floats
from lotwise.strategies.indicators import moving_average, moving_highest


@dataclass(frozen=True, slots=True)
class Breakout:
    """Wishes to buy when the close lies above every high of the last `length` bars, on a busy bar.

    Busy: the volume is above `busy` times the average of those bars (this one is not among them).
    Confidence grows with the volume, from a half at `busy` to 1 at twice that. Many breakouts fail,
    and the price is the highest there was. Raises BadField.
    """

    length: int = 24
    busy: float = 1.5
    name: ClassVar[str] = "breakout"

    def __post_init__(self) -> None:
        require(1 <= self.length <= 10_000, "length", "must be from 1 to 10000 bars")
        require(0 < self.busy <= 1000, "busy", "must be above 0 and at most 1000 times the average")

    @property
    def warm_up(self) -> int:
        return self.length

    def confidence(self, candles: Candles) -> Floats:
        confidence = np.zeros(len(candles))
        # Each bar from the second on, beside what the bars before it came to.
        close, volume = candles.close[1:], candles.volume[1:]
        highest = moving_highest(candles.high, self.length)[:-1]
        enough = self.busy * moving_average(candles.volume, self.length)[:-1]
        breaks = (close > highest) & (volume > enough)
        # The larger of the two below: at most 1, and no quotient without bounds.
        np.divide(volume, np.maximum(volume, 2 * enough), out=confidence[1:], where=breaks)
        return confidence
