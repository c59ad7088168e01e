"""How a position is left: a resting sale at the target, a sale at once at the stop or when its time is over.

The stop is the price at which the sizing rule proved the position sellable.
"""

from dataclasses import replace
from decimal import Decimal

from lotwise.domain.market import FeeAsset, Market, Quote
from lotwise.domain.orders import Order, OrderType, Purpose, TimeInForce
from lotwise.domain.sizing import least_sellable
from lotwise.domain.values import EXACT, Amount, Side, Time, round_down
from lotwise.engine.state import Holding


def exit_prices(market: Market, entry: Decimal, stop: Decimal, target: Decimal) -> tuple[Decimal, Decimal]:
    """(stop price, target price) of an entry at this limit, for a stop and target as fractions.

    The stop is rounded down, as the sizing rule does; the target up, never promising less.
    """
    return (
        market.price_down(EXACT.multiply(entry, EXACT.subtract(Decimal(1), stop))),
        market.price_up(EXACT.multiply(entry, EXACT.add(Decimal(1), target))),
    )


def time_due(holding: Holding, max_hold: Time | None, now: Time) -> bool:
    """Whether the position has been held for as long as it may be."""
    return max_hold is not None and holding.leaving is None and now - holding.opened >= max_hold


def lowest_price(market: Market, quote: Quote, slippage: Decimal) -> Decimal:
    """The worst price that a sale at once is assumed to get: the bid less the slippage."""
    return worse_by(slippage, quote.bid, market)


def worse_by(slippage: Decimal, price: Decimal, market: Market) -> Decimal:
    """A selling price less the slippage (a fraction), down to the tick, and at least one."""
    worst = market.price_down(EXACT.multiply(price, EXACT.subtract(Decimal(1), slippage)))
    return max(worst, market.tick_size)


def salable(quantity: Decimal, market: Market) -> Decimal:
    """How much of a holding one order may sell: whole lots, and no more than the largest order."""
    most = quantity if market.max_quantity is None else min(quantity, market.max_quantity)
    return round_down(most, market.lot_step)


def exit_order(client_id: str, holding: Holding, market: Market, purpose: Purpose, time: Time) -> Order:
    """The sale of all that is held and that one order may sell: waiting at the target price or at the
    stop, at once at the target price or better, or at once."""
    quantity = salable(holding.position.quantity, market)
    order = Order(
        client_id=client_id,
        symbol=market.symbol,
        side=Side.SELL,
        type=OrderType.MARKET,
        quantity=quantity,
        price=None,
        reserve=Amount(quantity, market.base),
        purpose=purpose,
        time=time,
        fee_asset=FeeAsset.QUOTE,  # a fee in coins would need more of them than are held
    )
    target = market.price_up(holding.target)
    match purpose:
        case Purpose.TARGET:
            return replace(order, type=OrderType.LIMIT, price=target)
        case Purpose.PROTECTION:
            return replace(order, type=OrderType.STOP_LOSS, trigger=market.price_down(holding.stop))
        case Purpose.TAKE_PROFIT:
            least = least_sellable(market, holding.stop, Decimal(1))
            return replace(with_limit(order, target), time_in_force=at_once(quantity, least))
    return order


def at_once(quantity: Decimal, least: Decimal) -> TimeInForce:
    """How an order that does not wait is to trade: whole or not at all when half of it would be less than
    can be sold, else as far as it goes."""
    return TimeInForce.FOK if EXACT.add(least, least) > quantity else TimeInForce.IOC


def with_limit(order: Order, price: Decimal) -> Order:
    """A sale at once that never gets less than this price."""
    return replace(order, type=OrderType.LIMIT, price=price, time_in_force=TimeInForce.IOC)
