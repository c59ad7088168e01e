"""Buy a dip: an example of a strategy, not a profitable one."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lotwise.domain.values import require
from lotwise.strategies.candles import Candles, Floats
from lotwise.strategies.indicators import moving_average, moving_deviation


@dataclass(frozen=True, slots=True)
class Dip:
    """Wishes to buy when the close lies more than `depth` deviations below its average of `length` bars.

    Confidence grows with the distance, from a half at `depth` to 1 at twice that. Raises BadField.
    """

    length: int = 48
    depth: float = 2.5
    name: ClassVar[str] = "dip"

    def __post_init__(self) -> None:
        require(2 <= self.length <= 10_000, "length", "must be from 2 to 10000 bars")
        require(0 < self.depth <= 100, "depth", "must be above 0 and at most 100 deviations")

    @property
    def warm_up(self) -> int:
        return self.length - 1

    def confidence(self, candles: Candles) -> Floats:
        closes = candles.closes()
        below = moving_average(closes, self.length) - closes
        deviation = moving_deviation(closes, self.length)
        # Multiplied, not divided: flat prices have no deviation. NaN (warm-up) compares as false.
        dips = below > self.depth * deviation
        distance = np.divide(below, deviation, out=np.zeros(len(closes)), where=dips)
        return np.minimum(distance / (2 * self.depth), 1.0)
