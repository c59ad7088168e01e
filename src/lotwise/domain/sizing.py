"""The law of the program: the largest order that this balance may place, or why there is none.

`choose_lots` is the rule, once, on plain integers: Python calls it with numbers of any size and a
compiler may take it unchanged with 64-bit ones. `size_order` puts money in and takes money out.
The four properties (sound, complete, optimal, `needed` exact) are told in docs/sizing.md.
"""

from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from functools import lru_cache
from math import ceil
from typing import NamedTuple

from lotwise.domain.market import PPM, FeeAsset, Liquidity, Market, exponent, ppm
from lotwise.domain.orders import Opportunity
from lotwise.domain.policy import Policy
from lotwise.domain.values import EXACT, Amount, BadField, steps_down, steps_up

UNBOUNDED = 0
"""The ceiling of Python's own integers: none."""

CEILING_64 = (1 << 62) - 1
"""The ceiling for 64-bit integers, with room for one addition."""


class Bound(StrEnum):
    """What keeps a sized order from being one lot larger."""

    MAX_QUANTITY = "max_quantity"
    BALANCE = "balance"
    CAP = "cap"
    RISK = "risk"
    FRACTION = "fraction"
    MINIMUM = "minimum"


class Reason(StrEnum):
    """Why no quantity can be ordered."""

    NO_FREE_BALANCE = "NO_FREE_BALANCE"
    ABOVE_MAX_QUANTITY = "ABOVE_MAX_QUANTITY"
    CAP_BELOW_MINIMUM = "CAP_BELOW_MINIMUM"
    RISK_BELOW_MINIMUM = "RISK_BELOW_MINIMUM"
    FEES_EXCEED_FREE = "FEES_EXCEED_FREE"
    BELOW_MIN_QUANTITY = "BELOW_MIN_QUANTITY"
    BELOW_MIN_NOTIONAL = "BELOW_MIN_NOTIONAL"
    BELOW_FLOOR = "BELOW_FLOOR"
    UNSELLABLE_AT_STOP = "UNSELLABLE_AT_STOP"
    FRACTION_BELOW_MINIMUM = "FRACTION_BELOW_MINIMUM"


# What choose_lots answers, as small integers: a bound (sized), a reason (refused), or OVERFLOW.
OVERFLOW = -1
MAX_QUANTITY, BALANCE, CAP, RISK, FRACTION, MINIMUM = range(6)
(
    NO_FREE_BALANCE,
    ABOVE_MAX_QUANTITY,
    CAP_BELOW_MINIMUM,
    RISK_BELOW_MINIMUM,
    FEES_EXCEED_FREE,
    BELOW_MIN_QUANTITY,
    BELOW_MIN_NOTIONAL,
    BELOW_FLOOR,
    UNSELLABLE_AT_STOP,
    FRACTION_BELOW_MINIMUM,
) = range(6, 16)
BOUNDS = tuple(Bound)
REASONS = tuple(Reason)


class Purse(NamedTuple):
    """The money side, in quanta: what is free, how much of it to use, and the hard limits."""

    free: int
    """Balance less reserve; may be negative."""
    fraction_top: int
    fraction_bottom: int
    cap: int
    risk: int
    """A second hard limit; -1: none."""
    raise_to_minimum: int
    """1: a too small share is raised to the minimum; 0: it is refused."""


class Terms(NamedTuple):
    """The market side at one price: costs in quanta, quantities in lots, the fee in ppm."""

    lot_cost: int
    stop_lot_cost: int
    """What one lot fetches at the stop price; 0: nothing can be sold there."""
    unit: int
    min_lots: int
    max_lots: int
    """-1: none."""
    min_cost: int
    floor_cost: int
    exit_min_lots: int
    exit_min_cost: int
    fee_ppm: int
    fee_in_base: int


def choose_lots(purse: Purse, terms: Terms, ceiling: int) -> tuple[int, int, int]:
    """The rule: (outcome, lots, smallest allowed lots or -1); outcome is a bound, a reason or OVERFLOW.

    No intermediate result passes `ceiling` (0: no limit), or the answer is OVERFLOW: products are
    checked by a division first, and rates are applied to quotient and remainder.
    """
    free, fraction_top, fraction_bottom, cap, risk, raise_to_minimum = purse
    (lot_cost, stop_lot_cost, unit, min_lots, max_lots, min_cost, floor_cost,
     exit_min_lots, exit_min_cost, fee_ppm, fee_in_base) = terms  # fmt: skip
    # What is too large of the rest makes the smallest order too large, and is met there.
    if ceiling and (
        ceiling < max(free, cap, risk, unit, max_lots) or fraction_bottom > ceiling // fraction_bottom
    ):
        return OVERFLOW, 0, -1

    # The smallest lots that each rule allows; the largest of them is the minimum.
    notional_lots = -(-min_cost // lot_cost)
    floor_lots = -(-floor_cost // lot_cost)
    smallest = max(min_lots, notional_lots, floor_lots)
    if stop_lot_cost > 0:
        sell_lots = max(exit_min_lots, -(-exit_min_cost // stop_lot_cost))
        if fee_in_base:
            kept = 1000000 - fee_ppm
            if ceiling and sell_lots // kept >= ceiling // 1000000:
                return OVERFLOW, 0, -1
            sell_lots = sell_lots // kept * 1000000 - (-(sell_lots % kept * 1000000) // kept)
        smallest = max(smallest, sell_lots)
    if ceiling and smallest > ceiling // lot_cost:
        return OVERFLOW, 0, -1

    # The largest lots that the balance pays for, fee included.
    units = free // unit
    payable = units * unit
    if not fee_in_base and fee_ppm > 0 and free > 0:
        # Of all splits of the units into notional and fee, the best is at most one step from the
        # crossing of "notional fits its units" and "fee fits its units".
        whole = 1000000 + fee_ppm
        notional_units = units // whole * 1000000 + units % whole * 1000000 // whole
        payable = notional_units * unit
        fee_quanta = (units - notional_units - 1) * unit
        if fee_quanta >= 0:
            by_fee = fee_quanta // fee_ppm * 1000000 + fee_quanta % fee_ppm * 1000000 // fee_ppm
            payable = max(payable, by_fee)
    affordable = payable // lot_cost

    allowed = stop_lot_cost > 0 and (max_lots < 0 or smallest <= max_lots)
    k_min = smallest if allowed else -1
    if free <= 0:
        return NO_FREE_BALANCE, 0, k_min

    # The first tight bound, in order; a later one must be strictly tighter to take its place.
    bound, lots = BALANCE, affordable
    if 0 <= max_lots <= affordable:
        bound, lots = MAX_QUANTITY, max_lots
    hard = cap // lot_cost
    if hard < lots:
        bound, lots = CAP, hard
    if risk >= 0:
        risk_lots = risk // lot_cost
        if risk_lots < lots:
            bound, lots = RISK, risk_lots
        hard = min(hard, risk_lots)
    share = free // fraction_bottom * fraction_top + free % fraction_bottom * fraction_top // fraction_bottom
    if share // lot_cost < lots:
        bound, lots = FRACTION, share // lot_cost

    if allowed:
        if lots >= smallest:
            return bound, lots, k_min
        if smallest > hard:
            return CAP_BELOW_MINIMUM if smallest > cap // lot_cost else RISK_BELOW_MINIMUM, 0, k_min
        if smallest <= affordable:
            if raise_to_minimum:
                return MINIMUM, smallest, k_min
            return FRACTION_BELOW_MINIMUM, 0, k_min
        if smallest * lot_cost <= free:
            return FEES_EXCEED_FREE, 0, k_min
    elif stop_lot_cost > 0:
        return ABOVE_MAX_QUANTITY, 0, k_min
    else:
        return UNSELLABLE_AT_STOP, 0, k_min
    if smallest == min_lots:
        return BELOW_MIN_QUANTITY, 0, k_min
    if smallest == notional_lots:
        return BELOW_MIN_NOTIONAL, 0, k_min
    if smallest == floor_lots:
        return BELOW_FLOOR, 0, k_min
    return UNSELLABLE_AT_STOP, 0, k_min


class Sized(NamedTuple):
    """An order that will be accepted and can be sold again. Money in quote, quantity in base.

    fee is in `fee_asset` (an asset's name); debit leaves the quote balance, received joins the base
    balance; exit_notional is what selling all of it at the stop price fetches, before fees.
    """

    symbol: str
    quantity: Decimal
    notional: Decimal
    fee: Decimal
    fee_asset: str
    debit: Decimal
    received: Decimal
    exit_notional: Decimal
    bound: Bound


class Refused(NamedTuple):
    """No order, why, and the remedy: the smallest balance that would do (None: no balance would)."""

    symbol: str
    reason: Reason
    needed: Decimal | None
    short: Decimal | None


class _Frame(NamedTuple):
    """One market and policy in integers, with money in quanta of 10^-digits: all of the rule's
    input that does not depend on the price or the balance."""

    market: Market
    policy: Policy
    digits: int
    scale: Decimal
    lot_scale: Decimal
    step: Decimal
    unit: Decimal
    quantum: Decimal
    tick_lot: int
    kept_at_stop_ppm: int
    purse: Purse
    rules: tuple[int, ...]

    def terms(self, price: Decimal) -> Terms:
        """The market side at this price; BadField when it is off tick."""
        lot_cost = EXACT.multiply(price, self.lot_scale)
        whole = int(lot_cost)
        if price <= 0:
            raise BadField("price", f"{price} is not above 0")
        if whole != lot_cost or whole % self.tick_lot:
            raise BadField("price", f"{price} is not on the tick of {self.market.tick_size}")
        stop_ticks = whole // self.tick_lot * self.kept_at_stop_ppm // PPM
        return Terms._make((whole, stop_ticks * self.tick_lot, *self.rules))

    def costs(self, lots: int, terms: Terms) -> tuple[int, int, int]:
        """(fee, debit, received): the debit in quote units, received in lots, the fee in whichever
        of the two the exchange takes it in; costs are rounded up, against us."""
        notional = lots * terms.lot_cost
        units = -(-notional // terms.unit)
        if terms.fee_in_base:
            fee = -(-lots * terms.fee_ppm // PPM)
            return fee, units, lots - fee
        fee = -(-notional * terms.fee_ppm // (PPM * terms.unit))
        return fee, units + fee, lots

    def sized(self, bound: Bound, lots: int, terms: Terms, price: Decimal) -> Sized:
        """The decision for this many lots, in money."""
        market, multiply, step, unit = self.market, EXACT.multiply, self.step, self.unit
        fee, debit, received = self.costs(lots, terms)
        quantity = multiply(Decimal(lots), step)
        in_base = terms.fee_in_base
        return Sized(
            market.symbol,
            quantity,
            multiply(quantity, price),
            multiply(Decimal(fee), step if in_base else unit),
            market.base if in_base else market.quote,
            multiply(Decimal(debit), unit),
            multiply(Decimal(received), step) if in_base else quantity,
            multiply(Decimal(received * terms.stop_lot_cost), self.quantum),
            bound,
        )

    def needed(self, smallest: int, terms: Terms) -> Decimal | None:
        """The smallest free balance, in whole quote units, with which this wish would be sized."""
        purse, unit = self.purse, self.unit
        notional = smallest * terms.lot_cost
        if smallest < 0 or notional > purse.cap or notional > purse.risk >= 0:
            return None
        _, debit, _ = self.costs(smallest, terms)
        least = Fraction(EXACT.multiply(Decimal(debit), unit))
        if not self.policy.raise_to_minimum:
            share = Fraction(purse.fraction_top, purse.fraction_bottom)
            least = max(least, Fraction(notional, 10**self.digits) / share)
        units = ceil((Fraction(self.policy.reserve) + least) / Fraction(unit))
        return EXACT.multiply(Decimal(units), unit)


@lru_cache(maxsize=1024)
def _frame(market: Market, policy: Policy, liquidity: Liquidity, digits: int) -> _Frame:
    quantum = Decimal(1).scaleb(-digits)
    finer = 10 ** (digits - market.grid.digits)
    headroom = policy.exit_headroom
    fraction_top, fraction_bottom = policy.fraction.as_integer_ratio()
    return _Frame(
        market=market,
        policy=policy,
        digits=digits,
        scale=Decimal(10**digits),
        lot_scale=EXACT.scaleb(market.lot_step, digits),
        step=market.lot_step,
        unit=market.quote_unit,
        quantum=quantum,
        tick_lot=market.grid.tick_lot * finer,
        kept_at_stop_ppm=PPM - ppm(policy.stop, "stop"),
        purse=Purse(
            free=0,
            fraction_top=fraction_top,
            fraction_bottom=fraction_bottom,
            cap=steps_down(policy.cap, quantum),
            risk=-1 if policy.risk_target is None else steps_down(policy.risk_target, quantum),
            raise_to_minimum=int(policy.raise_to_minimum),
        ),
        rules=(
            market.grid.unit * finer,
            steps_up(market.min_quantity, market.lot_step),
            -1 if market.max_quantity is None else steps_down(market.max_quantity, market.lot_step),
            steps_up(market.min_notional, quantum),
            steps_up(policy.floor, quantum),
            steps_up(EXACT.multiply(headroom, market.min_quantity), market.lot_step),
            steps_up(EXACT.multiply(headroom, market.min_notional), quantum),
            market.fee_ppm(liquidity),
            int(market.fee_asset is FeeAsset.BASE),
        ),
    )


def pose(
    wish: Opportunity, market: Market, policy: Policy, spendable: Decimal, digits: int
) -> tuple[_Frame, Purse, Terms]:
    """The wish as `choose_lots` takes it, in quanta of 10^-digits or as fine as the balance. BadField."""
    frame = _frame(market, policy, wish.liquidity, digits)
    free = EXACT.multiply(spendable, frame.scale)
    if free != int(free):
        return pose(wish, market, policy, spendable, -exponent(spendable))
    return frame, Purse._make((int(free), *frame.purse[1:])), frame.terms(wish.price)


def least_sellable(market: Market, price: Decimal, headroom: Decimal) -> Decimal:
    """The smallest quantity, in whole lots, that the exchange lets us sell at this price, with headroom."""
    least = EXACT.multiply(headroom, market.min_quantity)
    cost = EXACT.multiply(headroom, market.min_notional)
    lots = max(steps_up(least, market.lot_step), steps_up(cost, EXACT.multiply(price, market.lot_step)))
    return EXACT.multiply(Decimal(lots), market.lot_step)


def size_order(opportunity: Opportunity, market: Market, free: Amount, policy: Policy) -> Sized | Refused:
    """The largest order within the policy that the exchange accepts and this balance pays.

    `free` is in the market's quote asset; `opportunity.price` on the market's tick. Raises BadField
    for a price off tick, another symbol or another asset; a size that cannot be is Refused.

    >>> from lotwise import *
    >>> tick, lot, least, cost, maker, taker = map(exact, "0.01 0.00000001 0.01 0.5 0.004 0.008".split())
    >>> sol = Market("SOL/USDT", tick, lot, least, cost, 8, maker, taker)
    >>> wish, policy = Opportunity("SOL/USDT", exact("150.12")), Policy(cap=exact("10"))
    >>> size_order(wish, sol, amount("2.86 USDT"), policy).quantity
    Decimal('0.01809885')
    """
    if opportunity.symbol != market.symbol:
        raise BadField("symbol", f"{opportunity.symbol} is not {market.symbol}")
    if free.asset != market.quote:
        raise BadField("free", f"is in {free.asset}, but {market.symbol} is paid in {market.quote}")
    spendable = EXACT.subtract(free.number, policy.reserve)
    frame, purse, terms = pose(opportunity, market, policy, spendable, market.grid.digits)
    outcome, lots, smallest = choose_lots(purse, terms, UNBOUNDED)
    assert outcome != OVERFLOW
    if outcome <= MINIMUM:
        return frame.sized(BOUNDS[outcome], lots, terms, opportunity.price)
    needed = frame.needed(smallest, terms)
    short = None if needed is None else EXACT.subtract(needed, free.number)
    return Refused(market.symbol, REASONS[outcome - len(BOUNDS)], needed, short)
