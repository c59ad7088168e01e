"""The sizing rule told literally: every quantity is tried, and nothing is computed that can be tried.

Law: no code is shared with lotwise.domain.sizing. Money is a Fraction, a quantity is k lots, and each
k is judged by itself: is it allowed, is it affordable, what stands in its way. Slow on purpose.
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cached_property

from lotwise.domain.market import FeeAsset, Liquidity, Market
from lotwise.domain.orders import Opportunity
from lotwise.domain.policy import Policy
from lotwise.domain.sizing import Refused, Sized

FURTHEST = 4000
"""No walk goes on beyond this k: the cases are to be coarse."""
STANDING = ("BELOW_MIN_QUANTITY", "BELOW_MIN_NOTIONAL", "BELOW_FLOOR", "UNSELLABLE_AT_STOP")
"""What a larger quantity cures, in the order in which ties are told."""


@dataclass(frozen=True, slots=True)
class Question:
    """A pair's rules, a limit price and a policy: all but the balance. Rates are fractions of 1."""

    price: Fraction
    tick: Fraction
    lot: Fraction
    unit: Fraction
    min_quantity: Fraction
    min_notional: Fraction
    max_quantity: Fraction | None
    fee_rate: Fraction
    fee_in_base: bool
    fee_asset: str
    fraction: Fraction
    cap: Fraction
    risk: Fraction | None
    floor: Fraction
    reserve: Fraction
    stop: Fraction
    headroom: Fraction
    raise_to_minimum: bool

    @property
    def hard_limit(self) -> Fraction:
        return self.cap if self.risk is None else min(self.cap, self.risk)

    @property
    def stop_price(self) -> Fraction:
        return down(self.price * (1 - self.stop), self.tick)


@dataclass(frozen=True, slots=True)
class Try:
    """One quantity: what it costs, what it brings, and every rule that forbids it."""

    k: int
    quantity: Fraction
    notional: Fraction
    fee: Fraction
    debit: Fraction
    received: Fraction
    sell: Fraction
    exit_notional: Fraction
    faults: frozenset[str]

    @property
    def allowed(self) -> bool:
        return not self.faults


@dataclass(frozen=True, slots=True)
class Placed:
    """The oracle's yes, with the fields of Sized."""

    quantity: Fraction
    notional: Fraction
    fee: Fraction
    fee_asset: str
    debit: Fraction
    received: Fraction
    exit_notional: Fraction
    bound: str


@dataclass(frozen=True, slots=True)
class Skipped:
    """The oracle's no, with the fields of Refused."""

    reason: str
    needed: Fraction | None
    short: Fraction | None


def down(number: Fraction, step: Fraction) -> Fraction:
    return number // step * step


def up(number: Fraction, step: Fraction) -> Fraction:
    return -(-number // step) * step


def question_of(opportunity: Opportunity, market: Market, policy: Policy) -> Question:
    """The same request in fractions."""
    maker = opportunity.liquidity is Liquidity.MAKER
    in_base = market.fee_asset is FeeAsset.BASE
    base, quote = market.symbol.split("/")
    return Question(
        price=Fraction(opportunity.price),
        tick=Fraction(market.tick_size),
        lot=Fraction(market.lot_step),
        unit=Fraction(1, 10**market.quote_precision),
        min_quantity=Fraction(market.min_quantity),
        min_notional=Fraction(market.min_notional),
        max_quantity=optional(market.max_quantity),
        fee_rate=Fraction(market.maker_fee if maker else market.taker_fee),
        fee_in_base=in_base,
        fee_asset=base if in_base else quote,
        fraction=Fraction(policy.fraction),
        cap=Fraction(policy.cap),
        risk=optional(policy.risk_target),
        floor=Fraction(policy.floor),
        reserve=Fraction(policy.reserve),
        stop=Fraction(policy.stop),
        headroom=Fraction(policy.exit_headroom),
        raise_to_minimum=policy.raise_to_minimum,
    )


def optional(number: Decimal | None) -> Fraction | None:
    return None if number is None else Fraction(number)


def told(answer: Sized | Refused) -> Placed | Skipped:
    """The program's answer in the oracle's words."""
    match answer:
        case Sized():
            return Placed(
                Fraction(answer.quantity),
                Fraction(answer.notional),
                Fraction(answer.fee),
                answer.fee_asset,
                Fraction(answer.debit),
                Fraction(answer.received),
                Fraction(answer.exit_notional),
                answer.bound.value,
            )
        case Refused():
            return Skipped(answer.reason.value, optional(answer.needed), optional(answer.short))


class Oracle:
    """Answers one question for any balance by walking k = 1, 2, 3, ..."""

    def __init__(self, question: Question) -> None:
        self.question = question
        self.stop_price = question.stop_price
        self._attempts: dict[int, Try] = {}
        self._possible: dict[Fraction, list[Try]] = {}

    def answer(self, free: Fraction) -> Placed | Skipped:
        chosen = self.choose(free)
        if chosen is None:
            needed = self.needed
            return Skipped(self.reason(free), needed, None if needed is None else needed - free)
        best, bound = chosen
        return Placed(
            best.quantity,
            best.notional,
            best.fee,
            self.question.fee_asset,
            best.debit,
            best.received,
            best.exit_notional,
            bound,
        )

    def choose(self, free: Fraction) -> tuple[Try, str] | None:
        """The quantity to order and its bound, or None."""
        q = self.question
        spendable = free - q.reserve
        if spendable <= 0:
            return None
        target = min(q.fraction * spendable, q.hard_limit)
        possible = self.possible(spendable)
        within = [one for one in possible if one.notional <= target]
        if within:
            return within[-1], self.bound_above(within[-1], spendable)
        if q.raise_to_minimum and possible and possible[0].notional <= q.hard_limit:
            return possible[0], "minimum"
        return None

    def bound_above(self, best: Try, spendable: Fraction) -> str:
        """The first rule that one lot more would break."""
        q, more = self.question, self.attempt(best.k + 1)
        if "ABOVE_MAX_QUANTITY" in more.faults:
            return "max_quantity"
        if more.debit > spendable:
            return "balance"
        if more.notional > q.cap:
            return "cap"
        if q.risk is not None and more.notional > q.risk:
            return "risk"
        assert more.notional > q.fraction * spendable, "nothing is tight above the choice"
        return "fraction"

    def reason(self, free: Fraction) -> str:
        """Why nothing can be ordered, the first that holds."""
        q = self.question
        spendable = free - q.reserve
        if spendable <= 0:
            return "NO_FREE_BALANCE"
        if self.stop_price == 0:
            return "UNSELLABLE_AT_STOP"
        least = self.least
        if least is None:
            return "ABOVE_MAX_QUANTITY"
        if least.notional > q.cap:
            return "CAP_BELOW_MINIMUM"
        if q.risk is not None and least.notional > q.risk:
            return "RISK_BELOW_MINIMUM"
        if least.notional <= spendable < least.debit:
            return "FEES_EXCEED_FREE"
        if spendable < least.debit:
            return self.standing(least)
        assert not q.raise_to_minimum, "nothing stands in the way"
        return "FRACTION_BELOW_MINIMUM"

    def standing(self, least: Try) -> str:
        """The first rule whose own smallest k is the smallest allowed k."""
        tries = self.tries(Fraction(0))
        for rule in STANDING:
            own = next(one.k for one in tries if rule not in one.faults)
            if own == least.k:
                return rule
        raise AssertionError("no rule sets the smallest allowed quantity")

    @cached_property
    def least(self) -> Try | None:
        """The smallest allowed quantity."""
        if self.stop_price == 0:
            return None
        return next((one for one in self.tries(Fraction(0)) if one.allowed), None)

    @cached_property
    def needed(self) -> Fraction | None:
        """The smallest balance, in whole units, that is answered with a quantity; proven by trying."""
        q = self.question
        if self.stop_price == 0:
            return None
        enough = [
            q.reserve + (one.debit if q.raise_to_minimum else max(one.debit, one.notional / q.fraction))
            for one in self.tries(Fraction(0))
            if one.allowed and one.notional <= q.hard_limit
        ]
        if not enough:
            return None
        needed = up(min(enough), q.unit)
        assert self.choose(needed) is not None, "needed is too little"
        assert self.choose(needed - q.unit) is None, "needed is too much"
        return needed

    def possible(self, spendable: Fraction) -> list[Try]:
        """Every allowed, affordable quantity up to the hard limit, and maybe one above."""
        if spendable not in self._possible:
            self._possible[spendable] = [
                one for one in self.tries(spendable) if one.allowed and one.debit <= spendable
            ]
        return self._possible[spendable]

    def tries(self, spendable: Fraction) -> list[Try]:
        """Every k from 1 to past all that matters: the first one that no smallness forbids, and the
        first whose notional alone passes the spendable balance or the hard limit."""
        if self.stop_price == 0:
            return []
        enough = min(spendable, self.question.hard_limit)
        tries: list[Try] = []
        grown = False
        for k in range(1, FURTHEST):
            tries.append(one := self.attempt(k))
            grown = grown or one.faults <= {"ABOVE_MAX_QUANTITY"}
            if grown and one.notional > enough:
                return tries
        raise AssertionError(f"too fine a case to walk: {self.question}")

    def attempt(self, k: int) -> Try:
        """What ordering k lots means, worked out once."""
        if k not in self._attempts:
            self._attempts[k] = self._attempt(k)
        return self._attempts[k]

    def _attempt(self, k: int) -> Try:
        q = self.question
        quantity = k * q.lot
        notional = q.price * quantity
        if q.fee_in_base:
            fee = up(quantity * q.fee_rate, q.lot)
            debit = up(notional, q.unit)
            received = quantity - fee
        else:
            fee = up(notional * q.fee_rate, q.unit)
            debit = up(notional, q.unit) + fee
            received = quantity
        sell = down(received, q.lot)
        exit_notional = self.stop_price * sell
        sellable = (
            self.stop_price > 0
            and sell >= q.headroom * q.min_quantity
            and exit_notional >= q.headroom * q.min_notional
        )
        faults = {
            "ABOVE_MAX_QUANTITY": q.max_quantity is not None and quantity > q.max_quantity,
            "BELOW_MIN_QUANTITY": quantity < q.min_quantity,
            "BELOW_MIN_NOTIONAL": notional < q.min_notional,
            "BELOW_FLOOR": notional < q.floor,
            "UNSELLABLE_AT_STOP": not sellable,
        }
        broken = frozenset(fault for fault, holds in faults.items() if holds)
        return Try(k, quantity, notional, fee, debit, received, sell, exit_notional, broken)

    def on_a_bound(self, best: Try, free: Fraction) -> bool:
        """Whether one of the rules holds for this quantity with nothing to spare."""
        q = self.question
        spendable = free - q.reserve
        return (
            best.debit == spendable
            or best.notional in (min(q.fraction * spendable, q.hard_limit), q.hard_limit)
            or best.quantity in (q.min_quantity, q.max_quantity)
            or best.notional == max(q.floor, q.min_notional)
            or best.sell == q.headroom * q.min_quantity
            or best.exit_notional == q.headroom * q.min_notional
        )


class FineOracle(Oracle):
    """The same for grids too fine to walk: each rule turns once as k grows, so only the k beside the
    turning points are tried; each turning point is found by trying the middle."""

    def tries(self, spendable: Fraction) -> list[Try]:
        if self.stop_price == 0:
            return []
        q = self.question
        target = min(q.fraction * spendable, q.hard_limit)
        turns = [
            self.first(lambda one: one.debit > spendable),
            self.first(lambda one: one.notional > target),
            self.first(lambda one: one.notional > q.hard_limit),
            self.first(lambda one: one.faults <= {"ABOVE_MAX_QUANTITY"}),
        ]
        turns += [self.first(lambda one, rule=rule: rule not in one.faults) for rule in STANDING]  # type: ignore[misc]
        if q.max_quantity is not None:
            turns.append(self.first(lambda one: "ABOVE_MAX_QUANTITY" in one.faults))
        near = {k + beside for k in turns for beside in (-2, -1, 0, 1, 2)}
        return [self.attempt(k) for k in sorted(near) if k > 0]

    def first(self, turned: Callable[[Try], bool]) -> int:
        """The first k for which it holds, given that it then holds for all larger ones."""
        high = 1
        while not turned(self.attempt(high)):
            high *= 2
        low = high // 2
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if turned(self.attempt(middle)) else (middle, high)
        return high
