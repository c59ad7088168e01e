"""What an open order sets aside, and what its trades cost.

Laws: every rounding is against the order's owner (cost of a buy and fees up, proceeds of a sale down);
it applies to the order's sums, so that an order filled in parts never costs more than filled at once;
an order's hold always covers what its trades take.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Context, Decimal
from functools import lru_cache
from operator import attrgetter
from typing import NamedTuple

from lotwise.domain.market import FeeAsset, Liquidity, Market
from lotwise.domain.orders import Fill, Order, TimeInForce
from lotwise.domain.values import EXACT, Amount, Side, Time, round_down, round_up
from lotwise.exchange.events import PLAIN, Instructions

ZERO = Decimal(0)
_CUTTING = Context(prec=EXACT.prec)
"""Exact but for what is rounded away on purpose."""

_NAMES = [field.name for field in fields(Order)]
_VALUES, _RESERVE = attrgetter(*_NAMES), _NAMES.index("reserve")
"""By these an order is copied in a third of the time that `replace` takes."""


class Trade(NamedTuple):
    """A matcher's verdict: so much of an order (in base) trades at this price, in this role."""

    price: Decimal
    quantity: Decimal
    liquidity: Liquidity


class Change(NamedTuple):
    """What a trade does to one asset of an account: `amount` comes (below zero: leaves), less the fee."""

    asset: str
    amount: Decimal
    fee: Decimal

    @property
    def net(self) -> Decimal:
        """What the account has more."""
        return EXACT.subtract(self.amount, self.fee)

    def entered(self, decimals: int, free: Decimal) -> "Change":
        """The same in the asset's decimals, amount and fee each rounded half to even, as Kraken does (its
        support's words of 2025-05 in freqtrade #11765; a sale of 2017-07 in ccxt #8204). Assumed: toward
        zero, where `free` lacks the part of a unit that rounding up would take."""
        unit = Decimal(1).scaleb(-decimals)
        nearest = Change(self.asset, *(_cut(number, unit, ROUND_HALF_EVEN) for number in self[1:]))
        if EXACT.subtract(self.net, nearest.net) <= free:
            return nearest
        return Change(self.asset, *(_cut(number, unit, ROUND_DOWN) for number in self[1:]))


def _cut(number: Decimal, unit: Decimal, rounding: str) -> Decimal:
    cut = number.quantize(unit, rounding, _CUTTING)
    return number if cut == number else EXACT.plus(cut)  # nothing has no sign


def changes(fill: Fill) -> tuple[Change, Change]:
    """What a fill does to its account's base and quote, to the last digit."""
    base, quote = fill.symbol.split("/")
    buys = fill.side is Side.BUY
    got, paid = fill.quantity, fill.cost.number
    in_base = fill.fee.asset == base
    return (
        Change(base, got if buys else EXACT.minus(got), fill.fee.number if in_base else ZERO),
        Change(quote, EXACT.minus(paid) if buys else paid, ZERO if in_base else fill.fee.number),
    )


@dataclass(frozen=True, slots=True)
class OpenOrder:
    """An order that the exchange holds, and its fills so far.

    `order.reserve` is what the exchange itself set aside for it, whatever its sender reckoned.
    `terms` are the rules and fees listed when it was accepted: it keeps them to its end, so that a
    later change of fees cannot make it cost more than it holds. `accepted` is that time. `triggered`: its
    trigger was reached. `parent` is the venue id of the order whose fill placed this one.
    """

    order: Order
    terms: Market
    venue_id: str
    accepted: Time
    fills: tuple[Fill, ...] = ()
    triggered: bool = False
    instructions: Instructions = PLAIN
    parent: str | None = None

    @property
    def number(self) -> int:
        """The number in the venue id: orders are counted in order of acceptance."""
        return int(self.venue_id[1:])

    @property
    def sleeps(self) -> bool:
        """Whether it waits for its trigger, outside the book."""
        return self.order.type.has_trigger and not self.triggered

    @property
    def filled(self) -> Decimal:
        """The quantity filled so far, in base."""
        return _sum(fill.quantity for fill in self.fills)

    @property
    def rest(self) -> Decimal:
        """The quantity not yet filled."""
        return EXACT.subtract(self.order.quantity, self.filled)

    @property
    def trades(self) -> list[Trade]:
        """What its fills traded."""
        return [Trade(fill.price, fill.quantity, fill.liquidity) for fill in self.fills]

    @property
    def held(self) -> Amount:
        """What is still set aside: the reserve less what the fills took of it."""
        asset = self.order.reserve.asset
        given = (fill.cost.number if self.order.side is Side.BUY else fill.quantity for fill in self.fills)
        fees = (fill.fee.number for fill in self.fills if fill.fee.asset == asset)
        return self.order.reserve - Amount(EXACT.add(_sum(given), _sum(fees)), asset)

    def book(self, trade: Trade, trade_id: str, now: Time) -> Fill:
        """The fill that this trade makes after those before it: the growth of the rounded sums."""
        assert 0 < trade.quantity <= self.rest, f"{trade} exceeds the rest of {self.rest}"
        order, terms = self.order, self.terms
        cost, fee = charge(order.side, terms, [*self.trades, trade])
        cost = EXACT.subtract(cost, _sum(fill.cost.number for fill in self.fills))
        fee = EXACT.subtract(fee, _sum(fill.fee.number for fill in self.fills))
        got, got_in = (trade.quantity, FeeAsset.BASE) if order.side is Side.BUY else (cost, FeeAsset.QUOTE)
        if terms.fee_asset is got_in:
            # Such a fee is not held but taken from what the trade brings, and that may be less than
            # the fee's last unit; the next fill of the order makes up for it.
            fee = min(fee, got)
        return Fill(
            trade_id,
            order.client_id,
            order.symbol,
            order.side,
            trade.price,
            trade.quantity,
            Amount(cost, terms.quote),
            Amount(fee, terms.base if terms.fee_asset is FeeAsset.BASE else terms.quote),
            trade.liquidity,
            now,
        )


def terms_for(order: Order, market: Market) -> Market:
    """The rules and fees of an order: the market's, with the fee in the asset that the order asks for."""
    return market if order.fee_asset in (None, market.fee_asset) else _taking_fees_in(market, order.fee_asset)


@lru_cache(maxsize=1024)
def _taking_fees_in(market: Market, fee_asset: FeeAsset) -> Market:
    return replace(market, fee_asset=fee_asset)


def charge(side: Side, terms: Market, trades: Sequence[Trade]) -> tuple[Decimal, Decimal]:
    """(cost in quote, fee in the market's fee asset) of all trades of one order together."""
    notional = due = ZERO
    in_base, unit = terms.fee_asset is FeeAsset.BASE, terms.quote_unit
    for price, quantity, liquidity in trades:
        value = EXACT.multiply(price, quantity)
        notional = EXACT.add(notional, value)
        taxed = quantity if in_base else value
        due = EXACT.add(due, EXACT.multiply(taxed, terms.fee_rate(liquidity)))
    cost = (round_up if side is Side.BUY else round_down)(notional, unit)
    return cost, round_up(due, terms.lot_step if in_base else unit)


def hold(order: Order, terms: Market, trades: Sequence[Trade] = (), before: Sequence[Trade] = ()) -> Amount:
    """What the order may take at most, what it has taken `before` included: a buy its cost in quote, a
    sell its quantity in base, each with the fee when that is taken in the same asset; a limit order its
    rest at its limit and the worst rate that may apply, a market order (which never rests) by the trades
    it makes at once, and one that sleeps without a limit at its trigger."""
    rest = order.quantity
    for trade in before:
        rest = EXACT.subtract(rest, trade.quantity)
    if order.price is not None:
        trades = [*before, Trade(order.price, rest, _worst_liquidity(order, terms))]
    elif order.trigger is not None and not trades:
        trades = [*before, Trade(order.trigger, rest, Liquidity.TAKER)]
    cost, fee = charge(order.side, terms, trades)
    fee_in_base = terms.fee_asset is FeeAsset.BASE
    if order.side is Side.BUY:
        return Amount(cost if fee_in_base else EXACT.add(cost, fee), terms.quote)
    return Amount(EXACT.add(order.quantity, fee) if fee_in_base else order.quantity, terms.base)


def holding(order: Order, reserve: Amount) -> Order:
    """The order with what is set aside for it."""
    values = list(_VALUES(order))
    values[_RESERVE] = reserve
    return Order(*values)


def is_immediate(order: Order) -> bool:
    """Whether the order never waits in the book (it may sleep until its trigger)."""
    return not order.type.has_limit or order.time_in_force in (TimeInForce.IOC, TimeInForce.FOK)


def _worst_liquidity(order: Order, terms: Market) -> Liquidity:
    if order.post_only:
        return Liquidity.MAKER
    if is_immediate(order):
        return Liquidity.TAKER
    return Liquidity.TAKER if terms.taker_ppm > terms.maker_ppm else Liquidity.MAKER


def _sum(numbers: Iterable[Decimal]) -> Decimal:
    total = ZERO
    for number in numbers:
        total = EXACT.add(total, number)
    return total
