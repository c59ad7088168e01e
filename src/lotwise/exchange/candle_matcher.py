"""What trades when candles are all that is known of a market: pessimistic.

A candle tells neither how much waited at a price nor what came first within it. So:
- a waiting limit order fills only when the price trades *through* it (a buy: low strictly below the
  limit; a sell: high strictly above), for at a touch others may have stood before us; and at its own
  limit, never better, as maker. One that expires within the candle may still fill in it;
- it fills whole, or, where a share of the volume is set, as far as that share reaches: all waiting orders
  of the pair have it together, in order of acceptance, each cut to whole lots;
- an order that trades at once fills whole (an assumption: nothing tells the depth), at the best price
  worsened by the slippage, rounded against it to the tick; a limit order never gets worse than its limit;
- a stop is met at a touch, at its trigger or at an opening beyond it; a take-profit only when the price
  trades through its trigger, and at that; both then trade at once, or wait with their limit;
- candle prices off the pair's tick are rounded down to it. For a buy that changes nothing (limits are on
  tick: low < limit exactly when the rounded low is); a sell needs a full tick above its limit, and a
  stop is met up to a tick early: the pessimistic side of both.
"""

from decimal import Decimal

from lotwise.domain.market import Candle, Liquidity, Market, Quote
from lotwise.domain.orders import Order, OrderType
from lotwise.domain.values import EXACT, Side, Time, require, round_down
from lotwise.exchange.booking import OpenOrder, Trade
from lotwise.exchange.events import Key
from lotwise.exchange.matching import Arrival, Match, Meeting
from lotwise.exchange.triggers import wakes_rising


class CandleMatcher:
    """One pair of which only candles, or the best prices, are known. `slippage` worsens what trades at
    once."""

    prints = False

    def __init__(self, market: Market, slippage: Decimal) -> None:
        self._market = market
        self._slippage = slippage
        self._quote: Quote | None = None

    def relist(self, market: Market) -> None:
        """See Matcher."""
        self._market = market

    def quote(self) -> Quote | None:
        """See Matcher."""
        return self._quote

    def best(self, side: Side) -> Decimal | None:
        """See Matcher."""
        if self._quote is None:
            return None
        return self._quote.bid if side is Side.BUY else self._quote.ask

    def show(self, quote: Quote) -> None:
        """See Matcher."""
        self._quote = quote

    def meet(self, arrival: Arrival) -> Meeting:
        """See Matcher. Nobody stands in anybody's way: candles know no other orders."""
        trades = trades_at_once(arrival.order, arrival.terms, self._quote, self._slippage)
        matches = (Match(trade._replace(quantity=arrival.quantity)) for trade in trades)
        return Meeting(tuple(matches), crosses=bool(trades))

    def trade(self, match: Match, now: Time) -> None:
        """See Matcher."""

    def rest(self, key: Key, waiting: OpenOrder, now: Time) -> None:
        """See Matcher."""

    def shrink(self, waiting: OpenOrder, now: Time) -> None:
        """See Matcher."""

    def leave(self, waiting: OpenOrder, now: Time) -> None:
        """See Matcher."""


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


def trades_within(waiting: OpenOrder, candle: Candle, most: Decimal | None = None) -> list[Trade]:
    """The trades this order makes in a candle during the whole of which it waited, of so much of the
    base asset at most."""
    order, terms = waiting.order, waiting.terms
    assert order.price is not None, "a market order never waits"
    if order.side is Side.BUY:
        through = terms.price_down(candle.low) < order.price
    else:
        through = terms.price_down(candle.high) > order.price
    quantity = waiting.rest if most is None else min(waiting.rest, round_down(most, terms.lot_step))
    return [Trade(order.price, quantity, Liquidity.MAKER)] if through and quantity else []


def wake_price(waiting: OpenOrder, candle: Candle) -> Decimal | None:
    """The price within this candle at which a sleeping order wakes; None when it sleeps on."""
    order, terms = waiting.order, waiting.terms
    assert order.trigger is not None
    opened, low, high = map(terms.price_down, (candle.open, candle.low, candle.high))
    if order.type in (OrderType.TAKE_PROFIT, OrderType.TAKE_PROFIT_LIMIT):
        through = high > order.trigger if wakes_rising(order) else low < order.trigger
        return order.trigger if through else None
    if wakes_rising(order):
        return max(order.trigger, opened) if high >= order.trigger else None
    return max(min(order.trigger, opened), terms.tick_size) if low <= order.trigger else None


def touch_quote(price: Decimal, side: Side, market: Market, now: Time) -> Quote:
    """The best prices for an order of this side that wakes at a price within a candle."""
    tick = market.tick_size
    bid = price if side is Side.SELL else max(EXACT.subtract(price, tick), tick)
    return Quote(market.symbol, now, bid, EXACT.add(price, tick) if side is Side.SELL else max(price, bid))


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
