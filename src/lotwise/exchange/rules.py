"""What the exchange asks of an order before it takes it: one small function per rule.

Laws: the rules hold for buys and sells, entries and exits alike; they share no code with the sizing
of orders, which they are there to prove. The first rule that is broken answers. Kraken does not
publish the order of its checks; here the form comes before the size and the size before the funds.
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from lotwise.domain.market import Market, Quote
from lotwise.domain.orders import Order, OrderType, Rejection, RejectionKind, TimeInForce
from lotwise.domain.values import EXACT, Amount, NotExact, Side, exact, is_multiple, plain


@dataclass(frozen=True, slots=True)
class Request:
    """An order at the door, with the rules of its pair and the pair's best prices (None: not yet)."""

    order: Order
    market: Market
    quote: Quote | None

    @property
    def price(self) -> Decimal | None:
        """The price that values the order: its limit, or the best price on the side it takes from."""
        if self.order.price is not None or self.quote is None:
            return self.order.price
        return self.quote.ask if self.order.side is Side.BUY else self.quote.bid


def broken_rule(request: Request) -> Rejection | None:
    """The first rule that the order breaks, funds aside."""
    return next(filter(None, (rule(request) for rule in RULES)), None)


def unknown_pair(symbol: str) -> Rejection:
    """No rule can be asked of a pair that is not listed."""
    return Rejection(RejectionKind.UNKNOWN_PAIR, f"{symbol} is not traded here")


def name_in_use(client_id: str) -> Rejection:
    """A client id is unique among the open orders of its account only (Kraken's documentation of
    cl_ord_id, 2026-05-27): an ended order's id may come again."""
    return Rejection(RejectionKind.INVALID, f"client id {client_id} belongs to an open order")


def short_of_funds(needed: Amount, free: Amount) -> Rejection | None:
    """The last rule: all that the order may take, fee included, is free."""
    if needed.number <= free.number:
        return None
    return Rejection(RejectionKind.FUNDS, f"the order may take {needed}, and {free} is free")


def _numbers(request: Request) -> Rejection | None:
    for name, number in (("quantity", request.order.quantity), ("price", request.order.price)):
        try:
            exact(0 if number is None else number)
        except NotExact as error:
            return Rejection(RejectionKind.INVALID, f"{name}: {error}")
    return None


def _form(request: Request) -> Rejection | None:
    order = request.order
    limit, dated = order.type is OrderType.LIMIT, order.time_in_force is TimeInForce.GTD
    waits = limit and order.time_in_force in (TimeInForce.GTC, TimeInForce.GTD)
    problems = (
        (limit != (order.price is not None), "a limit order has a price and a market order none"),
        (dated != (order.expires is not None), "a GTD order has an expiry and no other has"),
        (order.expires is not None and order.expires <= order.time, "the order expires before it was made"),
        (order.post_only and not waits, "only a limit order that may wait can be post-only"),
    )
    return next((Rejection(RejectionKind.INVALID, text) for broken, text in problems if broken), None)


def _lot_step(request: Request) -> Rejection | None:
    quantity, step = request.order.quantity, request.market.lot_step
    if is_multiple(quantity, step):
        return None
    return Rejection(RejectionKind.LOT_STEP, f"quantity {plain(quantity)} is not in steps of {plain(step)}")


def _tick(request: Request) -> Rejection | None:
    price, market = request.order.price, request.market
    if price is None or market.on_tick(price):
        return None
    if price <= 0:
        return Rejection(RejectionKind.PRICE, f"price {plain(price)} is not above 0")
    return Rejection(RejectionKind.TICK, f"price {plain(price)} is not in ticks of {plain(market.tick_size)}")


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
    _numbers,
    _form,
    _lot_step,
    _tick,
    _min_quantity,
    _max_quantity,
    _priced,
    _min_notional,
)
