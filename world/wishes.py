"""A strategy for the simulated world: it wishes often, for no good reason, and the same for the same bars."""

import zlib
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lotwise.strategies.candles import Candles, Floats

MINUTE = 60_000


@dataclass(frozen=True, slots=True)
class Often:
    """Wishes to buy at about every second bar, and now and then to sell, as the bar's date has it."""

    name: ClassVar[str] = "often"
    warm_up: ClassVar[int] = 0

    def confidence(self, candles: Candles) -> Floats:
        minutes = candles.dates // MINUTE + zlib.crc32(candles.symbol.encode())
        digits = (minutes * 2_654_435_761 >> 13) % 16
        wishes: Floats = np.where(digits < 8, (digits + 1) / 8, np.where(digits == 15, -1.0, 0.0))
        return wishes
