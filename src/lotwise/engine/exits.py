"""How a position is left: a resting sale at the target, a sale at once at the stop.

The stop is the price at which the sizing rule proved the position sellable.
"""

from decimal import Decimal

from lotwise.domain.market import FeeAsset, Market, Quote
from lotwise.domain.orders import Order, OrderType, Purpose
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


def stop_due(holding: Holding, quote: Quote) -> bool:
    """Whether the price at which we could sell has come down to the stop."""
    return holding.leaving is None and quote.bid <= holding.stop


def time_due(holding: Holding, max_hold: Time | None, now: Time) -> bool:
    """Whether the position has been held for as long as it may be."""
    return max_hold is not None and holding.leaving is None and now - holding.opened >= max_hold


def exit_order(client_id: str, holding: Holding, market: Market, purpose: Purpose, time: Time) -> Order:
    """The sale of all that is held and that the lot step allows: at the target price, or at once."""
    at_target = purpose is Purpose.TARGET
    quantity = round_down(holding.position.quantity, market.lot_step)  # the exchange takes whole lots only
    return Order(
        client_id=client_id,
        symbol=market.symbol,
        side=Side.SELL,
        type=OrderType.LIMIT if at_target else OrderType.MARKET,
        quantity=quantity,
        price=holding.target if at_target else None,
        reserve=Amount(quantity, market.base),
        purpose=purpose,
        time=time,
        fee_asset=FeeAsset.QUOTE,  # a fee in coins would need more of them than are held
    )
