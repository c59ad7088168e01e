"""What trades when candles are all that is known of a market: pessimistic, and whole.

A candle tells neither how much waited at a price nor what came first within it. So:
- a waiting limit order fills only when the price trades *through* it (a buy: low strictly below the
  limit; a sell: high strictly above), for at a touch others may have stood before us; and at its own
  limit, never better, whole, as maker. One that expires within the candle may still fill in it;
- an order that trades at once gets the best price worsened by the slippage, rounded against it to the
  tick; a limit order never gets worse than its limit;
- candle prices off the pair's tick are rounded down to it. For a buy that changes nothing (limits are on
  tick: low < limit exactly when the rounded low is); a sell needs a full tick above its limit, and a
  stop is met up to a tick early: the pessimistic side of both.

A matcher answers with trades, and an order may get several: a matcher that knows depth has the same shape.
"""

from decimal import Decimal

from lotwise.domain.market import Candle, Liquidity, Market, Quote
from lotwise.domain.orders import Order
from lotwise.domain.values import EXACT, Side, Time, require, round_down
from lotwise.exchange.booking import OpenOrder, Trade


def trades_at_once(order: Order, terms: Market, quote: Quote | None, slippage: Decimal) -> list[Trade]:
    """The trades this order makes on arrival; none when it is not marketable (or has no quote to meet)."""
    if quote is None:
        return []
    limit = order.price
    if order.side is Side.BUY:
        if limit is not None and limit < quote.ask:
            return []
        price = terms.price_up(EXACT.multiply(quote.ask, EXACT.add(Decimal(1), slippage)))
        price = price if limit is None else min(limit, price)
    else:
        if limit is not None and limit > quote.bid:
            return []
        price = terms.price_down(EXACT.multiply(quote.bid, EXACT.subtract(Decimal(1), slippage)))
        # Nothing trades at a price of 0: the lowest is one tick.
        price = max(price, terms.tick_size) if limit is None else max(limit, price)
    return [Trade(price, order.quantity, Liquidity.TAKER)]


def trades_within(waiting: OpenOrder, candle: Candle) -> list[Trade]:
    """The trades this order makes in a candle during the whole of which it waited."""
    order, terms = waiting.order, waiting.terms
    assert order.price is not None, "a market order never waits"
    if order.side is Side.BUY:
        through = terms.price_down(candle.low) < order.price
    else:
        through = terms.price_down(candle.high) > order.price
    return [Trade(order.price, waiting.rest, Liquidity.MAKER)] if through else []


def stop_touch(candle: Candle, stop: Decimal, tick: Decimal) -> Decimal | None:
    """The price at which a stop below a holding is met within this candle, None when it is not:
    the stop itself, or the open when the candle opens below it. What a sale gets is less by the slippage."""
    if round_down(candle.low, tick) > stop:
        return None
    return min(stop, round_down(candle.open, tick))


def closing_quote(candle: Candle, market: Market, spread: Decimal, now: Time) -> Quote:
    """The best prices when a candle closes: bid at the close, on tick; ask above it by the spread (a
    fraction), at least one tick. BadField when the close is below one tick."""
    bid = market.price_down(candle.close)
    require(bid > 0, "close", f"{candle.close} of {candle.symbol} is below one tick of {market.tick_size}")
    ask = market.price_up(EXACT.multiply(bid, EXACT.add(Decimal(1), spread)))
    return Quote(candle.symbol, now, bid, max(ask, EXACT.add(bid, market.tick_size)))
