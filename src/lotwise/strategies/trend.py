"""Buy a rise: an example of a strategy, not a profitable one."""

from dataclasses import dataclass
from math import sqrt
from typing import ClassVar

import numpy as np

from lotwise.domain.values import require
from lotwise.strategies.candles import Candles, Floats
from lotwise.strategies.indicators import moving_average, moving_deviation


@dataclass(frozen=True, slots=True)
class Trend:
    """Wishes to buy when the average of `fast` bars leads that of `slow` bars, and the slow one rises.

    The lead is counted in deviations of the slow window and must be above `lead`; the slow average
    must lie above that of `fast` bars ago. Confidence grows with the lead, from a half at `lead`.
    It buys what has risen already, so late and often near the top; it wishes to sell once the fast
    average has fallen below the slow one. Raises BadField.
    """

    fast: int = 12
    slow: int = 96
    lead: float = 1.8
    name: ClassVar[str] = "trend"

    def __post_init__(self) -> None:
        require(2 <= self.slow <= 10_000, "slow", "must be from 2 to 10000 bars")
        require(
            1 <= self.fast < self.slow, "fast", f"must be from 1 to below {self.slow} bars, those of slow"
        )
        # Reached when the prices of either part of the window are all alike.
        most = sqrt(self.slow / self.fast - 1)
        require(0 < self.lead < most, "lead", f"must be above 0 and below {most:.3f}, the most there can be")

    @property
    def warm_up(self) -> int:
        return self.slow + self.fast - 1

    def confidence(self, candles: Candles) -> Floats:
        closes = candles.closes()
        average = moving_average(closes, self.slow)
        ahead = moving_average(closes, self.fast) - average
        deviation = moving_deviation(closes, self.slow)
        rising = np.zeros(len(closes), dtype=np.bool_)
        rising[self.fast :] = average[self.fast :] > average[: -self.fast]
        # Multiplied, not divided: flat prices have no deviation. NaN (warm-up) compares as false.
        leads = rising & (ahead > self.lead * deviation)
        distance = np.divide(ahead, deviation, out=np.zeros(len(closes)), where=leads)
        wishes = np.minimum(distance / (2 * self.lead), 1.0)
        over = ahead < 0
        over[: self.warm_up] = False
        return np.where(over, -1.0, wishes)
