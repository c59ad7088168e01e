"""One balance over several wishes of one moment: who gets how much when not all can have their size.

Laws: every order is one that the sizing rule allows for the whole balance, cut at most to its
smallest allowed size; together the orders never pass the balance less reserve, nor the slots; a wish
gets nothing only when no slot is left or its smallest order does not fit beside the others.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from itertools import accumulate
from operator import mul
from typing import NamedTuple

from lotwise.domain.market import PPM, Market, exponent
from lotwise.domain.orders import Opportunity
from lotwise.domain.policy import Policy
from lotwise.domain.sizing import (
    UNBOUNDED,
    Bound,
    Purse,
    Refused,
    Sized,
    Terms,
    _Frame,
    choose_lots,
    pose,
    size_order,
)
from lotwise.domain.values import EXACT, Amount, require, steps_down

PLANS = 5000
"""Lots are coarse when each half of the wishes has at most this many plans: then all are tried."""

SETS = 4096
"""How many sets of wishes are looked at where lots are fine: enough for all sets of twelve."""

ONE_PPM = Decimal("0.000001")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A wish that passed its checks, and what it promises: `edge` is the gain at its target, net of
    both fees, as a fraction of the notional.

    Confidence and edge count in whole ppm, rounded down; an edge below 0 counts as 0: such a wish
    takes only what no other can use. Raises BadField.
    """

    opportunity: Opportunity
    market: Market
    policy: Policy
    edge: Decimal

    def __post_init__(self) -> None:
        require(0 <= self.opportunity.confidence <= 1, "confidence", "must be from 0 to 1")
        exact = isinstance(self.edge, Decimal) and self.edge.is_finite()
        require(exact, "edge", "must be an exact, finite number")

    @property
    def promise(self) -> int:
        """Confidence x edge: the expected gain on a notional of 10^12."""
        top, bottom = self.opportunity.confidence.as_integer_ratio()
        return top * PPM // bottom * max(0, steps_down(self.edge, ONE_PPM))


class Crowded(NamedTuple):
    """Sized alone, but the orders `by` of the same moment leave it no slot or too little balance.

    needed: the smallest free balance, once those orders are placed, with which it is sized; short:
    how much of that they leave missing. Both None when no slot is left: no balance would do.
    """

    symbol: str
    by: tuple[str, ...]
    needed: Decimal | None
    short: Decimal | None


class _Claim(NamedTuple):
    """What one wish may get, in lots, and in quanta that are the same for all claims."""

    place: int
    candidate: Candidate
    frame: _Frame
    terms: Terms
    least: int
    most: int
    least_debit: int
    worth: int
    """Of one lot; with its share in the breaking of ties, so no two plans are worth the same."""
    cost: int
    """Of one lot with its fee, in ppm of a quantum; lots x cost never exceeds their debit."""

    def debit(self, lots: int) -> int:
        """What this many lots take from the balance."""
        return self.frame.costs(lots, self.terms)[1] * self.terms.unit

    def within(self, quanta: int) -> int:
        """The most lots that these quanta pay, given that they pay the least."""
        purse = Purse(quanta, 1, 1, self.most * self.terms.lot_cost, -1, 1)
        return choose_lots(purse, self.terms, UNBOUNDED)[1]

    def sized(self, lots: int) -> Sized:
        """The order of fewer lots than it would get alone."""
        return self.frame.sized(Bound.BALANCE, lots, self.terms, self.candidate.opportunity.price)


class _Plan(NamedTuple):
    """Some orders: their worth, what they debit, how many they are, and (place, lots) of each. The
    larger of two plans is the one worth more."""

    worth: int = 0
    debit: int = 0
    orders: int = 0
    lots: tuple[tuple[int, int], ...] = ()

    def plus(self, claim: _Claim, lots: int, debit: int) -> "_Plan":
        """The plan with one order more."""
        worth = self.worth + lots * claim.worth
        return _Plan(worth, self.debit + debit, self.orders + 1, (*self.lots, (claim.place, lots)))

    def beside(self, plan: "_Plan") -> "_Plan":
        """Both plans as one."""
        return _Plan(
            self.worth + plan.worth,
            self.debit + plan.debit,
            self.orders + plan.orders,
            self.lots + plan.lots,
        )


def allocate(
    candidates: Sequence[Candidate], free: Amount, slots: int
) -> tuple[Sized | Refused | Crowded, ...]:
    """The orders of one moment that promise the most, answered in the order given: the largest sum
    of confidence x edge x notional; of plans with equal sums, the one that gives the first wish the
    most lots, then the second, and so on. `slots`: how many orders may be opened.

    What `size_order` refuses for the whole balance stays Refused. An order is at most what
    `size_order` gives that wish alone, and at least its smallest allowed; if cut, bound by BALANCE.

    Exact where lots are coarse: when half of the wishes have at most PLANS plans (twelve wishes of
    three sizes each, say, or six of sixteen). Elsewhere the sum is below the largest by at most one
    ppm and what one lot of one wish, and two quote units for each wish, promise: as long as at most
    twelve wishes could be sized alone. Of more, no more than SETS sets are looked at.

    Raises BadField where `size_order` does, for slots below 0, and for unequal reserves.
    """
    require(slots >= 0, "slots", "must not be below 0")
    require(len({c.policy.reserve for c in candidates}) < 2, "reserve", "must be one for one balance")
    alone = [size_order(c.opportunity, c.market, free, c.policy) for c in candidates]
    wanted = [size for size in alone if isinstance(size, Sized)]
    if not wanted:
        return tuple(alone)
    spendable = EXACT.subtract(free.number, candidates[0].policy.reserve)
    if len(wanted) <= slots and _debits(wanted) <= spendable:
        return tuple(alone)
    budget, claims = _claims(candidates, alone, spendable)
    slots = min(slots, len(claims))
    plan = _best_of_all(claims, budget, slots) or _best_of_sets(claims, budget, slots)

    given = dict(plan.lots)
    orders = {c.place: c.sized(given[c.place]) for c in claims if given.get(c.place, c.most) < c.most}
    answers: list[Sized | Refused | Crowded] = [orders.get(i, size) for i, size in enumerate(alone)]
    placed = [size for i, size in enumerate(answers) if i in given and isinstance(size, Sized)]
    left = Amount(EXACT.subtract(free.number, _debits(placed)), free.asset)
    for claim in claims:
        if claim.place not in given:
            answers[claim.place] = _crowded(claim.candidate, placed, left, slots)
    return tuple(answers)


def _crowded(wish: Candidate, placed: Sequence[Sized], left: Amount, slots: int) -> Crowded:
    """What a wish is told that got nothing."""
    by = tuple(order.symbol for order in placed)
    if len(placed) == slots:
        return Crowded(wish.opportunity.symbol, by, None, None)
    no = size_order(wish.opportunity, wish.market, left, wish.policy)
    assert isinstance(no, Refused), "what fits beside the others is given"
    return Crowded(wish.opportunity.symbol, by, no.needed, no.short)


def _debits(orders: Iterable[Sized]) -> Decimal:
    total = Decimal(0)
    for order in orders:
        total = EXACT.add(total, order.debit)
    return total


def _claims(
    candidates: Sequence[Candidate], alone: Sequence[Sized | Refused], spendable: Decimal
) -> tuple[int, list[_Claim]]:
    """The balance and the claims of all that would be sized alone, in common quanta."""
    digits = max(-exponent(spendable), *(c.market.grid.digits for c in candidates))
    budget = int(EXACT.scaleb(spendable, digits))
    claims = []
    for place, wish in enumerate(candidates):
        if isinstance(alone[place], Refused):
            continue
        frame, purse, terms = pose(wish.opportunity, wish.market, wish.policy, spendable, digits)
        _, most, least = choose_lots(purse, terms, UNBOUNDED)
        worth = wish.promise * terms.lot_cost
        cost = terms.lot_cost * (PPM if terms.fee_in_base else PPM + terms.fee_ppm)
        claim = _Claim(place, wish, frame, terms, least, most, 0, worth, cost)
        claims.append(claim._replace(least_debit=claim.debit(least)))
    # Beside its worth each lot counts in a number whose digits are the lots of each claim, the first
    # claim's the highest. All lots of a plan together stay below `above`, one unit of worth: so of two
    # plans that promise the same, the one that gives the earlier wish more is the one worth more.
    *ties, above = accumulate((claim.most + 1 for claim in reversed(claims)), mul, initial=1)
    pairs = zip(claims, reversed(ties), strict=True)
    return budget, [claim._replace(worth=claim.worth * above + tie) for claim, tie in pairs]


def _best_of_all(claims: Sequence[_Claim], budget: int, slots: int) -> _Plan | None:
    """The best plan, found by trying all: each plan of one half of the claims beside the best plan of
    the other half that still fits. None when a half has too many plans."""
    widest_first = sorted(claims, key=lambda claim: claim.least - claim.most)
    one = _all_plans(widest_first[::2], budget, slots)
    other = None if one is None else _all_plans(widest_first[1::2], budget, slots)
    if one is None or other is None:
        return None
    other.sort(key=lambda plan: plan.debit)
    widest = len(claims) // 2
    best = _Plan()
    for room in {min(slots - plan.orders, widest) for plan in one}:
        beside = [plan for plan in other if plan.orders <= room]
        debits = [plan.debit for plan in beside]
        # The best up to each debit; the empty plan comes first, so there always is one.
        beside = list(accumulate(beside, max))
        for plan in one:
            if min(slots - plan.orders, widest) == room:
                match = beside[bisect_right(debits, budget - plan.debit) - 1]
                if plan.worth + match.worth > best.worth:
                    best = plan.beside(match)
    return best


def _all_plans(claims: Sequence[_Claim], budget: int, slots: int) -> list[_Plan] | None:
    """Every plan within budget and slots, or None when they may be more than PLANS."""
    plans = [_Plan()]
    for claim in claims:
        if len(plans) * (claim.most - claim.least + 2) > PLANS:
            return None
        sizes = [(lots, claim.debit(lots)) for lots in range(claim.least, claim.most + 1)]
        plans += [
            plan.plus(claim, lots, debit)
            for plan in plans
            if plan.orders < slots
            for lots, debit in sizes
            if plan.debit + debit <= budget
        ]
    return plans


def _best_of_sets(claims: Sequence[_Claim], budget: int, slots: int) -> _Plan:
    """A plan that misses the best by no more than the slack and a ppm.

    Sets of claims that are sure of their smallest order are visited in depth, each once, the ones
    worth most per cost first; `_filled` makes each a plan. A set is left out, with all that extend
    it, when even `_ceiling` promises no more than the slack above the best so far. So nothing that is
    left out, and no other plan of a visited set (see `_filled`), beats the best by more than that.
    A ppm makes no plan better than an earlier one, or crumbs of lots would decide between equals.
    """
    ranked = sorted(claims, key=lambda claim: Fraction(claim.worth, claim.cost), reverse=True)
    two_units = 2 * len(claims) * max(claim.terms.unit for claim in claims) * PPM
    slack = max(claim.worth + -(-two_units * claim.worth // claim.cost) for claim in claims)
    best = _filled(ranked, (), budget, slots)
    waiting: list[tuple[int, ...]] = [()]
    for _ in range(SETS):
        if not waiting:
            break
        chosen = waiting.pop()
        if _ceiling(ranked, chosen, budget) <= best.worth + slack:
            continue
        plan = _filled(ranked, chosen, budget, slots)
        if plan.worth * PPM > best.worth * (PPM + 1):
            best = plan
        left = budget - sum(ranked[i].least_debit for i in chosen)
        if len(chosen) < slots:
            after = range(chosen[-1] + 1 if chosen else 0, len(ranked))
            waiting += [(*chosen, i) for i in reversed(after) if ranked[i].least_debit <= left]
    return best


def _ceiling(ranked: Sequence[_Claim], chosen: tuple[int, ...], budget: int) -> int:
    """No plan that holds the chosen, and of the others only such as follow them, is worth more.

    It is what the budget buys when orders cost no more than their lots do, when only the chosen have
    a smallest order, and when lots can be cut: first the smallest orders, then the dearest worth.
    """
    left, worth = budget * PPM, 0
    for i in chosen:
        left -= ranked[i].least * ranked[i].cost
        worth += ranked[i].least * ranked[i].worth
    following = chosen[-1] + 1 if chosen else 0
    for i, claim in enumerate(ranked):
        lots = claim.most - claim.least if i in chosen else claim.most if i >= following else 0
        if lots * claim.cost > left:
            return worth + left * claim.worth // claim.cost
        left -= lots * claim.cost
        worth += lots * claim.worth
    return worth


def _filled(ranked: Sequence[_Claim], chosen: tuple[int, ...], budget: int, slots: int) -> _Plan:
    """The chosen in whole lots, each in turn as large as the budget allows beside the smallest orders
    of the rest; then any others that still fit.

    It is below the ceiling of the chosen alone by less than the slack. Let the first that did not get
    its most be cut: one lot more of it, its debit up to two units above its cost, did not fit beside
    the others, whose debits are each up to two units above their costs. So less than its one lot and
    two units for each order remained, and nothing in the ceiling earns more on them than it does.
    """
    plan, held = _Plan(), sum(ranked[i].least_debit for i in chosen)
    for i in chosen:
        claim = ranked[i]
        held -= claim.least_debit
        lots = claim.within(budget - plan.debit - held)
        plan = plan.plus(claim, lots, claim.debit(lots))
    for i, claim in enumerate(ranked):
        left = budget - plan.debit
        if i not in chosen and plan.orders < slots and claim.least_debit <= left:
            lots = claim.within(left)
            plan = plan.plus(claim, lots, claim.debit(lots))
    return plan
