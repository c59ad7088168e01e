"""A strategy of your own: an example to change, not a profitable one.

Check it:  lotwise strategy check my_strategy:MyStrategy
Run it:    lotwise run --strategy my_strategy:MyStrategy

A strategy says for each bar how much it wishes to buy at that bar's close. Whether an order is placed,
how large it is and when it is sold again, lotwise decides (`lotwise why PAIR` tells afterwards).
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lotwise.strategies.candles import Candles, Floats
from lotwise.strategies.indicators import moving_average


@dataclass(frozen=True)
class MyStrategy:
    """Wishes to buy when the close crosses above its average of `length` bars."""

    # Parameters are fields, each with a default: lotwise calls MyStrategy() without arguments.
    length: int = 48

    # What messages call it.
    name: ClassVar[str] = "my_strategy"

    @property
    def warm_up(self) -> int:
        """How many bars must come before the first wish."""
        return self.length

    def confidence(self, candles: Candles) -> Floats:
        """For each bar a number from 0 (no wish) to 1 (very sure), never NaN, as an array of floats; below
        0, down to -1, it is a wish to sell what is held.

        Called once with all the bars of one pair, oldest first. candles has dates (milliseconds, UTC),
        open, high, low, close (whole steps of candles.step) and volume; closes() gives prices as floats.
        """
        closes = candles.closes()
        # NaN for the first bars, and no price is above NaN: no wish there.
        above = closes > moving_average(closes, self.length)
        # The value at a bar may use that bar and earlier ones, never a later one: lotwise asks again with
        # the later bars cut off, and a pair whose values then differ is not traded. So shift by slices;
        # np.roll would bring the last bar to the front.
        crosses = np.zeros(len(closes), dtype=bool)
        crosses[1:] = above[1:] & ~above[:-1]
        # NaN was not "above" either: the first bar with an average is no crossing.
        crosses[: self.warm_up] = False
        return np.where(crosses, 0.6, 0.0)
