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

    def below(self, limit: int) -> int:
        """A whole number from 0 to below the limit, which is far below 2^64."""
        return (self.word() * limit) >> 64

    def fraction(self) -> float:
        """From 0 to below 1."""
        return (self.word() >> 11) * 2.0**-53
