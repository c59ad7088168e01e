"""What trades when every order of a market is known: a book in price-time priority.

Laws: an account's order and the crowd's stand in one queue; a trade is at the price of the one that
waited; of an account's own orders that meet, its choice of self-trade prevention decides before any
of them trades.
"""

from decimal import Decimal
from math import gcd

from lotwise.domain.market import Liquidity, Market, Quote
from lotwise.domain.values import EXACT, BadField, Side, Time, is_multiple, steps_down, steps_up
from lotwise.exchange.book import OrderBook, Resting, opposite
from lotwise.exchange.booking import OpenOrder, Trade
from lotwise.exchange.events import Key, SelfTrade
from lotwise.exchange.matching import Arrival, Match, Meeting


class BookMatcher:
    """The book of one pair. Its steps are the market's at first; when a market's steps become finer or
    cross the old ones, the book's become fine enough for both."""

    prints = True

    def __init__(self, market: Market, tick: Decimal | None = None, lot: Decimal | None = None) -> None:
        self.symbol = market.symbol
        self.tick = tick or market.tick_size
        self.lot = lot or market.lot_step
        self.book = OrderBook()
        self._steps(market)
        self.crowd_issued = 0

    def relist(self, market: Market) -> None:
        """See Matcher."""
        tick, lot = _common(self.tick, market.tick_size), _common(self.lot, market.lot_step)
        finer, smaller = steps_down(self.tick, tick), steps_down(self.lot, lot)
        self.tick, self.lot = tick, lot
        self._steps(market)
        if finer > 1 or smaller > 1:
            self.book.regrid(finer, smaller)

    def quote(self) -> Quote | None:
        """See Matcher."""
        bid, ask = self.best(Side.BUY), self.best(Side.SELL)
        return None if bid is None or ask is None else Quote(self.symbol, self.book.time, bid, ask)

    def best(self, side: Side) -> Decimal | None:
        """See Matcher."""
        ticks = self.book.best(side)
        return None if ticks is None else self.price(ticks)

    def show(self, quote: Quote) -> None:
        """See Matcher."""
        raise BadField("quote", f"the best prices of {quote.symbol} are those of its book")

    def meet(self, arrival: Arrival) -> Meeting:
        """See Matcher."""
        matches: list[Match] = []
        displaced: list[Key] = []
        order = arrival.order
        limit = None if order.price is None else self.ticks(order.price)
        rest, crosses = self.lots(arrival.quantity), False
        for resting in self.book.queue(opposite(order.side), limit):
            crosses = True
            if resting.owner is not None and resting.owner[0] == arrival.account:
                if arrival.self_trade is not SelfTrade.CANCEL_NEWEST:
                    displaced.append(resting.owner)
                if arrival.self_trade is not SelfTrade.CANCEL_OLDEST:
                    return Meeting(tuple(matches), crosses, tuple(displaced), stopped=True)
                continue
            lots = min(rest, resting.lots)
            matches.append(self.match(resting, lots, Liquidity.TAKER))
            rest -= lots
            if not rest:
                break
        return Meeting(tuple(matches), crosses, tuple(displaced))

    def trade(self, match: Match, now: Time) -> None:
        """See Matcher."""
        self.book.time = now
        self.book.reduce(match.number, self.lots(match.trade.quantity))

    def rest(self, key: Key, waiting: OpenOrder, now: Time) -> None:
        """See Matcher."""
        assert waiting.order.price is not None
        self.book.time = now
        price, lots = self.ticks(waiting.order.price), self.lots(waiting.rest)
        self.book.add(waiting.number, key, waiting.order.side, price, lots)

    def shrink(self, waiting: OpenOrder, now: Time) -> None:
        """See Matcher."""
        self.book.time = now
        resting = self.book[waiting.number]
        self.book.reduce(waiting.number, resting.lots - self.lots(waiting.rest))

    def leave(self, waiting: OpenOrder, now: Time) -> None:
        """See Matcher."""
        if waiting.number in self.book:
            self.book.time = now
            self.book.cancel(waiting.number)

    def add_crowd(self, side: Side, price: int, lots: int) -> int:
        """Let an order of the crowd wait; its number is below 0, so that it is no account's."""
        self.crowd_issued += 1
        self.book.add(-self.crowd_issued, None, side, price, lots)
        return -self.crowd_issued

    def match(self, resting: Resting, lots: int, liquidity: Liquidity) -> Match:
        """The trade of so many lots with a resting order, in the role of whose fill it is."""
        trade = Trade(self.price(resting.price), self.quantity(lots), liquidity)
        return Match(trade, resting.owner, resting.number)

    def _steps(self, market: Market) -> None:
        self.tick_steps, self.lot_steps = self.ticks(market.tick_size), self.lots(market.lot_step)
        self.least_lots = steps_up(market.min_quantity, market.lot_step) * self.lot_steps
        self.float_tick, self.float_lot = float(self.tick), float(self.lot)

    def price(self, ticks: int) -> Decimal:
        """Ticks as a price."""
        return EXACT.multiply(self.tick, Decimal(ticks))

    def quantity(self, lots: int) -> Decimal:
        """Lots as a quantity."""
        return EXACT.multiply(self.lot, Decimal(lots))

    def ticks(self, price: Decimal) -> int:
        """A price, which must be on the book's grid, in ticks."""
        return _whole(price, self.tick)

    def lots(self, quantity: Decimal) -> int:
        """A quantity, which must be on the book's grid, in lots."""
        return _whole(quantity, self.lot)


def _whole(number: Decimal, step: Decimal) -> int:
    steps, rest = EXACT.divmod(number, step)
    assert not rest, f"{number} is not in steps of {step}"
    return int(steps)


def _common(one: Decimal, other: Decimal) -> Decimal:
    """The coarsest step of which both are multiples."""
    if is_multiple(other, one):
        return one
    top, under = one.as_integer_ratio()
    other_top, other_under = other.as_integer_ratio()
    places = max(0, -int(one.as_tuple().exponent), -int(other.as_tuple().exponent))
    whole, other_whole = top * 10**places // under, other_top * 10**places // other_under
    return Decimal(gcd(whole, other_whole)).scaleb(-places, EXACT)
