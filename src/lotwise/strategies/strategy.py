"""What a strategy is: candles in, for each bar how much it wishes to buy or sell at that bar's close.

Law: causal. Cutting the candles after bar t never changes a value at or before t, to the last bit.
"""

from typing import Protocol

from lotwise.strategies.candles import Candles, Floats


class Strategy(Protocol):
    """A strategy's parameters are its own fields; it keeps no state between calls."""

    @property
    def name(self) -> str:
        """The word that settings use for it."""

    @property
    def warm_up(self) -> int:
        """How many bars must come first: confidence is 0 for that many."""

    def confidence(self, candles: Candles) -> Floats:
        """For each bar how sure the wish to buy is, from 0 (no wish) to 1, or below 0, to -1, the wish to
        sell what is held; never NaN."""
