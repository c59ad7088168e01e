"""The cheapest way out of a holding that is too small to be sold: buy the least that the exchange
takes, then sell all. What that costs is told before anything is bought."""

from dataclasses import dataclass
from decimal import Decimal

from lotwise.domain.market import Liquidity, Market, Quote
from lotwise.domain.orders import Opportunity, Order, OrderType, Purpose, TimeInForce
from lotwise.domain.policy import Policy
from lotwise.domain.sizing import Refused, Sized, size_order
from lotwise.domain.values import EXACT, Amount, Side, Time, round_down, round_up
from lotwise.engine.exits import lowest_price, salable

LEAST = Policy(cap=Decimal(10) ** 15, fraction=Decimal("0.000001"))
"""The policy whose share is nothing: what it sizes is the smallest order that the exchange takes."""


@dataclass(frozen=True, slots=True)
class WayOut:
    """Buy `top_up` (None: nothing) at `price` at most, then sell `sells`, which gets `gets` after fees at
    the assumed slippage. cost: how much poorer in quote that leaves us than the holding at its bid."""

    top_up: Sized | None
    price: Decimal
    sells: Decimal
    gets: Decimal
    cost: Decimal


def way_out(held: Decimal, market: Market, quote: Quote, free: Amount, slippage: Decimal) -> WayOut | Refused:
    """The cheapest way out of `held` coins at these prices; Refused: what the balance lacks for it."""
    price = market.price_up(EXACT.multiply(quote.ask, EXACT.add(Decimal(1), slippage)))
    direct = _sale(held, None, market, (quote, slippage, price))
    if sells(direct.sells, market, lowest_price(market, quote, slippage)):
        return direct
    wish = Opportunity(market.symbol, price, Liquidity.TAKER)
    top_up = size_order(wish, market, free, LEAST)
    if isinstance(top_up, Refused):
        return top_up
    return _sale(held, top_up, market, (quote, slippage, price))


def sells(quantity: Decimal, market: Market, price: Decimal) -> bool:
    """Whether the exchange takes a sale of so much at this price."""
    return quantity >= market.min_quantity and EXACT.multiply(quantity, price) >= market.min_notional


def _sale(held: Decimal, top_up: Sized | None, market: Market, at: tuple[Quote, Decimal, Decimal]) -> WayOut:
    quote, slippage, price = at
    worst = lowest_price(market, quote, slippage)
    quantity = salable(EXACT.add(held, top_up.received if top_up else Decimal(0)), market)
    notional = EXACT.multiply(quantity, worst)
    fee = round_up(EXACT.multiply(notional, market.taker_fee), market.quote_unit)
    gets = EXACT.subtract(round_down(notional, market.quote_unit), fee)
    paid = top_up.debit if top_up else Decimal(0)
    cost = EXACT.subtract(EXACT.add(paid, EXACT.multiply(held, quote.bid)), gets)
    return WayOut(top_up, price, quantity, gets, cost)


def top_up_order(client_id: str, way: WayOut, time: Time, quote: str) -> Order:
    """The purchase of a way out: at once and whole, or not at all."""
    assert way.top_up is not None, "there is nothing to buy"
    return Order(
        client_id=client_id,
        symbol=way.top_up.symbol,
        side=Side.BUY,
        type=OrderType.LIMIT,
        quantity=way.top_up.quantity,
        price=way.price,
        reserve=Amount(way.top_up.debit, quote),
        purpose=Purpose.TOP_UP,
        time=time,
        time_in_force=TimeInForce.FOK,
    )
