"""The allocation told literally: every plan is tried. Each wish gets nothing or any one of its sizes,
the debits must fit, the orders must not pass the slots, and the best plan wins.

Law: no code is shared with lotwise.domain.allocation. Sizes come from the oracle of the sizing rule.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import combinations
from math import floor, lcm

from tests.sizing_oracle import Oracle, Try

PPM = 10**6


@dataclass(frozen=True)
class Wish:
    """One candidate: its sizing oracle, how sure it is, and its gain net of fees (fractions of 1)."""

    oracle: Oracle
    confidence: float
    edge: Fraction

    @cached_property
    def promise(self) -> Fraction:
        """What one of notional is worth: confidence and edge in whole ppm, and no edge below 0."""
        confidence = Fraction(floor(Fraction(self.confidence) * PPM), PPM)
        return confidence * max(Fraction(0), Fraction(floor(self.edge * PPM), PPM))

    def sizes(self, free: Fraction) -> list[Try]:
        """From the smallest allowed quantity to the one that the sizing rule gives it alone."""
        chosen = self.oracle.choose(free)
        if chosen is None:
            return []
        possible = self.oracle.possible(free - self.oracle.question.reserve)
        return [one for one in possible if one.k <= chosen[0].k]


@dataclass(frozen=True)
class Best:
    """The best plan: the lots of each wish (0: nothing) and its worth. `plans`: how many were tried."""

    lots: tuple[int, ...]
    worth: Fraction
    plans: int


def spendable(wishes: Sequence[Wish], free: Fraction) -> Fraction:
    (reserve,) = {wish.oracle.question.reserve for wish in wishes}
    return free - reserve


def best_plan(wishes: Sequence[Wish], free: Fraction, slots: int) -> Best:
    """By trying them all; of equals the one with the most lots for the first wish, then the second."""
    options = [
        [(one.k, one.debit, wish.promise * one.notional) for one in wish.sizes(free)] for wish in wishes
    ]
    balance = spendable(wishes, free)
    # Whole numbers of one common denominator, so that trying is quick.
    common = lcm(balance.denominator, *(x.denominator for sizes in options for _, *two in sizes for x in two))
    whole = [[(k, int(debit * common), int(worth * common)) for k, debit, worth in one] for one in options]
    best = (0, (0,) * len(wishes))
    plans = 0

    def walk(lots: tuple[int, ...], left: int, slots: int, worth: int) -> None:
        nonlocal best, plans
        if len(lots) == len(wishes):
            plans += 1
            best = max(best, (worth, lots))
            return
        walk((*lots, 0), left, slots, worth)
        if slots:
            for k, debit, more in whole[len(lots)]:
                if debit <= left:
                    walk((*lots, k), left - debit, slots - 1, worth + more)

    walk((), int(balance * common), slots, 0)
    return Best(best[1], Fraction(best[0], common), plans)


def ceiling(wishes: Sequence[Wish], free: Fraction, slots: int) -> Fraction:
    """No plan is worth more: for each set whose smallest orders fit, what the balance buys when lots
    can be cut and nothing is rounded up. For grids too fine to walk."""
    ranges = {i: (sizes[0], sizes[-1]) for i, wish in enumerate(wishes) if (sizes := wish.sizes(free))}
    balance = spendable(wishes, free)
    most = Fraction(0)
    for count in range(1, min(slots, len(ranges)) + 1):
        for chosen in combinations(ranges, count):
            if sum(ranges[i][0].debit for i in chosen) <= balance:
                most = max(
                    most, cut_finely([wishes[i] for i in chosen], [ranges[i] for i in chosen], balance)
                )
    return most


def cut_finely(wishes: Sequence[Wish], ranges: Sequence[tuple[Try, Try]], left: Fraction) -> Fraction:
    worth = Fraction(0)
    rates = []
    for wish, (least, most) in zip(wishes, ranges, strict=True):
        question = wish.oracle.question
        cost = 1 if question.fee_in_base else 1 + question.fee_rate
        worth += wish.promise * least.notional
        left -= cost * least.notional
        rates.append((wish.promise / cost, cost * (most.notional - least.notional)))
    for rate, room in sorted(rates, reverse=True):
        spent = min(room, left)
        worth += rate * spent
        left -= spent
    return worth
