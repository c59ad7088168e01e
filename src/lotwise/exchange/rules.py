"""What the exchange asks of an order before it takes it: one small function per rule.

Laws: the rules hold for buys and sells, entries and exits alike; they share no code with the sizing
of orders, which they are there to prove. The first rule that is broken answers. Kraken does not
publish the order of its checks; here the form comes before the size and the size before the funds.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import NamedTuple

from lotwise.domain.market import Market, MarketStatus
from lotwise.domain.orders import Order, OrderType, Rejection, RejectionKind, TimeInForce
from lotwise.domain.values import EXACT, Amount, NotExact, Side, exact, is_multiple, plain


class Request(NamedTuple):
    """An order at the door, with the rules and status of its pair and the best price that it could meet
    there (None: nothing waits)."""

    order: Order
    market: Market
    best: Decimal | None
    status: MarketStatus = MarketStatus.ONLINE

    @property
    def price(self) -> Decimal | None:
        """The price that values the order: its limit or trigger, or the best on the side it takes from."""
        stated = self.order.trigger if self.order.price is None else self.order.price
        return self.best if stated is None else stated


def broken_rule(request: Request) -> Rejection | None:
    """The first rule that the order breaks, funds aside."""
    for rule in RULES:
        broken = rule(request)
        if broken is not None:
            return broken
    return None


def unknown_pair(symbol: str) -> Rejection:
    """No rule can be asked of a pair that is not listed."""
    return Rejection(RejectionKind.UNKNOWN_PAIR, f"{symbol} is not traded here")


def name_in_use(client_id: str) -> Rejection:
    """A client id is unique among the open orders of its account only (Kraken's documentation of
    cl_ord_id, 2026-05-27): an ended order's id may come again."""
    return Rejection(RejectionKind.INVALID, f"client id {client_id} belongs to an open order")


def not_open(client_id: str) -> Rejection:
    """Only what is open can be changed."""
    return Rejection(RejectionKind.INVALID, f"no open order has the client id {client_id}")


def short_of_funds(needed: Amount, free: Amount) -> Rejection | None:
    """The last rule: all that the order may take, fee included, is free."""
    if needed.number <= free.number:
        return None
    return Rejection(RejectionKind.FUNDS, f"the order may take {needed}, and {free} is free")


def too_many_orders(symbol: str, most: int) -> Rejection:
    """An account has so many open orders on a pair at most."""
    return Rejection(RejectionKind.ORDERS_LIMIT, f"{most} orders are open on {symbol}, and no more may be")


def below_filled(quantity: Decimal, filled: Decimal) -> Rejection:
    """An order cannot become as small as what of it has traded."""
    text = f"quantity {plain(quantity)} is not above the {plain(filled)} that are filled"
    return Rejection(RejectionKind.INVALID, text)


def would_cross(price: Decimal) -> Rejection:
    """An amended order that must wait in the book must not reach the other side."""
    return Rejection(RejectionKind.POST_ONLY, f"at {plain(price)} it would trade at once")


def _status(request: Request) -> Rejection | None:
    order, status = request.order, request.status
    if status is MarketStatus.ONLINE:
        return None
    takes = {
        MarketStatus.LIMIT_ONLY: order.type.has_limit,
        MarketStatus.POST_ONLY: order.post_only,
        MarketStatus.REDUCE_ONLY: order.side is Side.SELL,
        MarketStatus.CANCEL_ONLY: False,
        MarketStatus.OFFLINE: False,
    }
    if takes[status]:
        return None
    return Rejection(RejectionKind.PAIR_OFFLINE, f"{order.symbol} is {status} and takes no such order")


def _numbers(request: Request) -> Rejection | None:
    order = request.order
    for name, number in (("quantity", order.quantity), ("price", order.price), ("trigger", order.trigger)):
        try:
            if number is not None:
                exact(number)
        except NotExact as error:
            return Rejection(RejectionKind.INVALID, f"{name}: {error}")
    return None


def _form(request: Request) -> Rejection | None:
    order = request.order
    limit, dated = order.type.has_limit, order.time_in_force is TimeInForce.GTD
    waits = order.type is OrderType.LIMIT and order.time_in_force in (TimeInForce.GTC, TimeInForce.GTD)
    sleeps = order.type.has_trigger
    problem = ""
    if limit != (order.price is not None):
        problem = "a limit order has a price and a market order none"
    elif sleeps != (order.trigger is not None):
        problem = "a stop or take-profit has a trigger and no other has"
    elif dated != (order.expires is not None):
        problem = "a GTD order has an expiry and no other has"
    elif order.expires is not None and order.expires <= order.time:
        problem = "the order expires before it was made"
    elif order.post_only and not waits:
        problem = "only a limit order that may wait can be post-only"
    return Rejection(RejectionKind.INVALID, problem) if problem else None


def _lot_step(request: Request) -> Rejection | None:
    quantity, step = request.order.quantity, request.market.lot_step
    if is_multiple(quantity, step):
        return None
    return Rejection(RejectionKind.LOT_STEP, f"quantity {plain(quantity)} is not in steps of {plain(step)}")


def _tick(request: Request) -> Rejection | None:
    market = request.market
    for name, price in (("price", request.order.price), ("trigger", request.order.trigger)):
        if price is not None and price <= 0:
            return Rejection(RejectionKind.PRICE, f"{name} {plain(price)} is not above 0")
        if price is not None and not market.on_tick(price):
            text = f"{name} {plain(price)} is not in ticks of {plain(market.tick_size)}"
            return Rejection(RejectionKind.TICK, text)
    return None


def _min_quantity(request: Request) -> Rejection | None:
    quantity, least = request.order.quantity, request.market.min_quantity
    if quantity >= least:
        return None
    return Rejection(
        RejectionKind.MIN_QUANTITY, f"quantity {plain(quantity)} is below the minimum {plain(least)}"
    )


def _max_quantity(request: Request) -> Rejection | None:
    quantity, most = request.order.quantity, request.market.max_quantity
    if most is None or quantity <= most:
        return None
    return Rejection(
        RejectionKind.MAX_QUANTITY, f"quantity {plain(quantity)} is above the maximum {plain(most)}"
    )


def _priced(request: Request) -> Rejection | None:
    if request.price is not None:
        return None
    return Rejection(RejectionKind.PAIR_OFFLINE, f"{request.order.symbol} has no price yet")


def _min_notional(request: Request) -> Rejection | None:
    price, least = request.price, request.market.min_notional
    assert price is not None, "an order without a price was refused before"
    cost = EXACT.multiply(price, request.order.quantity)
    if cost >= least:
        return None
    return Rejection(RejectionKind.MIN_NOTIONAL, f"cost {plain(cost)} is below the minimum {plain(least)}")


RULES: tuple[Callable[[Request], Rejection | None], ...] = (
    _status,
    _numbers,
    _form,
    _lot_step,
    _tick,
    _min_quantity,
    _max_quantity,
    _priced,
    _min_notional,
)
