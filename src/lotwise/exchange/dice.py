"""Chance that can be repeated: one number is its whole state.

Law: a seed gives the same words everywhere. (SplitMix64: G. L. Steele, D. Lea, C. H. Flood, "Fast
splittable pseudorandom number generators", 2014.)
"""

MASK = 2**64 - 1


class Dice:
    """`state` is all there is to save."""

    __slots__ = ("state",)

    def __init__(self, state: int) -> None:
        self.state = state & MASK

    def word(self) -> int:
        """64 random bits."""
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        word = self.state
        word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & MASK
        return word ^ (word >> 31)

    def fractions(self) -> tuple[float, float]:
        """Two draws from 0 to below 1, of one word."""
        word = self.word()
        return (word >> 32) * 2.0**-32, (word & 0xFFFFFFFF) * 2.0**-32
